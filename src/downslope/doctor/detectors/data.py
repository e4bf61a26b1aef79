"""What the data shows: scale, repetition, waiting, labels that say nothing."""

from __future__ import annotations

import math

import numpy as np

from ..finding import Finding
from ..gathered import number
from ..history import MANY_ROWS, Array, History, Validation, left
from .rate import BEYOND, calmed
from .signs import FAST, LARGE_STD, SATURATED, most_saturated, steepness, unlearnt, wide

__all__ = [
    "data_leak",
    "data_repeats",
    "inputs_not_scaled",
    "labels_do_not_match",
    "overfitting",
    "waiting",
]

LEAK, FEW_SHARED = 0.05, 3  # share of the validation rows; rows
FINE = 0.9  # of the different rows: values of one feature, which rows do not share by nature
FELT = 10.0  # steepness; where weights feel less of it, the model scales its inputs
FAR_MEAN = 10.0  # of the median feature, in its own standard deviations
ALL_TWICE = 0.9  # of the training rows; bootstrapped ones have 0.63
LARGE_BATCH = 256  # rows: one batch with all the data, as of a graph
SAME = 4  # looks in a row at one and the same batch
WAITING = 0.5  # of a step's time
WAITS = 5  # looks
NOTICEABLE = 2e-3  # seconds in three of four looks; a busy machine does less, or seldom
NOTHING_LEARNT = 0.94  # of the loss of the best constant outputs: lately
EVER_LEARNT = 0.85  # the same: ever
BY_HEART = 0.8  # the same: the training loss
ALIKE = 1e-3  # of the untrained loss: that of constant outputs, and the validation's
NO_MORE = 0.995  # of the validations before: falling no more
MOVED = 0.15  # of their norms: how far weights have come; 0.24 is the least with such labels
STILL_BETTER = 0.97  # the last validations over the first after steps
TOLD_APART = 10.0  # times their deviation at first; 5 is the most with such labels and no better
CHECKS = 4  # validations after the first
GAP, SOME_GAP = 0.8, 0.95  # training loss over validation loss; where the metric has fallen too
MOST_LEARNT = 0.3  # training loss over the lowest validation loss
LEARNT = 0.95  # of the first validation loss: there was something to learn
LONG = 0.05  # of the planned steps, between the lowest loss and now
RISE_WITH_METRIC = 1.02  # of the lowest validation loss, where the metric has fallen too
WORSE = 0.05  # of the best metric
ASTRAY = 0.5  # of the last validations; 0.09 is the most where tuning runs overfit
RISE, RISE_OF_START = 1.08, 0.03  # of the lowest validation loss; and of the first


def inputs_not_scaled(history: History) -> Finding | None:
    """Features with standard deviations or means far from those that weights are made for."""
    if not history.looks or "std_max" not in (facts := history.looks[0].get("input", {})):
        return None
    first = next(iter(history.setup.get("tensors", {})), None)
    if first is not None and history.kind_of(first) == "norm":
        return None  # the model scales them itself
    large, far = wide(history), facts["mean_over_std"] > FAR_MEAN
    if not (large or far):
        return None
    felt = not steepness(history, history.looks[0]) <= FELT or (
        most_saturated(history.looks[0])[0] > SATURATED
    )
    if not felt and not unlearnt(history):
        return None  # the model scales them itself
    what = (
        f"a feature's standard deviation is {facts['std_max']:.3g}"
        if large
        else f"the features lie {facts['mean_over_std']:.3g} of their deviations from 0"
    )
    return Finding(
        "inputs not scaled",
        what,
        "warning",
        history.looks[0]["step"],
        {name: facts[name] for name in ("std_max", "std_min", "mean_over_std", "largest")}
        | ({"allowed": LARGE_STD} if large else {}),
        "Standardise each feature with the training part's mean and deviation; divide pixels by "
        "255.",
        source="LeCun et al., Efficient BackProp (1998), section 4.3",
    )


def data_repeats(history: History) -> Finding | None:
    """One and the same batch again and again, learnt by heart while validation stays behind."""
    if history.data.get("repeated", 0) > ALL_TWICE and history.data["finest"] > FINE:
        return _twice(history)
    sums = [
        (look["step"], look["input"]["checksum"], look["input"]["rows"])
        for look in history.looks
        if look.get("input", {}).get("checksum") is not None
    ]
    if len(sums) < SAME or len({s[1:] for s in sums}) > 1 or len(history.validations) < 2:
        return None
    train, check = history.level(0.9, 1), history.validations[-1].loss
    lowest = min(v.loss for v in history.validations)
    if sums[0][2] >= LARGE_BATCH:
        return None
    if sums[0][2] >= MANY_ROWS and history.above(check, lowest) < RISE:
        return None  # all the data there is, and more is learnt than these rows
    if not left(check - 0.03 * abs(history.first), train) > 1.2:
        return None  # the batch may be all the data there is
    return Finding(
        "data repeats",
        f"each of {len(sums)} looks saw the same batch of {sums[0][2]} rows",
        "warning",
        sums[SAME - 1][0],
        {"rows": sums[0][2], "train loss": train, "validation loss": check},
        "Draw the batch inside the loop: for inputs, targets in loader, with shuffle=True.",
        source="exact",
    )


def _twice(history: History) -> Finding:
    """Rows that are not alike by nature are there more than once."""
    repeated = history.data["repeated"]
    return Finding(
        "data repeats",
        f"{repeated:.0%} of the training rows are there more than once",
        "warning",
        0,
        {"repeated in training": repeated, "allowed": ALL_TWICE},
        "Look at how the rows were read or joined: an epoch goes over fewer rows than it seems to.",
        source="exact",
    )


def data_leak(history: History) -> Finding | None:
    """Rows that are both trained on and judged by, more than repeat among the training rows."""
    facts = history.data
    if not facts:
        return None
    shared, repeated = facts["shared"], facts["repeated"]
    by_nature = 0.0 if facts.get("finest", 0.0) > FINE else 1.3 * repeated
    if shared <= LEAK + by_nature or shared * facts["validation_rows"] < FEW_SHARED:
        return None
    return Finding(
        "data leak",
        f"{shared:.0%} of the validation rows are among the training rows",
        "warning",
        0,
        {"shared": shared, "allowed": LEAK, "repeated in training": repeated},
        "Split again so that no row is in both parts; split before oversampling or augmenting. "
        "Until then the validation metric is too good.",
        source="exact; a twentieth is let pass, and what repeats among the training rows by nature",
    )


def waiting(history: History) -> Finding | None:
    """Most of each step goes by before the forward pass begins."""
    looks = history.looks[2:]  # workers start during the first
    shares = [look["data_share"] for look in looks]
    if len(shares) < WAITS or np.median(shares) <= WAITING:
        return None
    if np.quantile([look["data_seconds"] for look in looks], 0.25) < NOTICEABLE:
        return None
    return Finding(
        "waiting for data",
        f"{np.median(shares):.0%} of a step's time is spent before the forward pass",
        "warning",
        looks[WAITS - 1]["step"],
        {"share": float(np.median(shares)), "allowed": WAITING},
        "Let worker processes load (DataLoader(num_workers=...)), decode once and keep the "
        "result, or hold the data in memory.",
        source="more than half of the time",
    )


def labels_do_not_match(history: History) -> Finding | None:
    """Validation never beats constant outputs by much and falls no more, though weights move."""
    checks = [v for v in history.validations if v.step > 0]
    total = history.total_steps or 0
    if not history.count or not checks:
        return None
    nothing = history.worthless
    if max(nothing, checks[-1].loss) < ALIKE * history.untrained:
        return _all_the_same(history, checks[-1])
    if len(checks) < CHECKS or checks[-1].step < 0.4 * total:
        return None
    losses = [v.loss for v in checks]
    recent, before = float(np.mean(losses[-2:])), float(np.mean(losses[-4:-2]))
    if not history.travelled > MOVED or recent < NO_MORE * before:
        return None
    if not (recent >= NOTHING_LEARNT * nothing and min(losses) >= EVER_LEARNT * nothing):
        return None
    if recent > BEYOND * nothing:
        return None  # it has not even learnt what needs no inputs
    if history.level(0.9, 1) < BY_HEART * nothing and history.few_rows:
        return None  # few rows, learnt by heart: see overfitting
    if _right_by_metric(history):
        return None
    if history.setup.get("constant_loss") is None and (
        _told_apart(history, recent) or recent < STILL_BETTER * losses[0]
    ):
        return None  # the loss has a floor, as that of soft targets and of ranks has
    return Finding(
        "labels do not match",
        "validation is no better than constant outputs",
        "warning",
        checks[CHECKS - 1].step,
        {"validation loss": recent, "loss of constant outputs": nothing},
        "Look at ten pairs of input and label: are they shuffled apart, off by one, or of another "
        "file? Is there anything in the inputs that could tell the label?",
        source="a model that beats no constant has learnt nothing from its inputs",
    )


def _right_by_metric(history: History) -> bool:
    """Whether an accuracy is well above that of constant outputs, of which exp(-loss) is near."""
    metrics = [v.metric for v in history.validations]
    if not metrics or not all(0 <= m <= 1 for m in metrics) or not history.worthless > 0:
        return False
    return min(metrics[-2:]) > 1.5 * max(math.exp(-history.worthless), metrics[0])


def _told_apart(history: History, recent: float) -> bool:
    """Whether outputs came to differ far more than at first, and validation is no worse for it."""
    spreads = [number(look.get("output", {}).get("spread")) for look in history.looks]
    if not spreads or not np.median(spreads[-3:]) > TOLD_APART * spreads[0]:
        return False
    return recent < 0.98 * history.worthless and history.level(0.9, 1) > 0.9 * recent


def _all_the_same(history: History, check: Validation) -> Finding:
    """Constant outputs are as good as any, and the model is as good as they are."""
    return Finding(
        "labels do not match",
        "constant outputs are all that the labels ask for",
        "warning",
        check.step,
        {"validation loss": check.loss, "loss of constant outputs": history.worthless},
        "Look at the labels of ten rows: are they all the same? Were they read from another "
        "column, or made by a comparison that always holds?",
        source="exact, up to a thousandth of the untrained loss",
    )


def overfitting(history: History) -> Finding | None:
    """Validation rises from its lowest, or never was any good, while the training loss falls."""
    checks = [v for v in history.validations if math.isfinite(v.loss)]
    if len(checks) < CHECKS:
        return None
    losses = np.array([v.loss for v in checks])
    low, start = int(losses.argmin()), max(losses[0], history.untrained)
    lowest = float(losses[low])
    then = history.losses[history.steps <= max(checks[low].step, 5)][-20:]
    before, now = float(np.nanmedian(then)), history.level(0.9, 1)
    # Three validations in a row: a rate that is still high makes one or two go astray.
    lately = _lately(history)
    last = losses[max(low + 1, len(losses) - lately) :]
    if _astray(last):
        return None
    recent = float(min(last, default=0.0))
    long = checks[-1].step - checks[low].step >= LONG * (history.total_steps or 0)
    # There was something to learn; or training went on far below where validation began.
    some = left(lowest, start) < LEARNT or now < MOST_LEARNT * lowest
    learnt = low + lately < len(losses) and some and long and now < before
    risen_by = left(recent - RISE_OF_START * abs(start), lowest)
    much = risen_by > RISE and left(now, recent) < GAP
    nothing = history.worthless
    fallen = _fallen(history, surely=bool(np.median(losses[-lately:]) > nothing))
    somewhat = left(recent, lowest) > RISE_WITH_METRIC and left(now, recent) < SOME_GAP
    risen = learnt and (much or (somewhat and bool(fallen)))
    worthless = now < BY_HEART * nothing and min(losses[-2:]) > NOTHING_LEARNT * nothing
    if not risen and not (worthless and checks[-1].step >= 0.3 * (history.total_steps or 0)):
        return None
    if not risen and not history.few_rows:
        return None  # nobody learns so many by heart who could learn anything else from them
    fast, lr = history.early_update, float(history.lrs.max())
    change, words = calmed(history, {"lr": "x0.1"})
    if fast > FAST or words:
        return Finding(
            "lr too high",
            "validation loss rises, after steps that changed weights by "
            f"{fast:.0%} of their norm" + words.replace(";", ",", 1),
            "warning",
            checks[min(low + 2, len(checks) - 1)].step,
            {"update over weight": fast, "allowed": FAST, "lr": lr, "lowest": lowest},
            f"Lower the learning rate to a tenth ({lr / 10:.1g}), or stop early{words}.",
            change,
            "19 of 20 healthy tuning runs stay below; those that only overfit stay below 0.04",
        )
    how = "validation loss rises" if risen else "validation is no better than constant outputs"
    return Finding(
        "overfitting",
        f"{how} while training loss falls",
        "warning",
        checks[min(low + 2, len(checks) - 1)].step,
        {
            "lowest": lowest,
            "at step": checks[low].step,
            "now": float(losses[-1]),
            "train": now,
        },
        f"Keep the checkpoint of step {checks[low].step} (best). Lower the learning rate to a "
        "tenth, raise weight decay, add data, augmentation or dropout, or stop early"
        + ("." if risen else ". Do labels and inputs belong together?"),
        {} if fallen is False else {"early_stop": 3, "lr": "x0.1"},
        "the guides' table",
    )


def _astray(losses: Array) -> bool:
    """Whether validations go up and down by more than half of themselves: overfitting creeps."""
    changes = np.diff(losses)
    turns = bool((changes[1:] * changes[:-1] < 0).any())
    return turns and float(np.ptp(losses)) > ASTRAY * abs(float(np.median(losses)))


def _lately(history: History) -> int:
    """How many of the last validations are judged: three, and all of the last steps."""
    begin = history.last_step - LONG * (history.total_steps or 0)
    return max(3, sum(v.step > begin for v in history.validations))


def _fallen(history: History, *, surely: bool) -> bool | None:
    """Whether the metric was clearly worse than its best in each of the last validations.

    None where there is none. Over few rows it is unsure: by 0.2 / sqrt(rows) for shares near 0.95,
    unless validation is surely bad: its loss above that of constant outputs.
    """
    metrics = np.array([v.metric for v in history.validations])
    if not len(metrics) or not np.isfinite(metrics).all():
        return None
    rows = history.validation_rows
    unsure = WORSE + (0.2 / math.sqrt(rows) if rows and not surely else 0.0)
    best = float(metrics.max())
    return len(metrics) >= CHECKS and bool(
        (metrics[-_lately(history) :] < best - unsure * abs(best)).all()
    )
