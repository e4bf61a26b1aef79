"""Text, byte by byte: read ``text.py``, which makes the task."""
