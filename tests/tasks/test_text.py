"""Text: windows, the split along it, bits per byte, predictions, errors."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from downslope import Recipe, Run, Task, fit, load_task, predict
from downslope.errors import InputError
from downslope.tasks import bits
from downslope.tasks.text import text
from downslope.tasks.text.text import LENGTH

from ..training.tiny import break_at, measured

RECIPE = Recipe(lr=0.01, epochs=2, max_steps=8, batch_size=8)


@pytest.fixture
def story(tmp_path: Path) -> Path:
    """A text of 40 windows over a few words."""
    words = np.random.default_rng(0).choice(["down ", "the ", "slope ", "we ", "go\n"], 2000)
    path = tmp_path / "story.txt"
    path.write_bytes("".join(words).encode()[: 40 * LENGTH + 5])
    return path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of a few units, so that training takes no time."""
    monkeypatch.setitem(text.MODELS, "gru", {"symbols": 256, "width": 16})
    sizes = {"symbols": 256, "length": LENGTH, "width": 16, "heads": 2, "blocks": 1}
    monkeypatch.setitem(text.MODELS, "transformer", sizes)


def rows(task: Task, part: str) -> list[bytes]:
    return [bytes(row.tolist()) for row in getattr(task, part)[:][0]]


def test_windows_are_the_text_cut_up(story: Path) -> None:
    """Every window is in one part, and its targets are the bytes one further on."""
    task = load_task(str(story))
    content = story.read_bytes()
    windows = dict(zip(task.train_rows, rows(task, "train"), strict=True))
    windows |= dict(zip(task.validation_rows, rows(task, "validation"), strict=True))
    assert b"".join(windows[k] for k in range(40)) == content[: 40 * LENGTH]
    first = task.train_rows[0] * LENGTH
    assert bytes(task.train[0][1].tolist()) == content[first + 1 : first + LENGTH + 1]


def test_the_validation_part_is_of_the_whole_text(story: Path) -> None:
    """One of every five windows in a row, which one the seed says."""
    first, again, other = (load_task(str(story), seed=seed) for seed in (0, 0, 1))
    assert [row // 5 for row in first.validation_rows] == list(range(8))
    assert first.validation_rows == again.validation_rows != other.validation_rows


def test_a_folder_is_its_text_files_in_order(story: Path) -> None:
    """Binary and hidden files are left out; subfolders are not."""
    folder = story.parent / "texts"
    (folder / "b").mkdir(parents=True)
    (folder / "c.md").write_bytes(b"c" * 2000)
    (folder / "b" / "d.py").write_bytes(b"d" * 2000)
    (folder / ".hidden").write_bytes(b"h" * 2000)
    (folder / "a.bin").write_bytes(b"\x00" * 2000)
    task = load_task(str(folder))
    assert set(b"".join(rows(task, "train"))) == set(b"cd")
    assert rows(task, "train")[0] == b"d" * LENGTH


def test_bits_are_the_mean_of_minus_log2() -> None:
    """By a loop in float64."""
    torch.manual_seed(0)
    scores, targets = torch.randn(3, 4, 5), torch.randint(0, 5, (3, 4), dtype=torch.uint8)
    total = 0.0
    for row, target in zip(scores.view(-1, 5).double(), targets.flatten().tolist(), strict=True):
        total -= math.log2(math.exp(row[target]) / sum(math.exp(x) for x in row))
    assert bits(scores.double(), targets) == pytest.approx(total / 12, rel=1e-12)


@pytest.mark.parametrize("model", ["gru", "transformer"])
def test_training_learns_and_resumes(story: Path, tmp_path: Path, small: None, model: str) -> None:
    """Far less than 8 bits a byte after a few steps, to the same bits when broken."""
    task = load_task(str(story), model=model)
    whole = fit(task, RECIPE, tmp_path / "whole")
    assert whole.best_metric is not None
    assert whole.best_metric < 7.5
    break_at(3, task, RECIPE, tmp_path / "cut")
    resumed = fit(Run.load(tmp_path / "cut").task(), run_dir=tmp_path / "cut", resume=True)
    assert measured(resumed) == measured(whole)


def test_the_metric_is_the_loss_in_bits(story: Path, tmp_path: Path, small: None) -> None:
    """Of all validation rows, though it is measured batch by batch."""
    run = fit(load_task(str(story)), RECIPE, tmp_path / "run")
    last = [r for r in run.records() if r["event"] == "validation"][-1]
    assert last["metric"] == pytest.approx(last["loss"] / math.log(2), rel=1e-6)


def test_each_byte_of_a_file_is_scored_once(story: Path, tmp_path: Path, small: None) -> None:
    """The windows' bits, counted by their bytes, are what the model says of the whole text."""
    run = fit(load_task(str(story)), RECIPE, tmp_path / "run")
    answers = predict(run, story)
    content = torch.frombuffer(bytearray(story.read_bytes()), dtype=torch.uint8)
    assert answers["bytes"].sum() == len(content) - 1
    assert answers["offset"].tolist() == list(range(0, len(content) - 1, LENGTH - 1))
    model, total = run.model(), 0.0
    for at in range(0, len(content) - 1, LENGTH - 1):
        window = content[at : at + LENGTH]
        with torch.no_grad():
            scores = model(window[None])
        total += bits(scores[:, :-1], window[None, 1:]) * (len(window) - 1)
    assert (answers["bits_per_byte"] * answers["bytes"]).sum() == pytest.approx(total, rel=1e-5)
    assert answers["next_byte"][-1] == scores[0, -1].argmax()


def test_a_folder_of_texts_is_scored_file_by_file(story: Path, tmp_path: Path, small: None) -> None:
    """Rows say which file they are of."""
    run = fit(load_task(str(story)), RECIPE, tmp_path / "run")
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "one.txt").write_bytes(story.read_bytes()[:300])
    (folder / "two.txt").write_text("we go")
    answers = predict(run, folder)
    assert answers["file"].tolist() == ["one.txt"] * 3 + ["two.txt"]
    assert answers["bytes"].tolist() == [127, 127, 45, 4]


def test_pythons_own_sources(small: None) -> None:
    """A package of the standard library is a text."""
    task = load_task(str(Path(json.__file__).parent))
    assert b"import" in b"".join(rows(task, "train"))


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.txt", b"short", {}, "too short: 5 bytes"),
        ("a.txt", b"", {}, "too short: 0 bytes"),
        ("a.bin", b"ab\x00" * 1000, {}, "holds a byte 0"),
        ("a.txt", b"text " * 1000, {"model": "lstm"}, "Unknown model for text 'lstm'"),
        ("a.txt", b"text " * 1000, {"augment": "flip"}, "takes no augment"),
    ],
)
def test_bad_text_is_refused(
    tmp_path: Path, name: str, content: bytes, options: dict[str, str], message: str
) -> None:
    """One line says what came and what is needed."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_task(str(tmp_path / name), **options)  # type: ignore[arg-type]  # a dict


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """It is neither of images nor of text."""
    with pytest.raises(InputError, match="neither images in folders of their class nor text"):
        load_task(str(tmp_path))
