"""Looks on their way into the file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from downslope import Monitor
from downslope.monitor import each, read_records


def _watched(tmp_path: Path, steps: int, every: int) -> tuple[list[Any], list[Any]]:
    """The events that a listener was told, and the lines of the file before it was closed."""
    told: list[Any] = []
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitors = (
        Monitor(model, optimizer, tmp_path, every=every),
        Monitor(model, optimizer, every=every, on_event=[told.append]),
    )
    for _ in range(steps):
        loss = model(torch.randn(8, 3)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for monitor in monitors:
            monitor.step(loss)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    for monitor in monitors:
        monitor.close()
    return told, lines


def test_looks_in_the_file_are_those_that_are_told(tmp_path: Path) -> None:
    """To the last digit, all but what depends on the clock."""
    told, _ = _watched(tmp_path, 12, 1)
    written = [r for r in read_records(tmp_path / "records.jsonl") if r["event"] == "monitor"]
    expected = [e for e in told if e["event"] == "monitor"]
    assert len(written) == 12
    for a, b in zip(written, expected, strict=True):
        for timed in ("data_share", "data_seconds"):
            assert a.pop(timed) >= 0
            del b[timed]
        names_a, numbers_a = _flat(a)
        names_b, numbers_b = _flat(b)
        assert names_a == names_b
        assert numbers_a == numbers_b


def _steps(lines: list[str]) -> list[int]:
    """Of the looks in some lines."""
    events = [event for line in lines for event in each(json.loads(line))]
    return [event["step"] for event in events if event["event"] == "monitor"]


def _flat(value: Any, path: str = "") -> tuple[list[Any], list[float]]:
    if not isinstance(value, dict):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return ([path], [value]) if number else ([path, value], [])
    names, numbers = [], []
    for key, item in value.items():
        more, others = _flat(item, f"{path}/{key}")
        names += more
        numbers += others
    return names, numbers


def test_a_look_that_none_follows_is_in_the_file_at_once(tmp_path: Path) -> None:
    """Where steps between looks are not looked at, nothing waits for the next look."""
    _, lines = _watched(tmp_path, 5, 4)
    assert _steps(lines) == [1, 4]


def test_looks_one_after_another_wait_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each other, until half a second has passed."""
    now = [0.0]
    monkeypatch.setattr("downslope.monitor.monitor.perf_counter", lambda: now[0])
    _, lines = _watched(tmp_path, 5, 1)
    assert not _steps(lines)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert _steps(lines) == [1, 2, 3, 4, 5]


def test_hundreds_of_looks_are_all_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait."""
    monkeypatch.setattr("downslope.monitor.monitor.perf_counter", lambda: 0.0)
    _watched(tmp_path, 150, 1)
    written = [r for r in read_records(tmp_path / "records.jsonl") if r["event"] == "monitor"]
    assert [r["step"] for r in written] == list(range(1, 151))
    assert all(type(r["step"]) is type(r["input"]["rows"]) is int for r in written)


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    """In the file as in the event."""
    model, events = nn.Linear(2, 1), list[dict[str, Any]]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, tmp_path, every=1, on_event=[events.append]) as monitor:
        for value in (1.0, 1.0, 1.0, math.inf):
            loss = model(torch.full((5, 2), value) + torch.rand(5, 2)).sum()
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    for told in (events, read_records(tmp_path / "records.jsonl")):
        last = [e for e in told if e["event"] == "monitor"][-1]
        assert last["step"] == 4
        assert last["tensors"]["weight"]["grad_norm"] is None
        assert last["input"]["largest"] is None
