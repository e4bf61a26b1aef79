"""Norms of gradients, weights and updates, compiled and in torch's operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from downslope.monitor import weights
from downslope.monitor.weights import MEASURED, Weights


class Model(nn.Module):
    """Parameters of given shapes, with gradients."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype = torch.float32):
        super().__init__()
        self.all = nn.ParameterList(torch.randn(shape).to(dtype) for shape in shapes)
        for p in self.all:
            p.grad = torch.relu(torch.randn_like(p))

    def step(self) -> None:
        with torch.no_grad():
            for p in self.all:
                assert p.grad is not None
                p -= (0.25 * p.grad).to_dense() if p.grad.is_sparse else 0.25 * p.grad


SHAPES = ((40_000, 2), (7,), (), (3, 4, 5), (0,))


def norm(tensor: Tensor) -> float:
    return math.sqrt(tensor.detach().double().square().sum().item())


def look(model: Model, scale: float = 1.0) -> tuple[list[float], list[float]]:
    """What is measured, and the same naively in float64."""
    measured = Weights(model)
    measured.refresh()
    assert measured.before(scale)
    before = [p.detach().clone() for p in model.all]
    grads = [p.grad.to_dense() for p in model.all if p.grad is not None]
    model.step()
    expected: list[float] = []
    for p, g, old in zip(model.all, grads, before, strict=True):
        moved = p.detach().double() - old.double()
        zeros = 1 - torch.count_nonzero(g).item() / max(1, g.numel()) if g.numel() else 0.0
        expected += (norm(g) / scale, norm(old), norm(moved), zeros)
    expected.append(math.hypot(*expected[::4]))
    return measured.after(), expected


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        from downslope.monitor.passes import Passes

        monkeypatch.setattr(Passes, "of", lambda params: None)
    return str(request.param)


@pytest.mark.parametrize("scale", [1.0, 1024.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_four_numbers_a_parameter(way: str, dtype: torch.dtype, scale: float) -> None:
    """Of several chunks, of none, without dimensions."""
    found, expected = look(Model(SHAPES, dtype), scale)
    coarse = {torch.float32: 1e-5, torch.float64: 1e-12}.get(dtype, 2e-2)
    rel = 1e-12 if way == "compiled" else coarse
    assert found == pytest.approx(expected, rel=rel, abs=1e-12)


@pytest.mark.parametrize("kind", ["transposed", "expanded", "sparse", "other dtype", "mixed"])
def test_gradients_of_any_kind(kind: str) -> None:
    """Laid out otherwise than their parameters, or not laid out at all."""
    model = Model(((6, 6), (6, 6)))
    first, second = model.all
    if kind == "transposed":
        first.grad = torch.randn(6, 6).t()
    elif kind == "expanded":
        first.grad = torch.ones(1, 6).expand(6, 6)
    elif kind == "sparse":
        first.grad = (torch.eye(6) * 3).to_sparse().coalesce()
    elif kind == "other dtype":
        model = Model(((6, 6), (6, 6)), torch.float64)
    else:
        second.data = second.data.double()
        second.grad = torch.randn(6, 6, dtype=torch.float64)
    found, expected = look(model)
    if kind == "sparse":
        expected[3] = 0.0  # among the numbers that it stores
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_same_bits_on_any_number_of_threads() -> None:
    """Sums of pieces, added in order."""
    found = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.manual_seed(5)
            torch.set_num_threads(count)
            found.append(look(Model(((300_000,), (50_000,))))[0])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_storage_replaced_by_the_step() -> None:
    """The update is that of the parameter, not that of its old memory."""
    model = Model(((5, 4),))
    measured = Weights(model)
    measured.refresh()
    measured.before(1.0)
    with torch.no_grad():
        model.all[0].data = model.all[0].data + 2.0
    assert measured.after()[2] == pytest.approx(2 * math.sqrt(20))
    measured.before(1.0)
    model.step()
    gradient = model.all[0].grad
    assert gradient is not None
    assert measured.after()[2] == pytest.approx(norm(gradient) / 4, rel=1e-5)


def test_parameters_without_gradients_are_left_out() -> None:
    """Also where others are from one step to the next."""
    model = Model(((3,), (4,), (5,)))
    measured = Weights(model)
    measured.refresh()
    for k in range(3):
        for p in model.all:
            p.grad = torch.ones_like(p)
        model.all[k].grad = None
        measured.before(1.0)
        named = [part.path[1] for part in measured.form.parts if len(part.path) == 2]
        assert named == [f"all.{j}" for j in range(3) if j != k]
        norms = [math.sqrt(n) for n in (3, 4, 5) if n != 3 + k]
        assert measured.after()[:8:4] == pytest.approx(norms)


def test_the_last_finite_weights_are_kept(way: str) -> None:
    """Those from which a bad gradient was taken, and after a bad step those before it."""
    model = Model(((3,), (2, 2)))
    measured = Weights(model)
    measured.refresh()
    before: list[Any] = []
    for k in range(5):
        if k == 3:
            gradient = model.all[0].grad
            assert gradient is not None
            gradient[0] = math.nan
        assert measured.before(1.0) == (k < 3)
        before.append([p.detach().clone() for p in model.all])
        if k >= 3:
            last = before[3 if way == "compiled" else 2]
            for kept, was in zip(measured.kept, last, strict=True):
                assert torch.equal(kept, was)
        model.step()
        measured.after()


def test_finite_weights_are_kept_between_looks(way: str) -> None:
    """What was copied in the last look stays, whatever the weights are at the next."""
    model = Model(((3,), (2, 2)))
    measured = Weights(model)
    measured.refresh()
    measured.before(1.0)
    before = [p.detach().clone() for p in model.all]
    model.step()
    measured.after()
    measured.rest()
    with torch.no_grad():
        model.all[0][0] = math.nan
    measured.refresh()
    measured.before(1.0)
    for kept, was in zip(measured.kept, before, strict=True):
        assert torch.equal(kept, was)


def test_every_number_has_its_name() -> None:
    """Four names a parameter, one for all."""
    model = Model(((3,), (4,)))
    measured = Weights(model)
    measured.refresh()
    measured.before(1.0)
    names = [part.names for part in measured.form.parts]
    assert names == [MEASURED, MEASURED, ("grad_norm",)]
    assert weights.MEASURED[2] == "update_norm"


def test_kept_weights_are_the_newest_after_others_got_gradients() -> None:
    """Not those that were kept before."""
    model = Model(((3,), (2, 2)))
    measured = Weights(model)
    model.all[1].grad = None
    for k in range(3):
        measured.refresh()
        measured.before(1.0)
        before = [p.detach().clone() for p in model.all]
        with torch.no_grad():
            model.all[0].add_(1.0)
        measured.after()
        measured.rest()
        assert torch.equal(measured.kept[0], before[0])
        if k == 0:
            model.all[1].grad = torch.ones(2, 2)


def test_a_gradient_that_is_sparse_once_is_measured_compiled_afterwards() -> None:
    """What could not be read is tried again."""
    model = Model(((4, 4),))
    measured = Weights(model)
    measured.refresh()
    gradients = [torch.ones(4, 4), torch.eye(4).to_sparse(), torch.ones(4, 4)]
    compiled = []
    for gradient in gradients:
        model.all[0].grad = gradient
        measured.before(1.0)
        compiled.append(measured._slow is None)
        measured.after()
    assert compiled == [True, False, True]
