"""Models that are made of other roles' models."""
