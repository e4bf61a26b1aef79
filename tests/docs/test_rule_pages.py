"""The pages that the documentation's build writes from the rules."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from docutils.utils.math.latex2mathml import tex2mathml

from downslope import optim

SCRIPT = Path(__file__).parents[2] / "docs" / "rule_pages.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """docs/rule_pages.py, which is no module of a package."""
    monkey = pytest.MonkeyPatch()
    monkey.syspath_prepend(SCRIPT.parent)  # as conf.py has it, for the script beside it
    spec = importlib.util.spec_from_file_location("rule_pages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkey.undo()
    return module


@pytest.fixture(scope="module")
def pages(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> text of each page."""
    folder = tmp_path_factory.mktemp("docs") / "rules"
    script.write(folder)
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_every_optimizer_has_a_page_and_the_index_names_it(pages: dict[str, str]) -> None:
    """Pages and the index's list are those of ``downslope.optim.names()``."""
    assert set(pages) == {"index", *optim.names()}
    listed = re.findall(r"^\| \[\w+\]\((\w+)\.md\)", pages["index"], re.MULTILINE)
    assert tuple(listed) == optim.names()


@pytest.mark.parametrize("name", optim.names())
def test_a_page_says_all_that_the_rule_knows(name: str, pages: dict[str, str]) -> None:
    """Its summary, arguments with ranges, slots, use and paper."""
    rule, page = optim.get(name).rule, pages[name]
    for hyper in rule.hypers:
        allowed = re.escape(hyper.range)
        assert re.search(rf"^\| `{hyper.group_key}.*\| {allowed} \|$", page, re.MULTILINE)
    for slot in rule.slots:
        assert re.search(rf"^\| `{slot.name}`.*{re.escape(slot.meaning)}", page, re.MULTILINE)
    assert {rule.summary, rule.use, rule.paper} <= set(page.splitlines())


def test_a_page_gives_the_memory_of_the_default_arguments(pages: dict[str, str]) -> None:
    """AdamW keeps two arrays of four bytes, amsgrad's third is not counted."""
    assert "\n8 bytes a parameter in float32" in pages["adamw"]
    assert "\n0 bytes a parameter in float32" in pages["sgd"]


@pytest.mark.parametrize("name", optim.names())
def test_a_pages_formulas_can_be_drawn(name: str, pages: dict[str, str]) -> None:
    """Every formula becomes MathML, without an error in it."""
    formulas = re.findall(r"\$\$\n(.*?)\n\$\$", pages[name], re.DOTALL)
    assert formulas
    for formula in formulas:
        assert "merror" not in tex2mathml(formula, as_block=True)


def test_unchanged_pages_are_left_alone(script: ModuleType, tmp_path: Path) -> None:
    """A second build does not touch them, so Sphinx does not read them again."""
    script.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    script.write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
