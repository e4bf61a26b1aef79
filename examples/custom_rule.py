"""An update rule of your own: one formula, from which the optimizer and its kernels are made."""

from __future__ import annotations

from typing import Any

import torch

from downslope.engines import symbolic
from downslope.optim import declare
from downslope.rules import Hyper, Rule, Slot
from downslope.schedules import cosine


def soft_sign(xp: Any, p: Any, g: Any, exp_avg: Any, *, lr: Any, beta: Any, tau: Any) -> Any:
    """Momentum, divided by its own size plus ``tau``."""
    exp_avg = xp.lerp(exp_avg, g, 1 - beta)
    return p - lr * exp_avg / (xp.abs(exp_avg) + tau), exp_avg


SoftSign = declare(
    Rule(
        soft_sign,
        "The sign of the momentum, soft near zero.",
        class_name="SoftSign",
        slots=(Slot("exp_avg", "mean of the gradients", "m"),),
        hypers=(
            Hyper("lr", "step size", "eta", default=1e-2),
            Hyper("beta", "decay rate of the mean", "beta", high=1, default=0.9),
            Hyper("tau", "where the sign is soft", "tau", above=True, default=1e-3),
        ),
        counts_steps=False,
    )
)


def main() -> None:
    w = torch.nn.Parameter(torch.tensor([3.0, -2.0, 1.0]))
    optimizer = SoftSign([w], lr=cosine(100, start=0.1), clip_norm=10.0)
    print(symbolic.pretty(symbolic.equations(SoftSign.rule, optimizer.param_groups[0])))
    for _ in range(100):
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        optimizer.step()
    print(f"\nfrom 14 to {loss.item():.2g} in 100 steps")


if __name__ == "__main__":
    main()
