from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from downslope import load_task
from downslope.cli import app
from downslope.cli.cache import table
from downslope.engines import cache

RUNNER = CliRunner()
TEXT = '"""{}, exp_avg: float32. Generated from the formula; do not edit."""\nX = {}\n'
FOREIGN = ("notes.txt", "downslope_kernel_mine.py", "downslope_kernel_" + "0" * 24 + ".txt")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, with two kernels of Adam, one of SGD, and files that are not ours."""
    monkeypatch.setenv("DOWNSLOPE_CACHE", str(tmp_path))
    cache.folder.cache_clear()
    place = cache.folder()
    for rule, number in (("adam", 1), ("adam", 2), ("sgd", 3)):
        cache.load(TEXT.format(rule, number), str(tmp_path))  # a stamp of its own, or it is known
    sources = sorted(place.glob("downslope_kernel_*.py"))
    compiled = place / "__pycache__"
    compiled.mkdir(exist_ok=True)
    for suffix in (".run0-9.py311.nbi", ".run0-9.py311.1.nbc"):
        (compiled / f"{sources[0].stem}{suffix}").write_bytes(b"x" * 5000)
    for name in FOREIGN:
        (place / name).write_text("mine")
    (compiled / "other.cpython-311.pyc").write_bytes(b"mine")
    (place / "folder").mkdir()
    yield place
    cache.folder.cache_clear()


def run(*arguments: str) -> Result:
    return RUNNER.invoke(app, ["cache", *arguments])


def left(place: Path) -> set[str]:
    return {p.name for p in place.rglob("*") if p.is_file()}


def test_the_table_counts_by_rule(folder: Path) -> None:
    """A line for each rule with its kernels, and the whole in the first."""
    lines = run().stdout.splitlines()
    assert lines[0].startswith(f"{folder}: 3 kernels, 1")
    assert lines[0].endswith(" kB")
    assert lines[1].split() == ["rule", "kernels", "size", "newest", "oldest"]
    assert {tuple(line.split()[:2]) for line in lines[2:]} == {("adam", "2"), ("sgd", "1")}


def test_ages_are_those_of_the_files(folder: Path) -> None:
    """The newest and the oldest kernel of a rule, in units that people read."""
    for kernel in cache.kernels():
        for path in kernel.files:
            os.utime(path, (1000, 1000))
    rows = list(table(cache.kernels(), now=1000 + 7300))
    assert rows[-1].split()[-4:] == ["2", "h", "2", "h"]


def test_clear_removes_ours_and_nothing_else(folder: Path) -> None:
    """Sources, bytecode and Numba's files go; files of other names stay."""
    (folder / "downslope_kernel_x7_q.tmp").write_text("half a source")
    result = run("clear", "--yes")
    assert result.exit_code == 0
    assert result.stdout.startswith("removed 3 kernels, 1")
    assert left(folder) == {*FOREIGN, "other.cpython-311.pyc"}
    assert (folder / "folder").is_dir()
    assert run().stdout.startswith(f"{folder}: 0 kernels, 0 B")


def test_a_link_in_place_of_the_compiled_files_is_not_followed(
    folder: Path, tmp_path: Path
) -> None:
    """What lies elsewhere stays, whatever its name."""
    compiled = folder / "__pycache__"
    elsewhere = tmp_path / "elsewhere"
    compiled.rename(elsewhere)
    compiled.symlink_to(elsewhere)
    kept = left(elsewhere)
    run("clear", "--yes")
    assert left(elsewhere) == kept


def test_what_was_cleared_is_made_anew(folder: Path) -> None:
    """After clearing, another process's kernel is written again."""
    cache.clear()
    cache.load(TEXT.format("sgd", 4), str(folder))
    assert [k.rule for k in cache.kernels()] == ["sgd"]


def test_without_a_terminal_clearing_needs_yes(folder: Path) -> None:
    """Where nobody can be asked, it is an error in one line, and nothing is removed."""
    before = left(folder)
    result = run("clear")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "give --yes" in result.stderr
    assert left(folder) == before


@pytest.mark.parametrize(("answer", "removed"), [("y", True), ("n", False), ("\x04", False)])
def test_at_a_terminal_it_asks(folder: Path, answer: str, removed: bool) -> None:
    """Yes removes; no, or the end of the input, does not."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "downslope", "cache", "clear"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, text=True) as process:
        os.write(ours, answer.encode() + b"\n" * (answer != "\x04"))
        out, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert "Remove 3 kernels" in out
    assert ("nothing was removed" in out) is not removed
    assert bool(cache.kernels()) is not removed


def test_a_folder_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that cannot be written says which, and what to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DOWNSLOPE_CACHE", str(tmp_path / "file"))
    cache.folder.cache_clear()
    result = run()
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Set DOWNSLOPE_CACHE" in result.stderr


def test_an_unknown_action_is_one_line() -> None:
    """Another word than show and clear is an error that lists both."""
    result = run("purge")
    assert result.exit_code == 2
    assert "'show', 'clear'" in result.stderr


def test_ages_are_counted_from_now(folder: Path) -> None:
    """What was just made is seconds old."""
    assert all(time.time() - 60 < k.made <= time.time() + 1 for k in cache.kernels())


def test_converted_tables_are_shown_and_cleared(tmp_path: Path, folder: Path) -> None:
    """Rows of a large table are listed by its path, and go with the kernels."""
    path = tmp_path / "big.csv"
    path.write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(100)))
    load_task(str(path), target="y", stream=True)
    *_, where, line = run().stdout.splitlines()
    assert where.startswith(f"{tmp_path}/tables: 1 converted table, ")
    assert line.endswith(f"  {path}")
    assert run("clear", "--yes").stdout.startswith("removed 3 kernels and 1 converted table, ")
    assert not left(tmp_path / "tables")
    assert len(run().stdout.splitlines()) == 1
