"""The heat map of gradients by layer."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from typing import Any

from downslope.report._heat import COLUMNS, ROWS, heat_map, layers


def look(step: int, norms: dict[str, float | None]) -> dict[str, Any]:
    return {"step": step, "tensors": {k: {"grad_norm": v} for k, v in norms.items()}}


def opacities(svg: str) -> list[float]:
    return [float(v) for v in re.findall(r'fill-opacity="([0-9.]+)"', svg)]


def test_a_larger_norm_is_darker() -> None:
    """Equal factors are equal differences in darkness."""
    faint, middle, dark = opacities(heat_map(layers([look(1, {"a": 0.01, "b": 1.0, "c": 100.0})])))
    assert faint < middle < dark == 1.0
    assert math.isclose(dark - middle, middle - faint, abs_tol=0.011)


def test_a_norm_that_is_not_finite_is_told() -> None:
    """It has another colour, and its words."""
    svg = heat_map(layers([look(1, {"a": 1.0, "b": None})]))
    assert "b, step 1: not finite" in svg
    assert svg.count("var(--accent)") == 1


def test_large_models_and_long_runs_keep_their_size() -> None:
    """Tensors of a module become one row, looks are thinned, the first and the last stay."""
    names = {f"block{k}.layer{j}.{p}": 3.0 for k in range(12) for j in range(4) for p in "wb"}
    columns = layers([look(step, names) for step in range(1, 301)])
    assert len(columns) == COLUMNS
    assert (columns[0][0], columns[-1][0]) == (1, 300)
    assert set(columns[0][1]) == {f"block{k}" for k in range(12)}
    assert math.isclose(columns[0][1]["block0"], 3 * math.sqrt(8))
    many = layers([look(1, {f"layer{k}": 1.0 for k in range(200)})])
    assert heat_map(many).count("<rect") == ROWS


def test_it_is_well_formed() -> None:
    """Names of any kind are escaped."""
    ET.fromstring(heat_map(layers([look(1, {'<a&"b>.c': 1.0})])))
