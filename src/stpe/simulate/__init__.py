"""Simulators that record video together with the truth about it."""
