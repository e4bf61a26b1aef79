"""Detectors: each reads a history and says what it found, or nothing. Pure functions."""
