"""Draw the README's picture: a range test on digits and the training that follows from it.

``python docs/make_picture.py`` trains with the default recipe (half a minute on one core), as
``downslope train digits`` does, and writes ``docs/images/digits.svg``. Colours are those of the
report, so the picture follows the reader's light or dark mode.
"""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

import downslope
from downslope.finder import RangeTest
from downslope.report import _figures, _svg

PICTURE = Path(__file__).parent / "images" / "digits.svg"
WIDTH, HEIGHT = 880, 300
FAINT = {"alpha": 0.4, "linewidth": 0.8}


def main() -> None:
    """Train, draw, write."""
    with tempfile.TemporaryDirectory() as folder:
        run = downslope.fit(downslope.load_task("digits"), run_dir=Path(folder) / "run")
        test, records = run.range_test(), run.records()
    if test is None:
        raise SystemExit("The run has no range test, so there is nothing to draw.")
    with rc_context(_svg.STYLE):
        figure = Figure((WIDTH / 72, HEIGHT / 72), layout="constrained")
        figure.get_layout_engine().set(w_pad=0.16, h_pad=0.16)
        left, right = figure.subplots(1, 2)
        draw_range_test(left, test)
        draw_training(right, records, run.best_metric)
        told = (
            "Two line charts. Left: training loss against the learning rate, with the steepest "
            "point, the recommended band and the suggestion. Right: training and validation loss "
            "against the step, falling, with the suggested learning rate."
        )
        svg = _svg.inline_svg(figure, "digits", told)
    PICTURE.write_text(on_paper(svg), encoding="utf-8")
    print(f"{PICTURE}: lr {run.lr:.3g}, best {run.metric_name} {run.best_metric:.4f}")


def draw_range_test(axes: Axes, test: RangeTest) -> None:
    """The sweep with its smoothed loss, steepest point, band and suggestion."""
    train, accent = _svg.colour("train"), _svg.colour("accent")
    axes.plot(test.lrs, test.losses, color=train, **FAINT)
    axes.plot(test.lrs, test.smoothed, color=train)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.25 * test.smoothed[0])
    axes.axvspan(*test.band, color=accent, alpha=0.15, linewidth=0)
    beside = {"va": "center", "textcoords": "offset points"}
    # They may lie close together, so one is a dot with its label below, the other a ring above.
    at = {
        lr: (lr, np.interp(lr, test.lrs, test.smoothed)) for lr in (test.steepest, test.suggestion)
    }
    axes.plot(*at[test.steepest], "o", color=train, markersize=6)
    axes.plot(*at[test.suggestion], "o", color=accent, markersize=11, fillstyle="none")
    below = {"ha": "right", "color": train, **beside}
    axes.annotate("steepest fall", at[test.steepest], (-8, -9), **below)
    above = {"ha": "left", "color": accent, **beside}
    axes.annotate(f"suggestion {test.suggestion:.2g}", at[test.suggestion], (9, 8), **above)
    middle = (test.band[0], 0.25 * axes.get_ylim()[1])
    axes.annotate("1/10 to 1/2\nof the steepest", middle, (-8, 0), ha="right", **beside)
    axes.set_title("1  Range test: the loss at ever larger learning rates", loc="left", fontsize=12)
    axes.set_xlabel("learning rate")
    label_powers(axes.xaxis)


def draw_training(axes: Axes, records: list[dict], best: float) -> None:
    """The losses of the run that takes the suggestion."""
    steps = [r for r in records if r["event"] == "train"]
    epochs = [r for r in records if r["event"] == "validation"]
    train, validation = _svg.colour("train"), _svg.colour("validation")
    at = [r["step"] for r in epochs]
    axes.plot([r["step"] for r in steps], [r["loss"] for r in steps], color=train, **FAINT)
    axes.plot(at, [r["train_loss"] for r in epochs], color=train)
    axes.plot(at, [r["loss"] for r in epochs], color=validation)
    axes.set_yscale("log")
    axes.set_xlim(0, at[-1] * 1.22)
    end = {"va": "center", "ha": "left", "textcoords": "offset points"}
    for key, text, ink in (("train_loss", "training", train), ("loss", "validation", validation)):
        axes.annotate(text, (at[-1], epochs[-1][key]), (6, 0), color=ink, **end)
    axes.set_title(
        f"2  Training with it: best validation accuracy {best:.4f}", loc="left", fontsize=12
    )
    axes.set_xlabel("step")
    label_powers(axes.yaxis)


def label_powers(axis: object) -> None:
    """Short labels at powers of ten."""
    axis.set_major_locator(LogLocator(numticks=6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _figures.tick(value, powers=True)))


def on_paper(svg: str) -> str:
    """The drawing as a file of its own: with the report's colours and a sheet of paper under it."""
    palette = files("downslope.report").joinpath("style.css").read_text("utf-8").partition("* {")[0]
    style = f"<style>{palette}svg {{ font-family: var(--sans); }}</style>"
    paper = '<rect width="100%" height="100%" rx="8" style="fill: var(--paper)"/>'
    opening, _, rest = svg.partition(">")
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return f"{opening} {size}>{style}{paper}{rest}\n"


if __name__ == "__main__":
    main()
