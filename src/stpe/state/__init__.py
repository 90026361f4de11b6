"""Game and robot logs: reading them, and matching their rows to the frames of a video."""
