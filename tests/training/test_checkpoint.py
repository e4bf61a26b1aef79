"""Checkpoints: damage is refused, a kill leaves the old one, only plain data is read."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from downslope.errors import CheckpointError, InputTypeError
from downslope.files import write_atomically
from downslope.training import checkpoint
from downslope.training.keeper import Keeper, newest_sound

STATE = {"weights": torch.arange(5000.0), "step": 7, "name": "a", "pair": (1, None), "list": [0.5]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "last.pt"
    checkpoint.save(STATE, path)
    return path


def is_state(loaded: dict[str, Any]) -> bool:
    plain = {k: v for k, v in STATE.items() if k != "weights"}
    return loaded.pop("weights").equal(STATE["weights"]) and loaded == plain


def refused(file: Path, content: bytes | bytearray) -> bool:
    """Whether such a file is refused, in one line."""
    file.write_bytes(content)
    try:
        checkpoint.load(file)
    except CheckpointError as error:
        return "\n" not in str(error)
    return False


def test_what_is_saved_is_loaded(file: Path) -> None:
    """Tensors and plain data come back as they were."""
    assert is_state(checkpoint.load(file))


def test_it_is_a_file_of_torch(file: Path) -> None:
    """Who has no Downslope reads it all the same, from memory or mapped."""
    for mapped in (False, True):
        assert is_state(torch.load(file, weights_only=True, mmap=mapped))


def test_every_flipped_bit_is_refused(file: Path) -> None:
    """500 places anywhere, and some bit of each of the last 64 bytes, where the checksum stands."""
    content = file.read_bytes()
    size = 8 * len(content)
    choose = random.Random()
    for bit in [*choose.sample(range(size), 500), *range(size - 8 * 64, size, 9)]:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        assert refused(file, damaged), bit


def test_every_truncation_is_refused(file: Path) -> None:
    """From the empty file to the one that lacks its last byte."""
    content = file.read_bytes()
    sizes = {0, 1, *random.Random().sample(range(len(content)), 50), len(content) - 1}
    assert all(refused(file, content[:size]) for size in sizes)


def test_every_zeroed_page_is_refused(file: Path) -> None:
    """A disk that lost a block of 4 KB."""
    content = file.read_bytes()
    for begin in range(0, len(content), 4096):
        page = bytes(len(content[begin : begin + 4096]))
        assert refused(file, content[:begin] + page + content[begin + 4096 :]), begin


@pytest.mark.parametrize("content", [b"some text\n", b"PK\x03\x04 nearly", b"\x80\x04."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """A text file, half a zip header, a pickle."""
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        checkpoint.load(tmp_path / "x.pt")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint.load(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="Is a directory"):
        checkpoint.load(tmp_path)


def test_torch_files_of_others_are_refused(tmp_path: Path) -> None:
    """A bare state dict is not a run's checkpoint."""
    torch.save({"weight": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of Downslope"):
        checkpoint.load(tmp_path / "x.pt")


def test_later_versions_are_refused(file: Path) -> None:
    """Instead of being misread."""
    file.write_bytes(file.read_bytes().replace(b"downslope 2 crc32", b"downslope 9 crc32"))
    with pytest.raises(CheckpointError, match=r"version 9; this Downslope reads versions 1 to 2"):
        checkpoint.load(file)


def test_version_1_is_read(tmp_path: Path) -> None:
    """Files that were written before the comment; damage to their parts is refused."""
    path = tmp_path / "old.pt"
    torch.save({"format": "downslope-checkpoint", "version": 1, **STATE}, path)
    assert checkpoint.version(path) == 1
    assert is_state(checkpoint.load(path))
    with zipfile.ZipFile(path) as archive:
        weights = next(i for i in archive.infolist() if i.file_size == 20_000)
    content = bytearray(path.read_bytes())
    content[weights.header_offset + 10_000] ^= 1
    assert refused(path, content)


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        ({"a": [1, object()]}, r"got object at \['a'\]\[1\]"),
        ({"a": torch.zeros(1).numpy()}, "got ndarray"),
        ({("x", len): 1}, "got builtin_function_or_method"),
        (Path("x"), "got PosixPath. "),
    ],
)
def test_only_plain_data_is_written(tmp_path: Path, obj: Any, says: str) -> None:
    """What a reader of plain data would refuse is refused before it is written."""
    with pytest.raises(InputTypeError, match=says):
        checkpoint.save(obj, tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """A pickle that calls a function is refused before it does."""

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"format": "downslope-checkpoint", "version": 1, "x": Trap()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / "x.pt")
    assert not (tmp_path / "trapped").exists()


def test_a_full_disk_keeps_the_old_file(file: Path) -> None:
    """One line says so; no temporary file is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores its signal
    try:
        with pytest.raises(CheckpointError, match="File too large; the checkpoint before") as error:
            checkpoint.save({"weights": torch.zeros(100_000)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert is_state(checkpoint.load(file))
    assert list(file.parent.iterdir()) == [file]


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(CheckpointError, match="No such file or directory; nothing was written"):
        checkpoint.save(STATE, tmp_path / "none" / "x.pt")


def test_saving_copies_nothing(tmp_path: Path) -> None:
    """64 MB are written in pieces that the file takes as they lie in memory."""
    weights = torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    checkpoint.save({"weights": weights}, tmp_path / "x.pt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_the_newest_states_are_kept(tmp_path: Path) -> None:
    """The last one and those before it, each whole; the oldest goes."""
    with Keeper(tmp_path, keep=3) as keeper:
        for step in range(1, 6):
            keeper.save("last", {"step": step}, step)
        keeper.save("best", {"step": 5}, 5)
    names = {"best.pt": 5, "last.pt": 5, "step-00000004.pt": 4, "step-00000003.pt": 3}
    assert {p.name: checkpoint.load(p)["step"] for p in tmp_path.iterdir()} == names


def test_the_newest_sound_checkpoint_is_found(tmp_path: Path) -> None:
    """Damaged ones are passed over."""
    with Keeper(tmp_path, keep=3) as keeper:
        for step in (1, 2, 3):
            keeper.save("last", {"step": step}, step)
    (tmp_path / "step-00000002.pt").write_bytes(b"")
    assert newest_sound(tmp_path) == tmp_path / "step-00000001.pt"


def test_what_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    """A folder where the second name of the last checkpoint should be."""
    with Keeper(tmp_path, keep=2) as keeper:
        keeper.save("last", STATE, 1)
        (tmp_path / "step-00000001.pt").mkdir()
        with pytest.raises(CheckpointError, match=r"last.pt' cannot be written: Is a directory"):
            keeper.save("last", STATE, 2)


def test_in_the_background_the_state_is_that_of_the_call(tmp_path: Path) -> None:
    """Whatever training does to the tensors meanwhile."""
    weights = torch.zeros(2_000_000)
    with Keeper(tmp_path, background=True) as keeper:
        keeper.save("last", {"weights": weights}, 1)
        weights.fill_(1.0)
    assert checkpoint.load(tmp_path / "last.pt")["weights"].sum() == 0


def test_a_failure_in_the_background_is_raised(tmp_path: Path) -> None:
    """By the next save, or by the end."""
    with (  # noqa: PT012 - the second save is what raises
        pytest.raises(CheckpointError, match="No such file"),
        Keeper(tmp_path / "none", background=True) as keeper,
    ):
        keeper.save("last", STATE, 1)
        keeper.save("last", STATE, 2)


def test_a_copy_that_does_not_fit_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training waits for the file, with a warning."""
    monkeypatch.setattr("downslope.training.keeper._free_memory", lambda: 1000)
    with Keeper(tmp_path, background=True) as keeper:
        with pytest.warns(UserWarning, match="written while training waits"):
            keeper.save("last", STATE, 1)
        assert is_state(checkpoint.load(tmp_path / "last.pt"))


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    """A temporary file is private; what it becomes is not."""
    (tmp_path / "plain").write_text("x")
    write_atomically(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


KILLER = """
import os, random, signal, sys, time, torch
from downslope.training import checkpoint
torch.set_num_threads(1)
path = sys.argv[1]
checkpoint.save({"fill": torch.zeros(500_000)}, path)
choose = random.Random(0)
for _ in range(12):
    child = os.fork()
    if child == 0:
        for i in range(10_000):
            checkpoint.save({"fill": torch.full((500_000,), float(i))}, path)
    time.sleep(choose.uniform(0.01, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    fill = checkpoint.load(path)["fill"]
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
