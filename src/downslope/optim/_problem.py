"""What LBFGS minimises: a closure's loss as a function of one vector of real numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputTypeError, NonfiniteLossError
from ._line_search import Point, strong_wolfe

__all__ = ["Problem", "check_finite", "largest"]


class Problem:
    """A closure, and the parameters as one vector of real numbers."""

    def __init__(self, closure: Callable[[], Any], params: Sequence[Tensor]) -> None:
        self._closure = closure
        self._params = params
        self._views = [torch.view_as_real(p) if p.is_complex() else p for p in params]

    def look(self) -> tuple[Any, float, Tensor]:
        """Call the closure here.

        Returns:
            what it returned, that as a number, and the gradient.
        """
        value = self._closure()
        if value is None:
            raise InputTypeError("LBFGS: the closure must return the loss, got None")
        return value, float(value), torch.cat([_flat_grad(p) for p in self._params])

    def go(self, start: Point, step: Any, d: Tensor, *, look: bool) -> tuple[Point, int]:
        """Take a step, look around if that is wanted, and return the point and the looks."""
        values = self._copied()
        self._move(step, d)
        if not look:
            return start._replace(step=step), 0
        try:
            _, loss, grad = self.look()
            check_finite(loss, grad)
        except BaseException:
            self._put(values)
            raise
        return Point(step, loss, grad, None), 1

    def search(
        self, start: Point, step: Any, d: Tensor, tolerance: float, most: int
    ) -> tuple[Point, int]:
        """Take the step that a line search finds, and return the point and its looks."""
        values = self._copied()

        def evaluate(step: Any) -> Point:
            self._move(step, d)
            try:
                _, loss, grad = self.look()
            finally:
                self._put(values)
            return Point.of(step, loss, grad, d)

        found = strong_wolfe(
            evaluate, start, step, longest=largest(d), tolerance=tolerance, most=most
        )
        self._move(found[0].step, d)
        return found

    def _move(self, step: Any, d: Tensor) -> None:
        parts = torch.split(d, [v.numel() for v in self._views])
        for view, part in zip(self._views, parts, strict=True):
            view.add_(part.view_as(view), alpha=step)

    def _copied(self) -> list[Tensor]:
        return [v.clone() for v in self._views]

    def _put(self, values: Sequence[Tensor]) -> None:
        for view, value in zip(self._views, values, strict=True):
            view.copy_(value)


def _flat_grad(p: Tensor) -> Tensor:
    """A parameter's gradient as a vector of real numbers; zeros where it has none."""
    g = torch.zeros_like(p) if p.grad is None else p.grad
    g = g.to_dense() if g.is_sparse else g
    return torch.view_as_real(g.resolve_conj()).reshape(-1) if g.is_complex() else g.reshape(-1)


def check_finite(loss: float, grad: Tensor) -> None:
    """Raise NonfiniteLossError for a point from which no way leads on."""
    if not (math.isfinite(loss) and math.isfinite(largest(grad))):
        what = f"the loss is {loss}" if not math.isfinite(loss) else "a gradient is not finite"
        raise NonfiniteLossError(
            f"LBFGS: {what}. The parameters are where they were before. Take a smaller lr, "
            "line_search_fn='strong_wolfe', or see what the closure computes"
        )


def largest(vector: Tensor) -> Any:
    """The largest absolute value."""
    return vector.abs().max() if vector.numel() else 0.0
