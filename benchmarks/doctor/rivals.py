"""Published thresholds, restated over our records: do they flag a run?

Each says which of its symptoms it sees; causes have no names in common with ours, so only flags and
false alarms are compared. What a tool reads that our runs do not have (accuracy for AutoTrainer's
"oscillating" and "slow") is left out, which spares it false alarms.
"""

from __future__ import annotations

import numpy as np

from downslope.doctor import History

__all__ = ["RIVALS"]


def autotrainer(history: History) -> list[str]:
    """Zhang et al., TDSC 2024: vanishing, exploding, dying ReLU; after 30% of the run."""
    found = []
    total = history.total_steps or history.count
    for look in (k for k in history.looks if k["step"] >= 0.3 * total):
        norms = history.weights(look)
        zeros = history.weights(look, "zero_share")
        if len(norms) < 2:
            continue
        ratio = norms[0] / max(norms[-1], 1e-300)
        if ratio < 1e-3 and norms[0] < 1e-4:
            found.append("vanishing gradient")
        if not np.isfinite(norms).all() or ratio > 70:
            found.append("exploding gradient")
        if zeros.mean() >= 0.7:
            found.append("dying ReLU")
    losses = history.losses
    if len(losses) and (not np.isfinite(losses).all() or losses.max() >= 1e3):
        found.append("loss")
    return found


def deepdiagnosis(history: History) -> list[str]:
    """Wardat et al., ICSE 2022: dead and saturated units, gradients, rates and inputs."""
    found = []
    if history.count and not 1e-5 <= history.lrs.max() <= 1e-1:
        found.append("learning rate")
    for look in history.looks:
        acts = look.get("activations", {}).values()
        if any(a.get("dead", 0) > 0.7 for a in acts):
            found.append("dead nodes")
        if any(a.get("saturated", 0) > 0.5 for a in acts):
            found.append("saturated activation")
        norms = history.weights(look)
        if len(norms) and norms.min() < 1e-7:
            found.append("vanishing gradient")
        if (look.get("input", {}).get("largest") or 0) > 1:
            found.append("input not in [-1, 1]")
    return found


def umlaut(history: History) -> list[str]:
    """Schoop et al., CHI 2021: rates, inputs, and validation above training by 0.05."""
    found = []
    if history.count and not 1e-7 <= history.lrs.max() <= 0.01:
        found.append("learning rate")
    if any((look.get("input", {}).get("largest") or 0) > 1 for look in history.looks):
        found.append("input not in [-1, 1]")
    checks = history.validations if history.count > 20 else ()
    if checks and checks[-1].loss - history.level(0.9, 1) > 0.05:
        found.append("overfitting")
    return found


def bttackler(history: History) -> list[str]:
    """Pei et al., 2024: gradients between layers, zeros, and a loss that stands still."""
    found = []
    for look in history.looks:
        norms = history.weights(look)
        if len(norms) < 2:
            continue
        ratios = norms[:-1] / np.maximum(norms[1:], 1e-300)
        if not np.isfinite(norms).all() or norms.max() > 1e4 or ratios.max() > 1e3:
            found.append("exploding gradient")
        if norms.min() < 1e-5 or ratios.min() < 1e-4:
            found.append("vanishing gradient")
        if np.median(history.weights(look, "zero_share")) > 0.5:
            found.append("dying ReLU")
    last = history.part(0.5, 1)
    if history.count > 40 and len(last) and last.std() / max(abs(last.mean()), 1e-12) < 1e-4:
        found.append("slow convergence")
    return found


RIVALS = {
    "AutoTrainer": autotrainer,
    "DeepDiagnosis": deepdiagnosis,
    "UMLAUT": umlaut,
    "BTTackler": bttackler,
}
