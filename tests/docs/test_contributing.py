"""A newcomer does what CONTRIBUTING.md says, and nothing else, and has a new optimizer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("src", "tests", "dev", "docs", "benchmarks", "pyproject.toml")

#: What follows without a further edit: asked of the copy, where nothing else was changed.
REST = """
import pathlib
import rule_pages
from benchmarks.optimizers import SUBJECTS
from downslope import Recipe
assert "Grams()" in [subject.title for subject in SUBJECTS]
rule_pages.write(pathlib.Path("pages"))
assert "Adaptive Momentum Scaling" in pathlib.Path("pages/grams.md").read_text()
assert "[Grams](grams.md)" in pathlib.Path("pages/index.md").read_text()
assert Recipe(optimizer="grams").default_lr() == 1e-3
assert "class Grams(Declared):" in pathlib.Path("src/downslope/optim/declared.pyi").read_text()
"""


def section() -> str:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return page.split("\n## Add an optimizer\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the two files of the page."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "_build", ".hypothesis")
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder)
    paths = re.findall(r"^\*\*\d\..*?\*\*, `([\w/]+\.py)`", section(), re.MULTILINE)
    codes = re.findall(r"^```python\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL)
    assert len(paths) == 2
    for path, code in zip(paths, codes, strict=True):
        assert not (folder / path).exists(), "the example must be of an optimizer that is not here"
        (folder / path).write_text(code, encoding="utf-8")
    return folder


def run(folder: Path, *command: str) -> str:
    """What a command prints in the copy, whose package it imports; it must succeed."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(folder / part) for part in ("src", "docs", ".")),
        "DOWNSLOPE_CACHE": str(folder / "cache"),
        "COLUMNS": "120",
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_two_files_make_an_optimizer(copy: Path) -> None:
    """The page's commands succeed in the copy: the stub, the explanation, and all of its tests."""
    block = re.findall(r"^```sh\n(.*?)^```$", section(), re.MULTILINE | re.DOTALL)[0]
    said = []
    for line in block.splitlines():
        tool, *arguments = line.split()
        said.append(run(copy, str(Path(sys.executable).parent / Path(tool).name), *arguments))
    assert "Grams: As far as Adam's step" in said[1]
    tests = re.search(r"(\d+) passed", said[2])
    assert tests is not None
    assert int(tests[1]) > 150
    assert "failed" not in said[2]
    run(copy, sys.executable, "-c", REST)
