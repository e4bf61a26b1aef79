"""Runs of other kinds than those that the doctor was tuned and tested on."""
