"""Plain descent, momentum, Nesterov."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from downslope.optim import SGD

from .claim import Case, Cases, Seeds, claim
from .tools import Loss, best, descent, descents, digits, median, network, steps_until, train

WEIGHTS = torch.tensor([1.0, 0.01], dtype=torch.float64)  # curvatures of a ravine: condition 100
START = (1.0, 1.0)
RATES = torch.logspace(-2, math.log10(3.9), 30).tolist()


def ravine(p: Tensor) -> Tensor:
    return 0.5 * (WEIGHTS * p * p).sum()


def canyon(p: Tensor) -> Tensor:
    return 0.5 * (p[0] ** 2 + 0.001 * p[1] ** 2)


def bowl(p: Tensor) -> Tensor:
    return 0.5 * (p * p).sum()


def way(path: Tensor) -> float:
    """How far the steep coordinate travels in all."""
    return float(path[:, 0].diff().abs().sum())


@claim(
    "first, third, last",
    "Each step goes against the gradient; the learning rate says how far.",
    "The length of SGD's step over lr times the length of the gradient, at three rates.",
    predicted="true",
)
def lr_is_the_step_length(seeds: Seeds) -> Cases:
    ratios = {}
    for lr in (0.01, 0.1, 1.0):
        path = descent(ravine, START, lambda p, lr=lr: SGD(p, lr=lr), 1)
        step, gradient = path[1] - path[0], WEIGHTS * path[0]
        ratios[f"ratio at lr {lr}"] = float(-(step @ gradient) / (lr * gradient @ gradient))
    return {"": Case(all(abs(r - 1) < 1e-12 for r in ratios.values()), ratios)}


@claim(
    "first, third",
    "A learning rate that is too large oscillates or diverges, one that is too small is slow.",
    "100 steps of gradient descent on a parabola of curvature 1. Wanted: beyond lr 2 the loss "
    "grows and "
    "every step changes sides; at 0.01 more than a tenth of the loss is left; at 0.5 nothing.",
    predicted="true",
)
def too_large_and_too_small(seeds: Seeds) -> Cases:
    left = {}
    for lr in (0.01, 0.5, 2.1):
        path = descent(bowl, (1.0,), lambda p, lr=lr: SGD(p, lr=lr), 100)
        left[lr] = float(bowl(path[-1]) / bowl(path[0]))
        sides = bool((path[1:] * path[:-1] < 0).all())
    holds = left[2.1] > 1 and sides and left[0.01] > 0.1 and left[0.5] < 1e-12
    return {"": Case(holds, {f"loss left at lr {lr}": value for lr, value in left.items()})}


@claim(
    "first, last",
    "Momentum damps oscillation.",
    "The way that the steep coordinate of a ravine travels in 400 steps, without and with momentum "
    "0.9 at the same rate. Wanted: with momentum less than half.",
    predicted="true: SGD's own steps overshoot (lr 1.99 / L)",
    note="Where plain steps do not overshoot, momentum brings the oscillation in.",
)
def momentum_damps_oscillation(seeds: Seeds) -> Cases:
    cases = {}
    for words, lr in (
        ("SGD's own steps overshoot (lr 1.99 / L)", 1.99),
        ("they do not (lr 0.5 / L)", 0.5),
    ):
        plain = way(descent(ravine, START, lambda p, lr=lr: SGD(p, lr=lr), 400))
        with_it = way(descent(ravine, START, lambda p, lr=lr: SGD(p, lr=lr, momentum=0.9), 400))
        cases[words] = Case(with_it < plain / 2, {"way without": plain, "way with": with_it})
    return cases


def _fewest(loss: Loss, momentum: float, *, nesterov: bool = False) -> float:
    """Steps to a millionth of the loss, at the best of the learning rates."""
    make = partial(SGD, momentum=momentum, nesterov=nesterov)
    paths = descents(loss, START, make, RATES, 2500)
    goal = 1e-6 * float(loss(paths[0, 0]))
    return min(steps_until(paths[:, k], loss, goal) for k in range(len(RATES)))


@claim(
    "first, second, third, last",
    "Momentum makes descent converge faster.",
    "Steps to a millionth of the loss, each at the best of 30 rates, without and with momentum "
    "0.9. "
    "Wanted: at most half as many.",
    predicted="true: a ravine of condition 1000",
    note="On a round bowl one step of lr 1 / L is enough; momentum then has to be stopped. The "
    "first try had a ravine of condition 100, where it took 129 steps for 252: less than was "
    "wanted.",
    slow=True,
)
def momentum_is_faster(seeds: Seeds) -> Cases:
    cases = {}
    for words, loss in (("a ravine of condition 1000", canyon), ("a round bowl", bowl)):
        plain, with_it = _fewest(loss, 0.0), _fewest(loss, 0.9)
        figures = {"steps without": plain, "steps with": with_it}
        cases[words] = Case(with_it <= plain / 2, figures)
    return cases


@claim(
    "first",
    "Nesterov's gradient converges faster than plain momentum.",
    "The same with and without nesterov, momentum 0.9; then the digits, 10 rates, 300 steps. "
    "Wanted: "
    "fewer steps; a held-out loss lower by 5%.",
    predicted="true: a ravine, the same rate (1 / L)",
    found="true: a ravine, the same rate (1 / L); a ravine, each at its best rate",
    note="Predicted was that plain momentum makes up for it with larger steps, of which it bears "
    "more. On the digits the two end alike.",
    slow=True,
)
def nesterov_is_faster(seeds: Seeds) -> Cases:
    def steps(lr: float, *, nesterov: bool) -> float:
        make = partial(SGD, lr=lr, momentum=0.9, nesterov=nesterov)
        path = descent(ravine, START, make, 1500)
        return steps_until(path, ravine, 1e-6 * float(ravine(path[0])))

    same = [steps(1.0, nesterov=n) for n in (False, True)]
    own = [_fewest(ravine, 0.9, nesterov=n) for n in (False, True)]
    digit = []
    for nesterov in (False, True):
        losses = {
            lr: median(
                train(
                    digits(),
                    network(),
                    partial(SGD, lr=lr, momentum=0.9, nesterov=nesterov),
                    300,
                    seed=seed,
                ).last
                for seed in seeds
            )
            for lr in (0.03, 0.1, 0.3)
        }
        digit.append(best(losses)[1])
    words = "a ravine, the same rate (1 / L)", "a ravine, each at its best rate"
    figures = [{"momentum": a, "nesterov": b} for a, b in (same, own, digit)]
    return {
        words[0]: Case(same[1] < same[0], figures[0]),
        words[1]: Case(own[1] < own[0], figures[1]),
        "the digits": Case(digit[1] < 0.95 * digit[0], figures[2]),
    }


def dented(p: Tensor) -> Tensor:
    """A bowl with a dent on the way, 0.25 deep."""
    return (0.1 * p * p - 0.6 * torch.exp(-4 * (p - 2) ** 2)).sum()


@claim(
    "first, second, last",
    "Momentum crosses small local optima.",
    "A bowl with a dent halfway: from where 300 steps at lr 0.1 end. Wanted: at the bottom.",
    predicted="true",
)
def momentum_crosses_dents(seeds: Seeds) -> Cases:
    path = descent(dented, (6.0,), lambda p: SGD(p, lr=0.1, momentum=0.95), 600)
    return {"": Case(abs(float(path[-1])) < 0.3, {"ends at": float(path[-1])})}


@claim(
    "first, last",
    "Plain descent gets caught in a local optimum.",
    "The same bowl without momentum, exact gradients and noisy ones (100 times, standard deviation "
    "4). "
    "Wanted: most descents end in the dent.",
    predicted="true: exact gradients",
    note="The noise that the guides blame for slowness is also what frees plain SGD.",
)
def plain_descent_is_caught(seeds: Seeds) -> Cases:
    exact = float(descent(dented, (6.0,), lambda p: SGD(p, lr=0.1), 600)[-1])
    many = [6.0] * 100  # the noise of each is its own
    ends = descent(dented, many, lambda p: SGD(p, lr=0.1), 600, noise=4.0, seed=seeds[0])[-1]
    caught = float(((ends > 1) & (ends < 3)).float().mean())
    return {
        "exact gradients": Case(1 < exact < 3, {"ends at": exact}),
        "noisy gradients": Case(caught > 0.5, {"share caught": caught}),
    }


@claim(
    "last",
    "The momentum must be below 1, so that old gradients count ever less.",
    "A parabola, momentum 1 against 0.9: the largest of the last 100 of 2,000 values. Wanted: not "
    "less than half of the start with 1, nothing with 0.9.",
    predicted="true",
)
def momentum_below_one(seeds: Seeds) -> Cases:
    left = {}
    for momentum in (0.9, 1.0):
        p = nn.Parameter(torch.ones(1, dtype=torch.float64))
        buffer, values = 0.0, []
        for _ in range(2000):  # by hand: the class refuses a momentum of 1
            buffer = momentum * buffer + float(p.detach())
            p.data -= 0.1 * buffer
            values.append(abs(float(p.detach())))
        left[momentum] = max(values[-100:])
    holds = left[1.0] > 0.5 and left[0.9] < 1e-6
    return {"": Case(holds, {f"left at {m}": v for m, v in left.items()})}


@claim(
    "last",
    "Gradients of single rows are noisy.",
    "The variance of the digits' gradient over 200 batches of 1, 16 and 256 rows. Wanted: it falls "
    "as one over the rows, within 40%.",
    predicted="true",
)
def noise_falls_with_rows(seeds: Seeds) -> Cases:
    data = digits()
    torch.manual_seed(seeds[0])
    model = network()()
    random = torch.Generator().manual_seed(seeds[0])
    variance = {}
    for rows in (1, 16, 256):
        gradients = []
        for _ in range(200):
            picked = torch.randint(len(data.x), (rows,), generator=random)
            loss = nn.functional.cross_entropy(model(data.x[picked]), data.y[picked])
            found = torch.autograd.grad(loss, list(model.parameters()))
            gradients.append(torch.cat([g.flatten() for g in found]))
        variance[rows] = float(torch.stack(gradients).var(0).sum())
    holds = all(abs(variance[1] / (rows * variance[rows]) - 1) < 0.4 for rows in (16, 256))
    return {"": Case(holds, {f"variance of {rows}": v for rows, v in variance.items()})}


@claim(
    "third, last",
    "Stochastic gradients train faster than the full one, which needs all rows for a step.",
    "The digits, 20 passes over the rows, each at the best of 5 rates: batches of 32 against all "
    "rows. Wanted: a held-out loss below half.",
    predicted="true",
)
def stochastic_is_faster(seeds: Seeds) -> Cases:
    data = digits(512)
    found = {}
    for batch, passes in ((32, 20 * 16), (512, 20)):
        losses = {
            lr: median(
                train(data, network(), partial(SGD, lr=lr), passes, seed=s, batch=batch).last
                for s in seeds
            )
            for lr in (0.03, 0.1, 0.3, 1.0, 3.0)
        }
        found[batch] = best(losses)[1]
    figures = {"loss, batches of 32": found[32], "loss, all rows": found[512]}
    return {"": Case(found[32] < found[512] / 2, figures)}


@claim(
    "last",
    "The full gradient needs all rows in memory at once.",
    "The gradient of all digits in one piece, and summed over pieces of 64. Wanted, if it were so: "
    "that "
    "the two differ by more than rounding.",
    predicted="false",
    note="Gradients add up; `accumulate` in a recipe does it.",
)
def full_gradients_need_memory(seeds: Seeds) -> Cases:
    data = digits()
    torch.manual_seed(seeds[0])
    model = network()().double()
    params = list(model.parameters())
    x, y = data.x.double(), data.y
    whole = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), params)
    pieces = [torch.zeros_like(p) for p in params]
    for rows in torch.arange(len(x)).split(64):
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows], reduction="sum") / len(x)
        for total, part in zip(pieces, torch.autograd.grad(loss, params), strict=True):
            total += part
    off = max(float((a - b).norm() / a.norm()) for a, b in zip(whole, pieces, strict=True))
    return {"": Case(off > 1e-10, {"relative difference": off})}
