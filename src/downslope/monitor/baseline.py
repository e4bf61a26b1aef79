"""The loss that needs no model: that of the best constant outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputTypeError, told

__all__ = ["constant_loss"]

STEPS = 200

#: Losses of outputs that are probabilities, and what makes such of any numbers.
_LINKS: list[tuple[tuple[Any, ...], Callable[[Tensor], Tensor]]] = [
    ((F.binary_cross_entropy, nn.BCELoss), torch.sigmoid),
    ((F.nll_loss, nn.NLLLoss), partial(F.log_softmax, dim=1)),
]


def constant_loss(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor
) -> float | None:
    """The lowest mean loss that outputs reach which are the same for every row.

    For cross-entropy it is the entropy of the class frequencies, for mean squared error the
    variance of the targets. A model that does no better has learnt nothing from its inputs.

    Args:
        loss: ``(outputs, targets) -> scalar``. Outputs of torch's losses of probabilities
            (``BCELoss``, ``NLLLoss``) are kept such.
        outputs: the model's outputs for these targets, for their shape: [rows, ...].
        targets: of a representative part of the data.

    Returns:
        None where the loss is not differentiable in the outputs, or not finite, or raises for
        outputs that are the same for every row.

    Raises:
        InputTypeError: ``outputs`` or ``targets`` is no tensor.

    >>> targets = torch.tensor([0, 0, 0, 1])
    >>> found = constant_loss(torch.nn.functional.cross_entropy, torch.zeros(4, 2), targets)
    >>> round(found, 3), round(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), 3)
    (0.562, 0.562)
    """
    for name, given in (("outputs", outputs), ("targets", targets)):
        if not isinstance(given, Tensor):
            raise InputTypeError(
                f"constant_loss: {name} is {told(given)}, but it must be one tensor. Of a model of "
                "several outputs give the one that the loss is of, or leave constant_loss out."
            )
    row = torch.zeros_like(outputs.detach()[:1].float())
    if row.dim() > 2:  # the same at every position of a sequence, too
        row = row.mean(tuple(range(1, row.dim() - 1)), keepdim=True)
    row.requires_grad_()
    link = next((link for kinds, link in _LINKS if loss in kinds or type(loss) in kinds), None)
    optimizer = torch.optim.LBFGS([row], max_iter=STEPS, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        same = row.expand(outputs.shape)
        return loss(same if link is None else link(same), targets)

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = value()
        if found.requires_grad:
            found.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        return found

    try:
        with torch.enable_grad():
            if not math.isfinite(value().item()):
                return None
            optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch has no type for it
            found = value().item()
    except (RuntimeError, ValueError, IndexError):  # what is said of None above
        return None
    return found if math.isfinite(found) else None
