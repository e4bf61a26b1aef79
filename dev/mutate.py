"""Break a formula, see the tests fail: ``python dev/mutate.py [WORD ...] [--list | --first]``.

Each damage of ``damages.py`` is made in a copy of ``src/`` in a temporary folder; the checkout is
not touched. The optimizer tests of the classes concerned then run against the copy, and a table
shows which of them noticed. A damage that no test notices makes the script fail. WORDs select
damages whose file, classes or description contain one of them. ``--first`` stops at the first test
that notices, which is a good deal faster.

The kernels run uncompiled, as plain Python: what is damaged is printed into them all the same.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from damages import DAMAGES
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
TESTS = (
    "tests/optim/test_trajectory.py",
    "tests/optim/test_optimum.py",
    "tests/optim/test_cautious.py",
    "tests/optim/test_schedule_free.py",
    "tests/optim/test_prodigy.py",
    "tests/engines/test_symbolic.py",
)
#: What every child needs, loaded once. (downslope itself comes from the damaged copy.)
TOOLS = ("numba", "sympy", "hypothesis", "torch.testing._internal.common_optimizers")
#: A test that failed for so many variants has noticed; its other variants are skipped.
ENOUGH = 3


class _Observer:
    """A pytest plugin: runs the tests of some classes, and counts the failures of each test.

    A test is of the class that it is parametrized with, or of its module's ``CLASSES``.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes, self.failed, self.run = classes, Counter[str](), 0

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if self._concerns(item)]

    def _concerns(self, item: Any) -> bool:
        entry = getattr(item, "callspec", None) and item.callspec.params.get("entry")
        about = (entry.name,) if entry else getattr(item.module, "CLASSES", ())
        return not set(about).isdisjoint(self.classes)

    def pytest_runtest_setup(self, item: Any) -> None:
        if self.failed[item.originalname] == ENOUGH:
            pytest.skip("this test has noticed")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            self.run += 1
            if report.failed:
                self.failed[report.location[2].split("[")[0]] += 1


def observe(
    source: Path, classes: tuple[str, ...], options: Sequence[str]
) -> tuple[int, Counter[str]]:
    """Run the tests against a source folder in a forked child.

    The child has torch and the test tools loaded already, but not downslope: that it imports from
    ``source``.

    Returns:
        how many tests ran, and how often each failed.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            sys.path.insert(0, str(source))
            import downslope

            assert Path(downslope.__file__).is_relative_to(source), downslope.__file__
            observer = _Observer(classes)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            settings = hypothesis.settings
            # A failure is not made smaller, nor remembered: nobody will look at it.
            seen = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
            settings.register_profile("damaged", phases=seen, database=None)
            settings.load_profile("damaged")
            quiet = ["-n", "0", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
            tests = (str(ROOT / t) for t in TESTS)
            pytest.main([*quiet, *options, *tests], plugins=[observer])
            answer = {"run": observer.run, "failed": observer.failed}
            os.write(write, json.dumps(answer).encode())
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            raise
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise SystemExit("the tests could not be run")
    answer = json.loads(said)
    return answer["run"], Counter(answer["failed"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Make each chosen damage, run the tests, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only damages whose file or words contain one")
    parser.add_argument("--first", action="store_true", help="stop at the first that notices")
    parser.add_argument("--list", action="store_true", help="list the damages and stop")
    options = parser.parse_args(arguments)
    chosen = [
        d for d in DAMAGES
        if not options.words or any(w in f"{d.file} {d.what} {d.classes}" for w in options.words)
    ]  # fmt: skip
    console = Console(width=None if sys.stdout.isatty() else 160)
    if options.list:
        for damage in chosen:
            console.print(f"{damage.file}: {damage.what}", highlight=False)
        return 0

    os.environ["NUMBA_DISABLE_JIT"] = "1"
    for name in TOOLS:
        importlib.import_module(name)
    assert "downslope" not in sys.modules
    everyone = tuple(dict.fromkeys(name for d in chosen for name in d.classes))
    table = Table("file", "damage", "caught by (variants)", "s", title="Damaged formulas")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DOWNSLOPE_CACHE"] = str(Path(folder) / "cache")
        for number, damage in enumerate([None, *chosen]):
            source = Path(folder) / str(number)
            shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
            classes = everyone if damage is None else damage.classes
            if damage is not None:
                path = source / "downslope" / damage.file
                path.write_text(damage.edit(path.read_text("utf-8")), "utf-8")
            begun = time.monotonic()
            stop = ["-x"] if options.first and damage is not None else []
            run, failed = observe(source, classes, stop)
            seconds = f"{time.monotonic() - begun:.0f}"
            if damage is None:
                if failed or not run:
                    raise SystemExit(f"the tests must pass before anything is damaged: {failed}")
                table.add_row("-", "none", f"nothing, in {run} runs", seconds, end_section=True)
                continue
            missed += not failed
            by = ", ".join(
                f"{name} {count}{'+' if count == ENOUGH else ''}"
                for name, count in failed.most_common()
            )
            table.add_row(
                damage.file,
                damage.what,
                by or "[bold red]nothing[/]",
                seconds,
            )
            caught = f"caught by {len(failed)} tests" if failed else "NOT CAUGHT"
            console.print(f"{damage.file}: {damage.what}: {caught} ({seconds} s)", highlight=False)
    console.print(table)
    console.print(f"{len(chosen) - missed} of {len(chosen)} damages were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
