"""The doctor's page says what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "doctor_table.py"


def test_the_table_is_the_detectors() -> None:
    """Causes, thresholds and sources are those in the code (mend with docs/doctor_table.py)."""
    spec = importlib.util.spec_from_file_location("doctor_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.BEGIN + script.table() + script.END in page
    assert "| saturated activations |" in page
    assert "`SATURATED` = 0.5" in page
