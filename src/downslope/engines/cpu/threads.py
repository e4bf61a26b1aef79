"""Work spread over as many threads as torch uses: its own where that is known how.

Work is cut into more pieces than threads and taken in turn, so a busy core delays the step by a
piece, not by half of it. Who does a piece never changes its bits.

With :func:`team` compiled code runs on the threads of torch's OpenMP. They still wait awake for
more when a backward pass has just ended, so they begin at once, where other threads would have to
wake first, and then to share the cores with them for milliseconds. Elsewhere (torch without GNU's
OpenMP; a forked child, whose OpenMP is dead) :func:`run` takes plain threads: a kernel releases the
interpreter lock. (Numba's own parallel loops are slower to compile, kill forked children and abort
when two threads step at once.)
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

__all__ = ["PIECES", "run", "team"]

#: Pieces a thread: enough to even out a busy core, few enough that handing them out costs nothing.
PIECES = 4

_pool: ThreadPoolExecutor | None = None
_workers = 0
_forked = False


def _forget() -> None:
    # Threads do not survive a fork; the child makes its own when it needs them.
    global _pool, _workers, _forked
    _pool, _workers, _forked = None, 0, True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def team() -> Callable[[int, int, int], None] | None:
    """What calls a C function of one argument on threads of torch's OpenMP, the caller among them.

    Returns:
        a function of its address, the argument and how many threads; None where there is none.
    """
    return None if _forked else _openmp()


@cache
def _openmp() -> Callable[[int, int, int], None] | None:
    found = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    if not found:
        return None
    parallel = ctypes.CDLL(str(found[0])).GOMP_parallel  # lets the interpreter lock go
    parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    parallel.restype = None
    return lambda function, argument, threads: parallel(function, argument, threads, 0)


def _executor(workers: int) -> ThreadPoolExecutor:
    global _pool, _workers
    if _pool is None or _workers < workers:
        # The old pool, if any, finishes what other threads gave it and is then collected.
        _pool, _workers = ThreadPoolExecutor(workers, "downslope"), workers
    return _pool


def run(function: Callable[..., None], args: tuple[Any, ...], bounds: Sequence[int]) -> None:
    """Call ``function(*args, bounds[k], bounds[k + 1])`` for every k, on up to torch's threads."""
    pieces = len(bounds) - 1
    threads = min(torch.get_num_threads(), pieces)
    if threads <= 1:
        function(*args, bounds[0], bounds[-1])
        return
    turn = itertools.count()  # next() is atomic under the interpreter lock

    def work() -> None:
        while (k := next(turn)) < pieces:
            function(*args, bounds[k], bounds[k + 1])

    others = [_executor(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for other in others:  # nobody may leave while memory is still being written
            other.result()
