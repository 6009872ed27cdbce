"""Recordings as training clips."""
