"""Schedule-Free SGD and AdamW: averaging in place of a schedule."""

from __future__ import annotations

from dataclasses import replace

from ._rule import Rule
from ._shared import EPS, LR, MEAN_SQUARE, WEIGHT_DECAY
from ._spec import Hyper, Slot, beta

__all__ = [
    "ADAMW_SCHEDULE_FREE",
    "SGD_SCHEDULE_FREE",
    "adamw_schedule_free",
    "sgd_schedule_free",
]


def sgd_schedule_free(
    xp,
    p,
    g,
    z,
    weight_sum,
    lr_max,
    *,
    lr,
    momentum,
    weight_decay,
    warmup_steps,
    r,
    weight_lr_power,
    step,
):
    """Step z against the gradient, and p towards the average of all z."""
    lr = _warmed_up(xp, lr, step, warmup_steps)
    share, weight_sum, lr_max = _share(xp, weight_sum, lr_max, lr, r, weight_lr_power, step)
    update = xp.fma(weight_decay, p, g)
    p = _towards(xp, p, z, update, lr, momentum, share)
    return p, xp.fma(-lr, update, z), weight_sum, lr_max


def adamw_schedule_free(
    xp,
    p,
    g,
    z,
    exp_avg_sq,
    weight_sum,
    lr_max,
    *,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay,
    warmup_steps,
    r,
    weight_lr_power,
    step,
):
    """Step z by the gradient over its root mean square, and p towards the average of all z."""
    lr = _warmed_up(xp, lr, step, warmup_steps) * xp.sqrt(1 - beta2**step)
    share, weight_sum, lr_max = _share(xp, weight_sum, lr_max, lr, r, weight_lr_power, step)
    exp_avg_sq = xp.fma((1 - beta2) * g, g, beta2 * exp_avg_sq)
    update = xp.fma(weight_decay, p, g / (xp.sqrt(exp_avg_sq) + eps))
    p = _towards(xp, p, z, update, lr, beta1, share)
    return p, xp.fma(-lr, update, z), exp_avg_sq, weight_sum, lr_max


def _warmed_up(xp, lr, step, warmup_steps):
    return lr * xp.minimum(step / xp.maximum(warmup_steps, 1.0), 1.0)


def _share(xp, weight_sum, lr_max, lr, r, weight_lr_power, step):
    """The newest z's share of the average, and the numbers that the next one depends on."""
    lr_max = xp.maximum(lr_max, lr)
    weight = step**r * lr_max**weight_lr_power
    weight_sum = weight_sum + weight
    return weight / xp.maximum(weight_sum, 1e-300), weight_sum, lr_max  # 0 while lr is 0


def _towards(xp, p, z, update, lr, blend, share):
    """The new point between the average x and z, from the old one: x itself is not kept."""
    return xp.fma(lr * (blend * (1 - share) - 1), update, xp.lerp(p, z, share))


_Z = Slot("z", "the point that is stepped", "z", init="p", weights=True)
_AVERAGING = (
    Slot("weight_sum", "sum of the weights of the average", "S", scalar=True, exact=True),
    Slot("lr_max", "largest lr so far", "eta_max", scalar=True, exact=True),
)
_SCHEDULE = (
    Hyper("warmup_steps", "steps in which lr grows from 0", "T", default=0),
    Hyper("r", "power of the step in its weight in the average", "r", default=0),
    Hyper("weight_lr_power", "power of the largest lr in that weight", "q", default=2),
)
_BLEND = "share of the average in the point that is trained"
_PAPER = "Defazio et al.: The Road Less Scheduled, arXiv 2405.15682."
_MODES = (
    " Call optimizer.eval() before the weights are evaluated or saved, and optimizer.train() "
    "before the next step."
)
_NORMS = (
    "Averages of batch normalization belong to the weights that were trained: have them made anew "
    "by some forward passes in training mode between optimizer.eval() and the evaluation."
)
_LR_MAX = (
    "A step is weighted by the largest learning rate so far, as in the authors' code; the paper's "
    "algorithm takes that step's own, which is the same while it does not fall."
)

SGD_SCHEDULE_FREE = Rule(
    sgd_schedule_free,
    "Gradient descent evaluated at the average of its path, without a schedule.",
    class_name="SGDScheduleFree",
    slots=(_Z, *_AVERAGING),
    hypers=(
        LR.by_default(1.0),
        Hyper(
            "momentum",
            _BLEND,
            "mu",
            above=True,
            high=1.0,
            default=0.9,
        ),
        WEIGHT_DECAY.by_default(0),
        *_SCHEDULE,
    ),
    paper=_PAPER,
    use="Where SGD with momentum is used and the length of the run is not known beforehand: a "
    "constant lr, larger than with a schedule." + _MODES,
    notes=(_LR_MAX, _NORMS),
    blend="momentum",
)

ADAMW_SCHEDULE_FREE = Rule(
    adamw_schedule_free,
    "AdamW evaluated at the average of its path, without a schedule.",
    class_name="AdamWScheduleFree",
    slots=(_Z, MEAN_SQUARE, *_AVERAGING),
    hypers=(
        LR.by_default(0.0025),
        replace(beta(1, _BLEND, default=0.9), above=True),
        beta(2, default=0.999),
        EPS.by_default(1e-8),
        WEIGHT_DECAY.by_default(0),
        *_SCHEDULE,
    ),
    paper=_PAPER,
    use="Where AdamW is used and the length of the run is not known beforehand: a constant lr, one "
    "to ten times AdamW's, and a warmup." + _MODES,
    notes=(
        "The root mean square is corrected for its start in lr, as in the paper's algorithm; later "
        "versions of the authors' code correct it itself, so that eps and weight_decay count more "
        "in the first steps.",
        _LR_MAX,
        _NORMS,
    ),
    blend="beta1",
)
