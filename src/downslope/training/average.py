"""An exponential moving average of the weights, to evaluate and to keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """``average = decay * average + (1 - decay) * weights`` after every optimizer step.

    While few steps are done the decay is ``(1 + steps) / (10 + steps)`` where that is smaller, so
    the average forgets where the weights began (as TensorFlow's, which named the idea). Buffers,
    such as a batch norm's statistics, are not averaged: they are averages already.

    Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.

    Args:
        model: whose parameters that require a gradient are averaged.
        decay: between 0 and 1.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.constant_(model.weight, 1.0)
    >>> average = WeightAverage(model, decay=0.9)
    >>> _ = nn.init.constant_(model.weight, 3.0)
    >>> average.update(steps=1)
    >>> with average.in_model():
    ...     round(model.weight.item(), 3)  # (2 * 1 + 9 * 3) / 11
    2.636
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._average = {n: p.detach().clone() for n, p in self._weights.items()}

    def update(self, steps: int) -> None:
        """Take in the weights after so many optimizer steps."""
        decay = min(self._decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_([*self._average.values()], [*self._weights.values()], 1 - decay)

    @contextlib.contextmanager
    def in_model(self) -> Iterator[None]:
        """While entered, the model has the average for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # In place and one by one: an optimizer knows where its weights lie, and memory is short.
        for name, weight in self._weights.items():
            average = self._average[name]
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """The average, by the names of the parameters."""
        return self._average

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a saved average.

        Raises:
            KeyError: it is that of another model.
        """
        for name, average in self._average.items():
            average.copy_(state[name])
