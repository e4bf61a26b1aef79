"""What tests of engines share."""

from __future__ import annotations

import pytest

from downslope.optim import _placement

from .on_device import DEVICE


@pytest.fixture
def on_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU is a device of the Triton engine too."""
    monkeypatch.setitem(_placement.COMPILED, DEVICE.type, "triton")
