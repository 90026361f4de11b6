"""Promptable video sessions: uploads, sessions with locks and an end, masks in and out."""
