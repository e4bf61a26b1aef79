"""How a task is trained: a validated, serialisable record."""

from __future__ import annotations

import inspect
import math
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import InputError, unknown

if TYPE_CHECKING:
    import torch

    from .. import optim
    from ..tasks import Task

__all__ = ["Recipe", "usable_device"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

# Arguments of an optimizer that are fields of the recipe, or that the run decides itself.
_NOT_HYPERPARAMETERS = frozenset(
    {"params", "lr", "weight_decay", "clip_norm", "on_nonfinite", "maximize", "differentiable"}
)
DEFAULT_OPTIMIZER = "adamw"
DEFAULT_WARMUP = 0.05
EVALUATION_ROWS = 4  # times a part's rows: without gradients a larger batch fits


class Recipe(BaseModel):
    """Optimizer, learning rate, schedule, clipping, precision, batch size, length, seed.

    Every field can be left out. ``None`` means "decide from the task and the device", which
    :meth:`resolve` does; the learning rate is then found by a range test when training starts.
    A recipe cannot be changed; :meth:`replace` makes a changed copy, checked again.

    Raises:
        InputError: an unknown name (the nearest one is offered) or a value that is not allowed.

    >>> recipe = Recipe(optimizer="adamw", lr=3e-3, hyperparameters={"betas": [0.9, 0.99]})
    >>> recipe.hyperparameters["betas"]
    (0.9, 0.99)
    >>> print(recipe.replace(hyperparameters={}, schedule="linear").to_toml())
    optimizer = "adamw"
    lr = 0.003
    schedule = "linear"
    clip_norm = 1.0
    ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    optimizer: str = Field(
        DEFAULT_OPTIMIZER, description="optimizer, by its name in downslope.optim"
    )
    lr: Positive | None = Field(
        None, description="highest learning rate; found by a range test when left out"
    )
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="weight decay; the optimizer's own default when left out"
    )
    hyperparameters: dict[str, Any] = Field(
        default_factory=dict, description="the optimizer's other arguments, such as betas or eps"
    )
    schedule: Literal["warmup-cosine", "cosine", "linear", "step", "constant", "plateau"] = Field(
        "warmup-cosine", description="how the learning rate changes while training"
    )
    warmup: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description=f"share of the steps over which the learning rate rises; when left out "
        f"{DEFAULT_WARMUP} for warmup-cosine, else 0",
    )
    clip_norm: Positive | None = Field(
        1.0, description="largest norm of the whole gradient; none: no clipping"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="arithmetic of the forward pass; auto: bf16 on CUDA, else fp32"
    )
    batch_size: Count | None = Field(
        None,
        description="rows a step, over all its parts and processes; the task's own when left out",
    )
    accumulate: Count = Field(
        1, description="parts that a step is cut into, of two rows at least, to need less memory"
    )
    epochs: Count | None = Field(
        None, description="passes over the data; the task's own when left out"
    )
    max_steps: Count | None = Field(
        None, description="stop after so many steps, if the epochs are not over before"
    )
    max_minutes: Positive | None = Field(
        None, description="save and stop after so many minutes, to be resumed"
    )
    validate_epochs: Count = Field(1, description="validate at the end of every so many epochs")
    validate_steps: Count | None = Field(
        None, description="validate every so many steps, instead of by epochs"
    )
    best: str | None = Field(
        None, description="metric that the best checkpoint is best by, or loss; the task's own"
    )
    early_stop: Count | None = Field(
        None, description="stop after this many validations without a better one; none: never"
    )
    heal: bool = Field(
        False, description="on a finding with a safe remedy go back, change the recipe, go on"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="decay of a moving average of the weights, evaluated in their place"
    )
    compile: bool = Field(False, description="compile the model with torch.compile")
    workers: Annotated[int, Field(ge=0)] = Field(
        0, description="processes that read the data ahead, where it is not in tensors"
    )
    checkpoint_every: Count | None = Field(
        None, description="save a checkpoint every so many steps, besides each epoch's end"
    )
    checkpoint_minutes: Positive | None = Field(
        None, description="save a checkpoint when the last one is so many minutes old"
    )
    checkpoint_keep: Count = Field(
        2, description="how many of the newest checkpoints to keep, besides the best"
    )
    checkpoint_background: bool = Field(
        False, description="write checkpoints while training goes on, from a copy in memory"
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        0, description="seed of the weights, the order of the rows and dropout"
    )
    strategy: Literal["ddp", "fsdp"] | None = Field(
        None, description="how the processes of torchrun share the model: all of it each, or shards"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps, ...")

    @model_validator(mode="before")
    @classmethod
    def _words(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Refuse unknown keys by name; "none" stands for None where TOML has no word for it."""
        for key in values:
            if key not in cls.model_fields:
                raise _unknown_key(key, values.get("optimizer", DEFAULT_OPTIMIZER))
        return {k: None if v == "none" else v for k, v in values.items()}

    @field_validator("hyperparameters")
    @classmethod
    def _tuples(cls, value: dict[str, Any]) -> dict[str, Any]:
        """TOML knows lists only; optimizers want pairs such as ``betas`` as tuples."""
        return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}

    @model_validator(mode="after")
    def _optimizer_accepts(self) -> Recipe:
        """Let the optimizer itself check its arguments, on a parameter of one element."""
        import torch

        self.build_optimizer([torch.zeros(1, requires_grad=True)])
        return self

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_one_line(error)) from None

    @model_validator(mode="after")
    def _whole_checkpoints(self) -> Recipe:
        if self.strategy == "fsdp" and self.checkpoint_background:
            raise InputError(
                "Recipe: strategy = 'fsdp' writes its shards while training waits. Leave "
                "checkpoint_background out."
            )
        return self

    @classmethod
    def from_toml(cls, path: str | Path) -> Recipe:
        """Read a recipe from a TOML file of ``key = value`` lines named as the fields here.

        Raises:
            InputError: no such file, not TOML, or a key or value that is not allowed.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"recipe {str(path)!r} cannot be read: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"recipe {str(path)!r} is not valid TOML: {error}. Write lines of key = value, "
                'such as optimizer = "adamw".'
            ) from None
        return cls(**values)

    def to_toml(self) -> str:
        """The recipe as TOML; reading it back gives an equal recipe."""
        import tomli_w

        default = {name: field.default for name, field in type(self).model_fields.items()}
        values = {
            k: "none" if v is None else v
            for k, v in self.model_dump().items()
            if not (v is None and default[k] is None) and v != {}
        }
        return tomli_w.dumps(values)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with some fields changed, checked as a new recipe is."""
        return Recipe(**{**self.model_dump(), **changes})

    def resolve(self, task: Task) -> Recipe:
        """Fill every ``None`` and ``"auto"`` that depends on the task, the optimizer or the device.

        The learning rate stays ``None`` where a range test has to find it.

        Raises:
            InputError: a metric that the task does not have.
            InputTypeError: no task.
        """
        from ..tasks.task import check_task

        check_task(task)
        task.judge(self.best)
        device = usable_device("Recipe", self.device)
        chosen: dict[str, Any] = {
            "device": str(device),
            "precision": self.precision,
            "batch_size": self.batch_size or task.batch_size,
            "epochs": self.epochs or task.epochs,
            "warmup": self.warmup,
            "weight_decay": self.weight_decay,
        }
        if self.precision == "auto":
            chosen["precision"] = "bf16" if device.type == "cuda" else "fp32"
        if self.warmup is None:
            chosen["warmup"] = DEFAULT_WARMUP if self.schedule == "warmup-cosine" else 0.0
        if self.weight_decay is None:
            chosen["weight_decay"] = _defaults(self._class).get("weight_decay")
        return self.replace(**chosen)

    def total_steps(self, task: Task, processes: int = 1) -> int:
        """Optimizer steps of the whole run."""
        steps = (self.epochs or task.epochs) * self.steps_per_epoch(task, processes)
        return min(steps, self.max_steps or steps)

    def steps_per_epoch(self, task: Task, processes: int = 1) -> int:
        """Optimizer steps of an epoch, which may be one less where many share a short last one."""
        from ..tasks import size, steps_in

        return steps_in(size(task.train), self.batch_size or task.batch_size, processes)

    @property
    def evaluation_batch_size(self) -> int:
        """Rows of a batch that is only evaluated; of a resolved recipe."""
        return EVALUATION_ROWS * max(1, (self.batch_size or 1) // self.accumulate)

    def optimizer_arguments(self) -> dict[str, Any]:
        """What the optimizer is built with, besides its learning rate."""
        decay = {} if self.weight_decay is None else {"weight_decay": self.weight_decay}
        return {**self.hyperparameters, **decay}

    def differences(self, before: Recipe) -> dict[str, tuple[Any, Any]]:
        """The fields in which this recipe is not the other one: what they were, what they are.

        >>> Recipe(lr=0.1).differences(Recipe(lr=0.2))
        {'lr': (0.2, 0.1)}
        """
        old, new = before.model_dump(), self.model_dump()
        return {name: (old[name], new[name]) for name in new if old[name] != new[name]}

    def groups_differ(self, before: Recipe) -> list[str]:
        """The keys of the optimizer's groups whose values are not those of the other recipe."""
        changed = set(self.differences(before))
        keys = [name for name in ("lr", "weight_decay") if name in changed]
        old, new = before.hyperparameters, self.hyperparameters
        return keys + [key for key in {**old, **new} if old.get(key) != new.get(key)]

    def default_lr(self) -> float:
        """The learning rate that the optimizer itself has as its default."""
        return float(_defaults(self._class)["lr"])

    @property
    def _class(self) -> type[optim.Optimizer]:
        """The optimizer's class."""
        from .. import optim

        return optim.get(self.optimizer)

    @property
    def threshold(self) -> float:
        """The optimizer's ``clip_norm``; infinite where nothing is clipped: norms are recorded."""
        return math.inf if self.clip_norm is None else self.clip_norm

    def build_optimizer(self, parameters: Any) -> optim.Optimizer:
        """The optimizer that this recipe names, over ``parameters``.

        It clips, and raises :class:`~downslope.errors.NonfiniteGradientError` before a gradient
        that is not finite reaches a weight.
        """
        cls = self._class
        if cls.rule.needs:
            raise InputError(
                f"Recipe: {cls.__name__} needs {cls.rule.needs}, which a recipe cannot promise. "
                "Choose another optimizer, or use this one in a loop of your own."
            )
        allowed = _defaults(cls)
        for name in self.hyperparameters:
            if name in _NOT_HYPERPARAMETERS and name in Recipe.model_fields:
                raise InputError(
                    f"Recipe: {name} stands beside hyperparameters, not in them: {name} = ... in a "
                    f"recipe, --{name.replace('_', '-')} on the command line."
                )
            if name not in allowed or name in _NOT_HYPERPARAMETERS:
                raise unknown(
                    f"hyperparameter of {cls.__name__}", name, set(allowed) - _NOT_HYPERPARAMETERS
                )
        if self.weight_decay is not None and "weight_decay" not in allowed:
            raise InputError(
                f"Recipe: weight_decay = {self.weight_decay} was given, but {cls.__name__} has no "
                "weight decay. Leave weight_decay out."
            )
        if self.ema is not None and cls.rule.blend:
            raise InputError(
                f"Recipe: ema = {self.ema} was given, but {cls.__name__} evaluates an average of "
                "the weights already. Leave ema out."
            )
        lr: dict[str, Any] = {} if self.lr is None else {"lr": self.lr}
        try:
            in_step = {"clip_norm": self.threshold, "on_nonfinite": "raise"}
            arguments: dict[str, Any] = {**self.optimizer_arguments(), **lr, **in_step}
            optimizer: optim.Optimizer = cls(parameters, **arguments)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"Recipe: {error}") from error
        return optimizer


def _unknown_key(key: str, optimizer: object) -> InputError:
    """The error for a key that no recipe has, which may be an argument of the optimizer."""
    from .. import optim

    if isinstance(optimizer, str) and optimizer.lower() in optim.names():
        cls = optim.get(optimizer)
        if key in set(_defaults(cls)) - _NOT_HYPERPARAMETERS:
            return InputError(
                f"Unknown recipe key {key!r}. It is an argument of {cls.__name__}: write it as "
                f"hyperparameters={{{key!r}: ...}}, in a TOML file below a line [hyperparameters]."
            )
    return unknown("recipe key", key, Recipe.model_fields)


def _defaults(cls: type[torch.optim.Optimizer]) -> dict[str, Any]:
    """Argument names of an optimizer's constructor, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if name != "params"
    }


def usable_device(owner: str, name: str) -> torch.device:
    """The device by its name, checked to be there; ``"auto"`` is CUDA where there is one.

    Raises:
        InputError: it is none, or not here; ``owner`` stands first.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{owner}: device = {name!r} cannot be used here: {reason}. Use 'cpu' or 'auto'."
        ) from None
    return device


def _one_line(error: ValidationError) -> str:
    """The findings of pydantic as one line: what came and what is allowed."""
    findings = []
    for item in error.errors():
        if item["type"] == "value_error":  # one of ours, complete as it is
            return str(item["ctx"]["error"])
        where = ".".join(str(part) for part in item["loc"][:1]) or "recipe"
        message = item["msg"].removeprefix("Input should be ")
        came = item["input"]
        kind = "the text " if isinstance(came, str) and "number" in message else ""
        findings.append(f"{where} must be {message}, got {kind}{came!r}")
    return f"Recipe: {'; '.join(findings)}."
