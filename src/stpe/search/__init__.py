"""Finding moments in a dataset by text or image."""
