"""What the plan of a run shows in its course: batch size, warmup, a rate that swings."""

from __future__ import annotations

import sys

import numpy as np

from ..finding import Finding
from ..history import TAKEN, Array, History, left
from .rate import BEGUN, GENTLE, QUICKLY, REPLACED, calmed, searches
from .signs import FEW_ROWS, LARGEST_FIRST, daring, overcome, persists, unlearnt

__all__ = ["batch_too_large", "batch_too_small", "oscillation", "warmup_missing"]

NOISY = 0.5  # deviation of the batches' losses over the loss
MANY = 1000  # rows in the whole run: their noise averages out
NOT_FALLEN = 0.85  # of the first loss
FEW_STEPS = 100  # in all
MUCH = 0.2  # of the training rows in one batch
MANY_AT_ONCE = 500  # rows, where nobody told how many there are
LARGE = 33  # rows; Masters and Luschi find the best at 32 or below
NEARLY_NOTHING, FAR = 0.1, 0.3  # loss over first
STILL_FALLING = 0.97  # loss over that of the fifth of the steps before
UNWARMED = 0.99  # of the highest rate in the first step
FIRST_STEP = 0.12  # update over weight in it; 0.103 is the most in healthy tuning runs
AGAIN = 0.15  # the same in the fourth; 0.13 is the most in healthy runs
CHECKS = 6  # validations in a row
LONG = 0.1  # of the planned steps from the first of them to the last
FULL = 0.8  # of the highest rate all the while
SWING = 0.18  # the median change from one validation to the next, over the loss
VIOLENT = 0.5  # the same where it does get better; 0.47 is the most of healthy runs
FLOOR = 0.05  # of the untrained loss, added below: a loss near 0 may double
LEARNT = 0.7  # the lowest validation loss over the untrained
NO_BETTER = 0.85  # the last two of them over the first two


def batch_too_small(history: History) -> Finding | None:
    """One or two rows a step, and losses that say more of the rows than of the model."""
    rows = history.batch_rows
    if rows is None or rows > FEW_ROWS or history.last_step < BEGUN:
        return None
    if history.train_rows is not None and history.train_rows < 20 * rows:
        return None
    level = history.level(0.5, 1)
    noise = history.noise / max(abs(level), sys.float_info.min)
    if rows * (history.total_steps or 0) > MANY and not unlearnt(history):
        return None
    if not noise > NOISY and not left(level, history.first) > NOT_FALLEN:
        return None
    return Finding(
        "batch too small",
        f"with {rows:g} rows a step the loss differs by {noise:.0%} of itself from "
        "one step to the next",
        "warning",
        BEGUN,
        {"rows": rows, "noise over loss": noise, "allowed": NOISY},
        "Use 16 rows a step or more (accumulate gradients where memory is short), or lower the "
        "learning rate with the batch.",
        {"batch_size": 32},
        "Masters and Luschi 2018: 4 to 32 rows do best; the noise is that of our tuning runs",
    )


def batch_too_large(history: History) -> Finding | None:
    """A large part of the data in each step, few steps, and a loss that still falls."""
    rows, total, data = history.batch_rows, history.total_steps, history.train_rows
    if (
        rows is None
        or total is None
        or rows < (MANY_AT_ONCE if data is None else max(LARGE, MUCH * data))
    ):
        return None
    if total >= FEW_STEPS or history.last_step < 0.6 * total or history.count < 4:
        return None
    if searches(history):
        return None
    before, now = history.level(0.6, 0.8), history.level(0.8, 1)
    over_first = left(now, history.first)
    of_all = f" of {data}" if data else ""
    falls = over_first > NEARLY_NOTHING and left(now, before) < STILL_FALLING
    if not falls and not over_first > FAR:
        return None
    return Finding(
        "batch too large",
        f"{total} steps with {rows:g}{of_all} rows in each, and the loss "
        + ("still falls" if falls else f"is {over_first:.0%} of its first"),
        "warning",
        int(np.ceil(0.6 * total)),
        {"rows": rows, "of": data, "steps": total, "loss": now, "loss before": before},
        "Use a smaller batch: 16 to 64 rows give more steps an epoch; or train for more epochs.",
        {"batch_size": 16},
        "Keskar et al. 2017, Masters and Luschi 2018: few large steps do not replace many",
    )


def warmup_missing(history: History) -> Finding | None:
    """The very first step, at the full rate, moves weights far, and the loss hardly falls then."""
    if not history.looks or not history.count or history.looks[0]["step"] != 1:
        return None
    one_layer = len(history.weights(history.looks[0])) == 1  # where that begins says nothing
    quickly = TAKEN if one_layer else QUICKLY
    if history.setup.get("optimizer") in LARGEST_FIRST or history.begun < quickly:
        return None
    if searches(history) or history.below_zero:
        return None
    ratio, lr = history.update_ratio.get(1, 0.0), float(history.lrs[0])
    unwarmed = history.lr_shares[0] >= UNWARMED and history.steps[0] == 1
    if not unwarmed or not FIRST_STEP < ratio <= REPLACED or not daring(history):
        return None  # beyond it no warmup helps
    if overcome(history) and not persists(history, AGAIN):
        return None  # it got over that
    change, words = calmed(history, {"lr": "found"})
    return Finding(
        "warmup missing",
        f"the first step, at the full learning rate, changes weights by {ratio:.0%} of their norm",
        "warning",
        1,
        {"update over weight": ratio, "allowed": FIRST_STEP, "lr": lr},
        "Let the learning rate rise over the first 5 to 10% of the steps (warmup = 0.1), or lower "
        f"it to a third ({lr / 3:.1g}){words}.",
        {"warmup": 0.1, **change},
        "the guides: warmup; 10% is the most in healthy tuning runs",
    )


def oscillation(history: History) -> Finding | None:
    """At the full rate validation goes to and fro by a good part of itself and gets no better."""
    checks = [v for v in history.validations if v.step > 0]
    for end in range(CHECKS, len(checks) + 1):
        window = checks[end - CHECKS : end]
        losses = np.array([v.loss for v in window])
        begin = np.searchsorted(history.steps, window[0].step)
        upto = np.searchsorted(history.steps, window[-1].step, "right")
        shares = history.lr_shares[begin:upto]
        short = window[-1].step - window[0].step < LONG * (history.total_steps or 0)
        if short or not np.isfinite(losses).all() or not len(shares) or shares.min() < FULL:
            continue
        swing, turns = swings(losses, FLOOR * abs(history.untrained))
        better = left(losses[-2:].mean(), losses[:2].mean()) < NO_BETTER
        if swing <= (VIOLENT if better else SWING) or turns < 2 + better:
            continue
        if history.mean_update < GENTLE:
            return None  # by so small steps validation is noise of few rows
        learnt = left(min(v.loss for v in checks), history.untrained) < LEARNT
        lr = float(history.lrs.max())
        change, words = calmed(history, {"lr": "found"})
        return Finding(
            "lr not lowered" if learnt else "lr too high",
            f"validation goes to and fro by {swing:.0%} of itself at the full learning rate",
            "warning",
            window[-1].step,
            {"swing": swing, "allowed": VIOLENT if better else SWING, "lr": lr},
            f"Lower the learning rate while training (schedule = warmup-cosine){words}.",
            {**change, "schedule": "warmup-cosine"},
            "the guides' table: loss oscillates; the share is from our tuning runs",
        )
    return None


def swings(losses: Array, floor: float) -> tuple[float, int]:
    """The median change between neighbours over the median, and how often it turns round.

    >>> swings(np.array([1.0, 2.0, 1.0, 2.0]), 0.5)
    (0.5, 2)
    """
    changes = np.diff(losses)
    turns = int(np.sum(changes[1:] * changes[:-1] < 0))
    return float(np.median(np.abs(changes)) / (abs(np.median(losses)) + floor)), turns
