"""The recipe that the guides give, for twelve kinds of model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downslope import Recipe, advise, load_task
from downslope.errors import InputError, InputTypeError
from downslope.tasks.preparation import ModelSource


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)) for _ in range(20)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return x


class Patches(nn.Module):
    """A vision Transformer: a convolution that cuts patches, then attention."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 32, 4, 4)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(32, 2, 64) for _ in range(2))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.cell = kind(16, 32)  # type: ignore[call-arg]
        self.read = nn.Linear(32, 50)


def frozen() -> nn.Module:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(32, 32), nn.ReLU()) for _ in range(4)))
    model[:3].requires_grad_(False)
    return model


def billion() -> nn.Module:
    with torch.device("meta"):
        layers = (nn.TransformerEncoderLayer(2048, 16, 8192) for _ in range(24))
        return nn.Sequential(nn.Embedding(50_000, 2048), *layers)


def gan() -> list[nn.Module]:
    return [nn.Sequential(nn.ConvTranspose2d(8, 3, 4)), nn.Sequential(nn.Conv2d(3, 1, 4))]


#: Model -> optimizer, lr, and more of the recipe that the guides (and for pairs DCGAN) give.
EXPECTED: dict[str, tuple[Any, str, float, dict[str, Any]]] = {
    "cnn": (lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten()), "adamw", 1e-3, {}),
    "residual": (Residual, "adamw", 1e-3, {"schedule": "warmup-cosine"}),
    "gru": (lambda: Recurrent(nn.GRU), "rmsprop", 1e-3, {"clip_norm": 1.0}),
    "lstm": (lambda: Recurrent(nn.LSTM), "rmsprop", 1e-3, {"clip_norm": 1.0}),
    "transformer": (lambda: nn.TransformerEncoderLayer(32, 2, 64), "adamw", 1e-3, {"warmup": 0.1}),
    "vit": (Patches, "adamw", 1e-3, {"warmup": 0.1}),
    "mlp": (lambda: nn.Sequential(nn.Linear(30, 64), nn.Linear(64, 2)), "adamw", 1e-3, {}),
    "sparse": (lambda: nn.EmbeddingBag(9999, 8, sparse=True), "adagrad", 1e-2, {}),
    "gan": (gan, "adam", 2e-4, {"hyperparameters": {"betas": (0.5, 0.999)}}),
    "frozen": (frozen, "adamw", 1e-4, {}),
    "tiny": (lambda: nn.Linear(1, 1), "adamw", 1e-3, {"clip_norm": 1.0}),
    "billion": (billion, "adamw", 2e-4, {"precision": "bf16", "weight_decay": 0.1}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_recipe_is_the_guides(name: str) -> None:
    """Optimizer, rate and what else the kind of model asks for; the recipe is a valid one."""
    make, optimizer, lr, more = EXPECTED[name]
    advice = advise(make())
    assert (advice.recipe["optimizer"], advice.recipe["lr"]) == (optimizer, pytest.approx(lr))
    assert advice.recipe.items() >= more.items()
    assert Recipe(**advice.recipe).optimizer == optimizer


def test_every_line_has_a_reason_and_there_is_a_next_thing() -> None:
    """The guides' order: the rate ten times lower or higher, another optimizer, the data."""
    advice = advise(Residual())
    assert all(line.reason for line in advice.lines)
    assert [text.split()[1] for text in advice.then] == ["learning", "optimizer:", "data:"]
    assert "sgd with momentum = 0.9" in advice.then[1]
    assert str(advice).splitlines()[0].startswith("optimizer = 'adamw'")


def test_what_cannot_be_advised_on_is_refused() -> None:
    """One line each."""
    with pytest.raises(InputTypeError, match="expected a torch module or a pair of them, got int"):
        advise([3])  # type: ignore[list-item]
    with pytest.raises(InputError, match="no parameter requires a gradient"):
        advise(nn.Linear(1, 1).requires_grad_(False))


def test_the_default_recipe_is_the_advice_for_the_models_that_tables_and_digits_get() -> None:
    """``downslope train`` trains them as ``downslope advise`` says, the rate apart."""
    table = ModelSource("table", {"features": 30, "outputs": 2, "rows": 455})
    for model in (ModelSource("digits")(), table()):
        advice = {k: v for k, v in advise(model).recipe.items() if k != "lr"}
        default = Recipe().resolve(load_task("digits")).model_dump()
        assert {name: default[name] for name in advice} == advice
