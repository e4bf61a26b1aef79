"""The record of a range test: saved, read back, printed and drawn."""

from __future__ import annotations

import json

import matplotlib as mpl
import pytest

from downslope import RangeTest
from downslope.errors import InputError

from .problems import sweep

mpl.use("Agg")


def test_a_result_survives_json() -> None:
    """Saved as JSON and read back, a result is equal."""
    test = sweep()
    assert RangeTest.from_dict(json.loads(json.dumps(test.to_dict()))) == test


def test_something_else_is_no_saved_result() -> None:
    """A dict with other keys is refused by name."""
    with pytest.raises(InputError, match=r"not a saved range test: it has the keys .*'lrs'"):
        RangeTest.from_dict({"lrs": []})


def test_a_result_is_printed_in_a_line() -> None:
    """What follows from the curve, not its hundreds of numbers."""
    test = sweep()
    shown = repr(test)
    assert len(shown) < 500
    assert f"lrs=<{len(test.lrs)} values>" in shown
    assert f"suggestion={test.suggestion:.4g}, reason=''" in shown


def test_the_plot_shows_everything() -> None:
    """A logarithmic axis, both curves, the band, the steepest point and the suggestion."""
    test = sweep()
    axes = test.plot()
    assert axes.get_xscale() == "log"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.split()[0] for label in labels] == [
        "loss",
        "smoothed",
        "band",
        "steepest",
        "races,",
        "suggestion",
    ]
    assert labels[-1] == f"suggestion {test.suggestion:.1e}"
    assert test.plot(ax=axes) is axes
    mpl.pyplot.close("all")
