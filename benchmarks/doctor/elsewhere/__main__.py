"""``python -m benchmarks.doctor.elsewhere``: judge the doctor on loops of other kinds.

They were written as a sceptic would and were not drawn from the other runs; most are those by which
the doctor of the day before was wrong, and all were mended against since. Each is judged as it is,
and as where nobody told the loss of constant outputs.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from downslope.doctor import History

from ..__main__ import write
from ..score import LOOKS, doctor
from . import broken, sound
from .loops import CASES, watched

KINDS = (sound, broken)  # their runs are in `CASES` since they were imported


def said(events: list[dict[str, Any]]) -> tuple[list[str], float | None]:
    """The first cause at each look that had one, and the share of the run at the first of them."""
    whole, causes, at = History.of(events), [], None
    for share in LOOKS:
        step = math.ceil(share * (whole.total_steps or whole.last_step))
        if found := doctor(whole.until(step)):
            at = share if at is None else at
            causes.append(found[0].cause)
        if whole.last_step <= step:
            break
    return causes, at


def main() -> None:
    torch.set_num_threads(1)
    lines = [" ".join(str(kind.__doc__) for kind in KINDS), ""]
    lines += ["| run | its fault | said | from | no constant loss told |", "|---|---|---|---|---|"]
    right = alarms = 0
    for case in CASES:
        torch.manual_seed(0)
        setup, *others = watched(case.build())
        causes, at = said([setup, *others])
        plain, _ = said([{**setup, "constant_loss": None}, *others])
        right += bool(case.causes) and bool(causes) and causes[-1] in case.causes
        alarms += not case.causes and bool(causes)
        words = [", ".join(dict.fromkeys(c)) or "nothing" for c in (causes, plain)]
        fault = case.causes[0] if case.causes else "none"
        name = case.name.replace("_", " ")
        lines.append(f"| {name} | {fault} | {words[0]} | {at or ''} | {words[1]} |")
    faulty = sum(bool(case.causes) for case in CASES)
    rest = f"alarms {alarms} of {len(CASES) - faulty} sound runs"
    lines.append(f"\nright cause first {right} of {faulty}, {rest}")
    write("elsewhere", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
