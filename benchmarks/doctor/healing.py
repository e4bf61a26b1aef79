"""What ``Recipe(heal=True)`` makes of runs whose recipe is at fault.

Each run is trained three times: by the sound recipe, by the faulty one, and by the faulty one with
healing. A fault counts only where it does harm. Faults of the code or the data (labels, inputs,
dead layers, NaN, a missing ``zero_grad``) are not here: no recipe mends them.
"""

from __future__ import annotations

import math
import pickle
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.range_test.cases import Case, planned_runs
from benchmarks.range_test.drawn import FRESH
from benchmarks.range_test.many import OPTIMIZERS
from benchmarks.range_test.problems import PROBLEMS, Data, classification
from downslope import Recipe, Run, fit
from downslope.schedules import Schedule
from downslope.tasks import Metric, Task
from downslope.training import TrainingDivergedError

from .faults import Setting, deep, overfitted, pick
from .planned import has_batch_norm
from .runs import STEPS, setting_from, setting_of

__all__ = ["FAULTS", "Healed", "healings", "told"]

CLOSE = 0.95  # of the healthy run's metric: what counts as healed; below it a fault is harmful
LEARNT = 0.3  # of the way from a constant's metric to a perfect one: the sound recipe is one
VALIDATIONS = 10


@dataclass(frozen=True)
class RecipeFault:
    """A fault of the recipe: what of the sound recipe is changed.

    Args:
        name: as the doctor may call it.
        change: of a sound recipe and a variant to the faulty recipe; None where it does not apply.
        setting: of a sound setting to the one that both runs have, where the fault needs another.
        variants: how many runs are made.
        own_best: judge by the best metric that the faulty run itself had: no recipe is sound.
    """

    name: str
    change: Callable[[Recipe, int], Recipe | None]
    setting: Callable[[Setting, int], Setting | None] = lambda setting, variant: setting
    variants: int = 10
    own_best: bool = False


@dataclass(frozen=True)
class Healed:
    """What came of one fault: metrics at the end, and what was changed."""

    fault: str | None
    name: str
    sound: float
    faulty: float
    healed: float
    changes: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def harmful(self) -> bool:
        """Whether the fault cost more than a twentieth of the metric."""
        return self.faulty < CLOSE * self.sound

    @property
    def right(self) -> bool:
        """Whether the healed run came close to the sound one."""
        return self.healed >= CLOSE * self.sound


def _steep(s: Setting, v: int) -> Setting | None:
    """Steep at first: a deep plain network with too much gain, and SGD, which feels it."""
    x, targets = s.data.inputs, s.data.targets
    if not x.is_floating_point() or targets.dim() > 2 or s.optimizer != "sgd":
        return None
    return replace(deep(s, nn.ReLU, pick(v, 3, 4), 3.0), lr=pick(v, 0.1, 0.05))


def _scaled_loss(s: Setting, v: int) -> Setting | None:
    """A loss so small that float16 loses its gradients even after scaling."""
    if s.optimizer != "lion":
        return None
    scale, loss = pick(v, 1e-10, 1e-11, 1e-12), s.loss
    return replace(s, loss=lambda outputs, targets: scale * loss(outputs, targets))


def _decayed(recipe: Recipe, v: int) -> Recipe:
    strong = {"sgd": (0.3, 1.0), "adamw": (30.0, 100.0), "lion": (30.0, 100.0)}
    return recipe.replace(weight_decay=pick(v, *strong[recipe.optimizer]))


def _no_momentum(recipe: Recipe, v: int) -> Recipe:
    return recipe.replace(
        optimizer="sgd", hyperparameters={}, weight_decay=None, lr=pick(v, 3e-3, 1e-3, 3e-4)
    )


def _much_momentum(recipe: Recipe, v: int) -> Recipe | None:
    if recipe.optimizer != "sgd":
        return None
    momentum = pick(v, 0.99, 0.995)
    return recipe.replace(hyperparameters={"momentum": momentum}, schedule="constant", warmup=0.0)


def _times(*factors: float, **others: Any) -> Callable[[Recipe, int], Recipe]:
    def changed(recipe: Recipe, v: int) -> Recipe:
        assert recipe.lr is not None
        return recipe.replace(lr=recipe.lr * pick(v, *factors), **others)

    return changed


def _with(**changes: Any) -> Callable[[Recipe, int], Recipe]:
    return lambda recipe, v: recipe.replace(**changes)


FAULTS = (
    RecipeFault("lr too high", _times(30, 100, 300, 1000, 50, 200), variants=18),
    RecipeFault("lr too low", _times(1 / 300, 1e-3, 1 / 3000, 1e-4), variants=18),
    RecipeFault("exploding gradients", _with(clip_norm=None), _steep),
    RecipeFault("weight decay too strong", _decayed),
    RecipeFault("warmup missing", _times(5, 10, 20, schedule="cosine", warmup=0.0), variants=18),
    RecipeFault("float16 underflow", _with(precision="fp16"), _scaled_loss, 8),
    RecipeFault("lr not lowered", _times(6, 10, 8, schedule="constant"), variants=18),
    RecipeFault("oscillation", _much_momentum, variants=14),
    RecipeFault("slow optimizer", _no_momentum, variants=14),
    RecipeFault("batch too large", lambda r, v: r.replace(batch_size=512, max_steps=None)),
    RecipeFault(
        "batch too small",
        lambda r, v: r.replace(batch_size=pick(v, 1, 2)),
        lambda s, v: None if has_batch_norm(s) else s,
    ),
    RecipeFault("overfitting", _with(), overfitted, 18, own_best=True),
)


def quality(outputs: Tensor, targets: Tensor) -> float:
    """Accuracy, or the share of the variance that is explained; 0 where it is not finite."""
    if not targets.is_floating_point():
        return float((outputs.argmax(-1) == targets).float().mean())
    rest = (outputs - targets).square().mean() / targets.var(correction=0)
    return max(0.0, 1 - float(rest)) if bool(rest.isfinite()) else 0.0


def _constant(data: Data) -> float:
    """The metric of the best constant outputs."""
    if data.targets.is_floating_point():
        return 0.0
    held = data.validation_targets.flatten()
    return float(held.bincount().max() / len(held))


def task_of(name: str, s: Setting) -> Task:
    """The setting as a task of about :data:`STEPS` steps."""
    data = s.data
    rows = len(data.inputs)
    return Task(
        name=name,
        model=s.model,
        loss=F.cross_entropy if s.loss is classification and data.targets.dim() == 1 else s.loss,
        train=TensorDataset(data.inputs, data.targets),
        validation=TensorDataset(data.validation_inputs, data.validation_targets),
        metric=Metric("quality", quality, higher_is_better=True),
        batch_size=s.batch_size,
        epochs=math.ceil(STEPS / math.ceil(rows / s.batch_size)),
        kind="benchmark",
    )


def recipe_of(s: Setting) -> Recipe:
    """The setting's sound recipe."""
    shape = _shape(s.schedule)
    arguments = dict(s.arguments)
    return Recipe(
        optimizer=s.optimizer,
        lr=s.lr,
        weight_decay=arguments.pop("weight_decay", None),
        hyperparameters=arguments,
        schedule=shape,
        warmup=0.0 if shape == "constant" else 0.05,
        batch_size=s.batch_size,
        max_steps=STEPS,
        seed=s.seed,
    )


def _shape(schedule: Schedule) -> Any:
    text = str(schedule)
    return next((w for w in ("cosine", "linear") if w in text), "constant")


def trained(task: Task, recipe: Recipe) -> Run | None:
    """The run, ten times validated; None where it diverged."""
    steps = recipe.resolve(task).total_steps(task)
    recipe = recipe.replace(validate_steps=max(1, steps // VALIDATIONS))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a range test that finds nothing says so
        try:
            run = fit(task, recipe, Path(folder) / "run")
        except TrainingDivergedError:
            run = Run.load(Path(folder) / "run")
        object.__setattr__(run, "kept", run.records())  # the folder goes
        return run


def final(run: Run) -> float:
    """The metric that the run leaves: of the best checkpoint where it stopped early."""
    if run.reason == "diverged" or run.best_metric is None:
        return 0.0
    if run.recipe.early_stop is not None:
        return run.best_metric
    checks = [r["metric"] for r in run.kept if r["event"] == "validation"]  # type: ignore[attr-defined]  # set above
    return float(checks[-1])


def best(run: Run) -> float:
    """The best metric that it ever had."""
    return run.best_metric or 0.0


def changes_of(run: Run) -> tuple[tuple[str, dict[str, Any]], ...]:
    """What healing changed: cause and changes."""
    heals = [r for r in run.kept if r["event"] == "heal"]  # type: ignore[attr-defined]  # set above
    return tuple((r["finding"]["cause"], r["changes"]) for r in heals)


def _settings() -> list[tuple[str, Setting]]:
    """On the problems that everything was tuned on."""
    return [
        (f"{problem.name} / {optimizer}", s)
        for problem in PROBLEMS.values()
        for optimizer in OPTIMIZERS
        if (s := setting_of(problem, optimizer, 0, 5000)) is not None
    ]


def _fresh_settings() -> list[tuple[str, Setting]]:
    """On problems that nothing was tuned on, at the best of 25 learning rates."""
    found = []
    for problem in FRESH:
        for optimizer in OPTIMIZERS:
            case = Case(problem.name, optimizer, problem.batch_sizes[0], STEPS)
            s = setting_from(planned_runs(case, (0,)), problem, case, 6000)
            found.append((f"{problem.name} / {optimizer}", s))
    return found


def healings(keep: Path, only: str | None = None, *, fresh: bool = False) -> list[Healed]:
    """All of them; sound and faulty runs are kept in a file, healed ones are made anew."""
    torch.set_num_threads(1)
    file = keep / ("healing-fresh.pickle" if fresh else "healing.pickle")
    kept: dict[str, float] = pickle.loads(file.read_bytes()) if file.exists() else {}

    def metric(key: str, task: Task, recipe: Recipe, how: Callable[[Run], float] = final) -> float:
        if key not in kept:
            kept[key] = how(trained(task, recipe))
            keep.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pickle.dumps(kept))
        return kept[key]

    settings = _fresh_settings() if fresh else _settings()
    found = []
    if only in (None, "healthy"):
        for name, s in settings:
            task, recipe = task_of(name, s), recipe_of(s)
            sound = metric(name, task, recipe)
            own = metric(f"{name} / best", task, recipe, best)
            if sound < max(_constant(s.data) + LEARNT * (1 - _constant(s.data)), CLOSE * own):
                continue  # it learns too little, or overfits
            run = trained(task, recipe.replace(heal=True))
            found.append(Healed(None, name, sound, sound, final(run), changes_of(run)))
            print(found[-1], flush=True)
    for number, fault in enumerate(FAULTS):
        if only not in (None, fault.name):
            continue
        made = 0
        for k in range(len(settings)):
            base, s = settings[(7 * k + 3 * number) % len(settings)]
            changed = fault.setting(s, k)
            faulty = None if changed is None else fault.change(recipe_of(changed), k)
            if changed is None or faulty is None or made == fault.variants:
                continue
            name = f"{fault.name} {k} / {base}"
            task = task_of(name, changed)
            if fault.own_best:
                sound = metric(f"{name} / best", task, faulty, best)
            else:
                twin = faulty.replace(schedule="warmup-cosine", warmup=0.2)
                same = fault.name != "warmup missing"
                sound = metric(f"{name} / sound", task, recipe_of(changed) if same else twin)
            floor = _constant(s.data)
            ill = metric(f"{name} / faulty", task, faulty)
            if sound < floor + LEARNT * (1 - floor) or ill >= CLOSE * sound:
                continue
            made += 1
            run = trained(task, faulty.replace(heal=True))
            found.append(Healed(fault.name, name, sound, ill, final(run), changes_of(run)))
            print(found[-1], flush=True)
    return found


def told(found: list[Healed]) -> str:
    """A table by fault, the totals, and every run that was not healed."""
    lines = ["| fault | harmful runs | healed | changes, median |", "|---|---|---|---|"]
    ill = [h for h in found if h.fault is not None]
    for name in dict.fromkeys(h.fault for h in ill):
        of = [h for h in ill if h.fault == name]
        most = sorted(len(h.changes) for h in of)[len(of) // 2]
        lines.append(f"| {name} | {len(of)} | {sum(h.right for h in of)} | {most} |")
    touched = [h for h in found if h.fault is None and h.changes]
    healthy = sum(h.fault is None for h in found)
    share = sum(h.right for h in ill) / max(1, len(ill))
    lines += [
        "",
        f"healed {share:.1%} of {len(ill)} harmful runs; changed {len(touched)} of {healthy} "
        "healthy runs",
        "",
    ]
    for h in (*touched, *(h for h in ill if not h.right)):
        said = "; ".join(f"{cause}: {changes}" for cause, changes in h.changes) or "nothing"
        lines.append(
            f"- {h.name}: sound {h.sound:.3f}, faulty {h.faulty:.3f}, healed {h.healed:.3f}; {said}"
        )
    return "\n".join(lines) + "\n"
