"""The first step of a process imports no more than it needs, and leaves Numba whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

STEP = """
import gc, sys, torch
import downslope.optim
p = torch.nn.Parameter(torch.ones(3))
p.grad = torch.ones(3)
downslope.optim.SGD([p]).step()
"""


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", STEP + code], check=True, timeout=120)


def test_first_step_leaves_linear_algebra_out() -> None:
    """SciPy's linear algebra, which Numba looks for, is not imported; the collector is on."""
    run("assert 'scipy.linalg' not in sys.modules and gc.isenabled()")


@pytest.mark.slow
def test_linear_algebra_works_after_a_step() -> None:
    """A user's own Numba function may still call for matrix products."""
    pytest.importorskip("scipy")
    run(
        "import numba, numpy as np\n"
        "product = numba.njit(lambda a, b: np.dot(a, b))\n"
        "assert (product(np.eye(3), np.full((3, 3), 2.0)) == 2 * np.eye(3) @ np.ones((3, 3))).all()"
    )
