"""Prodigy: AdamW that finds its learning rate, from how far the weights have come."""

from __future__ import annotations

import math
from dataclasses import replace

from ._rule import Rule
from ._shared import CAUTIOUS, EPS, LR, WEIGHT_DECAY, cautious_update
from ._spec import Flag, Hyper, Slot, beta

__all__ = ["PRODIGY", "prodigy"]


def prodigy(
    xp,
    p,
    g,
    exp_avg,
    exp_avg_sq,
    s,
    p0,
    d,
    d_max,
    d_numerator,
    *,
    lr,
    beta1,
    beta2,
    beta3,
    eps,
    weight_decay,
    d0,
    d_coef,
    growth_rate,
    step,
    numel,
    use_bias_correction,
    safeguard_warmup,
    cautious,
):
    """AdamW's step times d, an estimate of the distance from the start to the minimum."""
    beta3 = xp.where(beta3 > 0, beta3, xp.sqrt(beta2))
    rate = d * lr
    if use_bias_correction:
        rate = rate * xp.sqrt(1 - beta2**step) / (1 - beta1**step)
    way = d / d0 * rate * g * (p0 - p)
    weight = xp.where(lr > 0, d, 0.0) if safeguard_warmup else rate
    s = xp.fma(d / d0 * weight, g, beta3 * s)
    d_numerator = beta3 * d_numerator + xp.total(way)
    length = xp.total(xp.abs(s))
    d_hat = xp.where(length > 0, d_coef * d_numerator / xp.maximum(length, 1e-300), d)
    d_max = xp.maximum(d_max, d_hat)
    grown = xp.where(d > d0, d, xp.maximum(d, d_hat))
    new_d = grown * xp.minimum(d_max / grown, growth_rate)
    exp_avg = xp.fma((1 - beta1) * d, g, beta1 * exp_avg)
    exp_avg_sq = xp.fma((1 - beta2) * d * d * g, g, beta2 * exp_avg_sq)
    update = exp_avg / (xp.sqrt(exp_avg_sq) + new_d * eps)
    if cautious:
        update = cautious_update(xp, update, g, numel)
    p = p * (1 - rate * weight_decay) - rate * update
    return p, exp_avg, exp_avg_sq, s, p0, new_d, d_max, d_numerator


def _of_all(name: str, meaning: str, symbol: str, init: float | str) -> Slot:
    return Slot(name, meaning, symbol, init=init, scalar=True, exact=True, shared=True)


PRODIGY = Rule(
    prodigy,
    "AdamW that needs no learning rate: it estimates how far the minimum is, and grows with it.",
    class_name="Prodigy",
    slots=(
        Slot("exp_avg", "running mean of gradients, each times its d", "m"),
        Slot(
            "exp_avg_sq",
            "running mean of squared gradients, each times its d",
            "v",
            nonnegative=True,
        ),
        Slot("s", "running sum of gradients", "s"),
        Slot("p0", "the parameter at the start", "q", init="p", weights=True),
        _of_all("d", "estimate of the distance to the minimum", "d", "d0"),
        _of_all("d_max", "largest estimate so far", "d_max", "d0"),
        _of_all("d_numerator", "running sum of the ways that gradients agree with", "N", 0.0),
    ),
    hypers=(
        LR.by_default(1.0),
        beta(1, default=0.9),
        replace(beta(2, default=0.999), alike=True),
        Hyper(
            "beta3",
            "decay rate of the sums; 0: the root of betas[1]",
            "beta_3",
            high=1.0,
            default=0,
            alike=True,
        ),
        EPS.by_default(1e-8),
        WEIGHT_DECAY.by_default(0),
        Hyper("d0", "first estimate", "d_0", above=True, default=1e-6, alike=True),
        Hyper("d_coef", "factor of the estimate, by which to tune", "c", default=1.0, alike=True),
        Hyper(
            "growth_rate",
            "largest factor by which d grows in a step",
            "rho",
            low=1.0,
            infinite=True,
            default=math.inf,
            alike=True,
        ),
    ),
    flags=(
        Flag("use_bias_correction", meaning="correct both means for their start, as Adam does"),
        Flag("safeguard_warmup", meaning="leave lr out of s, for runs whose lr warms up"),
        CAUTIOUS,
    ),
    paper="Mishchenko, Defazio: Prodigy: An Expeditiously Adaptive Parameter-Free Learner, "
    "arXiv 2306.06101, algorithm 4.",
    use="Where no learning rate is known and none is to be sought: leave lr=1, under a schedule "
    "that ends at 0; with a warmup, safeguard_warmup=True. It keeps twice AdamW's memory.",
    notes=(
        "As in the authors' code: s and the numerator fall with beta3, a step uses d as it was "
        "before but in eps, and weight decay is decoupled.",
        "d is one for all groups, so betas[1], beta3, d0, d_coef and growth_rate must be the same "
        "in all. Groups may differ in lr, whose steps then count by their own; the authors' code "
        "refuses all but 0. A group whose lr is 0 adds to no sum, as there; its means go on.",
        "A step whose gradients are all zero is taken; the authors' code leaves out the first ones "
        "of a run.",
    ),
)
