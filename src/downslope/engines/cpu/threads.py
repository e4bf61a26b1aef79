"""Work spread over threads of our own, as many as torch uses.

A kernel releases the interpreter lock, so plain threads run it side by side. (Numba's own parallel
loops are slower to compile, kill forked children and abort when two threads step at once.) Work is
cut into more pieces than threads and taken in turn, so a busy core delays the step by a piece, not
by half of it. Who does a piece never changes its bits.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

__all__ = ["PIECES", "run"]

#: Pieces a thread: enough to even out a busy core, few enough that handing them out costs nothing.
PIECES = 4

_pool: ThreadPoolExecutor | None = None
_workers = 0


def _forget() -> None:
    # Threads do not survive a fork; the child makes its own when it needs them.
    global _pool, _workers
    _pool, _workers = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


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
