"""Many processes: they end where one ends, stop together, and go on as another number of them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from downslope import Run, fit
from downslope.errors import CheckpointError, InputError

from .many import EVERY_THREE
from .test_resume import assert_same
from .tiny import RECIPE, break_at, measured, nested, plain, tiny

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="needs torch.distributed"
)

ROOT = Path(__file__).parents[2]
AVERAGED = EVERY_THREE.replace(ema=0.9)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of one process."""
    return fit(tiny(model=plain), EVERY_THREE, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two processes, as ``many.py`` makes them."""
    folder = tmp_path_factory.mktemp("many")
    break_at(11, tiny(model=plain), EVERY_THREE, folder / "one")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.many", str(folder)],
            env={**os.environ, **where, "RANK": str(rank)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=240)[1] for process in processes]
    # Not their exit codes: torch's own threads may abort a process that has done its work.
    assert len(list(folder.glob("said-*.json"))) == 2, "\n".join(errors)
    return folder


@pytest.fixture(scope="module")
def said(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"said-{rank}.json").read_text()) for rank in range(2)]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.model("last", task=tiny(model=plain)).state_dict()


def assert_near(run: Run, other: Run) -> None:
    """The same steps to rounding, by losses, norms, metrics and weights."""
    for a, b in zip(measured(run), measured(other), strict=True):
        assert a.pop("event") == b.pop("event")
        assert a == pytest.approx(b, rel=1e-4)
    torch.testing.assert_close(weights(run), weights(other), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["ddp-1", "ddp-2"])
def test_two_processes_end_where_one_ends(folder: Path, one: Run, name: str) -> None:
    """Whole models, in one part or two; the last step of an epoch has two rows each."""
    assert_near(Run.load(folder / name), one)


def test_sharded_processes_end_where_one_ends(folder: Path, tmp_path: Path) -> None:
    """FSDP2, with averaged weights."""
    assert_near(Run.load(folder / "fsdp-1"), fit(tiny(model=plain), AVERAGED, tmp_path))


def test_sequences_within_sequences_are_sharded_too(folder: Path, tmp_path: Path) -> None:
    """The outermost of them are gathered one by one."""
    alone = fit(tiny(model=nested), RECIPE, tmp_path)
    assert measured(Run.load(folder / "nested"))[-1]["metric"] == pytest.approx(
        measured(alone)[-1]["metric"], rel=1e-4
    )


def test_what_one_process_left_two_go_on_with(folder: Path, one: Run) -> None:
    """From a whole checkpoint to a sharded model and optimizer."""
    run = Run.load(folder / "one")
    assert [r["changes"] for r in run.records() if r["event"] == "recipe"] == [
        {"strategy": [None, "fsdp"]}
    ]
    assert_near(run, one)


def test_what_two_processes_left_one_goes_on_with(
    folder: Path, said: list[dict[str, Any]], tmp_path: Path
) -> None:
    """From shards to a whole model; damage to a shard is refused."""
    assert [s["sharded"] for s in said] == ["interrupted"] * 2
    path = tmp_path / "two"
    shutil.copytree(folder / "two", path)
    changes = {"strategy": None}
    for shard in path.glob("checkpoints/shards-*/*.distcp"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged: its checksum is wrong"):
        fit(tiny(model=plain), None, path, resume=True, changes=changes)
    run = fit(tiny(model=plain), None, folder / "two", resume=True, changes=changes)
    assert_near(run, fit(tiny(model=plain), AVERAGED, tmp_path / "whole"))


def test_shards_of_checkpoints_that_are_gone_are_removed(folder: Path) -> None:
    """Last, best and the one before at most."""
    assert len(list((folder / "fsdp-1" / "checkpoints").glob("shards-*"))) <= 3


def test_a_signal_to_one_process_stops_both(folder: Path, said: list[dict[str, Any]]) -> None:
    """After the same step; resumed, they end at the bits of the unbroken run."""
    assert [s["signalled"] for s in said] == ["interrupted"] * 2
    assert_same(Run.load(folder / "broken"), Run.load(folder / "whole"))


def test_a_loss_that_is_nan_in_one_process_ends_both(said: list[dict[str, Any]]) -> None:
    """Before it reaches anybody's weights."""
    for s in said:
        assert "diverged in epoch 1 after 4 steps" in s["nan"]
        assert "loss nan" in s["nan"]


def test_a_strategy_needs_torchrun(tmp_path: Path) -> None:
    """The error says how to start it."""
    with pytest.raises(InputError, match="torchrun --nproc-per-node N -m downslope train"):
        fit(tiny(), RECIPE.replace(strategy="ddp"), tmp_path / "run")


def test_torchrun_needs_a_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each process would train a model of its own, and write over the others' files."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="Give --strategy ddp or --strategy fsdp"):
        fit(tiny(), RECIPE, tmp_path / "run")
