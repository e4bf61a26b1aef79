"""What the learning rate does: too high, too low, not lowered, an optimizer that is too slow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..finding import Finding
from ..gathered import number
from ..history import SOON, TAKEN, History, left, steps_in_one
from .signs import FAST, FEW_ROWS, daring, overcome, persists, wild

__all__ = ["lr_not_lowered", "lr_too_high", "lr_too_low", "searches", "slow_optimizer"]

RISE = 1.4  # of the smoothed loss over the first, and
RISE_NOISES = 3.0  # deviations of the batches' noise more
SURELY = 30.0  # times the first: a loss that explodes is its own noise
GENTLE = 0.01  # update over weight; at least 0.0125 in tuning runs whose loss rose for their rate
UPDATE = 0.3  # of a weight's norm in one step; 0.22 is the most in healthy tuning runs
QUICKLY = 0.1  # what is left of the loss after first steps that did no harm, however far they went
HALF = 0.5  # of the untrained loss: nothing else says that a weight was replaced for good
REPLACED = 1.0  # the same: hardly anything is left of the weight
BEGUN = 16  # steps after which losses of one or two rows say something
NEAR = 0.15  # of their norms: how far weights can get in the run; 0.18 in 99 of 100 healthy ones
UNKNOWN = 3000  # steps of a run whose length nobody told
FALLEN = 0.85  # loss over first loss: it has hardly fallen
BEYOND = 2.0  # times the loss of constant outputs: labels are not to blame for more
KNOWN = 0.5  # the first loss over that of constant outputs: trained before; what outputs explain
# over what is left: 0.24 is the most of untrained models in tuning runs
FAR = 0.6  # loss over first
NEAR_PLAIN, FAR_PLAIN = 0.5, 0.25  # NEAR and FAR for SGD without momentum
FAR_AT_END, FALLING = 0.15, 0.96  # loss over first; over that of a quarter of the run before
GONE_BY = 1.05  # validation loss over its lowest
COME_FAR = 2.0  # of their norms: how far weights went; 1.3 is the most of slow ones in tuning runs
USUAL = 1e-3  # update over weight
HEAVY = 0.97  # momentum: 33 steps in one
LATE = 0.6  # of the planned steps
WORSE = 1.25  # the last two validations over the best: more than a plateau
STILL_MOVING = 2e-3  # update over weight
RESTLESS = 0.015  # the same, the mean of all steps
VERY_RESTLESS, HARDLY_UNSETTLED = 0.02, 1.02  # as RESTLESS; as UNSETTLED, where it is so
UNSETTLED = 1.1  # as WORSE, where weights are restless; 1.06 is the most of such healthy runs
STILL = 0.8  # the training loss over that of a third of the run before: it hardly falls


def lr_too_high(history: History) -> Finding | None:
    """The loss rises above where it began, or weights move by a third of themselves at once."""
    few = (history.batch_rows or math.inf) <= FEW_ROWS
    if history.count < 3 or (few and history.last_step < BEGUN and history.nonfinite is None):
        return None
    step, how, evidence = _risen(history) or _updates(history) or (0, "", {})
    if not step:
        return None
    fatal = history.nonfinite is not None
    lr = float(history.lrs.max())
    change, words = calmed(history, {"lr": "x0.1"})
    return Finding(
        "lr too high",
        how,
        "fatal" if fatal else "warning",
        step,
        {"lr": lr, **evidence},
        f"Lower the learning rate to a tenth ({lr / 10:.1g}) and begin again; a warmup and "
        f"clip_norm = 1.0 help{words}.",
        {**change, "clip_norm": 1.0, **({"warmup": 0.1} if history.lr_shares[0] == 1 else {})},
        "the guides' table",
    )


def _risen(history: History) -> tuple[int, str, dict[str, float]] | None:
    (steps, smoothed), first = history.smoothed, history.untrained
    limit = first + (RISE - 1) * abs(first) + RISE_NOISES * max(history.noise, history.early_noise)
    if first > 0:
        limit = min(limit, SURELY * first)
    if history.nonfinite is not None and wild(history, history.nonfinite["step"]):
        step = history.nonfinite["step"]
        return step, "the loss grew until it was no number", {"first loss": first}
    if not len(smoothed) or not (smoothed > limit).any():
        return None
    step = int(steps[int(np.argmax(smoothed > limit))])
    near = [ratio for at, ratio in history.update_ratio.items() if step / 2 <= at <= step]
    if max(near, default=math.inf) < GENTLE:
        return None  # it learns another thing than before: one net against another, other data
    worst = float(np.max(smoothed[np.isfinite(smoothed)], initial=first))
    evidence = {"first loss": first, "highest": worst, "limit": limit}
    return (
        step,
        f"the loss rises to {worst / first:.3g} times its first",
        evidence,
    )


def _updates(history: History) -> tuple[int, str, dict[str, float]] | None:
    if searches(history):
        return None
    seen = [(step, ratio) for step, ratio in history.update_ratio.items() if ratio > UPDATE]
    worst = max((ratio for _, ratio in seen), default=0.0)
    fell = math.isnan(history.settled) or left(history.level(0.8, 1), history.untrained) < TAKEN
    again = persists(history, UPDATE)
    well = fell and overcome(history, QUICKLY if again else HALF if worst > REPLACED else TAKEN)
    if (len(seen) < 2 and worst < REPLACED) or well or not daring(history, UPDATE):
        return None
    how = f"one step changes weights by {worst:.0%} of their norm"
    return seen[min(1, len(seen) - 1)][0], how, {"update over weight": worst, "allowed": UPDATE}


def lr_too_low(history: History) -> Finding | None:
    """The loss hardly falls and the weights hardly move."""
    ratios = history.update_ratio.values()
    begin = history.judged_from
    if history.last_step < begin or len(ratios) < 3 or history.lr_shares[-1] == 0:
        return None
    if history.losses[0] == 0 or not math.isfinite(history.first):
        return None
    highest, reach = max(ratios), history.reach(history.total_steps or UNKNOWN)
    start, now = history.level(0, 0.1), history.level(0.85, 1)
    fallen = left(now, start)
    near = reach < NEAR or (highest < FAST and _beyond_constants(history))
    if not (near and fallen > FALLEN) or _trained_before(history):
        return None
    lr, times = float(history.lrs.max()), _times(highest)
    return Finding(
        "lr too low",
        f"the loss is {fallen:.1%} of its first and one step moves weights by {highest:.0e}",
        "warning",
        int(begin),
        {"lr": lr, "update over weight": highest, "usual": USUAL, "loss over first": fallen},
        f"Raise the learning rate {times:g} times ({lr * times:.1g}), or find one: "
        "downslope find-lr." + " Add momentum = 0.9, or use AdamW." * _plain(history),
        _FASTER if _plain(history) else {"lr": f"x{times:g}"},
        "the guides' table; updates of about 1e-3 of the weights are usual",
    )


def searches(history: History) -> bool:
    """Whether a step is a whole search, and the learning rate only where it begins."""
    return history.setup.get("optimizer") == "LBFGS"


def _beyond_constants(history: History) -> bool:
    """Whether outputs are not even as good as constant ones: their mean has not been reached."""
    told = history.setup.get("constant_loss")
    return told is not None and history.level(0.85, 1) > BEYOND * float(told) > 0


def _trained_before(history: History) -> bool:
    """Whether the first loss is that of a model that has learnt already.

    Where the loss of constant outputs is not known, by outputs that differ by more than is left to
    learn: those of untrained models differ little, or the loss is as large for it.
    """
    told = history.setup.get("constant_loss")
    if told is not None:
        return history.first < KNOWN * float(told)
    differ = number(history.looks[0].get("output", {}).get("spread")) if history.looks else math.nan
    return bool(min(differ, differ**2) > KNOWN * history.first > 0)


def _falls_at_the_end(history: History, start: float) -> bool:
    """Whether the steps are nearly over while the loss is far from 0 and still falling."""
    if history.last_step < 0.9 * (history.total_steps or math.inf) or history.travelled > COME_FAR:
        return False
    checks = [v.loss for v in history.validations]
    if len(checks) > 2 and history.above(float(np.mean(checks[-2:])), min(checks)) > GONE_BY:
        return False  # a faster one would only be beyond its best sooner
    before, now = history.level(0.6, 0.75), history.level(0.85, 1)
    return left(now, start) > FAR_AT_END and left(now, before) < FALLING


_FASTER = {"optimizer": "adamw", "lr": "found"}


def _plain(history: History) -> bool:
    """Whether it is SGD without momentum."""
    return history.setup.get("optimizer") == "SGD" and not _momentum(history)


def _momentum(history: History) -> float:
    """The largest of the groups'; 0 where none has any."""
    groups = history.setup.get("groups", [{}])
    return max(float(g.get("momentum") or 0) for g in groups)


def calmed(history: History, change: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A change that lowers the rate, in the form of less momentum where that is extreme."""
    most = _momentum(history)
    if most < HEAVY:
        return change, ""
    words = f"; with momentum = {most:g} a step goes {steps_in_one(most):.0f} times far"
    return {"momentum": 0.9}, words


def _times(ratio: float) -> float:
    """The power of ten that brings updates nearest to what is usual, ten at least."""
    return float(10 ** max(1, min(5, round(math.log10(USUAL / max(ratio, 1e-12))))))


def slow_optimizer(history: History) -> Finding | None:
    """Half of the run is over, the loss has far to go and the weights move slowly."""
    total = history.total_steps
    if total is None or history.last_step < 0.5 * total or _trained_before(history):
        return None
    ratios = history.update_ratio.values()
    start, now = history.untrained, history.level(0.9, 1)
    plain = _plain(history)
    near, far = (NEAR_PLAIN, FAR_PLAIN) if plain else (NEAR, FAR)
    crawls = history.last_step >= SOON and history.reach(total) < near and left(now, start) > far
    if not crawls and not (plain and _falls_at_the_end(history, start)):
        return None
    times = _times(max(ratios, default=USUAL))
    return Finding(
        "slow optimizer" if plain else "lr too low",
        f"after {'half' if crawls else 'nearly all'} of the steps the loss is "
        f"{left(now, start):.0%} of its first" + ("" if crawls else " and still falls"),
        "warning",
        int((0.5 if crawls else 0.9) * total),
        {
            "loss over first": left(now, start),
            "update over weight": max(ratios, default=math.nan),
            "usual": USUAL,
        },
        f"Raise the learning rate {times:g} times"
        + (", add momentum = 0.9, or use AdamW." if plain else ", or find it: downslope find-lr."),
        _FASTER if plain else {"lr": f"x{times:g}"},
        "the guides: another optimizer where convergence is slow",
    )


def lr_not_lowered(history: History) -> Finding | None:
    """Late in training the rate is as high as ever, weights move and the loss falls no more."""
    total = history.total_steps or max(history.count, UNKNOWN)
    if history.last_step < LATE * total or history.count < 40 or searches(history):
        return None
    if history.setup.get("optimizer") == "Adagrad":
        return None  # it lowers the rate itself
    if float(np.min(history.lr_shares[history.count // 10 :])) < 0.5:
        return None
    ratios = [ratio for step, ratio in history.update_ratio.items() if step >= 0.4 * total]
    change, words = calmed(history, {"lr": "found"})
    before, now = history.part(0.4, 0.6), history.part(0.8, 1)
    if not ratios or np.median(ratios) < STILL_MOVING or not len(before) or not len(now):
        return None
    unsure = 1.25 * history.noise / math.sqrt(len(now))
    falls = bool(now.mean() < before.mean() - unsure - 0.01 * abs(before.mean()))
    mean = history.mean_update
    checks = [v.loss for v in history.validations]
    above = history.above(float(np.mean(checks[-2:])), min(checks)) if len(checks) > 2 else math.nan
    unsettled = above > (UNSETTLED if mean < VERY_RESTLESS else HARDLY_UNSETTLED)
    restless = bool(words) or (mean > RESTLESS and unsettled and daring(history))
    if falls and not (restless and left(history.level(0.8, 1), history.level(0.4, 0.6)) > STILL):
        return None
    worse = above > WORSE and len(ratios) > 1
    return Finding(
        "lr not lowered",
        "the loss goes to and fro and falls no more at the full learning rate",
        "warning" if worse or restless else "note",
        int(LATE * total),
        {
            "loss before": float(before.mean()),
            "loss now": float(now.mean()),
            "update over weight": float(np.median(ratios)),
            "its mean": mean,
        },
        "Lower the learning rate in time: schedule = warmup-cosine, or ReduceLROnPlateau with a "
        f"smaller patience{words}.",
        {**change, "schedule": "warmup-cosine"},
        "the guides' table",
    )
