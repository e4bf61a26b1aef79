"""The Numba engine: one compiled call a step for all tensors of all groups.

``library.py`` is what a kernel may call (``intrinsics.py``, or ``plain.py`` without a compiler),
``kernel.py`` prints and loads kernels, ``run.py`` feeds them from one thread or several.
"""

from .start import start

start()
