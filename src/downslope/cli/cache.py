"""``downslope cache``: kernels and converted tables that are kept, and how to be rid of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ..engines import cache
from ..errors import InputError
from .app import Debug
from .units import in_bytes, in_time

if TYPE_CHECKING:
    from ..tasks.tables.row_cache import Entry

__all__ = ["command", "table"]


class Action(StrEnum):
    """What can be done with the cache."""

    SHOW = "show"
    CLEAR = "clear"


def command(
    action: Annotated[Action, typer.Argument(help="what to do")] = Action.SHOW,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="clear without asking")] = False,
    debug: Debug = False,
) -> None:
    """Show the compiled kernels and the converted tables that are kept, or remove them."""
    from ..tasks.tables import row_cache

    found, tables = cache.kernels(), row_cache.entries()
    if action is Action.SHOW:
        typer.echo("\n".join(table(found, time.time())))
        if tables:
            typer.echo("\n".join(table_of_tables(tables)))
        return
    size = sum(k.size for k in found) + sum(t.size for t in tables)
    kinds = [_count(found), *([_count_tables(tables)] if tables else [])]
    home = cache.folder().parent if tables else cache.folder()
    what = f"{' and '.join(kinds)}, {in_bytes(size)}, in {home}"
    if (found or tables) and not yes:
        if not sys.stdin.isatty():
            raise InputError(f"This would remove {what}. Nobody can be asked here: give --yes.")
        try:
            agreed = typer.confirm(f"Remove {what}?")
        except typer.Abort:  # Ctrl-C, or the end of the input
            agreed = False
        if not agreed:
            typer.echo("nothing was removed")
            return
    freed = in_bytes(cache.clear() + row_cache.clear())
    typer.echo(f"removed {' and '.join(kinds)}, {freed}, from {home}")


def table(found: Sequence[cache.Kernel], now: float) -> Iterator[str]:
    """Where the cache is, how large, and a line for each rule, the largest first.

    Args:
        found: the kernels.
        now: the time, in seconds since the epoch.
    """
    yield f"{cache.folder()}: {_count(found)}, {in_bytes(sum(k.size for k in found))}"
    if not found:
        return
    by_rule: dict[str, list[cache.Kernel]] = {}
    for kernel in found:
        by_rule.setdefault(kernel.rule or "(source gone)", []).append(kernel)
    rows = [("rule", "kernels", "size", "newest", "oldest")]
    for rule, group in sorted(by_rule.items(), key=lambda item: -sum(k.size for k in item[1])):
        ages = [now - k.made for k in group]
        size = in_bytes(sum(k.size for k in group))
        rows.append((rule, str(len(group)), size, in_time(min(ages)), in_time(max(ages))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join((row[0].ljust(len(first)), *rest))


def table_of_tables(found: Sequence[Entry]) -> Iterator[str]:
    """Where the rows of large tables are, and a line for each table, the largest first."""
    from ..tasks.tables import row_cache

    size = in_bytes(sum(t.size for t in found))
    yield f"{row_cache.folder()}: {_count_tables(found)}, {size}"
    widest = max(len(in_bytes(t.size)) for t in found)
    yield from (f"{in_bytes(t.size):>{widest}}  {t.source}" for t in found)


def _count_tables(found: Sequence[Entry]) -> str:
    return f"{len(found)} converted table{'s' * (len(found) != 1)}"


def _count(found: Sequence[cache.Kernel]) -> str:
    return f"{len(found)} kernel{'s' * (len(found) != 1)}"
