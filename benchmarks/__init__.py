"""Measurements that the documentation cites: ``make bench``."""
