"""What belongs into a training loop: clearing, clipping, precision, saving, watching."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from downslope.optim import SGD, Adam, AdamW, clip_grad_norm_
from downslope.tasks.models import mlp

from .adaptive import Recurrent
from .claim import Case, Cases, Seeds, claim
from .momentum import bowl
from .rates import STEPS
from .tools import Data, descent, digits, median, network, sigmoids, train


@claim(
    "second",
    "Without zero_grad gradients add up, pass after pass.",
    "Five backward passes over the same rows: the gradient over the first one's. Wanted: 1 to 5.",
    predicted="true",
)
def gradients_add_up(seeds: Seeds) -> Cases:
    data = digits()
    torch.manual_seed(seeds[0])
    model = network()()
    weight = next(model.parameters())
    norms = []
    for _ in range(5):
        F.cross_entropy(model(data.x), data.y).backward()
        norms.append(float(weight.grad.norm()))  # type: ignore[union-attr]  # it has one
    off = max(abs(n / norms[0] - k) for k, n in enumerate(norms, start=1))
    return {"": Case(off < 1e-4, {"fifth over first": norms[-1] / norms[0]})}


@claim(
    "second",
    "Training without zero_grad fails.",
    "A network on the digits, 300 steps, with and without: the held-out loss. Wanted: three times "
    "as much without.",
    predicted="true",
    slow=True,
)
def not_clearing_fails(seeds: Seeds) -> Cases:
    cases = {}
    for words, make in (
        ("SGD at 0.3", partial(SGD, lr=0.3)),
        ("Adam at 0.003", partial(Adam, lr=0.003)),
    ):
        clear, not_clear = (
            median(train(digits(), network(), make, STEPS, seed=s, clear=c).last for s in seeds)
            for c in (True, False)
        )
        figures = {"loss with": clear, "loss without": not_clear}
        cases[words] = Case(not_clear > 3 * clear, figures)
    return cases


def _long(seed: int) -> Data:
    """Sequences of 60 numbers; the answer is the first one's sign."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(256, 60, 1, generator=random)
    y = x[:, 0].sign()
    return Data(x[:192], y[:192], x[192:], y[192:])


def _explosive() -> nn.Module:
    model = Recurrent("RNN")
    with torch.no_grad():
        model.cells.weight_hh_l0.mul_(4)
    return model


@claim(
    "second",
    "Clipping the gradient's norm keeps it from exploding.",
    "A recurrent network with large weights over 60 places, SGD at 0.1, 100 steps: the highest "
    "training loss of the second half over the first loss, without and with max_norm = 1. Wanted: "
    "above 3 without, below 1.5 with.",
    predicted="true",
    note="At a rate of 0.3, tried first, it was infinite without and 1.57 with: not below 1.5.",
    slow=True,
)
def clipping_prevents_explosion(seeds: Seeds) -> Cases:
    def worst(seed: int, clip: float | None) -> float:
        make = partial(SGD, lr=0.1)
        done = train(
            _long(seed), _explosive, make, 100, seed=seed, loss=F.mse_loss, clip=clip, batch=32
        )
        if not math.isfinite(done.losses[-1]):
            return math.inf
        return max(done.losses[50:]) / done.losses[0]

    figures = {
        words: median(worst(s, clip) for s in seeds)
        for words, clip in (("without", None), ("with", 1.0))
    }
    return {"": Case(figures["without"] > 3 and figures["with"] < 1.5, figures)}


@claim(
    "second",
    "Clipping by norm changes the length of the gradient, never its direction.",
    "A gradient of two tensors, clipped to 1: the cosine between before and after, and the norm. "
    "Wanted: 1 and 1.",
    predicted="true",
)
def clipping_keeps_direction(seeds: Seeds) -> Cases:
    random = torch.Generator().manual_seed(seeds[0])
    params = [nn.Parameter(torch.zeros(n, dtype=torch.float64)) for n in (30, 50)]
    for p in params:
        p.grad = 10 * torch.randn(p.shape, generator=random, dtype=p.dtype)
    before = torch.cat([p.grad.clone() for p in params])  # type: ignore[union-attr]  # set above
    clip_grad_norm_(params, 1.0)
    after = torch.cat([p.grad for p in params])  # type: ignore[misc]  # set above
    figures = {"cosine": float(F.cosine_similarity(before, after, 0)), "norm": float(after.norm())}
    return {"": Case(all(abs(v - 1) < 1e-5 for v in figures.values()), figures)}


@claim(
    "second",
    "Gradients explode because a network is deep.",
    "The norm of the first layer's gradient under 4 and 32 further layers, whose weights are twice "
    "as large as Glorot's, or of Glorot's size. Wanted: ten times more in the deeper one.",
    predicted="true: large first weights",
    note="Depth multiplies what each layer does; a good start makes that factor one.",
)
def depth_explodes(seeds: Seeds) -> Cases:
    def slope(depth: int, gain: float, seed: int) -> float:
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layer = nn.Linear(48, 48)
            nn.init.xavier_normal_(layer.weight, gain=gain)
            layers += [layer, nn.LeakyReLU(0.9)]
        model = nn.Sequential(nn.Linear(64, 48), *layers, nn.Linear(48, 10))
        F.cross_entropy(model(digits().x[:64]), digits().y[:64]).backward()
        return float(model[0].weight.grad.norm())

    cases = {}
    for words, gain in (("large first weights", 2.0), ("weights of Glorot's size", 1.05)):
        few, many = (median(slope(d, gain, s) for s in seeds) for d in (4, 32))
        cases[words] = Case(many > 10 * few, {"4 layers": few, "32 layers": many})
    return cases


@claim(
    "second",
    "Where gradients vanish, batch norm brings them back.",
    "Ten sigmoid layers: the norm of the first layer's gradient over the last one's, without and "
    "with "
    "batch norm. Wanted: below 1e-3 without, above 0.1 with.",
    predicted="true",
)
def batch_norm_revives(seeds: Seeds) -> Cases:
    def ratio(norm: bool, seed: int) -> float:
        torch.manual_seed(seed)
        layer = nn.BatchNorm1d if norm else None
        model = mlp(64, *[48] * 10, 10, activation=nn.Sigmoid, norm=layer)
        F.cross_entropy(model(digits().x[:64]), digits().y[:64]).backward()
        return float(model[0].weight.grad.norm() / model[-1].weight.grad.norm())

    figures = {
        words: median(ratio(n, s) for s in seeds)
        for words, n in (("without", False), ("with", True))
    }
    return {"": Case(figures["without"] < 1e-3 and figures["with"] > 0.1, figures)}


@claim(
    "second",
    "If the loss oscillates, add momentum.",
    "A parabola with noisy gradients, SGD at 0.5: the spread of the last 500 of 2,000 values, and "
    "with momentum "
    "0.9 at the same rate and at a tenth. Wanted: a tenth less spread.",
    predicted="false",
    note="At the same rate momentum makes steps ten times as long; at a tenth of it nothing "
    "changes "
    "but the rate's own effect.",
    slow=True,
)
def momentum_against_oscillation(seeds: Seeds) -> Cases:
    def spread(lr: float, momentum: float) -> float:
        make = partial(SGD, lr=lr, momentum=momentum)
        return median(
            float(descent(bowl, (1.0,), make, 2000, noise=1, seed=s)[-500:].std()) for s in seeds
        )

    plain = spread(0.5, 0.0)
    figures = {"plain": plain, "momentum": spread(0.5, 0.9)}
    less = {"a tenth of the rate, plain": spread(0.05, 0.0), "with momentum": spread(0.05, 0.9)}
    return {
        "at the same rate": Case(figures["momentum"] < 0.9 * plain, figures),
        "at a tenth of it, against plain steps there": Case(
            less["with momentum"] < 0.9 * less["a tenth of the rate, plain"], less
        ),
    }


@claim(
    "second",
    "fp16 needs its gradients scaled.",
    "A loss times 1e-5, as in a mean over many outputs, in float16: the share of gradient elements "
    "that "
    "become zero, without and with a scale of 65,536. Wanted: above a tenth without, below a "
    "hundredth with.",
    predicted="true",
)
def fp16_needs_scaling(seeds: Seeds) -> Cases:
    torch.manual_seed(seeds[0])
    layer, x = nn.Linear(64, 64), torch.randn(128, 64)
    figures = {}
    for words, scale in (("without", 1.0), ("with", 65_536.0)):
        with torch.autocast("cpu", dtype=torch.float16):
            out = layer(x)
        out.retain_grad()
        (1e-5 * scale * out.float().square().mean()).backward()
        figures[words] = float((out.grad == 0).float().mean())  # type: ignore[union-attr]  # retained
    return {"": Case(figures["without"] > 0.1 and figures["with"] < 0.01, figures)}


@claim(
    "second",
    "Mixed precision speeds training up.",
    "A linear layer forward and backward on this machine's CPU, bfloat16 against float32, wide "
    "(2,048) "
    "and narrow (64): the time of one over the other, median of 9. Wanted: below 0.9.",
    predicted="true: wide layers",
    slow=True,
    note="Measured on the machine at the foot of the page; processors without 16-bit arithmetic "
    "only lose.",
)
def mixed_precision_is_faster(seeds: Seeds) -> Cases:
    def seconds(width: int, half: bool) -> float:
        layer, x = nn.Linear(width, width), torch.randn(256, width)
        times = []
        for _ in range(9):
            begun = time.perf_counter()
            for _ in range(max(1, 2_000_000 // width**2)):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                    out = layer(x)
                out.float().square().mean().backward()
            times.append(time.perf_counter() - begun)
        return median(times)

    cases = {}
    for words, width in (("wide layers", 2048), ("narrow layers", 64)):
        ratio = seconds(width, True) / seconds(width, False)
        cases[words] = Case(ratio < 0.9, {"time over float32's": ratio})
    return cases


@claim(
    "first",
    "foreach is faster for many parameters.",
    "torch's own SGD with momentum over 500 tensors of 64, foreach against the loop: the time of "
    "one over the "
    "other, median of 9. Wanted: below 0.9.",
    predicted="true",
    slow=True,
)
def foreach_is_faster(seeds: Seeds) -> Cases:
    def seconds(foreach: bool) -> float:
        params = [nn.Parameter(torch.randn(64)) for _ in range(500)]
        for p in params:
            p.grad = torch.randn(64)
        optimizer = torch.optim.SGD(params, lr=0.1, momentum=0.9, foreach=foreach)
        times = []
        for _ in range(9):
            begun = time.perf_counter()
            for _ in range(20):
                optimizer.step()
            times.append(time.perf_counter() - begun)
        return median(times)

    ratio = seconds(True) / seconds(False)
    return {"": Case(ratio < 0.9, {"time over the loop's": ratio})}


@claim(
    "first",
    "differentiable=True lets gradients flow through the optimizer's step.",
    "The slope of the loss after a step with respect to the learning rate, by autograd and by "
    "differences. Wanted: equal within a millionth.",
    predicted="true",
)
def differentiable_step(seeds: Seeds) -> Cases:
    def after(lr: Any) -> Tensor:
        p = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True).clone()
        optimizer = SGD([p], lr=1.0, differentiable=True)
        optimizer.param_groups[0]["lr"] = lr
        p.grad = 2 * p.detach()
        optimizer.step()
        return (p**2).sum()

    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    slope = float(torch.autograd.grad(after(lr), lr)[0])
    steps = (
        float(after(torch.tensor(0.1 + h, dtype=torch.float64)).detach()) for h in (1e-5, -1e-5)
    )
    measured = (next(steps) - next(steps)) / 2e-5
    return {"": Case(abs(slope / measured - 1) < 1e-6, {"autograd": slope, "measured": measured})}


@claim(
    "first",
    "maximize=True climbs instead of descending.",
    "Steps on the loss with maximize beside steps on its negative. Wanted: the same points.",
    predicted="true",
)
def maximize_climbs(seeds: Seeds) -> Cases:
    def bowl(p: Tensor) -> Tensor:
        return (p * p).sum()

    a = descent(bowl, (1.0, 2.0), partial(SGD, lr=0.01, momentum=0.9, maximize=True), 20)
    b = descent(lambda p: -bowl(p), (1.0, 2.0), partial(SGD, lr=0.01, momentum=0.9), 20)
    off = float((a - b).abs().max())
    return {"": Case(off < 1e-12, {"difference": off})}


@claim(
    "first",
    "Nesterov needs momentum, and dampening 0.",
    "SGD made with nesterov and without either. Wanted: an error each time.",
    predicted="true",
)
def nesterov_needs(seeds: Seeds) -> Cases:
    refused = 0
    for wrong in ({"momentum": 0.0}, {"momentum": 0.9, "dampening": 0.1}):
        try:
            SGD([nn.Parameter(torch.zeros(1))], lr=0.1, nesterov=True, **wrong)
        except ValueError:
            refused += 1
    return {"": Case(refused == 2, {"refused of 2": float(refused)})}


@claim(
    "second",
    "Keep the best model and the last one.",
    "A network on 100 digits, 600 steps of AdamW at 0.01, judged every 20: the last held-out loss "
    "over "
    "the least. Wanted: above 1.05, so that the two are not the same.",
    predicted="true",
    slow=True,
)
def best_and_last(seeds: Seeds) -> Cases:
    ratios = []
    for seed in seeds[:3]:
        held = train(
            digits(100), network(64, 128, 10), partial(AdamW, lr=0.01), 600, seed=seed, judge=20
        ).held
        ratios.append(held[-1] / min(held))
    return {"": Case(median(ratios) > 1.05, {"last over best": median(ratios)})}


@claim(
    "second",
    "When training stalls, first change the rate ten times up or down; that mends 90% of problems.",
    "A GRU and a network on the digits, each broken in eight ways (rate times 100 and over 100, "
    "labels "
    "shuffled, inputs times 1,000, gradients not cleared, first weights zero, eight sigmoids, dead "
    "ReLUs): whether ten or a hundred times more or less brings the held-out loss within 1.5 times "
    "the healthy one.",
    predicted="false",
    note="A rate mends what a rate has broken.",
    slow=True,
)
def the_rate_mends_most(seeds: Seeds) -> Cases:
    seed = seeds[0]
    data = digits()
    shuffled = data._replace(y=data.y[torch.randperm(len(data.y))])
    wide = data._replace(x=1000 * data.x, held_x=1000 * data.held_x)

    def zero() -> nn.Module:
        model = network()()
        nn.init.zeros_(model[0].weight)
        nn.init.zeros_(model[2].weight)
        return model

    def dead() -> nn.Module:
        model = network()()
        nn.init.constant_(model[0].bias, -30.0)
        return model

    def loss(data: Data, make: Any, lr: float, **training: Any) -> float:
        return train(data, make, partial(SGD, lr=lr), STEPS, seed=seed, **training).last

    healthy = loss(data, network(), 0.3)
    faults = {
        "rate too large": (data, network(), 30.0, {}),
        "rate too small": (data, network(), 0.003, {}),
        "labels shuffled": (shuffled, network(), 0.3, {}),
        "inputs not scaled": (wide, network(), 0.3, {}),
        "not cleared": (data, network(), 0.3, {"clear": False}),
        "first weights zero": (data, zero, 0.3, {}),
        "gradients vanish": (data, sigmoids, 0.3, {}),
        "dead ReLUs": (data, dead, 0.3, {}),
    }
    mended = {
        name: float(
            min(loss(d, make, lr * f, **more) for f in (0.01, 0.1, 10.0, 100.0)) < 1.5 * healthy
        )
        for name, (d, make, lr, more) in faults.items()
    }
    return {"": Case(sum(mended.values()) >= 0.9 * len(mended), mended)}


@claim(
    "second",
    "CNNs want Adam or SGD with momentum.",
    "A small CNN on the digits, 150 steps, the best of 3 rates each: held-out loss, the two and "
    "plain SGD. Wanted: both below plain SGD's by a tenth.",
    predicted="true",
    slow=True,
)
def cnns_want(seeds: Seeds) -> Cases:
    def images() -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)),
        )

    def least(cls: Any, rates: tuple[float, ...]) -> float:
        return min(
            median(
                train(digits(), images, partial(cls, lr=lr), 150, seed=s).last for s in seeds[:3]
            )
            for lr in rates
        )

    figures = {
        "Adam": least(Adam, (0.003, 0.01, 0.03)),
        "SGD with momentum": least(partial(SGD, momentum=0.9), (0.03, 0.1, 0.3)),
        "plain SGD": least(SGD, (0.1, 0.3, 1.0)),
    }
    plain = figures["plain SGD"]
    return {
        "Adam": Case(figures["Adam"] < 0.9 * plain, figures),
        "SGD with momentum": Case(figures["SGD with momentum"] < 0.9 * plain, figures),
    }
