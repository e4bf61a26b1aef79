"""Checkpoints: damage is refused, a kill leaves the old one, only plain data is read."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from downslope.errors import CheckpointError
from downslope.files import write_atomically
from downslope.training import load_checkpoint, save_checkpoint

STATE = {"weights": torch.arange(5000.0), "step": 7, "name": "a", "pair": (1, None), "list": [0.5]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "last.pt"
    save_checkpoint(STATE, path)
    return path


def assert_is_state(loaded: dict[str, Any]) -> None:
    assert loaded["weights"].equal(STATE["weights"])
    assert {k: v for k, v in loaded.items() if k in STATE and k != "weights"} == {
        k: v for k, v in STATE.items() if k != "weights"
    }


def test_what_is_saved_is_loaded(file: Path) -> None:
    """Tensors and plain data come back as they were."""
    assert_is_state(load_checkpoint(file))


def test_flipped_bits_are_refused(file: Path) -> None:
    """Of 200 flips none gives wrong values: it is refused, or hit a byte that means nothing."""
    content = file.read_bytes()
    choose = random.Random(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        damaged[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
        file.write_bytes(damaged)
        try:
            assert_is_state(load_checkpoint(file))
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 - both outcomes are allowed
    assert refused >= 190


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_files_are_refused(file: Path, share: float) -> None:
    """Also the empty one."""
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"last.pt' is damaged"):
        load_checkpoint(file)


@pytest.mark.parametrize("start", [2000, 10_000, -4096])
def test_zeroed_blocks_are_refused(file: Path, start: int) -> None:
    """A disk that lost a block of 4 KB."""
    content = bytearray(file.read_bytes())
    begin = start % len(content)
    content[begin : begin + 4096] = bytes(4096)
    file.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(file)


@pytest.mark.parametrize("content", [b"some text\n", b"PK\x03\x04 nearly", b"\x80\x04."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """A text file, half a zip header, a pickle."""
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        load_checkpoint(tmp_path / "x.pt")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="Is a directory"):
        load_checkpoint(tmp_path)


def test_torch_files_of_others_are_refused(tmp_path: Path) -> None:
    """A bare state dict is not a run's checkpoint."""
    torch.save({"weight": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of Downslope"):
        load_checkpoint(tmp_path / "x.pt")


def test_later_versions_are_refused(tmp_path: Path) -> None:
    """Instead of being misread."""
    save_checkpoint({**STATE, "version": 99}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="version 99"):
        load_checkpoint(tmp_path / "x.pt")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """A pickle that calls a function is refused before it does."""

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"format": "downslope-checkpoint", "version": 1, "x": Trap()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path / "trapped").exists()


def test_a_failed_write_keeps_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk loses nothing and leaves no temporary file."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint({"weights": torch.zeros(1)}, file)
    assert_is_state(load_checkpoint(file))
    assert list(file.parent.iterdir()) == [file]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    """A temporary file is private; what it becomes is not."""
    (tmp_path / "plain").write_text("x")
    write_atomically(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


KILLER = """
import os, random, signal, sys, time, torch
from downslope.training import load_checkpoint, save_checkpoint
torch.set_num_threads(1)
path = sys.argv[1]
save_checkpoint({"fill": torch.zeros(500_000)}, path)
choose = random.Random(0)
for _ in range(12):
    child = os.fork()
    if child == 0:
        for i in range(10_000):
            save_checkpoint({"fill": torch.full((500_000,), float(i))}, path)
    time.sleep(choose.uniform(0.01, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    fill = load_checkpoint(path)["fill"]
    assert (fill == fill[0]).all()
print("survived")
"""


def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Twelve processes are killed at random moments of saving over the same file."""
    process = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path / "last.pt")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.stdout == "survived\n", process.stderr
