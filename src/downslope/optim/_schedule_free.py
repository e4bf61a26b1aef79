"""Weights to train and weights to evaluate: what Schedule-Free optimizers do beside stepping."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import EngineError
from ._optimizer import Optimizer, ParamsT

__all__ = ["ScheduleFree"]


class ScheduleFree(Optimizer):
    """What Schedule-Free optimizers are: the weights that are trained are not those to evaluate.

    While training the parameters hold y, the point at which gradients are taken; :meth:`eval` turns
    them into x, the average, and :meth:`train` back. In which of both they are is every group's
    ``"train_mode"``, which state dicts keep. A new optimizer trains; a step in evaluation mode
    raises :class:`~downslope.errors.EngineError`.

    >>> from downslope import optim
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = optim.SGDScheduleFree([w], lr=0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w**2).sum().backward()
    ...     optimizer.step()
    >>> trained = w.detach().clone()
    >>> optimizer.eval()
    >>> w.data
    tensor([ 0.7200, -1.4400])
    >>> optimizer.train()
    >>> bool(torch.isclose(w, trained).all())
    True
    """

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        super().__init__(params, {**defaults, "train_mode": True})

    def _check_ready(self) -> None:
        if not all(group["train_mode"] for group in self.param_groups):
            raise EngineError(
                f"{type(self).__name__}.step() in evaluation mode: the parameters hold the "
                "average, where no gradient may be taken. Call optimizer.train() before the "
                "forward pass"
            )

    def train(self) -> None:
        """Make the parameters the weights to train, if they are those to evaluate."""
        self._hold(training=True)

    def eval(self) -> None:
        """Make the parameters the weights to evaluate, if they are those to train.

        Both ways are in place and one the other's inverse, to rounding.
        """
        self._hold(training=False)

    @torch.no_grad()
    def _hold(self, *, training: bool) -> None:
        blend = next(h for h in self.rule.hypers if h.name == self.rule.blend)
        for group in self.param_groups:
            if group["train_mode"] == training:
                continue
            share = float(blend.of(group))
            weight = 1 - share if training else 1 - 1 / share
            for p in group["params"]:
                if "z" in self.state.get(p, {}):
                    p.lerp_(self.state[p]["z"], weight)
            group["train_mode"] = training
