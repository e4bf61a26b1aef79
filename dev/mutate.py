"""Break a formula, see the tests fail: ``python dev/mutate.py [WORD ...] [--list]``.

Each damage below is made in a copy of ``src/`` in a temporary folder; the checkout is not touched.
The optimizer tests of the classes concerned then run against the copy, and a table shows which of
them noticed. A damage that no test notices makes the script fail. WORDs select damages whose file
or description contains one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
TESTS = (
    "tests/optim/test_trajectory.py",
    "tests/optim/test_optimum.py",
    "tests/engines/test_symbolic.py",
)
EVERY = ("SGD", "NormalizedSGD", "RMSprop", "Adagrad", "Adam", "AdamW")


#: A test that failed for so many variants has noticed; its other variants are skipped.
ENOUGH = 5


@dataclass(frozen=True)
class Damage:
    """One edit: ``before``, found exactly once in a file of the package, becomes ``after``."""

    file: str
    what: str
    before: str
    after: str
    classes: tuple[str, ...]

    def apply(self, package: Path) -> None:
        """Make the edit in a copy of the package.

        Raises:
            SystemExit: the text is not there exactly once; this list must then be mended.
        """
        path = package / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise SystemExit(
                f"{self.file} has {text.count(self.before)} times {self.before!r}, wanted once: "
                f"mend the damage {self.what!r} in {Path(__file__).name}"
            )
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


def _damages(file: str, classes: tuple[str, ...], *edits: tuple[str, str, str]) -> list[Damage]:
    return [Damage(file, what, before, after, classes) for what, before, after in edits]


DAMAGES: tuple[Damage, ...] = (
    *_damages(
        "rules/sgd.py",
        ("SGD",),
        ("step uphill", "xp.fma(-lr, g, p), momentum_buffer", "xp.fma(lr, g, p), momentum_buffer"),
        ("dampening ignored", "xp.where(fresh, 1.0, 1 - dampening)", "1.0"),
        ("first gradient damped too", "xp.where(fresh, 1.0, 1 - dampening)", "1 - dampening"),
        ("dampening with the wrong sign", "1.0, 1 - dampening", "1.0, 1 + dampening"),
        ("old momentum kept whole", "momentum * momentum_buffer)", "momentum_buffer)"),
        ("Nesterov ignored", "xp.fma(momentum, momentum_buffer, g) if nesterov else momentum",
         "momentum"),
        ("Nesterov's terms exchanged", "xp.fma(momentum, momentum_buffer, g)",
         "xp.fma(momentum, g, momentum_buffer)"),
        ("weight decay ignored", "g = xp.fma(weight_decay, p, g)\n    if", "if"),
        ("weight decay with the wrong sign", "g = xp.fma(weight_decay, p, g)\n    if",
         "g = xp.fma(-weight_decay, p, g)\n    if"),
    ),
    *_damages(
        "rules/sgd.py",
        ("NormalizedSGD",),
        ("step uphill", "(p - lr * g /", "(p + lr * g /"),
        ("eps ignored", "(xp.abs(g) + eps)", "xp.abs(g)"),
        ("absolute value forgotten", "xp.abs(g) + eps", "g + eps"),
        ("weight decay ignored", "g = xp.fma(weight_decay, p, g)\n    return (p", "return (p"),
    ),
    *_damages(
        "rules/rmsprop.py",
        ("RMSprop",),
        ("step uphill", "return p - lr * g / denom", "return p + lr * g / denom"),
        ("step uphill with momentum", "xp.fma(-lr, momentum_buffer, p)",
         "xp.fma(lr, momentum_buffer, p)"),
        ("eps inside the root", "xp.sqrt(variance) + eps", "xp.sqrt(variance + eps)"),
        ("new square not weighted", "xp.fma((1 - alpha) * g, g,", "xp.fma(g, g,"),
        ("mean added, not taken off", "xp.fma(-grad_avg, grad_avg,", "xp.fma(grad_avg, grad_avg,"),
        ("alpha for 1 - alpha in the mean", "xp.lerp(grad_avg, g, 1 - alpha)",
         "xp.lerp(grad_avg, g, alpha)"),
        ("old step kept whole", "momentum * momentum_buffer + g", "momentum_buffer + g"),
        ("weight decay ignored", "g = xp.fma(weight_decay, p, g)\n    ", ""),
    ),
    *_damages(
        "rules/adagrad.py",
        ("Adagrad",),
        ("step uphill", "return p - lr", "return p + lr"),
        ("eps inside the root", "(xp.sqrt(sum) + eps)", "xp.sqrt(sum + eps)"),
        ("lr decays from the first step", "(step - 1) * lr_decay", "step * lr_decay"),
        ("lr_decay ignored", " / (1 + (step - 1) * lr_decay)", ""),
        ("only the last square kept", "sum = xp.fma(g, g, sum)", "sum = g * g"),
        ("initial accumulator ignored", ', init="initial_accumulator_value"', ""),
        ("weight decay ignored", "g = xp.fma(weight_decay, p, g)\n    ", ""),
    ),
    *_damages(
        "rules/adam.py",
        ("Adam", "AdamW"),
        ("step uphill", "p = p - lr / (1", "p = p + lr / (1"),
        ("first correction one step early", "1 - beta1**step", "1 - beta1 ** (step + 1)"),
        ("first correction dropped", " / (1 - beta1**step)", ""),
        ("second correction one step early", "1 - beta2**step", "1 - beta2 ** (step + 1)"),
        ("second correction without its root", "xp.sqrt(1 - beta2**step)", "(1 - beta2**step)"),
        ("eps inside the root", "xp.sqrt(variance) / xp.sqrt(1 - beta2**step) + eps",
         "xp.sqrt(variance / (1 - beta2**step) + eps)"),
        ("eps before the correction", "xp.sqrt(variance) / xp.sqrt(1 - beta2**step) + eps",
         "(xp.sqrt(variance) + eps) / xp.sqrt(1 - beta2**step)"),
        ("decay coupled in AdamW, decoupled in Adam", "if decoupled:", "if not decoupled:"),
        ("decay not multiplied by lr", "p * (1 - lr * weight_decay)", "p * (1 - weight_decay)"),
        ("weight decay ignored in Adam", "g = xp.fma(weight_decay, p, g)", "pass"),
        ("betas exchanged in the mean", "xp.lerp(exp_avg, g, 1 - beta1)",
         "xp.lerp(exp_avg, g, 1 - beta2)"),
        ("beta for 1 - beta in the mean", "xp.lerp(exp_avg, g, 1 - beta1)",
         "xp.lerp(exp_avg, g, beta1)"),
        ("new square not weighted", "xp.fma((1 - beta2) * g, g,", "xp.fma(g, g,"),
        ("amsgrad's maximum not used", "variance = max_exp_avg_sq = xp", "max_exp_avg_sq = xp"),
        ("amsgrad takes the minimum", "xp.maximum(max_exp_avg_sq", "xp.minimum(max_exp_avg_sq"),
    ),
    *_damages(
        "optim/_optimizer.py",
        EVERY,
        ("maximize ignored", '-1.0 if g["maximize"] else 1.0', "1.0"),
    ),
    *_damages(
        "engines/bucket.py",
        ("RMSprop", "Adagrad", "Adam", "AdamW"),
        ("compiled steps counted by two", "self._steps += 1", "self._steps += 2"),
    ),
    *_damages(
        "engines/bucket.py",
        ("SGD",),
        ("every step is a first one", "self.fresh[:] = 0", "pass"),
    ),
)  # fmt: skip


class _Observer:
    """A pytest plugin: runs the tests of some classes, and counts the failures of each test."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes, self.failed, self.run = classes, Counter[str](), 0

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if self._concerns(item)]

    def _concerns(self, item: Any) -> bool:
        entry = getattr(item, "callspec", None) and item.callspec.params.get("entry")
        return entry is not None and entry.name in self.classes

    def pytest_runtest_setup(self, item: Any) -> None:
        if self.failed[item.originalname] == ENOUGH:
            pytest.skip("this test has noticed")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call":
            self.run += 1
            if report.failed:
                self.failed[report.location[2].split("[")[0]] += 1


def observe(source: Path, classes: tuple[str, ...]) -> tuple[int, Counter[str]]:
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
            options = ["-n", "0", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
            pytest.main([*options, *(str(ROOT / t) for t in TESTS)], plugins=[observer])
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

    # What every child needs; downslope itself must come from the damaged copy.
    import hypothesis  # noqa: F401  # loaded once, here
    import numba  # noqa: F401
    import sympy  # noqa: F401
    import torch
    import torch.testing._internal.common_optimizers

    assert "downslope" not in sys.modules
    torch.set_num_threads(1)
    table = Table("file", "damage", "caught by (variants)", "s", title="Damaged formulas")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DOWNSLOPE_CACHE"] = str(Path(folder) / "cache")
        for number, damage in enumerate([None, *chosen]):
            source = Path(folder) / str(number)
            shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
            classes = EVERY if damage is None else damage.classes
            if damage is not None:
                damage.apply(source / "downslope")
            begun = time.monotonic()
            run, failed = observe(source, classes)
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
