"""Readers of ground truth: each turns one kind of file or folder into a `Truth`."""
