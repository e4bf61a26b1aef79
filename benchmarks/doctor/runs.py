"""The runs: healthy ones and faulty ones, on problems for tuning and problems for the test."""

from __future__ import annotations

import math
import pickle
import random
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.range_test.cases import SEEDS, Case, Curve, load
from benchmarks.range_test.drawn import DRAWN
from benchmarks.range_test.many import OPTIMIZERS, order
from benchmarks.range_test.problems import PROBLEMS, TEST, Problem
from benchmarks.range_test.score import best_lr
from downslope import optim
from downslope.monitor import Monitor, constant_loss
from downslope.schedules import constant, cosine, linear, warmup

from .faults import FAULTS, Fault, Setting
from .planned import PLANNED

__all__ = ["STEPS", "Labelled", "cases", "setting_from", "setting_of", "train"]

STEPS = 300
CHECKS = 10  # validations a run
OVERFITTED = 1.15  # times the lowest validation loss, at the end
SANE = {"sgd": 0.5, "adamw": 0.03, "lion": 0.01}  # no good recipe has more
TUNING_VARIANTS = 3  # times those of the test


@dataclass
class Labelled:
    """A run's records, and what is wrong with it (None: nothing)."""

    name: str
    fault: str | None
    causes: tuple[str, ...]
    events: list[dict[str, Any]]
    steps: int
    wrong_from: int
    where: str | None
    of: str  # the healthy run that it was made from
    final: float  # validation loss at the end

    @property
    def final_or_inf(self) -> float:
        return self.final if math.isfinite(self.final) else math.inf

    @property
    def learnt(self) -> bool:
        """Whether it ended clearly below the loss of constant outputs, and near its own best."""
        setup = next(e for e in self.events if e["event"] == "setup")
        lowest = min(e["loss"] for e in self.events if e["event"] == "validation")
        return self.final_or_inf < min(0.9 * setup["constant_loss"], OVERFITTED * lowest)

    @property
    def events_untrained(self) -> float:
        """The validation loss before the first step."""
        return float(next(e["loss"] for e in self.events if e["event"] == "validation"))


def setting_of(problem: Problem, optimizer: str, which: int, seed: int) -> Setting | None:
    """A good recipe: the best learning rate of the planned runs, or somewhat less."""
    case = Case(problem.name, optimizer, problem.batch_sizes[which], STEPS)
    curve = load().get(case.key)
    return None if curve is None else setting_from(curve.of(SEEDS), problem, case, seed)


def setting_from(curve: Curve, problem: Problem, case: Case, seed: int) -> Setting:
    """The same from planned runs that are at hand."""
    optimizer = case.optimizer
    best = best_lr(curve)
    make = random.Random(zlib.crc32(f"{case.key} {seed}".encode()))
    rising = round(0.05 * STEPS)
    shape = make.choice(["cosine", "cosine", "linear", "constant"])
    schedules = {
        "cosine": warmup(rising) >> cosine(STEPS - rising),
        "linear": warmup(rising) >> linear(STEPS - rising),
        "constant": constant(1.0),
    }
    lr = min(best, SANE[optimizer]) * make.choice([1.0, 0.7, 0.5])
    lr *= 0.3 if shape == "constant" else 1.0
    return Setting(
        model=problem.model,
        loss=problem.loss,
        data=problem.data(),
        optimizer=optimizer,
        arguments=dict(OPTIMIZERS[optimizer]),
        lr=lr,
        batch_size=case.batch_size,
        steps=STEPS,
        schedule=schedules[shape],
        seed=seed,
    )


def cases(*, tuning: bool) -> Iterator[tuple[str, Fault | None, Setting, str]]:
    """Name, fault and setting of every run of one part."""
    problems = [p for p in PROBLEMS.values() if (p not in TEST) == tuning]
    problems += DRAWN if tuning else ()
    offset = 0 if tuning else 1000
    healthy = []
    for problem in problems:
        for optimizer in OPTIMIZERS:
            for which in range(len(set(problem.batch_sizes))):
                seed = offset + len(healthy)
                setting = setting_of(problem, optimizer, which, seed)
                if setting is not None:
                    healthy.append((problem, setting))
                    name = f"{problem.name} / {optimizer} / {setting.batch_size}"
                    yield name, None, setting, name
    yield from _more_healthy(healthy, offset, times=1 if tuning else 2)
    for number, fault in enumerate((*FAULTS, *PLANNED)):
        fitting = [(p, s) for p, s in healthy if fault.fits(p.name, s)]
        for variant in range(fault.variants * (TUNING_VARIANTS if tuning else 1)):
            problem, setting = fitting[(7 * variant + 3 * number) % len(fitting)]
            name = f"{fault.name} {variant} / {problem.name} / {setting.optimizer}"
            of = f"{problem.name} / {setting.optimizer} / {setting.batch_size}"
            yield name, fault, fault.make(setting, variant), of


def _more_healthy(
    healthy: list[tuple[Problem, Setting]], offset: int, times: int
) -> Iterator[tuple[str, None, Setting, str]]:
    """The same once or twice more: another seed, optimizers that are akin, bfloat16."""
    for number, (problem, setting) in enumerate(times * healthy):
        seed = offset + 10_000 + number
        again = setting_of(problem, setting.optimizer, 0, seed)
        if again is None:
            continue
        kind = _AKIN[setting.optimizer][number % len(_AKIN[setting.optimizer])]
        again = replace(
            again,
            batch_size=setting.batch_size,
            lr=min(again.lr, setting.lr),
            optimizer=kind[0],
            arguments={**again.arguments, **kind[1]},
            autocast=torch.bfloat16 if number % 3 == 0 else None,
        )
        words = f"{kind[0]}{' bf16' if again.autocast else ''} {number}"
        name = f"{problem.name} / {words} / {setting.batch_size}"
        yield name, None, again, name


#: Optimizers that want the same learning rates.
_AKIN: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "sgd": (("sgd", {}), ("sgd", {"nesterov": True})),
    "adamw": (("adamw", {}), ("nadamw", {}), ("adam", {"weight_decay": 0.0}), ("adopt", {})),
    "lion": (("lion", {}),),
}


def train(name: str, fault: Fault | None, s: Setting, of: str, **monitor: Any) -> Labelled:
    """Run it, watched as a user's own loop would be."""
    torch.manual_seed(s.seed)
    model = s.model()
    s.after_build(model)
    optimizer = optim.get(s.optimizer)(s.parameters(model), lr=s.lr, **s.arguments)
    rows = order(len(s.data.inputs), min(s.batch_size, len(s.data.inputs)), s.seed)
    events: list[dict[str, Any]] = []
    first = next(rows)
    with torch.no_grad():
        shape = model.eval()(s.data.inputs[:256])
    model.train()
    worthless = constant_loss(s.loss, shape, s.data.targets[:256])
    with Monitor(
        model,
        optimizer,
        total_steps=s.steps,
        constant_loss=worthless,
        budget=math.inf,  # as where a step takes long enough for every look
        on_event=[events.append],
        **monitor,
    ) as watch:
        watch.data(s.data.inputs, s.data.validation_inputs)
        _validate(watch, model, s)
        for step in range(s.steps):
            if s.wait:
                time.sleep(s.wait)
            batch = first if s.repeats_batch else next(rows)
            for group in optimizer.param_groups:
                group["lr"] = s.lr * float(s.schedule(step))
            with torch.autocast("cpu", s.autocast, enabled=s.autocast is not None):
                outputs = model(s.data.inputs[batch])
            loss = s.loss(outputs, s.data.targets[batch])
            if s.clears_gradients:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.step(loss)
            if not math.isfinite(loss.item()):
                break  # nobody goes on from there
            if (step + 1) % max(1, s.steps // CHECKS) == 0:
                _validate(watch, model, s)
    causes = fault.causes if fault else ()
    where = s.extra.get("where")
    checks = [e["loss"] for e in events if e["event"] == "validation"]
    final = math.nan if checks[-1] is None else checks[-1]
    return Labelled(
        name, fault and fault.name, causes, events, s.steps, s.wrong_from, where, of, final
    )


@torch.no_grad()
def _validate(watch: Monitor, model: torch.nn.Module, s: Setting) -> None:
    model.eval()
    loss = float((s.judged or s.loss)(model(s.data.validation_inputs), s.data.validation_targets))
    model.train()
    watch.validation(loss)


def made(*, tuning: bool, keep: Path | None = None) -> list[Labelled]:
    """All runs of one part; kept in a file between calls, as they take minutes.

    Runs that the file does not have yet are added to it.
    """
    folder = keep or Path(tempfile.gettempdir()) / "downslope-doctor"
    file = folder / f"{'tuning' if tuning else 'test'}.pickle"
    kept: list[Labelled] = pickle.loads(file.read_bytes()) if file.exists() else []
    known = {run.name: run for run in kept}
    torch.set_num_threads(1)
    found = []
    for name, fault, setting, of in cases(tuning=tuning):
        if name not in known:
            known[name] = train(name, fault, setting, of)
            print(f"{len(found):4d} {name}", flush=True)
        found.append(known[name])
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(found))
    return found
