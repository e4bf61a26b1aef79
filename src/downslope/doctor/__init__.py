"""The guides' tables of symptoms, causes and remedies as functions of a run's records."""

from .diagnose import diagnose, findings
from .finding import Finding
from .history import History
from .live import Doctor

__all__ = ["Doctor", "Finding", "History", "diagnose", "findings"]
