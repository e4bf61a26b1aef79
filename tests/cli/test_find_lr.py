from __future__ import annotations

import inspect
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import downslope
from downslope.cli import app
from downslope.cli.find_lr import drawing
from downslope.cli.options import of_function
from downslope.finder import RangeTest

RUNNER = CliRunner()
FOUND = RangeTest(
    optimizer="adamw",
    lrs=tuple(10.0**-k for k in range(6, -1, -1)),
    losses=(3.0, 3.0, 2.0, 1.0, 0.5, 1.0, 4.0),
    smoothed=(3.0, 3.0, 2.5, 1.5, 1.0, 1.0, 2.0),
    diverged_at=None,
    steepest=1e-3,
    band=(1e-4, 5e-4),
    suggestion=1e-2,
    reason="",
)


def find_lr(*arguments: object) -> Result:
    return RUNNER.invoke(app, ["find-lr", *map(str, arguments)])


@pytest.fixture
def result(csv: Path) -> Result:
    return find_lr(csv, "--target", "kind", "--iterations", 40, "--plot", "curve.svg")


def test_what_was_found_is_printed(result: Result) -> None:
    """Steepest point, band, suggestion and the plot's path have a line each."""
    names = [line.split()[0] for line in result.stdout.splitlines()[-4:]]
    assert names == ["steepest", "band", "suggestion", "plot"]


def test_the_plot_is_written(result: Result) -> None:
    """The plot is in the format that its name says."""
    assert ET.fromstring(Path("curve.svg").read_text()).tag.endswith("svg")


def test_the_plot_is_named_after_the_task(csv: Path) -> None:
    """Without --plot the file is find-lr-TASK.png."""
    find_lr(csv, "--target", "kind", "--iterations", 10)
    assert Path("find-lr-shapes.png").read_bytes().startswith(b"\x89PNG")


def test_settings_reach_the_optimizer(csv: Path) -> None:
    """The optimizer and its arguments can be chosen."""
    result = find_lr(csv, "--target", "kind", "--optimizer", "sgd", "--set", "momentum=0.9")
    assert result.stdout.startswith("sgd: ")


def test_the_curve_marks_the_band_and_the_suggestion() -> None:
    """Below the curve the band is thick and an arrow stands at the suggestion, on a log axis."""
    axis = next(line for line in drawing(FOUND) if "▲" in line).lstrip()
    assert (axis.index("━"), axis.rindex("━"), axis.index("▲")) == (21, 28, 42)
    assert len(axis) == 64


def test_a_test_without_an_answer_says_why() -> None:
    """No suggestion: the reason is printed in its place."""
    unanswered = replace(FOUND, steepest=None, band=None, suggestion=None, reason="never fell")
    assert drawing(unanswered)[-1] == "note        never fell"


def test_a_test_that_diverged_at_once_has_no_curve() -> None:
    """Nothing is drawn where nothing was measured."""
    nothing = replace(
        *(FOUND,), lrs=(), losses=(), smoothed=(), steepest=None, band=None, suggestion=None
    )
    assert drawing(nothing) == ["adamw: training loss over learning rate"]


def test_plain_arguments_are_options() -> None:
    """Each argument of ``find_lr`` that is a number or a word can be given on the command line."""
    plain = re.compile(r"(\w+): (?:(?:int|float|str)(?: \| None)?|Literal\[[^]]*\])$")
    given = inspect.signature(downslope.find_lr).parameters.values()
    named = [p for p in given if p.kind is p.KEYWORD_ONLY]
    wanted = {p.name for p in named if plain.match(f"{p.name}: {p.annotation}")}
    assert (
        wanted
        == {spec.name for spec in of_function(downslope.find_lr)}
        >= {"steps", "growth", "end"}
    )
