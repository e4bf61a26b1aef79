"""What a training loop is seen to do around a step, so that later looks need not be there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Habits"]


class Habits:
    """Whether all that a look wants of a step is still there when the step is done.

    That is: each step has gradients of its own, nobody writes to them between the step and the call
    of the monitor, and weights are changed by steps only, or so that the first one's version tells.

    Args:
        params: as they are before the pass of the step that is looked at.

    >>> weight = torch.ones(2, requires_grad=True)
    >>> habits = Habits([weight])
    >>> habits.before_pass()
    >>> weight.sum().backward()
    >>> habits.before_step()
    >>> with torch.no_grad():
    ...     _ = weight.sub_(0.1 * weight.grad)
    >>> raised, _ = habits.after_step()
    >>> raised
    1
    >>> habits = Habits([weight])
    >>> habits.before_pass()
    >>> habits.before_step()  # with the same gradient
    >>> habits.after_step() is None
    True
    """

    def __init__(self, params: Sequence[Tensor]) -> None:
        self.params = params
        self._were = [(p.detach().clone(), p._version, p.grad) for p in params]
        self._grads: list[tuple[Tensor, int]] | None = None
        self._begun: int | None = None  # the first one's version before the pass

    def before_pass(self) -> None:
        """Note which weights the pass is made with."""
        self._begun = self.params[0]._version

    @torch.no_grad()
    def before_step(self) -> None:
        """Note what the step is given."""
        self._grads, first = [], self.params[0]
        told = self._begun != self._were[0][1]
        for p, (weights, version, gradient) in zip(self.params, self._were, strict=True):
            grad = p.grad
            same = p._version == version and torch.equal(p, weights)
            kept = first._version == self._begun and (told or same)
            if grad is None or grad is gradient or not kept:
                self._grads = None
                return
            self._grads.append((grad, grad._version))

    def after_step(self) -> tuple[int, int] | None:
        """By how much a step raises the first weights' version; the version of their gradient.

        None if not all is there.
        """
        if not self._grads or self._begun is None:
            return None
        pairs = zip(self.params, self._grads, strict=True)
        there = all(p.grad is g and g._version == n for p, (g, n) in pairs)
        return (self.params[0]._version - self._begun, self._grads[0][1]) if there else None
