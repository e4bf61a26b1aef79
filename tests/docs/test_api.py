"""The reference: every public name is in it, with a sentence about what it is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.pycode import ModuleAnalyzer

import downslope
from downslope import optim

INTERNAL = {"cli", "files", "lazy", "randomness"}  # the command line has its --help
PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
_DIRECTIVE = re.compile(r"^\.\. auto(\w+):: ([\w.]+)\n((?: {3,}.*\n)*)", re.MULTILINE)
_FORMULA = re.compile(r"^( *)\.\. math::\n\n?((?:\1 +.*\n|\n)+)|:math:`([^`]+)`", re.MULTILINE)


def public() -> list[ModuleType]:
    """What users import from: the package, whatever in it lists its names, torch's schedulers."""
    found = sorted({m.name for m in pkgutil.iter_modules(downslope.__path__)} - INTERNAL)
    modules = [importlib.import_module(f"downslope.{name}") for name in found]
    return [downslope, *(m for m in modules if hasattr(m, "__all__")), optim.lr_scheduler]


def home(name: str) -> Any:
    """The object that a directive names."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def documented() -> dict[int, str]:
    """What the reference prints, by identity, and the pages that are written from the rules."""
    found = {id(optim.get(name)): name for name in optim.names()}
    for kind, name, text in _DIRECTIVE.findall(PAGE):
        if kind != "module":
            found[id(home(name))] = name
            continue
        module = importlib.import_module(name)
        found[id(module)] = name
        options = dict(re.findall(r":([\w-]+):((?:[^:]|\n {6,})*)", text))
        if "members" in options:
            members = re.findall(r"\w+", options["members"]) or module.__all__
            excluded = re.findall(r"\w+", options.get("exclude-members", ""))
            things = {m: getattr(module, m) for m in set(members) - set(excluded)}
            # autodoc finds no comment on a constant that is imported from elsewhere
            found |= {id(thing): f"{name}.{m}" for m, thing in things.items() if not is_data(thing)}
    return found


def is_data(thing: object) -> bool:
    return not (inspect.ismodule(thing) or callable(thing))


def sentence(name: str, thing: object) -> str:
    """What is said about an object, which for a constant stands in a comment above it."""
    if not is_data(thing):
        return thing.__doc__ or ""
    module, _, attribute = name.rpartition(".")
    lines = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", attribute), [])
    return " ".join(lines).strip()


NAMES = [
    pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")
    for module in public()
    for name in module.__all__
    if not name.startswith("__")
]


@pytest.mark.parametrize("thing", NAMES)
def test_a_public_name_is_in_the_reference_with_a_sentence(thing: Any) -> None:
    """A directive prints it, and its documentation is more than a word or two."""
    maker = getattr(thing, "__module__", None) or getattr(thing, "__name__", "")
    if maker.startswith("torch."):
        assert f"`{thing.__name__.rpartition('.')[2]}`" in PAGE.replace("lr_scheduler.", "")
        return
    names = documented()
    assert id(thing) in names
    assert len(sentence(names[id(thing)], thing).split()) > 3


def test_every_formula_of_the_reference_can_be_drawn() -> None:
    """No docstring has a command that the site's renderer does not know."""
    formulas = [
        block or inline
        for (thing,) in (parameter.values for parameter in NAMES)
        for _, block, inline in _FORMULA.findall(inspect.getdoc(thing) or "")
    ]
    assert formulas
    for formula in formulas:
        assert "merror" not in tex2mathml(formula, as_block=True)
