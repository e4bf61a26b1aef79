"""Mean and standard deviation of values that come in pieces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments"]

Floats = NDArray[np.float64]

_LEAST = -1000  # power of two, of numbers that are as good as 0


class Moments:
    """Mean and population standard deviation of some columns, of rows that are added in pieces.

    Pieces are merged by the formula of Chan, Golub and LeVeque (Updating Formulae and a Pairwise
    Algorithm for Computing Sample Variances, 1979): with ``d = mean_b - mean_a``,
    ``mean = mean_a + d n_b / n`` and ``M2 = M2_a + M2_b + d**2 n_a n_b / n``.

    >>> moments = Moments(1)
    >>> moments.add(np.array([[1.0], [3.0]]))
    >>> moments.add(np.array([[8.0]]))
    >>> moments.means, [round(d, 4) for d in moments.deviations]
    ((4.0,), [2.9439])
    """

    def __init__(self, columns: int) -> None:
        self.count = 0
        self._unit = np.full(columns, 2.0**_LEAST)  # a power of two: 1e200**2 would overflow
        self._mean = np.zeros(columns)
        self._m2 = np.zeros(columns)
        self._least = np.full(columns, np.inf)
        self._most = np.full(columns, -np.inf)

    def add(self, values: Floats) -> None:
        """Take in rows ``(rows, columns)`` of finite numbers."""
        if not len(values):
            return
        least, most = values.min(axis=0), values.max(axis=0)
        self._use_unit_of(np.maximum(np.abs(least), np.abs(most)))
        scaled = values / self._unit
        mean = scaled.mean(axis=0)
        self._merge(len(values), mean, np.square(scaled - mean).sum(axis=0), least, most)

    def add_equal(self, count: int, row: Floats) -> None:
        """Take in a row ``(columns,)`` that comes so many times."""
        if count:
            self._use_unit_of(np.abs(row))
            self._merge(count, row / self._unit, np.zeros_like(row), row, row)

    @property
    def means(self) -> tuple[float, ...]:
        """Of each column; exactly the value of a column that is constant."""
        constant = self._least == self._most
        return tuple(np.where(constant, self._least, self._mean * self._unit).tolist())

    @property
    def deviations(self) -> tuple[float, ...]:
        """Of each column; exactly 0 where it is constant."""
        deviations = np.sqrt(self._m2 / max(1, self.count)) * self._unit
        return tuple(np.where(self._least == self._most, 0.0, deviations).tolist())

    def _use_unit_of(self, largest: Floats) -> None:
        """Count in a power of two that is no less than the largest magnitude so far."""
        power = np.where(largest > 0, np.frexp(largest)[1], _LEAST).clip(_LEAST, 1023)
        unit = np.maximum(self._unit, 2.0**power)
        change = self._unit / unit
        self._mean *= change
        self._m2 *= change**2
        self._unit = unit

    def _merge(self, count: int, mean: Floats, m2: Floats, least: Floats, most: Floats) -> None:
        total = self.count + count
        gap = mean - self._mean
        self._mean = self._mean + gap * (count / total)
        self._m2 = self._m2 + m2 + np.square(gap) * (self.count * count / total)
        self.count = total
        self._least = np.minimum(self._least, least)
        self._most = np.maximum(self._most, most)
