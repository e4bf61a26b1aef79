"""Faults that people make, injected into a healthy run's setting.

A fault changes a :class:`Setting` before the run; ``causes`` are the doctor's words that name it
rightly (more than one where a fault shows in two ways that are both true).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.range_test.problems import Data
from downslope.schedules import Schedule, constant, cosine, warmup

__all__ = ["FAULTS", "Fault", "Setting", "deep", "overfitted", "pick"]


@dataclass(frozen=True)
class Setting:
    """Everything that one run is made of."""

    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    data: Data
    optimizer: str
    arguments: dict[str, Any]
    lr: float
    batch_size: int
    steps: int
    schedule: Schedule
    seed: int
    clears_gradients: bool = True
    repeats_batch: bool = False
    wait: float = 0.0  # seconds before each batch
    after_build: Callable[[nn.Module], None] = lambda model: None
    parameters: Callable[[nn.Module], Any] = lambda model: model.parameters()
    before_step: Callable[[int, nn.Module], None] = lambda step, model: None
    autocast: torch.dtype | None = None
    judged: Callable[[Tensor, Tensor], Tensor] | None = None  # where it is not the loss
    wrong_from: int = 1  # the first step at which the fault can show
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """To train on."""
        return len(self.data.inputs)


@dataclass(frozen=True)
class Fault:
    """A fault, its variants, and where it can be made."""

    name: str
    causes: tuple[str, ...]
    make: Callable[[Setting, int], Setting]
    variants: int = 6
    fits: Callable[[str, Setting], bool] = lambda problem, setting: True


def pick(variant: int, *choices: Any) -> Any:
    return choices[variant % len(choices)]


def _initialised(scale: float) -> Callable[[nn.Module], None]:
    def scaled(model: nn.Module) -> None:
        with torch.no_grad():
            for p in model.parameters():
                if p.dim() > 1:
                    p.mul_(scale)

    return scaled


def deep(setting: Setting, activation: Callable[[], nn.Module], depth: int, gain: float) -> Setting:
    """The same data through a deep plain network."""
    x, y = setting.data.inputs, setting.data.targets
    inputs = x[0].numel()
    outputs = int(y.max()) + 1 if not y.is_floating_point() else y.shape[-1]

    def build() -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        width = 24
        for k in range(depth):
            linear = nn.Linear(inputs if k == 0 else width, width)
            nn.init.normal_(linear.weight, std=gain / math.sqrt(linear.in_features))
            nn.init.zeros_(linear.bias)
            layers += [linear, activation()]
        return nn.Sequential(*layers, nn.Linear(width, outputs))

    return replace(setting, model=build)


def _flat(problem: str, setting: Setting) -> bool:
    return setting.data.inputs.is_floating_point() and setting.data.targets.dim() <= 2


def _relu(problem: str, setting: Setting) -> bool:
    kinds = [type(m) for m in setting.model().modules()]
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)  # they undo a shift of the bias
    return nn.ReLU in kinds and not any(issubclass(kind, norms) for kind in kinds)


def _linear(problem: str, setting: Setting) -> bool:
    return isinstance(setting.model(), nn.Sequential)


def _adaptive(problem: str, setting: Setting) -> bool:
    return setting.optimizer != "sgd"  # for which a small loss is a small learning rate


def _high_lr(s: Setting, v: int) -> Setting:
    return replace(s, lr=s.lr * pick(v, 30, 100, 300, 1000, 50, 200))


def _low_lr(s: Setting, v: int) -> Setting:
    return replace(s, lr=s.lr / pick(v, 300, 1000, 3000, 500, 2000, 10000))


def _vanishing(s: Setting, v: int) -> Setting:
    depth = pick(v, 10, 14, 18, 12, 16, 20)
    if v % 2:
        return deep(s, nn.Sigmoid, depth, 1.0)
    return deep(s, nn.Tanh, depth, pick(v, 0.25, 0.3, 0.2))


def _exploding(s: Setting, v: int) -> Setting:
    return deep(s, nn.ReLU, pick(v, 8, 10, 12), pick(v, 4.0, 6.0, 5.0, 8.0))


def _not_cleared(s: Setting, v: int) -> Setting:
    return replace(s, clears_gradients=False)


class _BadLayer(nn.Module):
    """Arithmetic that fails for some inputs, from a given call on."""

    def __init__(self, kind: int, begin: int) -> None:
        super().__init__()
        self.kind, self.begin, self.calls = kind, begin, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls < self.begin:
            return x
        if self.kind == 0:
            return torch.log(x - x.amax())
        if self.kind == 1:
            return x / (x - x)
        if self.kind == 2:
            return torch.exp(x.abs() * 1e4)
        return x + torch.sqrt((x - x).abs())  # finite forward, NaN backward


def _nan(s: Setting, v: int) -> Setting:
    begin = pick(v, 20, 60, 120)

    def inserted() -> nn.Module:
        model = s.model()
        model.insert(len(model) // 2, _BadLayer(v % 4, begin))
        return model

    if v % 5 == 4:
        x = s.data.inputs.clone()
        x[len(x) // 3] = math.nan
        data = replace(s.data, inputs=x)
        return replace(s, data=data, extra={"where": "rows"})
    at = len(s.model()) // 2
    return replace(s, model=inserted, wrong_from=begin, extra={"where": str(at)})


def _dead(s: Setting, v: int) -> Setting:
    shift = pick(v, 5.0, 10.0, 20.0)

    def hidden(model: nn.Module) -> None:
        layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][:-1]
        with torch.no_grad():
            for m in layers:
                if m.bias is not None:
                    m.bias.sub_(shift)

    return replace(s, after_build=hidden)


def _saturated(s: Setting, v: int) -> Setting:
    activation = pick(v, nn.Tanh, nn.Sigmoid)
    return deep(s, activation, 3, pick(v, 20.0, 40.0, 60.0))


def overfitted(s: Setting, v: int) -> Setting:
    """Few rows, some with another row's target, and a rate that learns them by heart."""
    rows = pick(v, 24, 32, 48)
    x, y = s.data.inputs[:rows], s.data.targets[:rows].clone()
    wrong = torch.arange(0, rows, 4)
    y[wrong] = y[wrong.roll(1)]
    wide = deep(s, nn.ReLU, 2, 1.4) if _flat("", s) else s
    lr = {"sgd": 0.1, "adamw": 1e-2, "lion": 2e-3}[s.optimizer]
    data = replace(s.data, inputs=x, targets=y)
    return replace(wide, data=data, batch_size=min(16, rows), lr=lr, arguments={})


def _constant_outputs(s: Setting, v: int) -> Setting:
    def cut() -> nn.Module:
        model = s.model()
        model.insert(len(model) - 1, _Cut())
        return model

    return replace(s, model=cut)


class _Cut(nn.Module):
    """A bug: the features are lost on the way to the last layer."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def _unused(s: Setting, v: int) -> Setting:
    if v % 2:
        return replace(s, parameters=lambda model: list(model.parameters())[-2:])

    def build() -> nn.Module:
        return _WithSpare(s.model())

    return replace(s, model=build)


class _WithSpare(nn.Module):
    """A layer that is built and never called."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.spare = model, nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def _shuffled(s: Setting, v: int) -> Setting:
    order = torch.randperm(len(s.data.targets), generator=torch.Generator().manual_seed(v))
    return replace(s, data=replace(s.data, targets=s.data.targets[order]))


def _unscaled(s: Setting, v: int) -> Setting:
    x = s.data.inputs
    width = x.shape[1]
    shape = (1, width) + (1,) * (x.dim() - 2)
    make = torch.Generator().manual_seed(v)
    if x.dim() == 2 and width >= 4 and v % 2:
        unit = 10 ** (torch.rand(shape, generator=make) * 5 - 1)
        shift = torch.zeros(shape)
    else:
        unit, shift = torch.full(shape, pick(v, 255.0, 1000.0, 4000.0)), torch.zeros(shape)
    held = s.data.validation_inputs
    data = replace(s.data, inputs=x * unit + shift, validation_inputs=held * unit + shift)
    return replace(s, data=data)


def _no_decay_of_lr(s: Setting, v: int) -> Setting:
    return replace(s, lr=s.lr * pick(v, 6, 10, 8), schedule=constant(1.0))


def _slow(s: Setting, v: int) -> Setting:
    return replace(s, optimizer="sgd", arguments={}, lr=pick(v, 1e-2, 3e-3, 1e-3))


def _ended_early(s: Setting, v: int) -> Setting:
    end = round(s.steps * pick(v, 0.2, 0.3, 0.4, 0.5))
    return replace(s, schedule=warmup(5) >> cosine(end - 5))


def _repeats(s: Setting, v: int) -> Setting:
    return replace(s, repeats_batch=True)


def _waits(s: Setting, v: int) -> Setting:
    return replace(s, wait=pick(v, 0.006, 0.01, 0.02))


def _decay(s: Setting, v: int) -> Setting:
    strong = {
        "sgd": pick(v, 0.3, 1.0),
        "adamw": pick(v, 30.0, 100.0),
        "lion": pick(v, 30.0, 100),
    }
    return replace(s, arguments={**s.arguments, "weight_decay": strong[s.optimizer]})


def _underflow(s: Setting, v: int) -> Setting:
    scale = pick(v, 1e-6, 3e-7, 1e-7)
    loss = s.loss
    return replace(
        s, loss=lambda outputs, y: scale * loss(outputs, y), autocast=torch.float16, judged=loss
    )


FAULTS = (
    Fault("lr too high", ("lr too high",), _high_lr, 18),
    Fault("lr too low", ("lr too low",), _low_lr, 18),
    Fault(
        "vanishing gradients",
        ("vanishing gradients", "saturated activations"),
        _vanishing,
        8,
        _flat,
    ),
    Fault("exploding gradients", ("exploding gradients",), _exploding, 10, _flat),
    Fault("gradients not cleared", ("gradients not cleared",), _not_cleared, 8),
    Fault("not a number", ("not a number",), _nan, 12, _linear),
    Fault("dead units", ("dead units",), _dead, 8, _relu),
    Fault("saturated activations", ("saturated activations",), _saturated, 8, _flat),
    Fault("overfitting", ("overfitting",), overfitted, 20),
    Fault("constant outputs", ("constant outputs",), _constant_outputs, 10, _linear),
    Fault("parameters not trained", ("parameters not trained",), _unused, 14),
    Fault("labels do not match", ("labels do not match",), _shuffled, 10),
    Fault("inputs not scaled", ("inputs not scaled",), _unscaled, 8, _flat),
    Fault("lr not lowered", ("lr not lowered", "lr too high"), _no_decay_of_lr, 24),
    Fault("slow optimizer", ("slow optimizer", "lr too low"), _slow, 12),
    Fault("schedule ended early", ("schedule ended early",), _ended_early, 12),
    Fault("data repeats", ("data repeats",), _repeats, 14),
    Fault("waiting for data", ("waiting for data",), _waits, 14),
    Fault("weight decay too strong", ("weight decay too strong",), _decay, 8),
    Fault("float16 underflow", ("float16 underflow",), _underflow, 10, _adaptive),
)
