"""``python -m benchmarks.claims``: try every claim of the guides and write docs/claims.md."""

from __future__ import annotations

import argparse
import sys
import time

import torch

from . import adaptive, decay, loops, momentum, rates
from .claim import CLAIMS, verdict
from .page import PAGE, page

SEEDS = range(5)
assert all((adaptive, decay, loops, momentum, rates))  # importing them registers their claims


def main() -> int:
    """Return 1 where an outcome is not the one that the tests expect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", default="", help="claims whose name contains this; writes nothing"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    others = 0
    for claim in CLAIMS:
        if given.only in claim.name:
            begun = time.perf_counter()
            cases = claim.run(SEEDS)
            results.append((claim, cases))
            others += verdict(cases) != claim.found
            took = time.perf_counter() - begun
            known = "" if verdict(cases) == claim.found else f"  (expected: {claim.found})"
            print(f"{claim.name}: {verdict(cases)}{known}  [{took:.1f} s]", flush=True)
            if given.only or known:
                for words, case in cases.items():
                    print(
                        "   ", words, case.holds, {k: f"{v:.4g}" for k, v in case.figures.items()}
                    )
    if not given.only:
        PAGE.write_text(page(results), encoding="utf-8")
        print(f"-> {PAGE}")
    return int(others > 0)


if __name__ == "__main__":
    sys.exit(main())
