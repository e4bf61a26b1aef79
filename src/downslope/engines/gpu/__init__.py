"""The Triton engine: one launch a step for all tensors of all groups on an accelerator.

``library.py`` is what a kernel may call, ``kernel.py`` prints and loads kernels, ``run.py``
launches them, ``bucket.py`` is the engine. Nothing here needs a GPU to be developed: with
``TRITON_INTERPRET=1`` the same kernels run on CPU tensors, and they compile for a GPU anywhere.
"""
