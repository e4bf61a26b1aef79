"""After a range test everything is as it was, to the bit, however the test ended."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from downslope import find_lr, optim
from downslope.errors import InputError


class Awkward(nn.Module):
    """Batch norm, dropout, a frozen layer, a part in eval mode, randomness of three kinds.

    ``on_call`` runs at each forward pass with its number; a buffer is replaced, one is made.
    """

    def __init__(self, on_call: Callable[[int], None] = lambda count: None) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.norm = nn.BatchNorm1d(16)
        self.dropout = nn.Dropout(0.3)
        self.frozen = nn.Linear(16, 16).requires_grad_(False)
        self.resting = nn.Sequential(nn.BatchNorm1d(16)).eval()
        self.last = nn.Linear(16, 1)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.on_call, self.count = on_call, 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.on_call(self.count)
        self.calls = self.calls + 1
        self.register_buffer("cache", x.detach().mean())
        x = x + 1e-3 * random.random() + 1e-3 * np.random.rand()  # noqa: NPY002  # the global one is the point
        x = self.dropout(torch.relu(self.norm(self.first(x))))
        return self.last(self.resting(self.frozen(x)))


class Scene:
    """A model in the middle of training, with everything that a range test could disturb."""

    def __init__(self, kind: Any, on_call: Callable[[int], None] = lambda count: None) -> None:
        torch.manual_seed(3)
        self.model = Awkward(on_call)
        own = torch.Generator().manual_seed(5)
        data = TensorDataset(torch.randn(40, 6), torch.randn(40, 1))
        self.loader = DataLoader(data, batch_size=8, shuffle=True, generator=own)
        groups = [
            {"params": [*self.model.first.parameters()], "lr": torch.tensor(0.01)},
            {"params": [*self.model.norm.parameters(), *self.model.last.parameters()], "lr": 0.02},
        ]
        self.optimizer: Optimizer = kind(groups, lr=0.01)
        self.scaler = GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
        for inputs, targets in self.loader:
            self.optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.model(inputs), targets)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.model.eval()
        self.model.norm.train()
        self.model.count = 0

    def find(self, **options: Any) -> Any:
        return find_lr(
            self.model,
            nn.functional.mse_loss,
            self.loader,
            self.optimizer,
            scaler=self.scaler,
            progress=False,
            **options,
        )

    def everything(self) -> dict[str, Any]:
        """All that must not change: values as bytes, and the identity of every tensor."""
        named = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        seen: dict[str, Any] = {}
        for name, tensor in named.items():
            seen[name] = (id(tensor), bits(tensor), tensor.requires_grad)
            grad = tensor.grad
            seen[f"{name}.grad"] = None if grad is None else (id(grad), bits(grad))
        seen["modes"] = [m.training for m in self.model.modules()]
        for number, group in enumerate(self.optimizer.param_groups):
            for key, value in group.items():
                held = value if key == "params" else [value]
                seen[f"group {number} {key}"] = [
                    (id(v), bits(v)) if isinstance(v, Tensor) else v for v in held
                ]
        for number, (p, state) in enumerate(self.optimizer.state.items()):
            for key, value in state.items():
                seen[f"state {number} {key}"] = (id(p), id(value), bits(value))
        seen["scaler"] = self.scaler.state_dict()
        seen["python"] = random.getstate()
        seen["numpy"] = str(np.random.get_state())  # noqa: NPY002  # the global one
        seen["torch"] = bits(torch.get_rng_state())
        seen["loader"] = bits(self.loader.generator.get_state())
        return seen


def bits(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return value


KINDS: dict[str, Any] = {
    "torch SGD": torch.optim.SGD,
    "torch AdamW": torch.optim.AdamW,
    **{name: optim.get(name) for name in optim.names() if not optim.get(name).rule.needs},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@every_kind
def test_after_a_whole_sweep(kind: Any) -> None:
    """Parameters, buffers, modes, gradients, state, groups, scaler and randomness are back."""
    scene = Scene(kind)
    before = scene.everything()
    test = scene.find(end=1e-2, iterations=12, clip_norm=1.0)
    assert len(test.lrs) == 12
    assert test.races
    assert scene.everything() == before


def raise_at(count: int, error: BaseException) -> Callable[[int], None]:
    def on_call(number: int) -> None:
        if number == count:
            raise error

    return on_call


@every_kind
@pytest.mark.parametrize(
    "error", [RuntimeError("out of memory"), KeyboardInterrupt()], ids=["raises", "interrupted"]
)
def test_after_the_model_raises_midway(kind: Any, error: BaseException) -> None:
    """An error in the seventh forward pass goes through, and everything is back."""
    scene = Scene(kind)
    scene.model.on_call = raise_at(7, error)
    before = scene.everything()
    with pytest.raises(type(error)):
        scene.find()
    assert scene.model.count == 7
    assert scene.everything() == before


def test_after_an_interrupt_between_unscaling_and_stepping() -> None:
    """Interrupted inside the optimizer's step, the scaler can still be used for the next one."""
    scene = Scene(torch.optim.SGD)
    before = scene.everything()
    handle = scene.optimizer.register_step_pre_hook(
        lambda *_: (_ for _ in ()).throw(KeyboardInterrupt())
    )
    with pytest.raises(KeyboardInterrupt):
        scene.find(clip_norm=1.0)
    handle.remove()
    assert scene.everything() == before
    scene.scaler.unscale_(scene.optimizer)


def test_after_a_nan_loss() -> None:
    """A model that breaks into NaN stops the sweep, and everything is back."""
    scene = Scene(torch.optim.SGD)

    def poison(number: int) -> None:
        if number == 5:
            with torch.no_grad():
                scene.model.first.weight.fill_(math.nan)

    scene.model.on_call = poison
    before = scene.everything()
    test = scene.find()
    assert len(test.losses) == 4
    assert scene.everything() == before


def test_training_goes_on_as_if_there_had_been_no_test() -> None:
    """Ten more steps give the same weights to the bit, with a range test before them or not."""

    def trained(test: bool) -> list[Tensor]:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002  # the global one
        scene = Scene(optim.AdamW)
        if test:
            scene.find()
        scene.model.train()
        for _ in range(2):
            for inputs, targets in scene.loader:
                scene.optimizer.zero_grad()
                nn.functional.mse_loss(scene.model(inputs), targets).backward()
                scene.optimizer.step()
        return [p.detach() for p in scene.model.parameters()]

    pairs = zip(trained(test=True), trained(test=False), strict=True)
    assert all(a.equal(b) for a, b in pairs)


def test_a_loss_with_parameters_is_restored() -> None:
    """A loss function that is a module, trained by the optimizer too, is back as well."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
            self.seen += 1
            return (self.scale * outputs - targets).square().mean()

    model, loss = nn.Linear(3, 1), Scaled()
    optimizer = torch.optim.SGD([*model.parameters(), loss.scale], lr=0.1)
    find_lr(model, loss, [(torch.randn(8, 3), torch.randn(8, 1))], optimizer, progress=False)
    assert (loss.scale.item(), loss.seen.item(), loss.training) == (1.0, 0.0, True)


def test_parameters_without_a_shape_are_refused() -> None:
    """A lazy layer cannot be put back, so it is an error that says what to do."""
    model = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(1))
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"'1.weight' has no shape yet: run one batch"):
        find_lr(model, nn.functional.mse_loss, [], optimizer)


def interrupted_while_putting_back() -> None:
    """Ctrl-C comes in the middle of restoring; run in the main thread of a process of its own."""
    scene = Scene(torch.optim.SGD)
    before = scene.everything()
    undone = []
    original = torch.Tensor.requires_grad_

    def interrupting(tensor: Tensor, *args: Any) -> Tensor:
        if not undone:
            undone.append(tensor)
            signal.raise_signal(signal.SIGINT)
        return original(tensor, *args)

    torch.Tensor.requires_grad_ = interrupting  # type: ignore[method-assign]  # on purpose
    with pytest.raises(KeyboardInterrupt):
        scene.find(iterations=10, end=1e-3)
    assert undone
    assert scene.everything() == before


def test_an_interrupt_while_putting_back_waits() -> None:
    """It is raised when all is back, not before; in a process, because pytest may use threads."""
    name = interrupted_while_putting_back.__name__
    code = f"from tests.finder.test_restored import {name}; {name}()"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("count", [3, 45, 60, 100, 130])
def test_after_an_interrupt_in_the_sweep_and_in_the_races(count: int) -> None:
    """At whichever forward pass it comes, everything is as it was."""
    scene = Scene(optim.AdamW)
    scene.model.on_call = raise_at(count, KeyboardInterrupt())
    before = scene.everything()
    with pytest.raises(KeyboardInterrupt):
        scene.find(iterations=20, end=1e-2)
    assert scene.everything() == before
