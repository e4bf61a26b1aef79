"""``downslope diagnose``: what is wrong with a run, its cause and what to change."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import Debug

if TYPE_CHECKING:
    from ..doctor import Finding

__all__ = ["command", "described"]

WIDTH = 88


def command(
    run: Annotated[
        Path, typer.Argument(help="a run's directory, or its records.jsonl", metavar="RUN")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
    debug: Debug = False,
) -> None:
    """Say what is wrong with a run, why, and what to change; the cause first."""
    from ..doctor import diagnose

    found = diagnose(run)
    if as_json:
        typer.echo(json.dumps([finding.to_dict() for finding in found], indent=2))
    elif found:
        typer.echo("\n\n".join(map(described, found)))
    else:
        typer.echo("Nothing is wrong that the doctor knows of.")


def described(finding: Finding) -> str:
    """A finding as lines of text."""
    evidence = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in finding.evidence.items()
    )
    change = ", ".join(f"{name} = {value}" for name, value in finding.change.items())
    rows = {
        "seen": f"{finding.symptom}, at step {finding.step}",
        "evidence": evidence,
        "remedy": finding.remedy,
        "recipe": change,
        "source": finding.source,
    }
    lines = [f"{finding.severity.upper()}: {finding.cause}"]
    for name, text in rows.items():
        if text:
            first, rest = f"  {name:10}", " " * 12
            lines += textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)
    return "\n".join(lines)
