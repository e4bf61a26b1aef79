"""What may be said about a table beside its target."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError, unknown

__all__ = ["TableOptions"]

MISSING = ("refuse", "impute")


@dataclass(frozen=True)
class TableOptions:
    """How columns are to be read.

    Args:
        missing: what becomes of empty cells: ``"refuse"`` or ``"impute"``.
        categorical: columns whose numbers are names of levels; the target, whose numbers are
            classes.
        dates: columns that hold dates.
        ignore: columns that are not looked at.
        na: further texts that stand for an empty cell.
    """

    missing: str = MISSING[0]
    categorical: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    na: tuple[str, ...] = ()

    @classmethod
    def of(cls, missing: str | None = None, **columns: Sequence[str] | None) -> TableOptions:
        """The options, lists of texts in whatever sequence; ``None``: not given.

        Raises:
            InputError: a treatment that there is not, or a column that is declared twice.
        """
        several = {name: value for name, value in columns.items() if value is not None}
        for name, value in several.items():
            if isinstance(value, str) or not all(isinstance(word, str) for word in value):
                raise InputError(f"load_task: {name} must be a list of texts, got {value!r}.")
        options = cls(missing or MISSING[0], **{k: tuple(v) for k, v in several.items()})
        if options.missing not in MISSING:
            raise unknown("treatment of missing values", options.missing, MISSING)
        declared = (*options.categorical, *options.dates, *options.ignore)
        for name in declared:
            if declared.count(name) > 1:
                raise InputError(
                    f"The column {name!r} is declared twice: as categorical, as dates, or to be "
                    "ignored. Declare it once."
                )
        return options

    def check(self, path: Path, columns: Sequence[str], target: str) -> None:
        """Refuse names that the file does not have, and a target that cannot be one.

        Raises:
            InputError: which is which.
        """
        for name in (*self.categorical, *self.dates, *self.ignore):
            if name not in columns:
                raise unknown(f"column of {path.name}", name, columns)
        if target in (*self.dates, *self.ignore):
            raise InputError(
                f"The target column {target!r} can be declared categorical, but not as dates or to "
                "be ignored."
            )

    def given(self) -> dict[str, Any]:
        """Those that are not the defaults, as plain data."""
        values = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, (value, default) in values.items()
            if value != default
        }
