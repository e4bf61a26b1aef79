"""Healthy and faulty runs, and how many of each the doctor judges rightly."""
