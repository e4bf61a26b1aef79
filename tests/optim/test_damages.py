"""The list of damages that ``dev/mutate.py`` makes is up to date with the formulas."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

import downslope

PACKAGE = Path(downslope.__file__).parent
_LIST = Path(__file__).parents[2] / "dev" / "damages.py"


def _damages() -> tuple[Any, ...]:
    spec = importlib.util.spec_from_file_location("damages", _LIST)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["damages"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DAMAGES


@pytest.mark.parametrize("damage", _damages(), ids=lambda d: f"{d.function}-{d.what}")
def test_damage_still_applies(damage: Any) -> None:
    """Each damage finds its place and leaves another valid module."""
    source = (PACKAGE / damage.file).read_text("utf-8")
    damaged = damage.edit(source)
    assert ast.dump(ast.parse(damaged)) != ast.dump(ast.parse(source))
