"""Weight decay, as a penalty and on its own."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downslope.optim import SGD, Adam, AdamW

from .claim import Case, Cases, Seeds, claim
from .momentum import START, ravine
from .tools import Data, descent, digits, median, network, train


@claim(
    "first",
    "weight_decay adds weight_decay * param to the gradient, as an L2 penalty of lambda / 2 does.",
    "Fifty steps with weight_decay 0.1 beside fifty with the penalty in the loss: the largest "
    "difference. Wanted: below 1e-12.",
    predicted="true: SGD; Adam",
)
def decay_is_a_penalty(seeds: Seeds) -> Cases:
    cases = {}
    for cls in (SGD, Adam, AdamW):
        a = descent(ravine, START, partial(cls, lr=0.05, weight_decay=0.1), 50)
        make = partial(cls, lr=0.05, weight_decay=0.0)
        b = descent(lambda p: ravine(p) + 0.05 * (p * p).sum(), START, make, 50)
        off = float((a - b).abs().max())
        cases[cls.__name__] = Case(off < 1e-12, {"difference": off})
    return cases


@claim(
    "last",
    "AdamW shrinks all weights alike; Adam with an L2 penalty does not.",
    "Two weights of 1 whose gradients are noise of sizes 0.1 and 10: what decay 0.1 takes from "
    "each "
    "in 100 steps of lr 0.01, against the same without decay. Wanted: the same share within 1% in "
    "AdamW, more than twice in Adam.",
    predicted="true",
)
def adamw_decays_alike(seeds: Seeds) -> Cases:
    random = torch.Generator().manual_seed(seeds[0])
    gradients = torch.randn(100, 1, generator=random, dtype=torch.float64)
    gradients = gradients * torch.tensor([0.1, 10.0], dtype=torch.float64)

    def end(cls: type, decay: float) -> Tensor:
        p = nn.Parameter(torch.ones(2, dtype=torch.float64))
        optimizer = cls([p], lr=0.01, weight_decay=decay)
        for g in gradients:
            p.grad = g.clone()
            optimizer.step()
        return p.detach()

    ratio = {}
    for cls in (AdamW, Adam):
        small, large = (end(cls, 0.0) - end(cls, 0.1)).tolist()
        ratio[f"{cls.__name__}, small over large"] = small / large
    adamw, adam = ratio.values()
    return {"": Case(abs(adamw - 1) < 0.01 and adam > 2, ratio)}


@claim(
    "first, last",
    "Weights that are not held back grow; weight decay limits them.",
    "Logistic regression on classes that a line parts, 2,000 steps of SGD: the norm of the weights "
    "after "
    "half and all of them. Wanted: grows by more than a tenth without, by less than 1% with decay.",
    predicted="true",
)
def decay_limits_growth(seeds: Seeds) -> Cases:
    random = torch.Generator().manual_seed(seeds[0])
    x = torch.randn(200, 2, generator=random, dtype=torch.float64)
    y = torch.where(x[:, 0] > 0, 1.0, -1.0)
    x[:, 0] += y * 0.5

    def loss(p: Tensor) -> Tensor:
        return F.softplus(-y * (x @ p)).mean()

    growth = {}
    for decay in (0.0, 0.01):
        path = descent(loss, (0.0, 0.0), partial(SGD, lr=1.0, weight_decay=decay), 2000)
        growth[f"growth at {decay}"] = float(path[-1].norm() / path[1000].norm()) - 1
    free, held = growth.values()
    return {"": Case(free > 0.1 and held < 0.01, growth)}


def _few(rows: int) -> Data:
    data = digits()
    return Data(data.x[:rows], data.y[:rows], data.held_x, data.held_y)


@claim(
    "first, third",
    "Weight decay prevents overfitting.",
    "A network on 60 digits with a third of the labels wrong, then on 1,437 right ones, 600 steps "
    "of AdamW at "
    "0.003: the held-out loss at the end. Wanted: with decay 3 below that without by a tenth.",
    predicted="true: few rows with wrong labels",
)
def decay_against_overfitting(seeds: Seeds) -> Cases:
    cases = {}
    for words, rows in (("few rows with wrong labels", 60), ("many rows", 1437)):
        found = {}
        for decay in (0.0, 3.0):
            ends = []
            for seed in seeds[:3]:
                data = _few(rows)
                if rows == 60:
                    random = torch.Generator().manual_seed(seed)
                    wrong = torch.randint(10, (20,), generator=random)
                    data = data._replace(y=torch.cat([wrong, data.y[20:]]))
                make = partial(AdamW, lr=0.003, weight_decay=decay)
                ends.append(train(data, network(64, 128, 10), make, 600, seed=seed).last)
            found[f"loss at decay {decay:g}"] = median(ends)
        free, held = found.values()
        cases[words] = Case(held < 0.9 * free, found)
    return cases


@claim(
    "first",
    "Weight decay is not a decay of the learning rate.",
    "Steps with a gradient of zero: what weight decay and what a falling rate does to a weight. "
    "Wanted: the first shrinks it, the second does not.",
    predicted="true",
)
def decay_is_not_lr_decay(seeds: Seeds) -> Cases:
    def falling(optimizer: torch.optim.Optimizer, step: int) -> None:
        optimizer.param_groups[0]["lr"] = 0.1 * 0.9**step

    def flat(p: Tensor) -> Tensor:
        return 0 * p.sum()

    decayed = float(descent(flat, (1.0,), partial(SGD, lr=0.1, weight_decay=0.1), 100)[-1])
    slowed = float(descent(flat, (1.0,), partial(SGD, lr=0.1), 100, each=falling)[-1])
    figures = {"weight, decayed": decayed, "weight, rate falling": slowed}
    return {"": Case(decayed < 0.5 and slowed == 1, figures)}


@claim(
    "second",
    "AdamW is better than Adam with an L2 penalty.",
    "A network on 150 digits, 500 steps: held-out loss, each at its best of 3 rates and 4 decays. "
    "Wanted: lower by 5%.",
    predicted="false",
    slow=True,
)
def adamw_beats_adam(seeds: Seeds) -> Cases:
    found = {}
    for cls, decays in ((AdamW, (0.0, 0.1, 1.0, 10.0)), (Adam, (0.0, 1e-4, 1e-3, 1e-2))):
        found[cls.__name__] = min(
            median(
                train(
                    _few(150),
                    network(64, 128, 10),
                    partial(cls, lr=lr, weight_decay=decay),
                    500,
                    seed=s,
                ).last
                for s in seeds
            )
            for lr in (0.001, 0.003, 0.01)
            for decay in decays
        )
    return {"": Case(found["AdamW"] < 0.95 * found["Adam"], found)}
