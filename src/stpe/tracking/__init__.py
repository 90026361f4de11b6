"""Associating boxes over time: pure functions and values, no stage and no file."""
