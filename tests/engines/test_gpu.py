"""The Triton engine's numbers, by Triton's interpreter: the same kernels, on CPU tensors.

With ``DOWNSLOPE_GPU=1`` on a GPU, see ``on_device.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from downslope.engines.gpu import run
from downslope.engines.gpu.words import Words
from downslope.errors import EngineError
from downslope.optim import SGD, AdamW, Optimizer, _placement

from ..optim.harness import (
    build,
    detached,
    follow_oracle,
    gradients,
    snapshot,
    tensors,
    zoo,
)
from .on_device import DEVICE, assert_same, assert_same_bits, drive, leaves, moved, vectors
from .programs import EVERY, Case, cases, covering, widest
from .rules import Everything, Lamb, everything_oracle, lamb_oracle
from .test_names import Hostile
from .test_names import ends as ends_of_hostile
from .test_totals import Travelled

pytestmark = pytest.mark.usefixtures("on_triton")


def each_of(some: Callable[[], tuple[Case, ...]]) -> pytest.MarkDecorator:
    """A test for some programs, or, where that is asked for, for all."""
    return pytest.mark.parametrize("case", cases() if EVERY else some(), ids=lambda c: c.title)


WIDE = {"float32": torch.float32, "float64": torch.float64}
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def each_dtype(dtypes: dict[str, torch.dtype]) -> pytest.MarkDecorator:
    """A test for each of these kinds of number."""
    return pytest.mark.parametrize("dtype", dtypes.values(), ids=dtypes)


def end(case: Case, start: tuple[Tensor, ...], rows: Any, **flags: Any) -> list[Tensor]:
    """Where a case's optimizer takes tensors: parameters, then state."""
    params = leaves(start)
    optimizer = build(case.entry.ours, params, case.variant.kwargs, flags)
    drive(optimizer, rows)
    return [*detached(params), *tensors(snapshot(optimizer))]


def little(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """A number, no numbers, a transposed matrix, and a vector with a full block and a rest."""
    every = zoo(dtype)
    return every[0], every[2], every[5], every[7]


@each_of(widest)
def test_follows_the_oracle(case: Case) -> None:
    """Every rule goes where its paper's formula goes."""
    follows_the_oracle(case, torch.float32)


@each_of(covering)
def test_follows_the_oracle_in_float64(case: Case) -> None:
    """In float64 the kernels' arithmetic is float64's."""
    follows_the_oracle(case, torch.float64)


def follows_the_oracle(case: Case, dtype: torch.dtype) -> None:
    """Compare two steps with the oracle's."""
    start = little(dtype)
    rows = gradients(start, 2)
    params = leaves(start)
    drive(build(case.entry.ours, params, case.variant.kwargs), rows)
    expected, _ = follow_oracle(case.entry, start, rows, case.variant.kwargs)
    assert_same(params, [e.to(dtype) for e in expected])


@each_of(lambda: covering()[:1])
@each_dtype(HALF)
def test_half_precision_only_rounds(case: Case, dtype: torch.dtype) -> None:
    """In 16 bits, numbers are those of float32, rounded to nearest when they are stored."""
    start = little(dtype)
    half, single = leaves(start), leaves([t.float() for t in start])
    optimizers = [build(case.entry.ours, p, case.variant.kwargs) for p in (half, single)]
    for row in gradients(start, 2):
        drive(optimizers[0], [row])
        drive(optimizers[1], [[g.float() for g in row]])
        for p, q in zip(half, single, strict=True):
            arrays = [(p, q)]
            for name, kept in optimizers[0].state[p].items():
                arrays += [(kept, optimizers[1].state[q][name])] * (kept.dim() == p.dim())
            for narrow, wide in arrays:
                with torch.no_grad():
                    wide.copy_(wide.to(narrow.dtype))
                assert torch.equal(narrow.float(), wide.float())


@each_of(covering)
def test_complex_numbers_are_pairs(case: Case) -> None:
    """A complex parameter ends where its real and imaginary parts do, to the last bit."""
    start = little(torch.complex64)
    rows = gradients(start, 2)
    reals = tuple(torch.view_as_real(t).contiguous() for t in start)
    ours = end(case, start, rows)
    theirs = end(case, reals, [[torch.view_as_real(g) for g in row] for row in rows])
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(torch.view_as_real(a) if a.is_complex() else a, b)


@each_dtype(WIDE)
def test_sums_over_whole_tensors(dtype: torch.dtype) -> None:
    """A formula with sums over its tensor gives the oracle's numbers."""
    start = vectors(dtype)
    rows = gradients(start, 3)
    params = leaves(start)
    drive(Lamb(params), rows)
    expected = []
    for i, t in enumerate(start):
        p, average = t.double().numpy(), 0.0
        for row in rows:
            p, average = lamb_oracle(p, row[i].double().numpy(), average, lr=0.1, decay=0.9)
        expected.append(torch.from_numpy(p).to(dtype))
    assert_same(params, expected)


@each_dtype(WIDE)
@pytest.mark.parametrize("flip", [False, True])
def test_every_function_a_formula_may_use(dtype: torch.dtype, flip: bool) -> None:
    """Each function of ``xp`` and each of the host's scalars means what it means elsewhere."""
    start = vectors(dtype)[1:]
    rows = gradients(start, 3)
    params = leaves(start)
    drive(Everything(params, flip=flip), rows)
    expected = []
    for i, t in enumerate(start):
        p, a = t.double().numpy(), np.zeros(t.shape)
        for step, row in enumerate(rows, start=1):
            p, a = everything_oracle(p, row[i].double().numpy(), a, lr=0.1, step=step, flip=flip)
        expected.append(torch.from_numpy(p).to(dtype))
    assert_same(params, expected)


def test_sums_over_all_tensors() -> None:
    """Sums over all tensors of a step go over buckets of this engine and of others."""
    start = vectors()
    rows = gradients(start, 3)
    ends = []
    for flags in ({}, {"foreach": False}):
        params = leaves(start)
        drive(Travelled(params, **flags), rows)
        ends.append(params)
    mixed = leaves(start)
    one_by_one = {"params": mixed[1:], "foreach": False}
    drive(Travelled([{"params": mixed[:1]}, one_by_one]), rows)
    assert_same(ends[0], ends[1])
    assert_same(mixed, ends[1])


def shifted(t: Tensor) -> Tensor:
    """The same numbers one element further in memory, off every 16-byte boundary."""
    return torch.cat([t.new_zeros(1), t]).narrow(0, 1, len(t))


@pytest.mark.parametrize("shift", ["parameters", "gradients", "slots"])
@pytest.mark.parametrize("cls", [AdamW, Lamb])
def test_off_16_byte_boundaries(cls: type[Optimizer], shift: str) -> None:
    """Where a parameter, a gradient or a slot lies changes no bit, not even of a sum."""
    start = tuple(t for t in vectors() if len(t))
    rows = gradients(start, 2)
    straight, crooked = leaves(start), leaves(start)
    if shift == "parameters":
        crooked = [shifted(t).requires_grad_() for t in moved(start)]
    plain, other = cls(straight), cls(crooked)
    drive(plain, rows)
    for row in rows:
        for p, g in zip(crooked, moved(row), strict=True):
            p.grad = shifted(g) if shift == "gradients" else g.clone()
        other.step()
        if shift == "slots":
            for state in other.state.values():
                state.update({k: shifted(v) for k, v in state.items() if v.dim()})
    slots = [t for state in other.state.values() for t in state.values() if t.dim()]
    odd = {"parameters": crooked, "gradients": [p.grad for p in crooked], "slots": slots}[shift]
    assert all(t.data_ptr() % 16 for t in odd)
    assert_same_bits(detached(crooked), detached(straight))


def test_order_of_parameters_does_not_matter() -> None:
    """A tensor's bits, of its sums too, do not depend on which others step beside it."""
    start = vectors()
    rows = gradients(start, 2)
    together, alone = leaves(start), leaves(start)
    drive(Lamb(together), rows)
    for i in reversed(range(len(start))):
        drive(Lamb([alone[i]]), [[row[i]] for row in rows])
    assert_same_bits(detached(together), detached(alone))


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that were launched."""
    names: list[str] = []
    launched = run.launched

    def counted(function: Any, *args: Any) -> None:
        names.append(function.__name__)
        launched(function, *args)

    monkeypatch.setattr(run, "launched", counted)
    return names


def test_one_launch_a_pass(launches: list[str]) -> None:
    """All tensors of all groups step in one launch; a sum, or a norm, costs one more."""
    start = vectors()
    groups = [{"params": [p], "lr": 0.1 / (i + 1)} for i, p in enumerate(leaves(start))]
    row = gradients(start, 1)
    for optimizer, passes in ((AdamW(groups), 1), (AdamW(groups, clip_norm=1.0), 2)):
        launches.clear()
        drive(optimizer, row)
        assert len(launches) == passes
    launches.clear()
    drive(Lamb(leaves(start)), row)
    assert launches == ["run0", "run1"]


def test_hyperparameters_that_change() -> None:
    """A step reads its groups' hyperparameters: what was sent before is not used again."""
    start = vectors()
    rows = gradients(start, 3)
    ends = []
    for flags in ({"fused": True}, {"foreach": False}):
        params = leaves(start)
        optimizer = SGD([{"params": [p], "lr": 0.1} for p in params], momentum=0.9, **flags)

        def halve(step: int, optimizer: Optimizer = optimizer) -> None:
            optimizer.param_groups[step]["lr"] /= 2
            optimizer.param_groups[step]["maximize"] = True

        drive(optimizer, rows, before=halve)
        ends.append(params)
    assert_same(*ends)


CLIPS: tuple[dict[str, Any], ...] = (
    {"clip_norm": 1.0},
    {"clip_value": 0.3},
    {"clip_value": 0.3, "clip_norm": 1.0},
)


@pytest.mark.parametrize("limits", CLIPS, ids=str)
def test_clipping(limits: dict[str, Any]) -> None:
    """Limits of gradients' norms and values are those of the eager engine, group by group."""
    start = vectors()
    rows = gradients(start, 3)
    ends = []
    for flags in ({}, {"fused": True}, {"foreach": False}):
        params = leaves(start)
        groups = [{"params": params[:2]}, {"params": params[2:], "clip_norm": 2.0}]
        optimizer = SGD(groups, lr=0.1, maximize=True, **limits, **flags)
        drive(optimizer, rows)
        ends.append([*detached(params), torch.tensor(optimizer.grad_norm or 0.0)])
    for ours in ends[:2]:
        assert_same(ours, ends[2])


#: Units of several chunks, of a few elements, that end in the middle of blocks, and none.
WITH_UNITS = ((1, 8_200), (6, 3), (3, 3, 200), (7,), (), (0, 4))


@pytest.mark.parametrize(
    ("dtype", "fused", "limits"),
    [(torch.complex64, None, {}), (torch.float32, True, {"clip_value": 0.8, "clip_norm": 3.0})],
    ids=str,
)
def test_clipping_units(dtype: torch.dtype, fused: bool | None, limits: dict[str, Any]) -> None:
    """Every unit's gradient is shortened as the eager engine does it."""
    make = torch.Generator().manual_seed(6)
    start = tuple(torch.randn(s, generator=make, dtype=dtype) for s in WITH_UNITS)
    rows = gradients(start, 2)
    ends = []
    for flags in ({"fused": fused}, {"foreach": False}):
        params = leaves(start)
        groups = [{"params": params[:2]}, {"params": params[2:], "clip_agc": 0.01}]
        optimizer = SGD(groups, lr=0.1, clip_agc=0.3, **limits, **flags)
        drive(optimizer, rows)
        ends.append([*detached(params), torch.tensor(optimizer.grad_norm)])
    assert_same(*ends)


def test_words_are_sent_when_they_change() -> None:
    """Equal words are not sent again, changed ones are, embedded ones are tables of their own."""
    shapes = {"a": ((2, 3), np.int64), "b": ((2,), np.float64)}
    words = Words(shapes, DEVICE)
    words.host["a"][:] = [[1, -2, 2**62 + 1], [4, 5, 6]]
    words.host["b"][:] = 0.1, -torch.inf
    first = words.send()
    assert first["a"].tolist() == [[1, -2, 2**62 + 1], [4, 5, 6]]
    assert first["b"].tolist() == [0.1, -torch.inf]
    first["b"][0] = 7
    assert words.send()["b"].tolist() == [7, -torch.inf]
    words.host["a"][0, 0] = 9
    assert words.send()["b"].tolist() == [0.1, -torch.inf]
    own = words.embed()
    assert own["a"].tolist() == [[9, -2, 2**62 + 1], [4, 5, 6]]
    assert own["b"].tolist() == [0.1, -torch.inf]
    words.host["a"][:] = 0
    words.send()
    assert own["a"][0, 0] == 9


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Triton is missing, lists of tensors serve, and asking for the kernel is an error."""
    monkeypatch.setattr(_placement, "_has_triton", lambda: False)
    (p,) = leaves([torch.ones(3)])
    drive(AdamW([p]), [[torch.ones(3)]])
    with pytest.raises(EngineError, match="Triton is not installed"):
        drive(AdamW([p], fused=True), [[torch.ones(3)]])


def test_any_names() -> None:
    """Slots and scalars called as a kernel's own names are: the oracle's numbers."""
    start = tuple(torch.randn(n) for n in (1, 0, 17))
    rows = gradients(start, 3)
    params = leaves(start)
    drive(Hostile(params), rows)
    assert_same(params, ends_of_hostile(start, rows))
