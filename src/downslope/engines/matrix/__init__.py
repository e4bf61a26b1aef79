"""Matrix rules in torch operations: equal shapes in stacks, one call an operation.

``library.py`` has the operations, ``calls.py`` turns a program into a list of calls, ``run.py``
runs it on what a bucket holds.
"""
