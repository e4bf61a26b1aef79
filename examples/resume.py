"""A run that is interrupted, as by Ctrl-C, and goes on to the bits it would have reached anyway."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import downslope

RECIPE = downslope.Recipe(lr=3e-3, epochs=3)


def interrupt(event: dict[str, Any]) -> None:
    """Press Ctrl-C in the middle of the second epoch."""
    if event["event"] == "train" and event["step"] == 30:
        signal.raise_signal(signal.SIGINT)


def main() -> None:
    folder = Path("runs/resume")
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier call
    digits = downslope.load_task("digits")
    whole = downslope.fit(digits, RECIPE, folder / "whole")

    first = downslope.fit(digits, RECIPE, folder / "cut", on_event=[interrupt])
    print("the first part ended:", first.reason)
    rest = downslope.fit(digits, run_dir=folder / "cut", resume=True)  # also after a kill

    pairs = zip(whole.model().parameters(), rest.model().parameters(), strict=True)
    print("same bits:", all(a.equal(b) for a, b in pairs))


if __name__ == "__main__":
    main()
