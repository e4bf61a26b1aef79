"""The pages: examples run, links lead somewhere, translations have the same code."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import pytest

from downslope import optim
from downslope.cli.app import COMMANDS
from downslope.engines.cpu.kernel import source
from downslope.engines.trace import trace

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], key=lambda path: path.as_posix()
)
TRANSLATIONS = [("README.md", "README.zh-CN.md"), ("docs/tutorial.md", "docs/tutorial.zh.md")]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def each(pages: list[Path]) -> pytest.MarkDecorator:
    names = [path.relative_to(ROOT).as_posix() for path in pages]
    return pytest.mark.parametrize("page", pages, ids=names)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each fenced block."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def examples(page: Path) -> doctest.DocTest:
    """The page's Python sessions as one test, at their lines in the page."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * len(text.splitlines())
    for found in _BLOCK.finditer(text):
        if found[1] == "python" and found[2].startswith(">>>"):
            first = text.count("\n", 0, found.start(2))
            code = found[2].splitlines()
            lines[first : first + len(code)] = code
    name = page.relative_to(ROOT).as_posix()
    return doctest.DocTestParser().get_doctest("\n".join(lines), {}, name, str(page), 0)


@each([page for page in PAGES if examples(page).examples and ".zh" not in page.name])
def test_examples_run_and_print_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every >>> line of a page runs, from its first to its last."""
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=_OPTIONS).run(examples(page), out=said.append)
    assert not said, "".join(said)


@each(PAGES)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    """A link is to the web, to a file, or to a page that the build writes from a rule."""
    written = {f"docs/rules/{name}.md" for name in ("index", *optim.names())}
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"\w+:", target):
            path = (page.parent / target).resolve()
            assert path.exists() or path.relative_to(ROOT).as_posix() in written, target


def test_files_and_functions_named_by_the_developers_pages_exist() -> None:
    """`` `path.py: name` `` is a file of the package or of the repository, and holds the name."""
    missing = []
    for page in ("ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for file, names in re.findall(r"`([\w/]+\.py)(?:: ([\w.]+))?`", text):
            found = [p for p in (ROOT / "src" / "downslope" / file, ROOT / file) if p.is_file()]
            words = (
                set(re.findall(r"\w+", found[0].read_text(encoding="utf-8"))) if found else set()
            )
            if not file.endswith("/grams.py") and not (
                found and {*names.split(".")} - {""} <= words
            ):
                missing.append(f"{page}: {file} {names}")
    assert not missing


@pytest.mark.parametrize(("page", "translation"), TRANSLATIONS)
def test_a_translation_has_the_same_code(page: str, translation: str) -> None:
    """Comments aside, the two pages show the same code."""

    def code(name: str) -> list[str]:
        found = (text for language, text in blocks(ROOT / name) if language in ("python", "sh"))
        return [re.sub(r"\s+#.*", "", text) for text in found]

    assert code(translation) == code(page)


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_front_page_lists_every_command(page: str) -> None:
    """The table's row about the command line has them all, in the order of the help."""
    rows = (ROOT / page).read_text(encoding="utf-8").splitlines()
    (row,) = (row for row in rows if "](src/downslope/cli)" in row)
    assert re.findall(r"`([\w-]+)`", row) == list(COMMANDS)


def test_make_targets_on_the_pages_exist() -> None:
    """``make X`` on a page is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(
            r"(?:^|`)make ([\w-]+)", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert named <= targets


def test_the_architecture_page_shows_the_kernel_and_the_formula_that_run() -> None:
    """Its excerpts are pieces of the kernel printed for AdamW and of the formula's file."""
    rule = optim.AdamW.rule
    program = trace(
        rule, ("exp_avg", "exp_avg_sq"), rule.flag_values({"decoupled_weight_decay": True})
    )
    kernel = source(program, ("float32",) * 4)
    formula = inspect.getsource(rule.update)
    shown = [text for language, text in blocks(ROOT / "ARCHITECTURE.md") if language == "python"]
    call, kernel_shown, formula_shown = shown
    assert "AdamW" in call
    assert all(piece in kernel for piece in kernel_shown.split("...\n"))
    assert formula_shown in formula
