"""The global random generators that a training step may draw from: seeded, saved, restored.

Python's, NumPy's and torch's, for a user's data set or model may draw from any of them.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

__all__ = ["random_state", "restore_random_state", "seed_everything"]


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
