"""How well a suggestion trains, beside the best learning rate of the sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .cases import CASES, Case, Curve

__all__ = ["ONE_SWEEP", "best_lr", "constants", "oracles", "percentages", "score"]

ONE_SWEEP = "oracle: best of one seed, on the others"
FLOOR = 0.02  # of the untrained loss: without it tiny validation losses make the score noise

Array = NDArray[np.float64]


def capped(curve: Curve, seeds: Sequence[int] | slice = slice(None)) -> Array:
    """The mean loss over seeds at each learning rate; a run is never worse than none."""
    losses = np.where(np.isfinite(curve.losses), curve.losses, np.inf)
    return np.minimum(losses, curve.untrained[:, None])[seeds].mean(0)


def smooth(values: Array) -> Array:
    """Weights 1/4, 1/2, 1/4 over the learning rates."""
    wide = np.concatenate([values[:1], values, values[-1:]])
    return 0.25 * wide[:-2] + 0.5 * wide[1:-1] + 0.25 * wide[2:]


def score(curve: Curve, lr: float, seeds: Sequence[int] | slice = slice(None)) -> float:
    """(L + f) / (best + f), with L read between the sweep's points."""
    losses, floor = capped(curve, seeds), FLOOR * curve.untrained[seeds].mean()
    found = np.interp(np.log10(lr), np.log10(curve.lrs), losses)
    return float((found + floor) / (smooth(losses).min() + floor))


def best_lr(curve: Curve, seeds: Sequence[int] | slice = slice(None)) -> float:
    """The learning rate of the sweep with the lowest loss, smoothed over the rates."""
    return float(curve.lrs[smooth(capped(curve, seeds)).argmin()])


def oracles(curve: Curve) -> dict[str, list[float]]:
    """The scores of the best learning rate of other seeds: what noise alone costs.

    The best of all other seeds, on each; the best of a half, on the other half; and the best of a
    single seed, which is what one whole sweep of planned runs would tell, on all others.
    """
    seeds = range(len(curve.losses))
    middle = len(seeds) // 2
    apart = [([k], [other for other in seeds if other != k]) for k in seeds]

    def scores(pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> list[float]:
        return [score(curve, best_lr(curve, chosen), scored) for chosen, scored in pairs]

    return {
        "oracle: best of all other seeds, on each": scores((others, one) for one, others in apart),
        "oracle: best of half, on the other half": scores(
            [(seeds[:middle], seeds[middle:]), (seeds[middle:], seeds[:middle])]
        ),
        ONE_SWEEP: scores(apart),
    }


def constants(curves: dict[str, Curve]) -> dict[str, float]:
    """The one learning rate of each optimizer that does best on the tuning cases."""
    by_optimizer: dict[str, list[Curve]] = {}
    for case in CASES:
        if case.tuning and case.key in curves:
            by_optimizer.setdefault(case.optimizer, []).append(curves[case.key])
    candidates = 10 ** np.arange(-5, 1, 0.1)

    def cost(lr: float, of: list[Curve]) -> float:
        return float(np.mean([np.log(min(score(c, lr), 8.0)) for c in of]))

    return {
        name: float(min(candidates, key=lambda lr, of=of: cost(lr, of)))
        for name, of in by_optimizer.items()
    }


def percentages(scores: Iterable[float]) -> str:
    """Percent of cases within 1.1x and 1.5x of the best, and worse than 3x."""
    values = np.array(list(scores))
    within = [(values <= 1.1).mean(), (values <= 1.5).mean(), (values > 3).mean()]
    return "/".join(f"{100 * share:.0f}" for share in within)


def equivalent(case: Case, lr: float, scale: float) -> float:
    """The learning rate that does to the plain loss what ``lr`` does to the scaled one.

    Exact for SGD without weight decay; AdamW and Lion do not notice the scale (but for eps).
    """
    return lr * scale if case.optimizer == "sgd" else lr


def averaged(losses: Array, decay: float = 0.98) -> Array:
    """The exponential average, with its bias towards 0 taken out, that fastai reads."""
    value, found = 0.0, []
    for step, loss in enumerate(losses, start=1):
        value = decay * value + (1 - decay) * loss
        found.append(value / (1 - decay**step))
    return np.array(found)


def valley(lrs: Array, losses: Array) -> float:
    """Of fastai, its default: the middle of the middle third of the longest fall."""
    length = [1] * len(losses)
    for k in range(1, len(losses)):
        length[k] += max((length[j] for j in range(k) if losses[j] > losses[k]), default=0)
    end = int(np.argmax(length))
    third = (length[end]) / 3
    return float(lrs[end - length[end] + int(third) + int(third / 2)])


def slide(lrs: Array, losses: Array, apart: int = 15, flat: float = 0.005) -> float:
    """Of fastai: from the right, until the slopes 15 points apart are alike; a fifth."""
    slopes = np.gradient(losses)
    if len(losses) <= apart:
        return float(lrs[0])
    right = len(losses) - 1
    found = lrs[right - apart]
    while right - apart >= 0 and abs(slopes[right] - slopes[right - apart]) > flat:
        found = lrs[right - apart]
        right -= 1
    return 0.2 * float(found)


def steepest(lrs: Array, losses: Array, begin: int, end: int) -> float:
    """Where the loss falls fastest from one rate to the next, the first and last few left out."""
    part = slice(begin, len(losses) - end)
    if len(losses[part]) < 2:
        return float(lrs[len(lrs) // 2])
    return float(lrs[part][np.gradient(losses[part]).argmin()])


#: Name -> rule of the rates, our smoothed losses, and the losses as they were.
RULES: dict[str, Callable[[Array, Array, Array], float]] = {
    "smoothed minimum / 10": lambda lrs, smoothed, losses: lrs[smoothed.argmin()] / 10,
    "valley (fastai)": lambda lrs, smoothed, losses: valley(lrs, averaged(losses)),
    "slide (fastai)": lambda lrs, smoothed, losses: slide(lrs, averaged(losses)),
    "steepest": lambda lrs, smoothed, losses: lrs[np.gradient(smoothed, np.log(lrs)).argmin()],
    "torch-lr-finder": lambda lrs, smoothed, losses: steepest(lrs, losses, 10, 5),
    "Lightning": lambda lrs, smoothed, losses: steepest(lrs, averaged(losses), 10, 1),
}
