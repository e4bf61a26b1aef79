"""The built-in models: their shapes, what they may see, and the attention against a naive one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from downslope.tasks import ModelSource
from downslope.tasks.models import Cnn, Gru, Transformer, mlp
from downslope.tasks.models.transformer import CausalSelfAttention

LENGTH = 12
OVER_TEXT: list[Callable[[], nn.Module]] = [
    lambda: Gru(20, width=8, layers=2),
    lambda: Transformer(20, LENGTH, width=8, heads=2),
]


@pytest.mark.parametrize("side", [(1, 1), (4, 4), (8, 8), (9, 13), (5, 120), (64, 48)])
def test_images_of_every_size(side: tuple[int, int]) -> None:
    """A network made for a size takes it, and learns from it: every weight has a gradient."""
    model = Cnn(3, *side, outputs=5)
    scores = model(torch.randn(4, 3, *side))
    assert scores.shape == (4, 5)
    scores.square().sum().backward()  # type: ignore[no-untyped-call]  # torch's
    assert all(p.grad is not None for p in model.parameters())


def test_images_of_another_size_than_it_was_made_for() -> None:
    """Its last layer reads quarters, whatever their size."""
    assert Cnn(1, 8, 8, outputs=3)(torch.zeros(2, 1, 20, 11)).shape == (2, 3)


@pytest.mark.parametrize("make", OVER_TEXT)
def test_what_comes_later_is_not_seen(make: Callable[[], nn.Module]) -> None:
    """Scores at a position do not change with the symbols after it, and do with its own."""
    torch.manual_seed(0)
    model = make().eval()
    x = torch.randint(0, 20, (3, LENGTH))
    other = x.clone()
    other[:, 7:] = (other[:, 7:] + 1) % 20
    with torch.no_grad():
        before, after = model(x), model(other)
    assert before[:, :7].allclose(after[:, :7], atol=1e-6)
    assert not before[:, 7].allclose(after[:, 7], atol=1e-3)


@pytest.mark.parametrize("make", OVER_TEXT)
def test_shorter_windows_are_beginnings(make: Callable[[], nn.Module]) -> None:
    """The scores of a window's first half are those of the half alone."""
    torch.manual_seed(0)
    model = make().eval()
    x = torch.randint(0, 20, (3, LENGTH))
    with torch.no_grad():
        assert model(x)[:, :6].allclose(model(x[:, :6]), atol=1e-6)


def test_attention_is_the_papers() -> None:
    """softmax(q k / sqrt(d)) v over the positions up to one's own, by loops in float64."""
    torch.manual_seed(1)
    module = CausalSelfAttention(8, heads=2).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    with torch.no_grad():
        query, key, value = module.mix(x).chunk(3, dim=-1)
        seen = torch.zeros_like(x)
        for row in range(2):
            for head in (slice(0, 4), slice(4, 8)):
                for t in range(5):
                    scores = [
                        float(query[row, t, head] @ key[row, s, head]) / math.sqrt(4)
                        for s in range(t + 1)
                    ]
                    total = sum(math.exp(score) for score in scores)
                    for s, score in enumerate(scores):
                        seen[row, t, head] += math.exp(score) / total * value[row, s, head]
        torch.testing.assert_close(module(x), module.out(seen), rtol=1e-12, atol=1e-12)


def test_an_mlps_layers() -> None:
    """Linear, norm, activation, dropout for each hidden size; linear at the end."""
    layers = [type(m).__name__ for m in mlp(3, 5, 4, 2, norm=nn.LayerNorm, dropout=0.1)]
    hidden = ["Linear", "LayerNorm", "ReLU", "Dropout"]
    assert layers == [*hidden, *hidden, "Linear"]


@pytest.mark.parametrize(
    ("source", "x"),
    [
        (ModelSource("mlp", {"features": 12, "outputs": 2}), torch.zeros(4, 3, 4)),
        (
            ModelSource("cnn", {"channels": 1, "height": 8, "width": 8, "outputs": 2}),
            torch.zeros(4, 1, 8, 8),
        ),
        (ModelSource("gru", {"symbols": 9, "width": 4}), torch.zeros(4, 6, dtype=torch.uint8)),
        (
            ModelSource("transformer", {"symbols": 9, "length": 6, "width": 8}),
            torch.zeros(4, 6, dtype=torch.uint8),
        ),
    ],
)
def test_a_checkpoint_can_name_them(source: ModelSource, x: Tensor) -> None:
    """Made from plain data, twice alike, they take their inputs."""
    made = ModelSource(**source.to_dict())()
    made.load_state_dict(source().state_dict())
    assert made(x).shape[0] == 4
