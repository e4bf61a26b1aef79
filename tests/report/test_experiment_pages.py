"""The pages of a comparison and of a search."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from downslope.errors import InputError
from downslope.report import write_report

from .chromium import console, evaluate, needs_chromium
from .experiments import make_comparison, make_study
from .test_page import Outline

KINDS = ["comparison", "study"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {
        "comparison": write_report(make_comparison(folder / "c")),
        "study": write_report(make_study(folder / "s").path),  # found by what lies in the folder
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_small_complete_and_well_formed(pages: dict[str, Path], kind: str) -> None:
    """Under a megabyte, nothing loaded from anywhere, every element closed, one h1."""
    text = pages[kind].read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    outline = Outline(text)
    assert outline.open == []
    assert len(outline.named("h1")) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_told_to_who_cannot_see_it(pages: dict[str, Path], kind: str) -> None:
    """Each drawing has a description with numbers in it, and no two ids are the same."""
    outline = Outline(pages[kind].read_text(encoding="utf-8"))
    told = [str(svg["aria-label"]) for svg in outline.named("svg")]
    assert len(told) >= 4
    assert all(len(text) > 30 and re.search(r"\d", text) for text in told)
    ids = [a["id"] for _, a in outline.tags if a.get("id")]
    assert len(ids) == len(set(ids))


def test_a_comparison_is_answered_first(pages: dict[str, Path]) -> None:
    """The headline is the answer; who missed the target stands as such in figure and table."""
    text = pages["comparison"].read_text(encoding="utf-8")
    assert re.findall(r"<h1>(.*?)</h1>", text) == ["adamw reaches accuracy 0.9 soonest"]
    lede = re.findall(r'<p class="lede">(.*?)</p>', text)[0]
    assert "the next, sgd, takes" in lede
    assert "Behind: sgd, then lion." in lede
    assert "missed (missed to missed)" in text
    assert "lion missed, missed, missed, missed, missed" in text
    assert text.count("lr too high (the loss rises, step 3)") == 3


def test_a_search_is_answered_first(pages: dict[str, Path], tmp_path: Path) -> None:
    """Beaten or not, in the headline; with the numbers of the pairs below it."""
    text = pages["study"].read_text(encoding="utf-8")
    assert re.findall(r"<h1>(.*?)</h1>", text) == ["The search beat the default recipe"]
    assert "on 4 folds that neither was chosen by" in text
    other = write_report(make_study(tmp_path, beaten=False)).read_text(encoding="utf-8")
    assert "could not beat the default recipe" in re.findall(r"<h1>(.*?)</h1>", other)[0]


def test_what_differs_from_the_default_is_shown(pages: dict[str, Path]) -> None:
    """The recipe that a search leaves, beside the one that it began with."""
    text = pages["study"].read_text(encoding="utf-8")
    assert "0.0008 (default recipe 0.001)" in text


def test_twelve_optimizers_and_one_seed_are_drawn_too(tmp_path: Path) -> None:
    """More than there are colours, and runs without a spread."""
    labels = tuple(f"optimizer-{k}" for k in range(12))
    page = write_report(make_comparison(tmp_path, labels=labels, seeds=1))
    assert page.read_text(encoding="utf-8").count("optimizer-11") > 3


def test_a_name_cannot_put_markup_into_a_page(tmp_path: Path) -> None:
    """Labels are the user's."""
    page = write_report(make_comparison(tmp_path, labels=("<b>a&b", "<script>")))
    text = page.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "<b>" not in text


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    """In one line, as a run's is."""
    (tmp_path / "journal.jsonl").write_text('{"event": "note"}\n')
    with pytest.raises(InputError, match="not the directory of a comparison"):
        write_report(tmp_path)


@needs_chromium
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (1440, "light")])
def test_it_opens_without_a_word_or_a_sideways_bar(
    pages: dict[str, Path], kind: str, tmp_path: Path, width: int, scheme: str
) -> None:
    """On a phone and on a screen, details opened; its labels are legible and of the scheme."""
    found = evaluate(
        pages[kind],
        tmp_path,
        "(document.querySelectorAll('details').forEach(d => d.open = true),"
        " [document.documentElement.scrollWidth <= innerWidth,"
        " Math.min(...[...document.querySelectorAll('svg text')]"
        ".filter(t => t.textContent.trim())"
        ".map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().d)) >= 9,"
        " getComputedStyle(document.querySelector('svg text')).fill"
        ".match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) > 382])",
        width=width,
        scheme=scheme,
    )
    assert found == [True, True, scheme == "dark"]


@needs_chromium
@pytest.mark.parametrize("kind", KINDS)
def test_the_keyboard_reaches_every_table_that_scrolls(
    pages: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    """Each can have the focus, as can what opens; nothing is said on the console."""
    found = evaluate(
        pages[kind],
        tmp_path,
        "[...document.querySelectorAll('.scroll, summary')].map(e => (e.closest('details') &&"
        " (e.closest('details').open = true), e.focus(), document.activeElement === e))",
    )
    assert found
    assert all(found)
    assert console(pages[kind], tmp_path) == []
