"""Arrays of inputs and targets: read ``arrays.py``, which makes the task."""
