"""The split of rows into a training and a validation part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError

__all__ = ["VALIDATION_SHARE", "Rows", "mixed", "split_rows"]

VALIDATION_SHARE = 0.2

Rows = NDArray[np.int64]


def split_rows(rows: int, seed: int, *, classes: Rows | None = None) -> tuple[Rows, Rows]:
    """Row indices of the training part and of the validation part, a fifth.

    Args:
        rows: how many there are.
        seed: the same one gives the same split.
        classes: class of each row; both parts then have the same share of each.

    Raises:
        ValueError: a class has a single row, or there are more classes than validation rows.
        MissingExtraError: scikit-learn is not installed.

    >>> train, validation = split_rows(10, seed=0)
    >>> len(train), len(validation), len(set(train) | set(validation))
    (8, 2, 10)
    """
    try:
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise MissingExtraError("scikit-learn", "data", "Splitting a data set") from None
    train, validation = train_test_split(
        np.arange(rows), test_size=VALIDATION_SHARE, random_state=seed, stratify=classes
    )
    return train, validation


def mixed(rows: Rows, seed: int = 0) -> NDArray[np.uint64]:
    """A random number of 64 bits for each row, a pure function of its number and the seed.

    Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.

    >>> mixed(np.arange(2)).tolist() == mixed(np.array([0, 1])).tolist()
    True
    """
    z = rows.astype(np.uint64) + np.uint64(seed << 32)
    z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
