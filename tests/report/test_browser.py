from __future__ import annotations

from pathlib import Path

import pytest

from downslope.report import write_report

from .chromium import console, evaluate, needs_chromium
from .run_folder import make_run

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make_run(tmp_path_factory.mktemp("run")))


def test_the_console_stays_empty(page: Path, tmp_path: Path) -> None:
    """The page opens without an error or a warning."""
    assert console(page, tmp_path) == []


def test_a_request_would_be_seen(page: Path, tmp_path: Path) -> None:
    """The policy in the page refuses any request, and the check above would notice one."""
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8")
    broken.write_text(text.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'))
    assert any("Content Security Policy" in line for line in console(broken, tmp_path))


@pytest.mark.parametrize("name", ["digits", "a_" + 80 * "long" + "_name.csv"])
def test_a_phone_needs_no_sideways_scrolling(tmp_path: Path, name: str) -> None:
    """At 375 pixels no name is too long, and the opened table of epochs scrolls by itself."""
    found = evaluate(
        write_report(make_run(tmp_path / name[:200], task=name, metric=name)),
        tmp_path,
        "(document.querySelectorAll('details').forEach(d => d.open = true),"
        " [innerWidth, document.documentElement.scrollWidth <= innerWidth])",
        width=375,
    )
    assert found == [375, True]


def test_text_in_figures_is_readable_on_a_phone(page: Path, tmp_path: Path) -> None:
    """No label is drawn smaller than 9 pixels at 375 pixels of width."""
    smallest = evaluate(
        page,
        tmp_path,
        "Math.min(...[...document.querySelectorAll('svg text')].filter(t => t.textContent.trim())"
        ".map(t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().d))",
        width=375,
    )
    assert smallest >= 9


def test_the_page_follows_the_readers_colour_scheme(page: Path, tmp_path: Path) -> None:
    """In a dark browser the paper is dark, the ink light, and so are the figures' labels."""
    expression = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
        " getComputedStyle(document.querySelector('svg text')).fill]"
        ".map(c => c.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) > 382)"
    )
    light = evaluate(page, tmp_path, expression, scheme="light")
    dark = evaluate(page, tmp_path, expression, scheme="dark")
    assert (light, dark) == ([True, False, False], [False, True, True])
