"""The TensorBoard sink, read back by TensorBoard itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import downslope
from downslope.errors import MissingExtraError
from downslope.monitor import TensorBoard
from downslope.monitor.tensorboard import ABOUT, numbers

from ..training.tiny import tiny


def start(resumed_from: int | None = None) -> dict[str, Any]:
    return {"event": "start", "metric": "accuracy", "resumed_from": resumed_from}


def step(number: int, loss: float) -> dict[str, Any]:
    return {"event": "train", "step": number, "loss": loss, "lr": 0.5, "grad_norm": 2.0}


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return [(e.step, e.value) for e in events.Scalars(name)]


def test_steps_and_validations_are_written(tmp_path: Path) -> None:
    """Loss, lr, gradient norm, validation loss and the metric under its own name."""
    board = TensorBoard(tmp_path)
    validation = {"event": "validation", "step": 2, "loss": 0.25, "metric": 0.75}
    for event in (start(), step(1, 1.0), step(2, 0.5), validation, {"event": "end"}):
        board(event)
    assert scalars(tmp_path, "train/loss") == [(1, 1.0), (2, 0.5)]
    assert scalars(tmp_path, "train/lr") == [(1, 0.5), (2, 0.5)]
    assert scalars(tmp_path, "train/grad_norm") == [(1, 2.0), (2, 2.0)]
    assert scalars(tmp_path, "validation/loss") == [(2, 0.25)]
    assert scalars(tmp_path, "validation/accuracy") == [(2, 0.75)]


def test_a_runs_records_are_all_there(tmp_path: Path) -> None:
    """Every number of every step, validation and look, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = downslope.Recipe(lr=0.01, epochs=2)
    run = downslope.fit(tiny(), recipe, tmp_path / "run", on_event=[TensorBoard(tmp_path / "tb")])
    expected: dict[str, list[tuple[int, float]]] = {}
    for record in run.records():
        if record["event"] in ("train", "validation", "monitor"):
            told = {k: v for k, v in record.items() if k not in ABOUT}
            if record["event"] == "validation":
                told["rmse"] = told.pop("metric")
            for name, value in numbers(told):
                tag = f"{record['event']}/{name}"
                expected.setdefault(tag, []).append((record["step"], value))
    accumulator = EventAccumulator(str(tmp_path / "tb"), size_guidance={"scalars": 0}).Reload()
    assert sorted(accumulator.Tags()["scalars"]) == sorted(expected)
    assert {"train/loss", "validation/rmse", "monitor/tensors/0.weight/update_norm"} <= set(
        expected
    )
    for tag, points in expected.items():
        found = [(e.step, e.value) for e in accumulator.Scalars(tag)]
        assert found == [(step, pytest.approx(value, rel=1e-6)) for step, value in points], tag


def test_a_monitor_alone_writes_too(tmp_path: Path) -> None:
    """In a loop of one's own, where nobody starts a run."""
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    board = TensorBoard(tmp_path)
    with downslope.Monitor(model, optimizer, on_event=[board]) as monitor:
        for _ in range(3):
            loss = model(torch.ones(4, 2)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
        monitor.validation(0.5, 0.75, name="accuracy")
    board.close()
    assert [step for step, _ in scalars(tmp_path, "train/loss")] == [1, 2, 3]
    assert scalars(tmp_path, "validation/accuracy") == [(3, 0.75)]
    assert [step for step, _ in scalars(tmp_path, "monitor/grad_norm")] == [1, 2]


def test_a_resumed_run_replaces_what_a_kill_left(tmp_path: Path) -> None:
    """Steps after the checkpoint are shown once, as they were done again."""
    board = TensorBoard(tmp_path)
    for event in (start(), step(1, 1.0), step(2, 9.0)):
        board(event)
    board.close()
    again = TensorBoard(tmp_path)
    for event in (start(resumed_from=1), step(2, 0.5)):
        again(event)
    again.close()
    assert scalars(tmp_path, "train/loss") == [(1, 1.0), (2, 0.5)]


def test_other_events_are_ignored(tmp_path: Path) -> None:
    """The range test comes before the start and is none of its business."""
    TensorBoard(tmp_path)({"event": "find_lr", "iteration": 1})
    assert not list(tmp_path.iterdir())


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what to install."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'downslope\[tensorboard\]'"):
        TensorBoard(tmp_path)
