"""A claim: what a guide says, the experiment that tries it, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["CLAIMS", "Case", "Claim", "claim", "verdict"]

Seeds = Sequence[int]


@dataclass(frozen=True)
class Case:
    """What was seen under one condition.

    Args:
        holds: whether the claim does.
        figures: what was measured, by name; of several seeds the medians.
    """

    holds: bool
    figures: Mapping[str, float]


Cases = Mapping[str, Case]


@dataclass(frozen=True)
class Claim:
    """A statement of a guide with its experiment.

    Args:
        name: of the experiment.
        guide: ``"first"``, ``"second"``, ``"third"`` or ``"last"``, or several of them.
        says: the statement by its meaning.
        tried: what was done, in a sentence, and what had to come out.
        run: the experiment: seeds -> cases by condition (``""`` where there is one only).
        predicted: the verdict that was written down before the first run.
        found: the verdict that the test expects: what came out then.
        slow: whether it takes long, or measures time; then ``make claims`` runs it, and no test.
        note: what explains an outcome that was not predicted.
    """

    name: str
    guide: str
    says: str
    tried: str
    run: Callable[[Seeds], Cases]
    predicted: str
    found: str
    slow: bool = False
    note: str = ""


CLAIMS: list[Claim] = []


def claim(
    guide: str,
    says: str,
    tried: str,
    *,
    predicted: str,
    found: str | None = None,
    slow: bool = False,
    note: str = "",
) -> Callable[[Callable[[Seeds], Cases]], Callable[[Seeds], Cases]]:
    """Register an experiment; ``found`` where that is not what was predicted."""

    def register(run: Callable[[Seeds], Cases]) -> Callable[[Seeds], Cases]:
        known = predicted if found is None else found
        CLAIMS.append(Claim(run.__name__, guide, says, tried, run, predicted, known, slow, note))
        return run

    return register


def verdict(cases: Cases) -> str:
    """``"true"``, ``"false"``, or ``"true: "`` with the conditions under which it is.

    >>> verdict({"": Case(True, {})}), verdict({"noisy": Case(True, {}), "exact": Case(False, {})})
    ('true', 'true: noisy')
    """
    true = [condition for condition, case in cases.items() if case.holds]
    if len(true) == len(cases):
        return "true"
    return f"true: {'; '.join(true)}" if true else "false"
