"""Small trained modules, and what they show of the data: needs the extra `train` (torch)."""
