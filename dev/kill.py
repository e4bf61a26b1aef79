"""Break trainings at random moments, resume them, compare with unbroken ones, bit for bit.

``python dev/kill.py [--breaks 100] [--only WORD]``

Each scenario trains once without a break. Then processes of the same training are broken, by a
signal, a full disk or a read-only folder, after a random time, and the next process goes on with
what the last one left, until the training ends; then another begins, until there were enough
breaks. Weights, optimizer state, random state and all records of the end must be equal to those of
the unbroken run in every bit. Linux only; processes are forked, so that none loads torch again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.training.test_resume import assert_same
from tests.training.tiny import Noisy, tiny

from downslope import Recipe, Run, Task, fit
from downslope.errors import DownslopeError

NOBODY = 65_534  # whom a read-only folder stops; root it does not
RECIPE = Recipe(lr=0.01, epochs=60, checkpoint_every=3, checkpoint_keep=2)
FINISHED, REFUSED, INTERRUPTED = 0, 2, 3


@dataclass(frozen=True)
class Scenario:
    """One training, and how it is broken."""

    name: str
    faults: tuple[str, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    task: Callable[[], Task] = tiny
    breaks: int = 20
    processes: int = 1


def noisy() -> Task:
    """A data set that draws from every generator."""
    return tiny(Noisy())


KILLS = ("kill -9",)
ALL = ("kill -9", "SIGTERM", "Ctrl-C", "full disk", "read-only folder")
SCENARIOS = (
    Scenario("fp32", KILLS, breaks=100),
    Scenario("every fault", ALL[1:], {"ema": 0.9, "accumulate": 2}, breaks=40),
    Scenario("bf16", ALL, {"precision": "bf16"}),
    Scenario("fp16", ALL, {"precision": "fp16", "validate_steps": 5}),
    Scenario("augmentation", ALL, task=noisy),
    # Without the full disk, whose limit holds for the memory that workers share as well.
    Scenario("2 workers", (*ALL[:3], ALL[4]), {"workers": 2, "epochs": 6}, task=noisy),
    Scenario("background writing", ALL, {"checkpoint_background": True}),
    Scenario("ddp", ALL[:3], {"strategy": "ddp", "epochs": 20}, processes=2),
)


def main() -> None:
    """Run the scenarios, a line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--breaks", type=int, help="breaks of each scenario")
    parser.add_argument("--only", default="", help="a word of the scenario's name")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    choose = random.Random(arguments.seed)
    for scenario in SCENARIOS:
        if arguments.only in scenario.name:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder).chmod(0o777)
                run_scenario(scenario, arguments.breaks or scenario.breaks, Path(folder), choose)


def run_scenario(scenario: Scenario, breaks: int, folder: Path, choose: random.Random) -> None:
    """Break and resume until there were enough breaks; print what happened."""
    recipe = RECIPE.replace(**scenario.changes)
    alone = recipe.replace(strategy=None)
    fit(scenario.task(), alone, folder / "warm-up")  # kernels are compiled, imports made
    began = time.monotonic()
    processes = start(scenario, recipe, folder / "whole", None)
    assert ended(processes, limit=300) == FINISHED
    whole, seconds = Run.load(folder / "whole"), time.monotonic() - began
    counts: Counter[str] = Counter()
    number = 0
    while sum(counts.values()) < breaks:
        number += 1
        path = folder / str(number)
        finished = False
        while not finished:
            fault = choose.choice(scenario.faults)
            room = choose.randrange(150_000) if fault == "full disk" else None
            processes = start(scenario, recipe, path, room)
            time.sleep(choose.uniform(0.0, 0.35 * seconds))
            undo = hurt(fault, choose.choice(processes), path)
            code = ended(processes, limit=60 + 10 * seconds)
            undo()
            finished = code == FINISHED
            if not finished:
                expected = {"kill -9": -9, "SIGTERM": INTERRUPTED, "Ctrl-C": INTERRUPTED}
                # A signal before training has begun ends the process as it always does.
                allowed = {expected.get(fault, REFUSED), -signal.SIGTERM, -signal.SIGINT}
                assert code in allowed or scenario.processes > 1, (fault, code)
                counts[fault] += 1
        assert_same(Run.load(path), whole)
        shutil.rmtree(path)
    told = ", ".join(f"{count} x {fault}" for fault, count in sorted(counts.items()))
    print(
        f"{scenario.name}: {told}; {number} trainings of {len(whole.records())} records "
        f"and {seconds:.2f} s, all equal to the unbroken one in every bit",
        flush=True,
    )


def start(scenario: Scenario, recipe: Recipe, path: Path, room: int | None) -> list[int]:
    """Processes that begin or go on with the training in ``path``; returns their numbers.

    ``room`` is a full disk as the process sees it: no file may grow beyond so many bytes. That of
    the records does so sooner or later.
    """
    sys.stdout.flush()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(s.getsockname()[1])}
    children = []
    for rank in range(scenario.processes):
        child = os.fork()
        if not child:
            if scenario.processes > 1:
                count = str(scenario.processes)
                os.environ.update(where, WORLD_SIZE=count, RANK=str(rank))
            train(scenario, recipe, path, room)
        children.append(child)
    return children


def train(scenario: Scenario, recipe: Recipe, path: Path, room: int | None) -> NoReturn:
    """Train in this process and leave it, with an exit code that says how it ended."""
    code = 1
    try:
        if os.getuid() == 0 and "read-only folder" in scenario.faults:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            multiprocessing.current_process()._config.pop("tempdir", None)  # type: ignore[attr-defined]  # root's, where workers' sockets would be
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        warnings.simplefilter("error")
        run = fit(scenario.task(), recipe, path, resume="auto")
        code = FINISHED if run.reason == "finished" else INTERRUPTED
    except (DownslopeError, OSError) as error:  # what the command line ends with one line for
        code = 1 if "\n" in str(error) else REFUSED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
        traceback.print_exc()
    finally:
        os._exit(code)


def hurt(fault: str, process: int, path: Path) -> Callable[[], None]:
    """Do it to a process; returns what undoes it once the process has ended."""
    match fault:
        case "kill -9":
            os.kill(process, signal.SIGKILL)
        case "SIGTERM":
            os.kill(process, signal.SIGTERM)
        case "Ctrl-C":
            os.kill(process, signal.SIGINT)
        case "read-only folder":
            checkpoints = path / "checkpoints"
            if checkpoints.exists():
                checkpoints.chmod(0o555)
                return lambda: checkpoints.chmod(0o755)
    return lambda: None


def ended(processes: list[int], limit: float) -> int:
    """The exit code of some processes, or minus the signal that killed one: the first not zero."""
    deadline = time.monotonic() + limit
    codes: dict[int, int] = {}
    while len(codes) < len(processes):
        for process in processes:
            if process not in codes:
                done, status = os.waitpid(process, os.WNOHANG)
                if done:
                    codes[process] = os.waitstatus_to_exitcode(status)
        if any(codes.values()):  # as torchrun does with those that one has left alone
            deadline = min(deadline, time.monotonic() + 3)
        if time.monotonic() > deadline:
            for process in set(processes) - set(codes):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            if not codes:
                raise TimeoutError(f"{processes} did not end within {limit:.0f} s")
            break
        time.sleep(0.002)
    return next((code for code in codes.values() if code), 0)


if __name__ == "__main__":
    main()
