"""A run's records as arrays, and the few summaries that detectors share. Pure functions."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .gathered import Gathered, number

__all__ = ["TAKEN", "History", "Validation", "left", "steps_in_one"]

Array = npt.NDArray[np.float64]
Event = dict[str, Any]

BLOCKS = 2000  #: that the loss of a long run is smoothed by
DIFFER = 2.0  #: deviations of the batches' noise: what a fall must exceed to be one
EARLY_STEPS = 32  #: the looks at these say how fast a run began
SOON, WAIT = 24, 0.1  # steps; of the planned steps
MANY_ROWS = 100  #: more cannot be learnt by heart and by nothing else
SETTLED = 32  # steps
TAKEN = 0.8  #: of the untrained loss, after the first steps; see `History.begun`


@dataclass(frozen=True)
class Validation:
    """One validation: after which step, with which loss; a metric, negated if lower is better."""

    step: int
    loss: float
    metric: float = math.nan


@dataclass(frozen=True)
class History:
    """What was recorded so far.

    Args:
        steps: of the training losses.
        losses: one a step, NaN where it was not finite.
        lrs: the learning rate of the first group, one a step.
        setup: the newest event ``setup``; empty where no monitor was there.
        looks: the events ``monitor``.
        validations: in the order of steps.
        nonfinite: the event ``nonfinite``, if there was one.
        skips: the steps of skipped updates (float16).
        total_steps: how long the run was planned to be, if known.
        data: the event ``data``; empty where nobody looked at the rows.
        train_rows: how many there are, if known.
        validation_rows: the same for those to judge by.
        changed: the steps after which another recipe began.
    """

    steps: npt.NDArray[np.int64]
    losses: Array
    lrs: Array
    setup: Event
    looks: tuple[Event, ...]
    validations: tuple[Validation, ...]
    nonfinite: Event | None
    skips: tuple[int, ...]
    total_steps: int | None
    data: Event = field(default_factory=dict)
    train_rows: int | None = None
    validation_rows: int | None = None
    changed: tuple[int, ...] = ()

    @classmethod
    def of(cls, told: Iterable[Event] | Gathered) -> History:
        """From records, as :func:`~downslope.monitor.read_records` gives them, or from events."""
        if not isinstance(told, Gathered):
            told = Gathered.of(told)
        start, setup = told.newest("start"), told.newest("setup")  # a changed recipe begins anew
        data = told.newest("data")
        sign = 1 if start.get("higher_is_better", True) else -1
        return cls(
            steps=told.column("step"),
            losses=told.column("loss"),
            lrs=told.column("lr"),
            setup=setup,
            looks=tuple(told.events("monitor")),
            validations=tuple(
                Validation(v["step"], number(v.get("loss")), sign * number(v.get("metric")))
                for v in told.events("validation")
            ),
            nonfinite=next(iter(told.events("nonfinite")), None),
            skips=tuple(r["step"] for r in told.events("skip")),
            total_steps=start.get("total_steps") or setup.get("total_steps"),
            data=data,
            train_rows=start.get("train_size") or data.get("rows"),
            validation_rows=start.get("validation_size") or data.get("validation_rows"),
            changed=tuple(r["step"] for r in told.events("recipe")),
        )

    def until(self, step: int) -> History:
        """The same run as it was known after a step."""
        keep = self.steps <= step
        bad = self.nonfinite
        return replace(
            self,
            steps=self.steps[keep],
            losses=self.losses[keep],
            lrs=self.lrs[keep],
            looks=tuple(e for e in self.looks if e["step"] <= step),
            validations=tuple(v for v in self.validations if v.step <= step),
            nonfinite=bad if bad is not None and bad["step"] <= step else None,
            skips=tuple(s for s in self.skips if s <= step),
            changed=tuple(s for s in self.changed if s <= step),
        )

    @property
    def count(self) -> int:
        """Steps recorded."""
        return len(self.steps)

    @cached_property
    def batch_rows(self) -> float | None:
        """Rows a step, as the looks saw it; None where there was none.

        The most of them: an epoch's last batch is smaller, and looks may fall on it every time.
        """
        rows = [look["input"]["rows"] for look in self.looks if "input" in look]
        return float(max(rows)) if rows else None

    @property
    def last_step(self) -> int:
        """The last step recorded, 0 before the first."""
        return int(self.steps[-1]) if self.count else 0

    @property
    def judged_from(self) -> float:
        """The step from which on a loss that has not fallen says something."""
        return max(SOON, WAIT * (self.total_steps or 0))

    @cached_property
    def first(self) -> float:
        """The loss before training: the median of the first three."""
        return float(np.median(self.losses[:3])) if self.count else math.nan

    @property
    def untrained(self) -> float:
        """The loss before the first step: the first batch's, or the validation's if higher."""
        first = float(self.losses[0])
        return first if self._validated is None else max(first, self._validated)

    @cached_property
    def _validated(self) -> float | None:
        """The validation loss before the first step, if there was one."""
        before = (v.loss for v in self.validations[:1] if v.step == 0 and math.isfinite(v.loss))
        return next(before, None)

    @cached_property
    def begun(self) -> float:
        """What is left of the untrained loss after the first steps: the median of 4 to 8.

        NaN before the eighth; 1 where it fell by no more than batches differ, or to below 0, which
        no share says anything of. Below :data:`TAKEN` the first steps did no harm, however far they
        went.
        """
        first = self.losses[3:8]
        if self.last_step < 8 or not len(first):
            return math.nan
        level = float(np.median(np.nan_to_num(first, nan=math.inf)))
        fell = self.untrained - level > DIFFER * self.early_noise and np.nanmin(first) >= 0
        return left(level, self.untrained) if fell else 1.0

    def above(self, loss: float, lowest: float) -> float:
        """How far a loss is above another, in its units: 1.1 is a tenth higher.

        Where losses are below 0 the unit is what was gained since the start, if that is more.
        """
        gained = self.untrained - lowest if self.below_zero else 0.0
        return 1 + (loss - lowest) / max(abs(lowest), gained, sys.float_info.min)

    @cached_property
    def below_zero(self) -> bool:
        """Whether the loss may be below 0, as a likelihood: no share of it says anything."""
        checks = [v.loss for v in self.validations]
        return any(bool((np.array(losses) < 0).any()) for losses in (self.losses, checks))

    @property
    def worthless(self) -> float:
        """The loss of outputs that say nothing: of the best constant, or untrained; NaN below 0.

        Untrained is that of many rows, a validation before the first step, if there was one.
        """
        told = self.setup.get("constant_loss")
        loss = (self._validated or self.untrained) if told is None else float(told)
        return loss if loss > 0 else math.nan

    @cached_property
    def few_rows(self) -> bool:
        """Whether there are so few training rows that a model may know them by heart.

        Where nobody told how many there are, by how many pairs of looks saw the same first row,
        of n rows one in n (Seber, The estimation of animal abundance, 1982).
        """
        if self.train_rows is not None:
            return self.train_rows < MANY_ROWS
        seen = Counter(look["input"].get("checksum") for look in self.looks if "input" in look)
        same = sum(count * (count - 1) for count in seen.values())
        return same * MANY_ROWS >= seen.total() * (seen.total() - 1)

    @cached_property
    def mean_update(self) -> float:
        """Update over weight, the mean of all steps; NaN where no look saw it."""
        return self.travelled / self.last_step if self.count else math.nan

    @cached_property
    def noise(self) -> float:
        """How much a batch's loss differs from the next's, as a standard deviation.

        The median of the absolute differences over 0.954, which makes it sigma where the losses
        are independent and normal.
        """
        return _noise(self.losses)

    @cached_property
    def early_noise(self) -> float:
        """The same over the first 20 steps."""
        return _noise(self.losses[:20])

    def part(self, begin: float, end: float) -> Array:
        """The finite losses between two shares of the recorded steps; at least one if any."""
        low = min(int(begin * self.count), max(self.count - 1, 0))
        losses = self.losses[low : max(int(end * self.count), low + 1)]
        return losses[np.isfinite(losses)]

    def level(self, begin: float, end: float) -> float:
        """The median of :meth:`part`; NaN where no loss there is finite."""
        part = self.part(begin, end)
        return float(np.median(part)) if len(part) else math.nan

    @cached_property
    def settled(self) -> float:
        """What is left of the untrained loss after the first steps did what they do, good or harm.

        The median of steps 16 to 32, of a short run the second half; NaN before the last of them.
        """
        end = min(SETTLED, self.total_steps or SETTLED)
        if self.count < end:
            return math.nan
        return left(float(np.median(self.losses[end // 2 : end])), self.untrained)

    @cached_property
    def smoothed(self) -> tuple[npt.NDArray[np.int64], Array]:
        """The running median over a twentieth of the run so far, 5 steps at least; NaN is high.

        The last step of each window, and its median: of a long run's steps by equal blocks, of
        their medians, so that it takes no longer than that of :data:`BLOCKS` steps.
        """
        size = max(1, -(-self.count // BLOCKS))
        begin = self.count % size
        losses = np.where(np.isfinite(self.losses), self.losses, np.inf)[begin:].reshape(-1, size)
        medians = np.median(losses, axis=1)
        width = max(5, len(medians) // 20)
        if len(medians) < width:
            return np.array([], np.int64), np.array([])
        views = np.lib.stride_tricks.sliding_window_view(medians, width)
        return self.steps[begin + size * width - 1 :: size], np.median(views, axis=1)

    @cached_property
    def lr_shares(self) -> Array:
        """Each learning rate over the highest so far by the same recipe."""
        shares = np.empty_like(self.lrs)
        for begin, end in pairwise((0, *np.searchsorted(self.steps, self.changed, "right"), None)):
            part = self.lrs[begin:end]
            shares[begin:end] = part / max(float(np.nanmax(part, initial=0.0)), 1e-300)
        return shares

    def kind_of(self, tensor: str) -> str:
        """``weight``, ``bias``, ``norm`` or ``embedding``."""
        return str(self.setup.get("tensors", {}).get(tensor, {}).get("kind", "weight"))

    @cached_property
    def _moved(self) -> frozenset[str]:
        """The weights that the optimizer has; of a model of embeddings alone, these."""
        known = self.setup.get("tensors", {})
        names = [n for n, t in known.items() if t["trained"] and t["group"] is not None]
        weights = frozenset(n for n in names if self.kind_of(n) == "weight")
        return weights or frozenset(n for n in names if self.kind_of(n) == "embedding")

    @cached_property
    def frozen(self) -> frozenset[str]:
        """The tensors that the optimizer does not have, or that want no gradient."""
        known = self.setup.get("tensors", {})
        return frozenset(n for n, t in known.items() if not t["trained"] or t["group"] is None)

    def update_ratios(self, look: Event) -> Array:
        """Norm of the update over norm of the value, of the weights that are trained.

        Tensors that began at zero, and embeddings, are left out of early looks: all that they are
        soon is their last updates.
        """
        early = look["step"] <= EARLY_STEPS
        young = self._begun_at_zero | self._small_by_custom if early else frozenset()
        return np.array(
            [
                t["update_norm"] / t["weight_norm"]
                for name, t in look.get("tensors", {}).items()
                if t["weight_norm"] and t["update_norm"] is not None
                if name in self._moved or name not in self.setup.get("tensors", {})
                if name not in young
            ]
        )

    @cached_property
    def update_ratio(self) -> dict[int, float]:
        """The median of :meth:`update_ratios` at the steps of looks that saw any."""
        return {
            look["step"]: float(np.median(ratios))
            for look in self.looks
            if len(ratios := self.update_ratios(look))
        }

    @cached_property
    def _begun_at_zero(self) -> frozenset[str]:
        """The tensors whose values were all 0 before the first step that was looked at."""
        first = self.looks[0].get("tensors", {}) if self.looks else {}
        return frozenset(name for name, t in first.items() if t["weight_norm"] == 0)

    @property
    def _small_by_custom(self) -> frozenset[str]:
        """Embeddings."""
        return frozenset(n for n in self._moved if self.kind_of(n) == "embedding")

    @cached_property
    def early_update(self) -> float:
        """The largest :attr:`update_ratio` in the first looks; 0 where there is none.

        Also where another recipe trains on since: they are not its doing.
        """
        if any(self.changed):
            return 0.0
        return max((r for step, r in self.update_ratio.items() if step <= EARLY_STEPS), default=0.0)

    @cached_property
    def _speeds(self) -> tuple[Array, Array]:
        """Steps of looks, and the median of update over weight there for a learning rate of 1."""
        seen = []
        for step, ratio in self.update_ratio.items():
            at = int(np.searchsorted(self.steps, step))
            if at < self.count and self.lrs[at] > 0:
                seen.append((step, ratio / self.lrs[at]))
        steps, speeds = zip(*seen, strict=True) if seen else ((), ())
        return np.array(steps, float), np.array(speeds, float)

    @cached_property
    def travelled(self) -> float:
        """How far weights have moved, in their own norms; NaN where no look saw it.

        Update over weight summed over the steps, between looks in proportion to the learning rate.
        They are no further than this from where they began: steps may undo each other.
        """
        steps, speeds = self._speeds
        return float(np.interp(self.steps, steps, speeds) @ self.lrs) if len(steps) else math.nan

    def reach(self, total: int) -> float:
        """How far weights can get in so many steps, the rest of them at the highest rate so far."""
        if not len(self._speeds[0]):
            return math.nan
        left_over = max(total - self.last_step, 0)
        return self.travelled + left_over * float(self._speeds[1][-1] * np.nanmax(self.lrs))

    def weights(self, look: Event, quantity: str = "grad_norm") -> Array:
        """One number of each weight matrix in a look, in the order of the model's parameters."""
        return np.array(
            [
                number(values[quantity])
                for name, values in look.get("tensors", {}).items()
                if self.kind_of(name) == "weight"
            ]
        )


def _noise(losses: Array) -> float:
    steps = np.abs(np.diff(losses))
    steps = steps[np.isfinite(steps)]
    return float(np.median(steps) / 0.954) if len(steps) else 0.0


def steps_in_one(momentum: float) -> float:
    """How many times as far as one gradient alone a steady one takes SGD with this momentum.

    >>> round(steps_in_one(0.9), 3)
    10.0
    """
    return 1 / (1 - min(momentum, 0.9999))


def left(now: float, start: float) -> float:
    """What is left of a loss: ``now / start``; also for one that may be below 0, a likelihood's.

    1 less how far it fell in units of where it began, so that lower is always better.

    >>> left(0.5, 2.0), left(-3.0, -1.0)
    (0.25, -1.0)
    """
    return 1 - (start - now) / max(abs(start), sys.float_info.min)
