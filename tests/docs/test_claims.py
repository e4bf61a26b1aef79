"""What docs/claims.md says of the guides' claims, tried with other seeds each time."""

from __future__ import annotations

import random
import re

import pytest
from benchmarks.claims import adaptive, decay, loops, momentum, rates
from benchmarks.claims.claim import CLAIMS, Claim, verdict
from benchmarks.claims.page import PAGE

assert all((adaptive, decay, loops, momentum, rates))  # importing them registers their claims


@pytest.mark.parametrize("claim", [c for c in CLAIMS if not c.slow], ids=lambda c: c.name)
def test_the_verdict(claim: Claim) -> None:
    """An experiment's outcome is the one that the page has."""
    first = random.randrange(10**6)
    cases = claim.run(range(first, first + 3))
    assert verdict(cases) == claim.found, cases


def test_the_page_has_every_claim() -> None:
    """At least 40, with the verdicts that the tests expect."""
    text = PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (.+?)\n\n\*\*(.+?)\.\*\*", text, re.M | re.S))
    assert len(CLAIMS) >= 40
    wanted = {c.says: c.found.replace("true: ", "true when: ").capitalize() for c in CLAIMS}
    assert {says: found.capitalize() for says, found in sections.items()} == wanted
