"""Scoring signals against truth. Each metric is a pure function of arrays and names its source."""
