"""Records survive a kill: complete lines are kept, a torn one is cut."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from downslope.errors import CheckpointError, InputError
from downslope.monitor import RecordWriter, read_records

RECORDS = [{"event": "train", "step": i, "loss": 1 / i} for i in range(1, 4)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    with RecordWriter(path) as writer:
        for record in RECORDS:
            writer.write(record)
    return path


def test_what_is_written_is_read(file: Path) -> None:
    """Numbers come back to the last bit."""
    assert read_records(file) == RECORDS


def test_a_record_is_in_the_file_before_write_returns(tmp_path: Path) -> None:
    """With those of the steps before it, which alone wait, for a checkpoint at the latest."""
    path = tmp_path / "r.jsonl"
    with RecordWriter(path) as writer:
        writer.write(RECORDS[0])
        writer.write({"event": "skip"})
        assert read_records(path) == [RECORDS[0], {"event": "skip"}]
        writer.write(RECORDS[1])
        assert writer.flushed_size() == path.stat().st_size
        assert read_records(path)[-1] == RECORDS[1]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """It says what to do; closing does not fail on top of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # Python ignores its signal
    try:
        with (
            pytest.raises(CheckpointError, match="cannot be written: File too large") as error,
            RecordWriter(tmp_path / "r.jsonl") as writer,
        ):
            writer.write({"event": "end", "reason": 200 * "x"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("torn", [b'{"event": "tra', b"{", b"\xff\xfe"])
def test_a_torn_last_line_is_left_out(file: Path, torn: bytes) -> None:
    """Half a record is not a record."""
    with file.open("ab") as end:
        end.write(torn)
    assert read_records(file) == RECORDS


def test_every_prefix_of_the_file_can_be_read(file: Path) -> None:
    """Wherever a kill cuts the file, the complete lines are there."""
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        assert read_records(file) == RECORDS[: content[:length].count(b"\n")]


def test_a_torn_line_is_cut_when_writing_goes_on(file: Path) -> None:
    """Or the next record would be glued to it."""
    with file.open("ab") as end:
        end.write(b'{"event": "tra')
    with RecordWriter(file) as writer:
        writer.write(RECORDS[0])
    assert read_records(file) == [*RECORDS, RECORDS[0]]


def test_what_came_after_a_checkpoint_is_cut(tmp_path: Path) -> None:
    """A resumed run writes those steps again."""
    path = tmp_path / "r.jsonl"
    with RecordWriter(path) as writer:
        writer.write(RECORDS[0])
        size = writer.flushed_size()
        writer.write(RECORDS[1])
    with RecordWriter(path, keep=size) as writer:
        writer.write(RECORDS[2])
    assert read_records(path) == [RECORDS[0], RECORDS[2]]


@pytest.mark.parametrize("extra", [1, 10_000])
def test_a_size_that_fits_no_line_keeps_the_complete_ones(file: Path, extra: int) -> None:
    """After a power cut the file may be shorter than a checkpoint remembers."""
    first = len(json.dumps(RECORDS[0])) + 1
    with RecordWriter(file, keep=first + extra):
        pass
    assert read_records(file) == (RECORDS if extra > first * 3 else RECORDS[:1])


@pytest.mark.parametrize("line", ["not json", "[1, 2]", '{"step": 3}', "3"])
def test_a_complete_line_that_is_no_record_is_an_error(file: Path, line: str) -> None:
    """The message names the line."""
    with file.open("a") as end:
        end.write(line + "\n")
    with pytest.raises(InputError, match="line 4: not a record"):
        read_records(file)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    """The message says why it cannot be read."""
    with pytest.raises(InputError, match="No such file"):
        read_records(tmp_path / "none.jsonl")


def test_nan_is_refused(tmp_path: Path) -> None:
    """JSON has none, and a browser could not read it."""
    with RecordWriter(tmp_path / "r.jsonl") as writer, pytest.raises(ValueError, match="JSON"):
        writer.write({"event": "train", "loss": float("nan")})
