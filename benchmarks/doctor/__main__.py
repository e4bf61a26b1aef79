"""``python -m benchmarks.doctor``: judge the doctor on runs that it was not tuned on.

With ``--tuning`` on those that it was. The runs take some minutes the first time and are kept in
the system's temporary folder (or ``--keep``); ``--again`` makes them anew. ``--healing`` judges
what ``Recipe(heal=True)`` makes of faulty recipes instead; with ``--fresh`` on problems that
nothing was tuned on.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .healing import healings, told
from .runs import made
from .score import effective, flags, judge, summary

RESULTS = Path(__file__).parents[1] / "results" / "doctor"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuning", action="store_true", help="judge on the tuning runs")
    parser.add_argument("--again", action="store_true", help="train all runs again")
    parser.add_argument("--healing", action="store_true", help="judge healing")
    parser.add_argument("--fresh", action="store_true", help="healing on problems never seen")
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir(), "downslope-doctor")
    )
    options = parser.parse_args()
    keep: Path = options.keep
    if options.healing:
        name = "healing-fresh" if options.fresh else "healing"
        write(name, told(healings(keep, fresh=options.fresh)))
        return
    part = "tuning" if options.tuning else "test"
    if options.again:
        (keep / f"{part}.pickle").unlink(missing_ok=True)
    runs = effective(made(tuning=options.tuning, keep=keep))
    judged = [judge(run) for run in runs]
    lines = [summary(judged), "", flags(runs), ""]
    for one in judged:
        said = ", ".join(dict.fromkeys(one.first_causes)) or "nothing"
        if (one.run.fault is None) == bool(one.first_causes) or not (
            one.run.fault is None or one.right
        ):
            lines.append(f"- {one.run.name}: said {said}")
    write(part, "\n".join(lines) + "\n")


def write(name: str, text: str) -> None:
    """To the terminal, and to the results."""
    print(text)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
