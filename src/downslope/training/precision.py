"""The arithmetic of a step: float32, or 16 bits where that is safe.

``bf16`` runs matrix products in bfloat16 (autocast); its range is float32's, so nothing is scaled.
``fp16`` runs them in float16, whose gradients underflow: the loss is scaled up before the backward
pass and the gradients are scaled back *before* the optimizer's step, which clips them; a step whose
gradients overflowed is skipped and the scale lowered. Weights and optimizer state stay float32 in
every case.

Micikevicius et al., Mixed Precision Training, arXiv 1710.03740.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

__all__ = ["Precision"]

_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast and loss scaling behind the three calls of a training step.

    Args:
        name: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        device: where the model is.

    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> precision = Precision("bf16", torch.device("cpu"))
    >>> with precision.autocast():
    ...     loss = model(torch.ones(1, 2)).sum()
    >>> precision.backward(loss)
    >>> precision.step(optimizer)
    True
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.dtype = _DTYPES[name]
        #: Whether the loss is scaled, so that an overflow is skipped rather than an error.
        self.scales = name == "fp16"
        self.scaler = GradScaler(device.type, enabled=self.scales)
        self._device = device.type

    @property
    def scale(self) -> float:
        """What the loss is multiplied by; 1 where it is not scaled."""
        return self.scaler.get_scale()

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of the forward pass and the loss."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self._device, dtype=self.dtype)

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss, scaled where that is needed."""
        if self.scales:
            loss = self.scaler.scale(loss)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Update the parameters; ``False`` where the gradients overflowed and nothing changed."""
        if not self.scales:
            optimizer.step()
            return True
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before

    def state_dict(self) -> dict[str, Any]:
        """The loss scale and its counters; empty where nothing is scaled."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved loss scale."""
        if self.scales:
            self.scaler.load_state_dict(state)
