"""Our optimizers, schedulers and monitor in Transformers' trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

import downslope
from downslope.monitor import read_records

from . import problem
from .problem import BATCH, CASES, STEPS, WHOSE, Case

transformers = pytest.importorskip("transformers")


class Network(nn.Module):
    """As the trainer wants it: the loss comes from the model."""

    def __init__(self) -> None:
        super().__init__()
        self.net = problem.network()
        self.losses: list[float] = []

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        y = self.net(x)
        loss = (y - labels).square().mean()
        if self.training:
            self.losses.append(loss.item())
        return {"loss": loss, "logits": y}


def rows() -> list[dict[str, Tensor]]:
    return [{"x": x, "labels": y} for x, y in problem.data()]


class Trajectory(transformers.TrainerCallback):  # type: ignore[misc, name-defined]  # an object
    def __init__(self) -> None:
        self.weights: list[list[Tensor]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.weights.append(problem.weights(kwargs["model"]))


def train(
    case: Case,
    whose: Any,
    folder: Path,
    *callbacks: Any,
    resume: Path | None = None,
    **options: Any,
) -> tuple[Network, list[list[Tensor]]]:
    model, trajectory = Network(), Trajectory()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=BATCH,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **{"max_grad_norm": 0.0, "save_strategy": "no", **options},
    )
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=rows(),
        eval_dataset=rows(),
        optimizers=problem.stepping(case, whose, model.parameters()),
        callbacks=[trajectory, *callbacks],
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return model, trajectory.weights


@pytest.mark.parametrize(
    ("case", "options"),
    [
        (CASES[0], {}),
        (CASES[1], {"gradient_accumulation_steps": 2, "max_grad_norm": 0.5}),
        (CASES[2], {"max_grad_norm": 0.5}),
    ],
)
def test_trajectories_are_torchs(tmp_path: Path, case: Case, options: dict[str, Any]) -> None:
    """Step by step, with and without accumulation and clipping."""
    mine, torchs = (train(case, whose, tmp_path, **options)[1] for whose in WHOSE)
    problem.assert_equal_trajectories(mine, torchs)


def test_a_checkpoint_is_taken_up(tmp_path: Path) -> None:
    """Stopped by the trainer in the middle of an epoch: the bits of an uninterrupted training."""
    _, whole = train(CASES[1], WHOSE[0], tmp_path, save_strategy="steps", save_steps=4)
    resumed = train(CASES[1], WHOSE[0], tmp_path, resume=tmp_path / "checkpoint-8")[1]
    assert len(resumed) == STEPS - 8
    for a, b in zip(resumed[-1], whole[-1], strict=True):
        assert a.equal(b)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_monitor_records_every_step(tmp_path: Path, parts: int) -> None:
    """Its loss, the mean of its parts', and the evaluations."""
    from downslope.integrations import TransformersMonitor

    callback = TransformersMonitor(tmp_path / "run", every=1)
    options = {"eval_strategy": "epoch", "gradient_accumulation_steps": parts}
    model, _ = train(CASES[0], WHOSE[0], tmp_path, callback, **options)
    records = read_records(tmp_path / "run" / "records.jsonl")
    steps = [r for r in records if r["event"] == "train"]
    assert [r["step"] for r in steps] == list(range(1, STEPS // parts + 1))
    pieces = [model.losses[k : k + parts] for k in range(0, STEPS, parts)]
    assert [r["loss"] for r in steps] == pytest.approx([sum(p) / parts for p in pieces])
    assert len([r for r in records if r["event"] == "validation"]) == 2
    looks = [r for r in records if r["event"] == "monitor"]
    assert len(looks) == STEPS // parts
    assert all(r["grad_norm"] > 0 and not r["stale_gradients"] for r in looks)


def test_the_doctor_reads_the_records(tmp_path: Path) -> None:
    """A rate far too large is called that."""
    from downslope.integrations import TransformersMonitor

    case = ("SGD", {"lr": 2.0}, "StepLR", {"step_size": 100})
    train(case, WHOSE[0], tmp_path, TransformersMonitor(tmp_path / "run"))
    assert downslope.diagnose(tmp_path / "run")[0].cause == "lr too high"
