"""The command line: argument parsing only.

Read ``app.py`` first; each command has a file of its own, which is imported when it is called.
"""

from .app import app, main

__all__ = ["app", "main"]
