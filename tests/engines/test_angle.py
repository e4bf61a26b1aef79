"""The arc tangent that the CPU's kernels compute themselves."""

from __future__ import annotations

import numpy as np
from numba import njit

from downslope.engines.cpu.angle import atan2
from downslope.engines.cpu.library import JITTED

COUNT = 200_000 if JITTED else 2_000
ODD = np.array([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf, np.nan])


@njit(error_model="numpy")
def angles(y, x, out):
    for i in range(y.size):
        out[i] = atan2(y[i], x[i])


def computed(y, x):
    out = np.empty_like(y)
    angles(y, x, out)
    return out


def points(count):
    """Of all directions, and of lengths and slopes of many orders of magnitude."""
    rng = np.random.default_rng()
    y, x = rng.standard_normal((2, count)) * np.exp(6 * rng.standard_normal((2, count)))
    return y.astype(np.float32), x.astype(np.float32)


def test_error() -> None:
    """In float32 it is off by less than 1.75 units in the last place."""
    y, x = points(COUNT)
    exact = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    error = np.abs(computed(y, x) - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert error.max() < 1.75


def test_odd_points() -> None:
    """Zeros of either sign, infinities and NaN give what IEEE 754 asks for."""
    y, x = (a.ravel().astype(np.float32) for a in np.meshgrid(ODD, ODD))
    out, exact = computed(y, x), np.arctan2(y.astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(out, exact.astype(np.float32), rtol=3e-7)
    number = ~np.isnan(exact)
    assert np.array_equal(np.signbit(out)[number], np.signbit(exact)[number])


def test_double() -> None:
    """In float64 it is the C library's."""
    y, x = (a.astype(np.float64) for a in points(2_000))
    np.testing.assert_allclose(computed(y, x), np.arctan2(y, x), rtol=1e-15)
