from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from downslope.errors import InputError
from downslope.report import write_report

from .run_folder import make_run

VOID = {"meta", "link", "br", "img"}


class Outline(HTMLParser):
    """Tags that are open at the end, and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return read(make_run(tmp_path_factory.mktemp("run")))


def read(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_every_element_is_closed(text: str) -> None:
    """The page is well-formed."""
    assert Outline(text).open == []


def test_the_result_comes_first(text: str) -> None:
    """The only h1 is the result in one line, and the title says the same."""
    assert re.findall(r"<h1>(.*?)</h1>", text) == ["digits: accuracy 0.9908 at lr 0.003"]
    assert "<title>digits: accuracy 0.9908 at lr 0.003" in text


def test_nothing_is_loaded(text: str) -> None:
    """No script, no address of another file: the page is complete in itself."""
    addresses = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)', text)
    assert {(a or b)[0] for a, b in addresses} == {"#", "d"}  # fragments and the empty data icon
    assert "<script" not in text
    assert "@import" not in text


def test_headings_do_not_skip_a_level(text: str) -> None:
    """A screen reader can walk the page by its headings."""
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_figures_are_described(text: str) -> None:
    """Each drawing is an image with a sentence in place of what it shows."""
    drawings = Outline(text).named("svg")
    assert len(drawings) == 5
    for attributes in drawings:
        assert attributes["role"] == "img"
        assert "from" in str(attributes["aria-label"])


def test_the_language_is_named(text: str) -> None:
    """The page says that it is in English."""
    assert Outline(text).named("html") == [{"lang": "en"}]


def test_ids_are_unique_and_found(text: str) -> None:
    """Figures share one page, so their ids must not collide, and each reference must lead."""
    ids = re.findall(r'\bid="([^"]+)"', text)
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert len(ids) == len(set(ids))
    assert {a or b for a, b in references} <= set(ids)


def test_figures_have_no_colours_of_their_own(text: str) -> None:
    """Every colour in a drawing is a variable of the page, which has a dark twin."""
    drawings = "".join(re.findall(r"<svg.*?</svg>", text))
    assert re.findall(r"#[0-9a-fA-F]{6}|rgb\(|black|white", drawings) == []


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    """A task, a metric and a folder with markup in their names are shown, not obeyed."""
    evil = '<img src=x onerror="x">'
    text = read(make_run(tmp_path / "<b>&", task=evil, metric=evil))
    assert "<img" not in text
    assert "<b>" not in text
    assert text.count("&lt;img src=x onerror=&quot;x&quot;&gt;") > 5
    assert Outline(text).open == []


def test_what_differs_from_the_default_is_marked(tmp_path: Path) -> None:
    """Only the setting that was changed carries its default."""
    text = read(make_run(tmp_path, seed=7))
    rows = re.findall(r'<tr class="changed">.*?</tr>', text)
    assert len(rows) == 1
    assert "seed" in rows[0]
    assert "default 0" in rows[0]


def test_no_range_test_no_section(tmp_path: Path) -> None:
    """A run whose learning rate was given has no range test to show."""
    text = read(make_run(tmp_path, range_test=False))
    assert "range test</h2>" not in text
    assert len(Outline(text).named("svg")) == 4


@pytest.mark.parametrize(
    ("keep", "reason", "says"),
    [
        (1, None, "Not finished: 0 of 40 steps"),
        (6, "interrupted", "Interrupted after 5 of 40 steps"),
        (25, None, "Not finished: 22 of 40 steps"),
        (25, "early stop", "Stopped early after 22 of 40 steps"),
        (25, "diverged", "Diverged after 22 of 40 steps"),
        (None, "finished", "Finished all 4 epochs"),
    ],
)
def test_a_run_that_stopped_anywhere_has_a_page(
    tmp_path: Path, keep: int | None, reason: str | None, says: str
) -> None:
    """Records may end after the start, inside an epoch or at the end; the page says which."""
    text = read(make_run(tmp_path, keep=keep, reason=reason))
    assert says in text
    assert Outline(text).open == []


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    """A page grows with the screen, not with the run: ten times the steps add little."""
    short = write_report(make_run(tmp_path / "short", epochs=40, steps_per_epoch=50))
    long = write_report(make_run(tmp_path / "long", epochs=400, steps_per_epoch=50))
    assert long.stat().st_size < 2 * short.stat().st_size < 200_000


def test_the_same_files_make_the_same_page(tmp_path: Path) -> None:
    """Nothing but the run's files goes into the page."""
    folder = make_run(tmp_path)
    assert read(folder) == read(folder)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    """The error names the folder, and no page is left in it."""
    with pytest.raises(InputError, match="not the directory of a run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
