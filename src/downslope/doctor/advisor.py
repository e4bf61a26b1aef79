"""A starting recipe from a look at the model: the guides' decision tree, with its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import InputError, InputTypeError

__all__ = ["Advice", "Facts", "Line", "advise"]

SPARSE = 0.8  # of the parameters are rows of embeddings: most get no gradient in most steps
FROZEN = 0.3  # of the parameters stay as they are: fine-tuning
LARGE, HUGE = 10_000_000, 500_000_000  # parameters from which rates are lower
DEEP = 20  # convolutions with batch norm: a residual network's habits

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_ATTENTION = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True)
class Facts:
    """What was seen in a model.

    Args:
        kind: ``"sparse"``, ``"transformer"``, ``"rnn"``, ``"cnn"``, ``"mlp"`` or ``"gan"``.
        parameters: all of them.
        trained: those that require a gradient.
        embedded: those of embeddings.
        convolutions: modules.
        normalised: whether there is batch norm.
    """

    kind: str
    parameters: int
    trained: int
    embedded: int
    convolutions: int
    normalised: bool

    @property
    def fine_tuning(self) -> bool:
        """Whether a good part of the model is frozen."""
        return self.trained <= (1 - FROZEN) * self.parameters


@dataclass(frozen=True)
class Line:
    """One field of the recipe, and why."""

    field: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Advice:
    """A starting recipe.

    Args:
        facts: what was seen.
        lines: a field of :class:`downslope.Recipe` each, with its reason.
        then: what to try next, in order.

    >>> advice = advise(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    >>> advice.recipe["optimizer"], advice.recipe["lr"]
    ('adamw', 0.001)
    """

    facts: Facts
    lines: tuple[Line, ...]
    then: tuple[str, ...]

    @property
    def recipe(self) -> dict[str, Any]:
        """The fields alone."""
        return {line.field: line.value for line in self.lines}

    def __str__(self) -> str:
        width = max(len(f"{line.field} = {line.value!r}") for line in self.lines)
        rows = [
            f"{f'{line.field} = {line.value!r}':{width}}  # {line.reason}" for line in self.lines
        ]
        steps = [f"{number}. {text}" for number, text in enumerate(self.then, start=1)]
        return "\n".join([*rows, "", "If that is not good enough, in this order:", *steps])


def advise(model: nn.Module | Sequence[nn.Module]) -> Advice:
    """A starting recipe for a model, with a reason for every line and what to try next.

    The tree is the guides': Adagrad for sparse data, RMSprop for recurrent networks, AdamW for
    Transformers and wherever nothing says otherwise; SGD with momentum is the alternative for
    convolutional networks. Nothing is computed: a model on the ``meta`` device will do.

    Args:
        model: the model; a pair of modules for an adversarial pair (generator, discriminator).

    Raises:
        InputTypeError: something that is no module.
        InputError: no parameter is to be trained.
    """
    parts = [model] if isinstance(model, nn.Module) else list(model)
    for part in parts:
        if not isinstance(part, nn.Module):
            raise InputTypeError(
                f"advise: expected a torch module or a pair of them, got {type(part).__name__}."
            )
    facts = _facts(parts)
    if not facts.trained:
        raise InputError(
            "advise: no parameter requires a gradient; unfreeze what is to be trained."
        )
    return Advice(facts, tuple(_lines(facts)), _then(facts))


def _facts(parts: Sequence[nn.Module]) -> Facts:
    modules = [m for part in parts for m in part.modules()]
    params = {id(p): p for part in parts for p in part.parameters()}.values()
    total = sum(p.numel() for p in params)
    embeddings = [m for m in modules if isinstance(m, _EMBEDDINGS)]
    embedded = sum(m.weight.numel() for m in embeddings)
    convolutions = sum(isinstance(m, _CONVOLUTIONS) for m in modules)
    pair = {name for part in parts for name, _ in part.named_children()}
    if len(parts) == 2 or {"generator", "discriminator"} <= pair:
        kind = "gan"
    elif any(isinstance(m, _ATTENTION) or "attention" in type(m).__name__.lower() for m in modules):
        kind = "transformer"
    elif any(m.sparse for m in embeddings) or embedded > SPARSE * total:
        kind = "sparse"
    elif any(isinstance(m, _RECURRENT) for m in modules):
        kind = "rnn"
    else:
        kind = "cnn" if convolutions else "mlp"
    return Facts(
        kind=kind,
        parameters=total,
        trained=sum(p.numel() for p in params if p.requires_grad),
        embedded=embedded,
        convolutions=convolutions,
        normalised=any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules),
    )


#: Kind -> optimizer, its first learning rate, and why.
_CHOICE: Mapping[str, tuple[str, float, str]] = {
    "sparse": (
        "adagrad",
        1e-2,
        "most rows of an embedding get a gradient seldom, and then a full step",
    ),
    "rnn": ("rmsprop", 1e-3, "recurrent networks: gradients of very different sizes over time"),
    "transformer": ("adamw", 1e-3, "Transformers train with adaptive steps and decoupled decay"),
    "gan": ("adam", 2e-4, "an adversarial pair, each with an optimizer of its own (DCGAN)"),
    "cnn": ("adamw", 1e-3, "the default; SGD with momentum is as good once its rate is tuned"),
    "mlp": ("adamw", 1e-3, "the default for dense data"),
}


def _lines(facts: Facts) -> Iterable[Line]:
    optimizer, lr, reason = _CHOICE[facts.kind]
    why = "where these optimizers usually begin; `downslope find-lr` finds a better one"
    if facts.kind == "transformer" and facts.parameters >= LARGE:
        lr, why = (2e-4 if facts.parameters >= HUGE else 3e-4), "larger models want lower rates"
    if facts.fine_tuning:
        share = 1 - facts.trained / facts.parameters
        lr, why = lr / 10, f"fine-tuning ({share:.0%} is frozen): a tenth, so as not to forget"
    yield Line("optimizer", optimizer, reason)
    yield Line("lr", lr, why)
    if facts.kind == "gan":
        yield Line("hyperparameters", {"betas": (0.5, 0.999)}, "less momentum while both move")
        yield Line("schedule", "constant", "neither side may fall behind")
        yield Line("clip_norm", None, "spectral norm or a gradient penalty do it better here")
        return
    if optimizer == "adamw":
        decay = 0.1 if facts.kind == "transformer" and facts.parameters >= LARGE else 0.01
        yield Line("weight_decay", decay, "on weights, not on biases and norms: optim.param_groups")
    yield Line("schedule", "warmup-cosine", "a fixed rate is hardly usable: up at first, then down")
    warm = 0.1 if facts.kind == "transformer" else 0.05
    yield Line("warmup", warm, "the first steps are taken before the averages know anything")
    yield Line("clip_norm", 1.0, "one bad batch cannot throw the weights away")
    if facts.parameters >= HUGE:
        yield Line(
            "precision", "bf16", "half the memory of activations, no loss scale to look after"
        )


def _then(facts: Facts) -> tuple[str, ...]:
    others = {
        "sparse": "adamw, or sparseadam where the embeddings have sparse=True",
        "rnn": "adamw with clip_norm = 1.0",
        "transformer": "lion at a tenth of the rate and ten times the decay, or muon for matrices",
        "gan": "rmsprop at lr = 5e-5 (WGAN)",
        "cnn": f"sgd with momentum = 0.9, lr = {0.1 if facts.normalised else 0.01}",
        "mlp": "sgd with momentum = 0.9, lr = 0.01",
    }
    deep = facts.kind == "cnn" and facts.convolutions >= DEEP and facts.normalised
    return (
        "the learning rate ten times lower, and ten times higher",
        f"another optimizer: {others[facts.kind]}" + (" (usual for residual networks)" * deep),
        "the data: look at ten pairs of input and label, their scale and their balance",
    )
