"""The parts of ``benchmarks.gpu`` that need no GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.device import bandwidth, measure, rate
from benchmarks.gpu import CHECKS, COMPACT, ELEMENTWISE, billion, checks, main, table
from benchmarks.optimizers import Subject, Workload

from downslope.optim import _placement

SMALL = Workload("small", ((40, 3), (7,)), steps=1)
CPU = torch.device("cpu")


def clock(act: Callable[[], object], times: int) -> list[float]:
    """The host's, for work that is done when the call returns."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        found.append(time.perf_counter() - begun)
    return found


def test_without_a_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a CUDA device it says so in one line and ends with 2."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 2
    said = capsys.readouterr()
    assert not said.out
    (line,) = said.err.splitlines()
    assert "needs a CUDA device" in line


@pytest.mark.parametrize(("name", "streams"), [("AdamW", 7), ("Lion", 5)])
def test_a_measurement(monkeypatch: pytest.MonkeyPatch, name: str, streams: int) -> None:
    """A row has the engine's steps, torch's where it has them, and the formula's bytes."""
    monkeypatch.setitem(_placement.COMPILED, "cpu", "triton")
    row = measure(Subject(name, {}), SMALL, 2, CPU, clock)
    assert row["engines"] == ["TritonBucket"]
    assert row["bytes"] == streams * 127 * 4
    assert row["ours_s"] > 0
    assert (row["torch_mode"], row["torch_s"] is not None) == (
        ("fused", True) if name == "AdamW" else (None, False)
    )
    assert table([{**row, **rate(row, 1e9)}], "small").row_count == 1


def test_every_rule_can_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """All subjects step in the Triton engine, and so does what they are compared with."""
    monkeypatch.setitem(_placement.COMPILED, "cpu", "triton")
    workload = replace(SMALL, shapes=((3, 2),))
    assert len(ELEMENTWISE) > 25
    for subject in (*ELEMENTWISE, *COMPACT):
        row = measure(subject, workload, 1, CPU, clock)
        assert row["engines"] == ["TritonBucket"]
        assert row["bytes"] > 0


def test_bytes_of_compact_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes and scales count with their own sizes; what torch and rivals lack is left out."""
    monkeypatch.setitem(_placement.COMPILED, "cpu", "triton")
    workload = replace(SMALL, shapes=((64, 64),))
    row = measure(Subject("AdamW", {"storage": "int8"}), workload, 1, CPU, clock)
    assert row["bytes"] == 4096 * (3 * 4 + 2 * 2 * (1 + 4 / 128))
    assert row["torch_mode"] == "fused"
    assert row["rivals_s"] == {}


def test_what_bytes_cost() -> None:
    """A step that moves its bytes twice as slowly as the memory can has half of its bandwidth."""
    assert rate({"bytes": 100, "ours_s": 2.0}, speed=100.0) == {"bandwidth": 0.5, "of_bytes": 2.0}


def test_a_billion_parameters_or_what_fits() -> None:
    """The largest workload is of a billion numbers where AdamW's arrays of those fit."""
    assert billion(80 * 10**9).elements == pytest.approx(1e9, rel=0.05)
    assert billion(10 * 10**9).elements * 16 < 8 * 10**9


def test_memory_is_faster_than_nothing() -> None:
    """Copies and updates are timed in bytes a second."""
    speed = bandwidth(CPU, clock, megabytes=1, samples=2)
    assert set(speed) == {"copy", "update"}
    assert all(1e8 < s < 1e13 for s in speed.values())


def test_failed_checks_are_named(tmp_path: Path) -> None:
    """Of the tests that it runs, it counts those that pass, and names those that fail."""
    texts = ["import pytest", "def test_a(): pass", "def test_b(): assert 0"]
    texts += ["@pytest.mark.skip", "def test_c(): pass"]
    file = tmp_path / "test_some.py"
    file.write_text("\n".join(texts))
    found = checks([str(file)], {})
    assert (found["passed"], found["skipped"]) == (1, 1)
    (failed,) = found["failed"]
    assert failed.endswith("test_b")


def test_checks_are_tests_that_are_there() -> None:
    """Every file of tests for a GPU is among the checks, and no other name is."""
    there = {f"tests/engines/{p.name}" for p in Path(__file__).parent.glob("test_gpu*.py")}
    assert there - set(CHECKS) == {f"tests/engines/test_gpu_{n}.py" for n in ("benchmark", "code")}
    assert set(CHECKS) <= there


def test_help_names_its_switches(capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` lists what can be left out."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--no-checks" in capsys.readouterr().out
