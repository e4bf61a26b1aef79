"""Our optimizers, schedulers and monitor in Lightning's trainer."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import downslope
from downslope.monitor import read_records

from . import problem
from .problem import CASES, STEPS, WHOSE, Case

pl = pytest.importorskip("lightning.pytorch")

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*LeafSpec:FutureWarning",  # Lightning's use of torch
)


QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class Module(pl.LightningModule):  # type: ignore[misc, name-defined]  # imported as an object
    def __init__(self, case: Case, whose: Any) -> None:
        super().__init__()
        self.net = problem.network()
        self.case, self.whose = case, whose
        self.trajectory: list[list[Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y

    def training_step(self, batch: Any, number: int) -> Tensor:
        x, y = batch
        loss = (self(x) - y).square().mean()
        self.losses = [*getattr(self, "losses", []), loss.item()]
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        x, y = batch
        self.log("val_loss", (self(x) - y).square().mean())

    def on_train_batch_end(self, *_: Any) -> None:
        self.trajectory.append(problem.weights(self.net))

    def configure_optimizers(self) -> Any:
        optimizer, scheduler = problem.stepping(self.case, self.whose, self.parameters())
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def train(module: Module, folder: Path, **options: Any) -> Module:
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=folder,
        **QUIET,
        **options,
    )
    trainer.fit(module, problem.loader(), problem.loader())
    return module


@pytest.mark.parametrize(
    ("case", "options"),
    [
        (CASES[0], {}),
        (CASES[1], {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}),
        (CASES[2], {"gradient_clip_val": 0.5}),
    ],
)
def test_trajectories_are_torchs(tmp_path: Path, case: Case, options: dict[str, Any]) -> None:
    """Step by step, with and without accumulation and clipping."""
    mine, torchs = (train(Module(case, whose), tmp_path, **options) for whose in WHOSE)
    problem.assert_equal_trajectories(mine.trajectory, torchs.trajectory)


@pytest.mark.parametrize("whose", WHOSE, ids=["ours", "torch"])
def test_the_monitor_records_every_step(tmp_path: Path, whose: Any) -> None:
    """Its losses, validations, and the gradients of the very step, before it is made."""
    from downslope.integrations import LightningMonitor

    callback = LightningMonitor(tmp_path / "run", every=1)
    case = CASES[0]
    module = train(Module(case, whose), tmp_path, callbacks=[callback])
    records = read_records(tmp_path / "run" / "records.jsonl")
    steps = [r for r in records if r["event"] == "train"]
    assert [r["step"] for r in steps] == list(range(1, STEPS + 1))
    assert [r["loss"] for r in steps] == pytest.approx(module.losses)
    assert [r["step"] for r in records if r["event"] == "validation"] == [6, 12]
    looks = [r for r in records if r["event"] == "monitor"]
    assert [r["grad_norm"] for r in looks] == pytest.approx(_grad_norms(case), rel=1e-5)
    assert not any(r["stale_gradients"] for r in looks)


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    """The loss is the mean of its batches'."""
    from downslope.integrations import LightningMonitor

    callback = LightningMonitor(tmp_path / "run")
    module = Module(CASES[0], WHOSE[0])
    train(module, tmp_path, callbacks=[callback], accumulate_grad_batches=2)
    records = read_records(tmp_path / "run" / "records.jsonl")
    means = [sum(pair) / 2 for pair in zip(module.losses[::2], module.losses[1::2], strict=True)]
    assert [r["loss"] for r in records if r["event"] == "train"] == pytest.approx(means)


def test_the_doctor_reads_the_records(tmp_path: Path) -> None:
    """A rate far too large is called that."""
    from downslope.integrations import LightningMonitor

    callback = LightningMonitor(tmp_path / "run")
    case = ("SGD", {"lr": 30.0}, "StepLR", {"step_size": 100})
    train(Module(case, WHOSE[0]), tmp_path, callbacks=[callback])
    assert downslope.diagnose(tmp_path / "run")[0].cause == "lr too high"


def test_two_optimizers_are_refused(tmp_path: Path) -> None:
    """The monitor watches one."""
    from downslope.integrations import LightningMonitor

    class Pair(Module):
        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]

        automatic_optimization = False

    with pytest.raises(downslope.DownslopeError, match="watches one optimizer, got 2"):
        train(Pair(CASES[0], WHOSE[0]), tmp_path, callbacks=[LightningMonitor()])


def test_a_checkpoint_is_taken_up(tmp_path: Path) -> None:
    """Half the training, saved by the trainer, and the other half: the bits of an uninterrupted."""
    case = CASES[1]
    options = {**QUIET, "accelerator": "cpu", "default_root_dir": tmp_path}
    first = pl.Trainer(max_epochs=1, **options)
    first.fit(Module(case, WHOSE[0]), problem.loader(), problem.loader())
    first.save_checkpoint(tmp_path / "half.ckpt")
    resumed = Module(case, WHOSE[0])
    pl.Trainer(max_epochs=2, **options).fit(
        resumed, problem.loader(), problem.loader(), ckpt_path=tmp_path / "half.ckpt"
    )
    whole = train(Module(case, WHOSE[0]), tmp_path)
    for a, b in zip(resumed.trajectory[-1], whole.trajectory[-1], strict=True):
        assert a.equal(b)


def test_without_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra."""
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "downslope.integrations.lightning", raising=False)
    with pytest.raises(downslope.errors.MissingExtraError, match=r"downslope\[integrations\]"):
        importlib.import_module("downslope.integrations.lightning")


def _grad_norms(case: Case) -> list[float]:
    """Of every step, in a loop by hand."""
    model = problem.network()
    optimizer, scheduler = problem.stepping(case, torch.optim, model.parameters())
    norms = []
    for x, y in [*problem.loader()] * 2:
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        norms.append(math.hypot(*(float(p.grad.norm()) for p in model.parameters())))
        optimizer.step()
        scheduler.step()
    return norms
