"""The page of claims as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe

from .claim import Case, Cases, Claim, verdict

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"

HEAD = """# The guides' claims, tried

Four tutorials are where this project began. What they say can mostly be tried, and here it was:
{count} claims, quoted by their meaning, each with an experiment, its figures and what follows.
{true} are true, {some} under conditions that the guides do not name, {false} are not.

What had to come out was written down, with its tolerance, before an experiment first ran; where
the outcome was another than predicted, that is said. Medians over {seeds} seeds. `make claims` runs
them all again and writes this page; {tested} are tests too, with other seeds each time, and the
others take long or measure time. The experiments are `benchmarks/claims/`; what is plainly wrong in
the guides' formulas is on [another page](guides-errata.md).

"""

TITLES = {
    "momentum": "Steps and momentum",
    "adaptive": "Adaptive steps",
    "decay": "Weight decay",
    "rates": "Learning rates",
    "loops": "The training loop",
}


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _figures(case: Case) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in case.figures.items())


def _entry(claim: Claim, cases: Cases) -> list[str]:
    found = verdict(cases)
    word, _, conditions = found.partition(": ")
    shown = f"true when: {conditions}" if conditions else word
    lines = [
        f"### {claim.says}",
        "",
        f"**{shown[0].upper() + shown[1:]}.** {claim.note}".rstrip(),
        "",
    ]
    lines += [f"{claim.guide[0].upper() + claim.guide[1:]} guide. {claim.tried}", ""]
    for words, case in cases.items():
        prefix = f"{words}: " if words else ""
        lines.append(f"- {prefix}{_figures(case)}")
    if claim.predicted != found:
        lines += ["", f"Predicted was: {claim.predicted}."]
    return [*lines, ""]


def page(results: Sequence[tuple[Claim, Cases]], seeds: int = 5) -> str:
    """All of it.

    Args:
        results: every claim with what came out.
        seeds: of the experiments.
    """
    verdicts = [verdict(cases) for _, cases in results]
    head = HEAD.format(
        count=len(results),
        true=verdicts.count("true"),
        false=verdicts.count("false"),
        some=sum(v.startswith("true: ") for v in verdicts),
        seeds=seeds,
        tested=sum(not claim.slow for claim, _ in results),
    )
    lines = [head]
    for module, title in TITLES.items():
        own = [(c, r) for c, r in results if c.run.__module__.endswith(f".{module}")]
        lines += [f"## {title}", ""] + [line for c, r in own for line in _entry(c, r)]
    machine = describe()
    lines.append(f"Run on {machine['processor']}, torch {machine['torch']}.")
    return "\n".join(lines) + "\n"
