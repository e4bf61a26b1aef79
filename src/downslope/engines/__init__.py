"""How a rule is run: on tensors, on lists of tensors, as a compiled kernel, or on symbols.

Read ``trace.py`` for how a formula becomes a program, then ``cpu/kernel.py`` for how a program
becomes one compiled call.
"""
