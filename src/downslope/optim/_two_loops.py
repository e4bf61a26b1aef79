"""The direction of LBFGS: the two loops over the pairs of steps and gradients that it remembers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["direction"]

#: The least curvature, y s, of a step that is remembered.
_CURVATURE = 1e-10


def direction(state: dict[str, Any], grad: Tensor, size: int) -> dict[str, Any]:
    """What an iteration begins with: the direction and the pairs that it comes from.

    Nocedal, Wright: Numerical Optimization, 2006, algorithm 7.4; the formula is in
    :class:`~downslope.optim.LBFGS`.

    Args:
        state: as the last iteration left it.
        grad: here.
        size: how many pairs may be remembered.
    """
    if state["n_iter"] == 0:
        return {"d": grad.neg(), "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1}
    y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
    curvature = y.dot(s)
    known = {name: state[name] for name in ("old_dirs", "old_stps", "ro", "H_diag")}
    if curvature > _CURVATURE:
        newest = {"old_dirs": y, "old_stps": s, "ro": 1.0 / curvature}
        known = {name: [*known[name], value][-size:] for name, value in newest.items()}
        known["H_diag"] = curvature / y.dot(y)
    pairs = list(zip(known["old_dirs"], known["old_stps"], known["ro"], strict=True))
    shares: list[Any] = [None] * max(size, len(pairs))
    d = grad.neg()
    for i, (y, s, ro) in reversed(list(enumerate(pairs))):
        shares[i] = s.dot(d) * ro
        d.add_(y, alpha=-shares[i])
    d = d * known["H_diag"]
    for (y, s, ro), share in zip(pairs, shares, strict=False):
        d.add_(s, alpha=share - y.dot(d) * ro)
    return {**known, "d": d, "al": shares}
