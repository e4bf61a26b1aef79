"""Folders of images by class: read ``folder.py``, which makes the task."""
