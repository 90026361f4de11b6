"""Stages: one file each; a stage knows nothing of files, servers or engines."""
