"""What a trial measures: the held-out loss, and how long a step is beside the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from downslope import optim
from downslope.finder._pool import Pool
from downslope.finder._suggest import usual_lr
from downslope.finder._trial import Trial

Loader = list[tuple[Any, Any]]


def batches(rows: int = 12, count: int = 8, classes: int = 3) -> Loader:
    """Random inputs of 5 numbers, and classes."""
    return [(torch.randn(rows, 5), torch.randint(classes, (rows,))) for _ in range(count)]


def trial(
    model: nn.Module, loader: Iterable[Any], loss: Any = nn.functional.cross_entropy
) -> Trial:
    return Trial(model, loss, loader, torch.optim.SGD(model.parameters(), lr=0.1))


def test_two_more_rows_with_the_targets_of_others_are_counted_in() -> None:
    """The loss of n held-out rows is (n * theirs + 2 * that with targets moved on) / (n + 2)."""
    model, loader = nn.Linear(5, 3), batches()
    of = trial(model, loader)
    found = of.judged(of.pool(20))
    assert len(found) == 2
    n = 2 * 12
    for (x, y), judged in zip(loader[:2], found, strict=True):
        with torch.no_grad():
            own = nn.functional.cross_entropy(model(x), y).item()
            others = nn.functional.cross_entropy(model(x), torch.cat([y[6:], y[:6]])).item()
        assert judged == pytest.approx((n * own + 2 * others) / (n + 2), rel=1e-6)


@pytest.mark.parametrize(
    ("targets", "count"),
    [(torch.zeros(12, dtype=torch.long), 12), (torch.zeros(12, 1), 12), (torch.zeros(12), 12)],
    ids=["classes", "rows of values", "values"],
)
def test_rows_are_counted_whatever_the_targets_are(targets: Tensor, count: int) -> None:
    """A loss of 0 on the true targets and 1 on the others' is 2 / (n + 2)."""
    losses = iter((0.0, 1.0))
    of = trial(nn.Linear(5, 1), [], lambda *_: torch.tensor(next(losses)))
    pool = Pool((), ((torch.randn(12, 5), targets),))
    assert pool.labels == count
    found = of.judged(pool)
    assert found == (pytest.approx(2 / (count + 2)),)


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (torch.tensor([0, 7, 2]), True),
        (torch.tensor([True, False]), True),
        (torch.tensor([[0.0], [1.0]]), True),
        (torch.tensor([[0.0], [0.5]]), False),
        (torch.tensor([1j, 0j]), False),
        ({"boxes": torch.zeros(2)}, None),
    ],
    ids=["numbers", "yes and no", "zeros and ones", "values", "complex", "no tensor"],
)
def test_targets_are_classes_or_values(targets: Any, classes: bool | None) -> None:
    """Whole numbers, or zeros and ones only, are classes; there is no telling without a tensor."""
    assert Pool((), ((torch.zeros(2, 3), targets),)).classes is classes


def test_targets_that_are_no_tensor_are_judged_as_they_are() -> None:
    """A dict of targets cannot be moved on by a row: its loss is the plain one."""
    model, x = nn.Linear(5, 1), torch.randn(12, 5)
    pool = Pool((), ((x, {"y": 1.0}),))
    found = trial(model, [], lambda outputs, targets: (outputs - targets["y"]).pow(2).mean())
    with torch.no_grad():
        expected = (model(x) - 1.0).pow(2).mean().item()
    assert found.judged(pool) == (pytest.approx(expected),)


@pytest.mark.parametrize(
    ("kind", "longer"),
    [
        (torch.optim.SGD, 1.0),
        (partial(torch.optim.SGD, momentum=0.9), 10.0),
        (partial(optim.SGD, momentum=0.9), 10.0),
        (partial(optim.SGD, momentum=0.9, dampening=0.9), 1.0),
    ],
    ids=["plain", "momentum of torch", "momentum", "dampened"],
)
def test_a_step_of_sgd_is_the_gradient_gathered_by_momentum(kind: Any, longer: float) -> None:
    """The weights' norm and the gradient's, times 1 / (1 - momentum) where nothing dampens it."""
    model, loader = nn.Linear(5, 3), batches()
    of = Trial(model, nn.functional.cross_entropy, loader, kind(model.parameters(), lr=0.1))
    pool = of.pool(20)
    weights, step = of.lengths(pool)
    gradients = torch.autograd.grad(
        nn.functional.cross_entropy(model(pool.train[0][0]), pool.train[0][1]),
        list(model.parameters()),
    )
    gradient = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
    norm = math.sqrt(sum(float(p.detach().double().square().sum()) for p in model.parameters()))
    assert (weights, step) == pytest.approx((norm, longer * gradient), rel=1e-5)


@pytest.mark.parametrize("kind", [optim.AdamW, optim.Lion, torch.optim.Adam])
def test_a_step_of_signs_is_the_root_of_the_count(kind: type[Optimizer]) -> None:
    """Adam's first step, like Lion's, moves each of 18 weights by the learning rate."""
    model, loader = nn.Linear(5, 3), batches()
    rule: Any = kind
    made = rule(model.parameters(), lr=1e-3, weight_decay=0.0)
    of = Trial(model, nn.functional.cross_entropy, loader, made)
    assert of.lengths(of.pool(20))[1] == pytest.approx(math.sqrt(18), rel=1e-3)


def test_weights_and_gradients_of_zero_are_no_division_by_zero() -> None:
    """They count as 1 and as no step, for which there is no usual rate."""
    model = nn.Linear(5, 3)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    of = trial(model, batches(), lambda outputs, targets: (outputs * 0).sum())
    assert of.lengths(of.pool(20)) == (1.0, 0.0)
    assert usual_lr("sgd", 1.0, 0.0) is None


def test_measuring_leaves_everything_as_it_was() -> None:
    """Weights, gradients, state and learning rate, to the bit."""
    model, loader = nn.Linear(5, 3), batches()
    made = optim.AdamW(model.parameters(), lr=1e-3)
    of = Trial(model, nn.functional.cross_entropy, loader, made)
    before = [p.detach().clone() for p in model.parameters()]
    of.lengths(of.pool(20))
    assert all(a.equal(b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert not made.state
    assert made.param_groups[0]["lr"] == 1e-3


class Stream:
    """The batches of a loader, without their number."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return iter(self._loader)


@pytest.mark.parametrize("count", [2, 8, 50])
def test_what_is_known_beforehand_is_of_a_whole_pass(count: int) -> None:
    """Weights over all targets of a loader, however few are needed; unknown without its length."""
    model, loader = (
        nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3)),
        batches(12, count),
    )
    of, stream = trial(model, loader), trial(model, Stream(loader))
    known, unknown = of.run(of.pool(10)), stream.run(stream.pool(10))
    assert known.capacity == pytest.approx((42 + 14 + 24) / (12 * count))
    assert (known.classes, known.depth) == (True, 2)
    assert unknown == replace(known, capacity=None, labels=unknown.labels)


def test_a_race_keeps_the_mean_of_its_last_training_losses() -> None:
    """Of the last five that it reported; a race that diverged has none."""
    of = trial(nn.Linear(5, 3), batches())
    pool, seen = of.pool(20), list[float]()
    first = of.judged(pool)
    race = of.race(0.1, pool, 12, first, lambda lr, loss: seen.append(loss))
    assert race.trained == pytest.approx(sum(seen[-5:]) / 5)
    assert of.race(1e9, pool, 12, first, lambda lr, loss: None).trained == math.inf
