"""Kernels of the Triton engine, compiled for an H100, which takes no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from .programs import EVERY


@pytest.fixture(scope="module")
def codes() -> list[SimpleNamespace]:
    """What ``gpu_code.py`` finds, in a process that does not interpret Triton."""
    command = [sys.executable, "-m", "tests.engines.gpu_code"]
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    said = subprocess.run(
        command,
        check=True,
        timeout=3600 if EVERY else 300,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    found = [SimpleNamespace(**json.loads(line)) for line in said.splitlines()]
    assert len(found) > (600 if EVERY else 12)
    return found


def test_memory_is_read_and_written_in_128_bits(codes: list[SimpleNamespace]) -> None:
    """Every rule's full blocks are read and written in the widest words there are."""
    narrow = [
        code.title
        for code in codes
        # A loop that the compiler has unrolled has its accesses several times.
        if code.loads < code.least_loads
        or code.stores * code.least_loads != code.loads * code.least_stores
    ]
    assert not narrow


def test_nothing_is_spilled(codes: list[SimpleNamespace]) -> None:
    """Every rule's values stay in registers."""
    assert not [code.title for code in codes if code.spills]


def test_divisions_and_roots_are_ieees(codes: list[SimpleNamespace]) -> None:
    """No kernel has the fast division and root that are Triton's own."""
    assert not {code.title: code.rough for code in codes if code.rough}
