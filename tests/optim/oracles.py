"""Each optimizer once more, naively: NumPy in float64, straight from the paper or torch's formula.

An oracle takes one step: ``oracle(p, g, state, **hyperparameters) -> p``. ``state`` is a dict under
torch's keys, empty before the first step, and is changed in place; what the oracle alone remembers
has a key that begins with an underscore. Nothing here imports downslope, and nothing tries to be
fast, shared or clever: that is what makes these the judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Oracle",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "asgd",
    "follow",
    "follow_jointly",
    "nadam",
    "only_agreeing",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
]

Array = NDArray[np.float64]
Oracle = Callable[..., Array]


def sgd(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    cautious: bool = False,
) -> Array:
    """Sutskever et al. 2013, in torch's form: the first gradient is the first buffer, undamped."""
    g = g + weight_decay * p
    if momentum != 0:
        if "momentum_buffer" in state:
            buffer = momentum * state["momentum_buffer"] + (1 - dampening) * g
        else:
            buffer = g
        state["momentum_buffer"] = buffer
        update = g + momentum * buffer if nesterov else buffer
        return p - lr * (only_agreeing(update, g) if cautious else update)
    return p - lr * g


def rmsprop(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    cautious: bool = False,
) -> Array:
    """Hinton's lecture 6e; centered as in Graves 2013; eps outside the root."""
    g = g + weight_decay * p
    state["step"] = state.get("step", 0) + 1
    state["square_avg"] = alpha * state.get("square_avg", 0.0) + (1 - alpha) * g * g
    variance = state["square_avg"]
    if centered:
        state["grad_avg"] = alpha * state.get("grad_avg", 0.0) + (1 - alpha) * g
        variance = state["square_avg"] - state["grad_avg"] ** 2
    direction = g / (np.sqrt(variance) + eps)
    if momentum > 0:
        direction = momentum * state.get("momentum_buffer", 0.0) + direction
        state["momentum_buffer"] = direction
        direction = only_agreeing(direction, g) if cautious else direction
    return p - lr * direction


def adagrad(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
) -> Array:
    """Duchi et al. 2011, diagonal; eps outside the root; the rate decays from the second step."""
    g = g + weight_decay * p
    state["step"] = state.get("step", 0) + 1
    state["sum"] = state.get("sum", initial_accumulator_value) + g * g
    rate = lr / (1 + (state["step"] - 1) * lr_decay)
    return p - rate * g / (np.sqrt(state["sum"]) + eps)


def adam(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    decoupled_weight_decay: bool = False,
    cautious: bool = False,
) -> Array:
    """Kingma & Ba 2015, algorithm 1; AMSGrad (Reddi et al. 2018) maximises the uncorrected v."""
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g * g
    if amsgrad:
        v = state["max_exp_avg_sq"] = np.maximum(state.get("max_exp_avg_sq", 0.0), v)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    update = m_hat / (np.sqrt(v_hat) + eps)
    return p - lr * (only_agreeing(update, g) if cautious else update)


def adamw(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    cautious: bool = False,
) -> Array:
    """Loshchilov & Hutter 2019, algorithm 2; as in torch, the decay is multiplied by lr."""
    decayed = p - lr * weight_decay * p
    rest: dict[str, Any] = {"eps": eps, "amsgrad": amsgrad, "cautious": cautious}
    return adam(decayed, g, state, lr=lr, betas=betas, **rest)


def adadelta(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
) -> Array:
    """Zeiler 2012, algorithm 1, with torch's lr in front of the step."""
    g = g + weight_decay * p
    state["step"] = state.get("step", 0) + 1
    state["square_avg"] = rho * state.get("square_avg", 0.0) + (1 - rho) * g**2
    before = state.get("acc_delta", 0.0)
    delta = np.sqrt(before + eps) / np.sqrt(state["square_avg"] + eps) * g
    state["acc_delta"] = rho * before + (1 - rho) * delta**2
    return p - lr * delta


def adamax(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    cautious: bool = False,
) -> Array:
    """Kingma & Ba 2015, algorithm 2; eps is added to the gradient's size, as in torch."""
    g = g + weight_decay * p
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    u = state["exp_inf"] = np.maximum(beta2 * state.get("exp_inf", 0.0), np.abs(g) + eps)
    update = m / u
    update = only_agreeing(update, g) if cautious else update
    return p - lr / (1 - beta1**t) * update


def nadam(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    cautious: bool = False,
) -> Array:
    """Dozat 2016, algorithm 2; the product of momenta is kept in float32, as torch keeps it."""
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    product = float(np.float32(state.get("mu_product", 1.0)) * np.float32(mu))
    state["mu_product"] = product
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g * g
    m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
    update = m_hat / (np.sqrt(v / (1 - beta2**t)) + eps)
    return p - lr * (only_agreeing(update, g) if cautious else update)


def radam(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    cautious: bool = False,
) -> Array:
    """Liu et al. 2020, algorithm 2, with torch's threshold of 5 for the length of the average."""
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    beta1, beta2 = betas
    t = state["step"] = state.get("step", 0) + 1
    m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * g
    v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    m_hat = only_agreeing(m_hat, g) if cautious else m_hat
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length <= 5:
        return p - lr * m_hat
    r = ((length - 4) * (length - 2) * longest) / ((longest - 4) * (longest - 2) * length)
    return p - lr * m_hat * np.sqrt(r) * np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)


def rprop(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0),
) -> Array:
    """Riedmiller & Braun 1993 without backtracking (iRprop-): a turned sign stays where it is."""
    state["step"] = state.get("step", 0) + 1
    turn = np.sign(g * state.get("prev", np.zeros_like(g)))
    size = state.get("step_size", np.full_like(g, lr))
    size = np.where(turn > 0, size * etas[1], np.where(turn < 0, size * etas[0], size))
    state["step_size"] = np.clip(size, *step_sizes)
    state["prev"] = np.where(turn < 0, 0.0, g)
    return p - np.sign(state["prev"]) * state["step_size"]


def asgd(
    p: Array,
    g: Array,
    state: dict[str, Any],
    *,
    lr: float = 1e-2,
    lambd: float = 1e-4,
    alpha: float = 0.75,
    t0: float = 1e6,
    weight_decay: float = 0.0,
) -> Array:
    """Polyak & Juditsky 1992, in torch's form; eta and mu are kept in float32, as torch does."""
    g = g + weight_decay * p
    t = state["step"] = state.get("step", 0) + 1
    eta = float(np.float32(state.get("eta", lr)))
    p = (1 - lambd * eta) * p - eta * g
    average = state.get("ax", np.zeros_like(p))
    state["ax"] = average + state.get("mu", 1.0) * (p - average)
    state["eta"] = float(np.float32(lr / (1 + lambd * lr * t) ** alpha))
    state["mu"] = float(np.float32(1 / max(1.0, t - t0)))
    return p


def only_agreeing(update: Array, g: Array) -> Array:
    """Liang et al. 2024 as in the authors' code: by the mean of the mask, at least a thousandth."""
    if g.size == 0:
        return update
    mask = np.where(update * g > 0, 1.0, 0.0)
    return update * mask / max(mask.mean(), 1e-3)


def follow(
    oracle: Oracle, p: Array, gradients: Iterable[Array], *, maximize: bool = False, **hyper: Any
) -> tuple[Array, dict[str, Any]]:
    """The parameter and the state after one step for each gradient."""
    state: dict[str, Any] = {}
    for g in gradients:
        p = oracle(p, -g if maximize else g, state, **hyper)
    return p, state


def follow_jointly(
    oracle: Callable[..., list[Array]],
    ps: list[Array],
    rows: Iterable[list[Array]],
    *,
    maximize: bool = False,
    **hyper: Any,
) -> tuple[list[Array], dict[str, Any]]:
    """The same for an oracle that steps all parameters together."""
    state: dict[str, Any] = {}
    for gs in rows:
        ps = oracle(ps, [-g if maximize else g for g in gs], state, **hyper)
    return ps, state
