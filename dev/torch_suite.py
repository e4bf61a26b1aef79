"""Run PyTorch's own optimizer tests with torch's classes and with ours, and compare.

``python dev/torch_suite.py PATH``, PATH being ``test/test_optim.py`` (or a file of ``test/optim``)
of PyTorch's repository, in a version near to the installed torch: torch's wheels do not hold it.
For our run each class of ``torch.optim``, there and in torch's database of optimizer tests, is
replaced by the class of the same name here. Printed is what passes with torch's classes and not
with ours, and why; the exit code is 1 if there is such a test.

Tests of torch's internals fail with ours by nature: they patch functions that only torch has.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

__all__ = ["compare", "outcomes", "substitute"]

#: A test's name -> "passed", "skipped", or the last line of its error.
Outcomes = dict[str, str]


def substitute() -> None:
    """Put our classes into ``torch.optim`` and into torch's database of optimizer tests."""
    import torch
    from torch.testing._internal.common_optimizers import optim_db

    from downslope import optim

    for info in optim_db:
        name = info.optim_cls.__name__
        info.optim_cls = getattr(optim, name)
        setattr(torch.optim, name, info.optim_cls)


class _Result(unittest.TestResult):
    """Outcomes by name; a test of several parts has the last error of them."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: Outcomes = {}

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802  # unittest's name
        self.outcomes.setdefault(test.id(), "passed")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802  # as above
        self.outcomes[test.id()] = "skipped"

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802  # as above
        self.outcomes[test.id()] = f"{err[0].__name__}: {' '.join(str(err[1]).split())[:300]}"

    addFailure = addError  # noqa: N815  # as above

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802  # as above
        self.outcomes[test.id()] = "fails, as torch expects"

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802  # as above
        self.outcomes[test.id()] = "passed"

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802  # as above
        if err is not None:
            self.addError(test, err)


def outcomes(path: Path, pattern: str) -> Outcomes:
    """Run a file's tests whose name has the pattern, in this process."""
    sys.path.insert(0, str(path.parent))
    module = runpy.run_path(str(path), run_name="suite")
    suite, loader = unittest.TestSuite(), unittest.TestLoader()
    for value in module.values():
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            suite.addTests(t for t in loader.loadTestsFromTestCase(value) if pattern in t.id())
    result = _Result()
    suite.run(result)
    return result.outcomes


def compare(path: Path, pattern: str = "") -> tuple[Outcomes, Outcomes]:
    """The outcomes with torch's classes, and with ours, each in a process of its own."""
    found = []
    for flag in ("--torch", "--ours"):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "outcomes.json"
            command = [sys.executable, __file__, str(path), "-k", pattern, flag, str(out)]
            environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            found.append(json.loads(out.read_text()))
    return found[0], found[1]


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("-k", dest="pattern", default="", help="only tests whose name has this")
    for flag in ("--torch", "--ours"):
        parser.add_argument(flag, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.torch or given.ours:
        if given.ours:
            substitute()
        found = outcomes(given.path, given.pattern)
        (given.torch or given.ours).write_text(json.dumps(found))
        return 0
    theirs, ours = compare(given.path, given.pattern)
    lost = {n: ours.get(n, "missing") for n, was in theirs.items() if was == "passed"}
    lost = {n: now for n, now in lost.items() if now != "passed"}
    for name, now in lost.items():
        print(f"{name.removeprefix('suite.')}\n    {now}")
    count = list(theirs.values()).count("passed")
    gained = sum(
        ours[n] == "passed" for n, was in theirs.items() if was not in ("passed", "skipped")
    )
    print(
        f"{len(theirs)} tests: {count} pass with torch's classes, of which {count - len(lost)} "
        f"pass with ours; {gained} pass with ours alone"
    )
    return bool(lost)


if __name__ == "__main__":
    sys.exit(_main())
