"""The global random generators that a training step may draw from: seeded, saved, restored.

Python's, NumPy's and torch's, for a user's data set or model may draw from any of them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

__all__ = [
    "drawing_from",
    "random_state",
    "randomness_restored",
    "restore_random_state",
    "seed_everything",
]


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - users' data sets draw from the global one
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The state of every global generator, as plain data and tensors.

    >>> seed_everything(1)
    >>> state = random_state()
    >>> first = torch.rand(1)
    >>> restore_random_state(state)
    >>> bool(torch.rand(1) == first)
    True
    """
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch's
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - as above
    return {
        "python": (version, torch.tensor(words), gauss),
        "numpy": (name, torch.from_numpy(np.array(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put every global generator back to where :func:`random_state` saw it."""
    version, words, gauss = state["python"]
    name, keys, *rest = state["numpy"]
    random.setstate((version, tuple(words.tolist()), gauss))
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - as above
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def drawing_from(seed: int | None) -> Iterator[None]:
    """While entered, the CPU's global generators are seeded so; then they are put back.

    ``None`` leaves them alone.

    >>> torch.manual_seed(0)
    <torch._C.Generator object at ...>
    >>> expected = torch.rand(2)
    >>> torch.manual_seed(0)
    <torch._C.Generator object at ...>
    >>> first = torch.rand(1)
    >>> with drawing_from(5):
    ...     _ = torch.rand(1), random.random()
    >>> torch.cat([first, torch.rand(1)]).equal(expected)
    True
    """
    if seed is None:
        yield
        return
    python, numbers = random.getstate(), np.random.get_state(legacy=True)  # noqa: NPY002 - as above
    state = torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - as above
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach for every device
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002 - as above
        torch.set_rng_state(state)


@contextlib.contextmanager
def randomness_restored(generators: list[torch.Generator] | None = None) -> Iterator[None]:
    """Run the body, then put the global random generators back, and those given."""
    state, own = random_state(), [(g, g.get_state()) for g in generators or []]
    try:
        yield
    finally:
        restore_random_state(state)
        for generator, before in own:
            generator.set_state(before)
