"""The guides' tables of symptoms, causes and remedies as functions of a run's records."""

from .advisor import Advice, advise
from .diagnose import diagnose, findings
from .finding import Finding, healing
from .history import History
from .live import Doctor
from .traces import Trace, trace

__all__ = [
    "Advice",
    "Doctor",
    "Finding",
    "History",
    "Trace",
    "advise",
    "diagnose",
    "findings",
    "healing",
    "trace",
]
