"""The loss that needs no model: that of the best constant outputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["constant_loss"]

STEPS = 200


def constant_loss(
    loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor
) -> float | None:
    """The lowest mean loss that outputs reach which are the same for every row.

    For cross-entropy it is the entropy of the class frequencies, for mean squared error the
    variance of the targets. A model that does no better has learnt nothing from its inputs.

    Args:
        loss: ``(outputs, targets) -> scalar``.
        outputs: the model's outputs for these targets, for their shape: [rows, ...].
        targets: of a representative part of the data.

    Returns:
        None where the loss is not differentiable in the outputs, not finite, or lowest nowhere:
        outputs that are probabilities must stay between 0 and 1.

    >>> targets = torch.tensor([0, 0, 0, 1])
    >>> found = constant_loss(torch.nn.functional.cross_entropy, torch.zeros(4, 2), targets)
    >>> round(found, 3), round(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), 3)
    (0.562, 0.562)
    """
    row = outputs.detach()[:1].float().clone()
    row = torch.zeros_like(row)
    if row.dim() > 2:  # the same at every position of a sequence, too
        row = row.mean(tuple(range(1, row.dim() - 1)), keepdim=True)
    row.requires_grad_()
    optimizer = torch.optim.LBFGS([row], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(row.expand(outputs.shape), targets)
        if value.requires_grad:
            value.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        return value

    if not math.isfinite(float(loss(row.detach().expand(outputs.shape), targets))):
        return None
    with torch.enable_grad():
        try:
            optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch has no type for it
        except RuntimeError:  # the search left what the loss takes, or never ended
            return None
        found = float(loss(row.detach().expand(outputs.shape), targets))
    return found if math.isfinite(found) else None
