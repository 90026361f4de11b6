"""Scores on simulated episodes: recording, processing, pooling, baselines, calibration."""
