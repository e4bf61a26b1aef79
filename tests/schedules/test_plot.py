"""Drawing a schedule."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from downslope.schedules import cosine, step, warmup

mpl.use("Agg")


def test_the_plot_shows_every_step() -> None:
    """The line has the schedule's values from step 0 to its length."""
    schedule = warmup(3, peak=0.5) >> cosine(7)
    axes = schedule.plot()
    x, y = axes.lines[0].get_data()
    assert np.array_equal(x, np.arange(11))
    assert np.array_equal(y, schedule(np.arange(11)))
    assert axes.get_title() == repr(schedule)
    mpl.pyplot.close("all")


def test_the_plot_is_drawn_where_it_is_told() -> None:
    """Given axes are used and returned; ``steps`` is where a schedule without end stops."""
    axes = Figure().subplots()
    assert step(3).plot(axes, steps=9) is axes
    assert axes.lines[0].get_xdata()[-1] == 9


@pytest.mark.parametrize("length", [19_999, 20_000, 1_000_000])
def test_a_long_schedule_is_thinned(length: int) -> None:
    """At most 20,000 steps are evaluated, the first and the last among them."""
    at, values = cosine(length).sampled()
    assert (at[0], at[-1]) == (0, length)
    assert len(at) == len(values) <= 20_000
