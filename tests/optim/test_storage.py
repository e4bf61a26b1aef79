"""``storage=``: every elementwise optimizer with its state in float32, bfloat16 and int8."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from downslope.engines.cpu.library import JITTED
from downslope.engines.storage import BLOCK, SMALL, open_planes
from downslope.errors import EngineError, InputError, InputTypeError
from downslope.optim import SGD, Adafactor, AdamW, Optimizer, RMSprop
from downslope.optim._storage import opened

from .catalogue import CATALOGUE, Entry
from .harness import assert_same_bits, build, detached, leaves, snapshot

ELEMENTWISE = tuple(e for e in CATALOGUE if not e.ours.rule.matrix and e.ours.rule.dense)
#: With all that a kernel may do: compact slots of both kinds, and sums.
COMPILED = ("AdamW", "LAMB")
ENGINES: dict[str, dict[str, Any]] = {"numba": {}, "eager": {"foreach": False}}
each_engine = pytest.mark.parametrize("flags", ENGINES.values(), ids=ENGINES)
each_format = pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])

#: No multiple of a block; and one that is too small to be compact.
SHAPES = ((SMALL // 64 + 3, 65), (7,))


def start(seed: int = 0) -> list[Tensor]:
    make = torch.Generator().manual_seed(seed)
    return leaves(torch.randn(shape, generator=make) for shape in SHAPES)


def rows(steps: int, seed: int = 1) -> list[list[Tensor]]:
    """Gradients whose scale differs from block to block."""
    make = torch.Generator().manual_seed(seed)

    def draw(shape: tuple[int, ...]) -> Tensor:
        g = torch.randn(shape, generator=make)
        return g * 10 ** -torch.rand(shape[0], generator=make).mul(2).view(-1, *[1] * (g.ndim - 1))

    return [[draw(shape) for shape in SHAPES] for _ in range(steps)]


def gradients_into(params: list[Tensor], row: list[Tensor]) -> None:
    for p, g in zip(params, row, strict=True):
        p.grad = g.clone()


def gaps(exact: np.ndarray, storage: str, positive: bool) -> np.ndarray:
    """How far a number may be from what is kept of it: the distance of its two neighbours."""
    if storage == "float32" or exact.size < SMALL:
        return np.abs(exact) * 2.0**-22 + 1e-12
    if storage == "bfloat16":
        return np.abs(exact) * 2.0**-7 + 1e-12
    flat = np.abs(np.pad(exact.ravel(), (0, -exact.size % BLOCK)).reshape(-1, BLOCK))
    top = flat.max(1, keepdims=True)
    if positive:
        unit = top / 255**2
        found = unit * (2 * np.sqrt(flat / np.maximum(unit, 1e-300)) + 3)
    else:
        found = (top + flat + top / 100) ** 2 / (254 * np.maximum(top, 1e-300))
    return found.ravel()[: exact.size].reshape(exact.shape) + 1e-12


def _cases() -> list[Any]:
    """Every optimizer in every engine; a compile each where kernels are compiled, so few there."""
    compiled = ELEMENTWISE if not JITTED else [e for e in ELEMENTWISE if e.name in COMPILED]
    pairs = [("eager", e) for e in ELEMENTWISE] + [("numba", e) for e in compiled]
    return [pytest.param(ENGINES[n], e, id=f"{e.name}-{n}") for n, e in pairs]


@each_format
@pytest.mark.parametrize(("flags", "entry"), _cases())
def test_each_step_is_the_papers(entry: Entry, storage: str, flags: dict[str, Any]) -> None:
    """From the state as it is kept, a step is the oracle's, and what it keeps is next to that."""
    kwargs = entry.optimum
    params = start()
    optimizer = build(entry.ours, params, kwargs, flags, {"storage": storage})
    rule = entry.ours.rule
    nonnegative = {s.name for s in rule.slots if s.nonnegative}
    weights = {s.name for s in rule.slots if s.weights}
    judge: list[dict[str, Any]] = [{} for _ in params]
    for row in rows(3):
        before = [p.detach().double().numpy().copy() for p in params]
        gradients_into(params, row)
        optimizer.step()
        for k, p in enumerate(params):
            expected = entry.oracle(before[k], row[k].double().numpy(), judge[k], **kwargs)
            state = optimizer.state[p]
            near = 1e-5 * max(1.0, float(np.abs(expected - before[k]).max()))
            np.testing.assert_allclose(p.detach().numpy(), expected, rtol=2e-6, atol=near)
            for slot in rule.arrays(rule.present(optimizer.param_groups[0])):
                found = opened(state, slot).double().numpy()
                exact = np.broadcast_to(judge[k][slot], found.shape)
                bound = gaps(exact, "float32" if slot in weights else storage, slot in nonnegative)
                slack = 1e-5 * np.abs(exact).max()
                assert (np.abs(found - exact) <= bound * 1.01 + slack).all(), slot
                judge[k][slot] = found  # go on from what was kept


@pytest.mark.slow
@pytest.mark.skipif(not JITTED, reason="that is what it runs")
def test_each_step_is_the_papers_in_every_kernel() -> None:
    """The same of every optimizer's kernel, run as plain Python to save compiling them."""
    here = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-k", "papers and numba", __file__]
    done = subprocess.run(
        here,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def drive(optimizer: Optimizer, gradients: list[list[Tensor]]) -> Optimizer:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for row in gradients:
        gradients_into(params, row)
        optimizer.step()
    return optimizer


def values(state_dict: dict[str, Any]) -> list[Tensor]:
    return [v for state in state_dict["state"].values() for v in state.values()]


def test_layout_of_the_state() -> None:
    """A large tensor has codes and scales, a small one float32; the state dict holds just that."""
    params = start()
    state = drive(AdamW(params, storage="int8"), rows(1)).state_dict()["state"]
    blocks = -(-params[0].numel() // BLOCK)
    kept = {k: (v.dtype, tuple(v.shape)) for k, v in state[0].items()}
    assert kept == {
        "step": (torch.float32, ()),
        "exp_avg": (torch.int8, SHAPES[0]),
        "exp_avg_scale": (torch.float32, (blocks,)),
        "exp_avg_sq": (torch.uint8, SHAPES[0]),
        "exp_avg_sq_scale": (torch.float32, (blocks,)),
    }
    assert {k: v.dtype for k, v in state[1].items()} == dict.fromkeys(
        ("step", "exp_avg", "exp_avg_sq"), torch.float32
    )


def test_a_format_for_each_slot() -> None:
    """A dict gives slots their formats; a slot that it leaves out is kept as torch keeps it."""
    params = start()
    optimizer = AdamW(params, amsgrad=True, storage={"exp_avg": "int8", "exp_avg_sq": "bfloat16"})
    state = drive(optimizer, rows(2)).state[params[0]]
    assert state["exp_avg"].dtype == torch.int8
    assert state["exp_avg_sq"].dtype == torch.bfloat16
    assert state["max_exp_avg_sq"].dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float32_state_of_16_bit_parameters(dtype: torch.dtype) -> None:
    """``storage="float32"`` keeps more of the state than 16-bit parameters have themselves."""
    params = [torch.ones(70, 70, dtype=dtype, requires_grad=True)]
    params[0].grad = torch.ones_like(params[0])
    optimizer = AdamW(params, storage="float32")
    optimizer.step()
    assert optimizer.state[params[0]]["exp_avg"].dtype == torch.float32


@pytest.mark.parametrize(
    ("storage", "error", "words"),
    [
        ("int4", InputError, "'float32', 'bfloat16', 'int8'.*'int4'"),
        ({"exp_avg": "fp8"}, InputError, "'fp8'"),
        ({"momentum_buffer": "int8"}, InputError, "'momentum_buffer'.*'exp_avg', 'exp_avg_sq'"),
        ({"step": "int8"}, InputError, "'step'"),
        ({"weight": "int8"}, InputError, "'float24', 'float32' for the weight"),
        (8, InputTypeError, "dict.*got 8"),
    ],
)
def test_bad_storage(storage: Any, error: type[Exception], words: str) -> None:
    """What cannot be understood is refused at once, with what is allowed."""
    with pytest.raises(error, match=words):
        AdamW(start(), storage=storage)
    optimizer = AdamW(start())
    optimizer.param_groups[0]["storage"] = storage
    with pytest.raises(error, match=words):
        drive(optimizer, rows(1))


def test_what_no_compact_state_can_serve() -> None:
    """Whole matrices, double precision, complex and sparse gradients are refused clearly."""
    with pytest.raises(InputError, match="matrices"):
        Adafactor([torch.ones(80, 80, requires_grad=True)], storage="int8")
    for dtype in (torch.float64, torch.complex64):
        p = torch.ones(80, 80, dtype=dtype, requires_grad=True)
        p.grad = torch.ones_like(p)
        with pytest.raises(EngineError, match="storage="):
            AdamW([p], storage="int8").step()
    p = torch.ones(80, 80, requires_grad=True)
    p.grad = torch.ones_like(p).to_sparse()
    with pytest.raises(EngineError, match="sparse"):
        SGD([p], momentum=0.9, storage="int8").step()
    with pytest.raises(EngineError, match="differentiable"):
        drive(AdamW(start(), storage="int8", differentiable=True), rows(1))


@pytest.mark.parametrize("make", [AdamW, lambda p, **k: SGD(p, 0.1, momentum=0.9, **k)])
@each_engine
@each_format
def test_resuming_goes_on_with_the_same_bits(
    make: Any, flags: dict[str, Any], storage: str
) -> None:
    """A saved, deep-copied or pickled optimizer goes on as the one that was not interrupted."""
    params, gradients = start(), rows(6)
    optimizer = drive(make(params, storage=storage, **flags), gradients[:3])
    again = leaves(detached(params))
    resumed = make(again, storage=storage, **flags)
    file = io.BytesIO()
    torch.save(snapshot(optimizer), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    copied = copy.deepcopy(optimizer)
    thawed = pickle.loads(pickle.dumps(optimizer))
    drive(optimizer, gradients[3:])
    for other in (resumed, copied, thawed):
        drive(other, gradients[3:])
        assert_same_bits(detached(other.param_groups[0]["params"]), detached(params))
        assert_same_bits(values(other.state_dict()), values(optimizer.state_dict()))


@each_format
def test_bits_do_not_depend_on_threads(storage: str) -> None:
    """One thread and three give the same parameters and the same state."""
    ends = []
    threads = torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            make = torch.Generator().manual_seed(3)
            p = torch.randn(400, 701, generator=make).requires_grad_()
            optimizer = AdamW([p], storage=storage)
            for _ in range(3):
                p.grad = torch.randn(p.shape, generator=make)
                optimizer.step()
        finally:
            torch.set_num_threads(threads)
        ends.append([p.detach(), *optimizer.state[p].values()])
    assert_same_bits(*ends)


@pytest.mark.parametrize("before", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("after", [None, "float32", "bfloat16", "int8"])
def test_every_format_loads_into_every_other(before: str, after: str | None) -> None:
    """A state goes on in another format: the numbers are those of the first, as far as it goes."""
    params = start()
    saved = snapshot(drive(AdamW(params, storage=before), rows(3)))
    other = AdamW(leaves(detached(params)), storage=after)
    other.load_state_dict(saved)
    for k, p in enumerate(other.param_groups[0]["params"]):
        state = other.state[p]
        for slot, positive in (("exp_avg", False), ("exp_avg_sq", True)):
            was = opened(saved["state"][k], slot).double().numpy()
            bound = gaps(was, after or "float32", positive)
            assert (np.abs(opened(state, slot).double().numpy() - was) <= bound).all()
        compact = p.numel() >= SMALL
        assert (state["exp_avg"].dtype == torch.int8) == (compact and after == "int8")
        assert ("exp_avg_scale" in state) == (compact and after == "int8")
    drive(other, rows(1))


@each_format
def test_torch_goes_on_from_a_compact_state(storage: str) -> None:
    """``state_dict(storage="float32")`` loads into torch's optimizer, which then steps alike."""
    params, gradients = start(), rows(4)
    optimizer = drive(AdamW(params, storage=storage), gradients[:3])
    saved = copy.deepcopy(optimizer.state_dict(storage="float32"))
    twins = leaves(detached(params))
    theirs = torch.optim.AdamW(twins)
    theirs.load_state_dict(saved)
    drive(optimizer, gradients[3:])
    drive(theirs, gradients[3:])
    for ours, twin in zip(params, twins, strict=True):
        torch.testing.assert_close(ours, twin, rtol=1e-6, atol=1e-7)


def test_an_unknown_export_is_refused() -> None:
    """A state is exported in float32 or as it is."""
    with pytest.raises(InputError, match="float32"):
        AdamW(start()).state_dict(storage="int8")  # type: ignore[arg-type]


def test_a_momentum_that_counts_no_steps_exports_none() -> None:
    """SGD counts steps to round by, and leaves the count out where torch's SGD has none."""
    optimizer = drive(SGD(start(), 0.1, momentum=0.9, storage="int8"), rows(2))
    assert float(optimizer.state_dict()["state"][0]["step"]) == 2
    assert list(optimizer.state_dict(storage="float32")["state"][0]) == ["momentum_buffer"]


def test_storage_may_change_between_steps() -> None:
    """A group's new format is used from the next step on; the numbers go on."""
    params = start()
    optimizer = drive(RMSprop(params), rows(2))
    was = optimizer.state[params[0]]["square_avg"].clone()
    for storage in ("int8", "bfloat16", None):
        optimizer.param_groups[0]["storage"] = storage
        drive(optimizer, [[torch.zeros(s) for s in SHAPES]])
        was *= 0.99
        found = opened(optimizer.state[params[0]], "square_avg").double().numpy()
        exact = was.double().numpy()
        assert (np.abs(found - exact) <= 2.5 * gaps(exact, "int8", positive=True)).all()


@each_engine
def test_any_dense_layout(flags: dict[str, Any]) -> None:
    """Blocks follow memory: a channels-last tensor has the state of the same numbers in a row."""
    make = torch.Generator().manual_seed(4)
    p = torch.randn(8, 16, 8, 8, generator=make).contiguous(memory_format=torch.channels_last)
    g = torch.randn(p.shape, generator=make)
    flat = p.permute(0, 2, 3, 1).reshape(-1).clone().requires_grad_()
    flat.grad = g.permute(0, 2, 3, 1).reshape(-1).clone()
    p = p.requires_grad_()
    p.grad = g
    ours, rowwise = (AdamW([x], storage="int8", **flags) for x in (p, flat))
    ours.step()
    rowwise.step()
    assert_same_bits([p.detach().permute(0, 2, 3, 1).reshape(-1)], [flat.detach()])
    scales = [o.state[x]["exp_avg_scale"] for o, x in ((ours, p), (rowwise, flat))]
    assert_same_bits(scales[:1], scales[1:])


def test_a_state_of_another_layout_is_laid_out_anew() -> None:
    """A state of contiguous parameters goes on in a channels-last model with the same numbers."""
    make = torch.Generator().manual_seed(4)
    start = torch.randn(8, 16, 8, 8, generator=make)
    p = start.clone().requires_grad_()
    p.grad = torch.randn(p.shape, generator=make)
    optimizer = AdamW([p], storage="int8")
    optimizer.step()
    last = start.contiguous(memory_format=torch.channels_last).requires_grad_()
    other = AdamW([last], storage="int8")
    other.load_state_dict(snapshot(optimizer))
    state = other.state[last]
    assert state["exp_avg"].stride() == last.stride()
    a, b = (opened(s, "exp_avg") for s in (state, optimizer.state[p]))
    torch.testing.assert_close(a, b, rtol=0, atol=float(b.abs().max()) * 0.02)


@each_engine
def test_clipping_by_units_of_odd_length(flags: dict[str, Any]) -> None:
    """``clip_agc`` with rows that end inside a block: what ``foreach=False`` gives, by default."""
    ends = []
    for chosen in ({}, flags):
        params = start()
        ends.append(detached(params))
        drive(AdamW(params, storage="int8", clip_agc=0.01, **chosen), rows(2))
    assert_same_bits(*ends)


@each_engine
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_32_bit_weights_follow_float32_training(flags: dict[str, Any], dtype: torch.dtype) -> None:
    """``storage="float32"`` trains 16-bit parameters as float32 ones: they are those, rounded."""
    narrow = leaves(p.detach().to(dtype) for p in start())
    wide = leaves(p.detach().float() for p in narrow)
    gradients = [[g.to(dtype) for g in row] for row in rows(5)]
    optimizer = drive(AdamW(narrow, 1e-3, storage="float32", **flags), gradients)
    drive(AdamW(wide, 1e-3, **flags), [[g.float() for g in row] for row in gradients])
    for a, b in zip(narrow, wide, strict=True):
        near = {"rtol": 0, "atol": 0} if dtype == torch.bfloat16 else {"rtol": 1e-6, "atol": 1e-8}
        codec = f"{str(dtype)[6:]}x16"
        found = open_planes(codec, [a.detach(), optimizer.state[a]["weight_correction"]])
        torch.testing.assert_close(found, b.detach(), **near)


@each_engine
def test_small_steps_are_not_lost(flags: dict[str, Any]) -> None:
    """Steps far below a bfloat16's last place add up with 24 bits, and are lost without them."""
    ends = []
    for storage in ("int8", {"exp_avg": "int8"}):
        p = torch.ones(80, 80, dtype=torch.bfloat16).requires_grad_()
        optimizer = AdamW([p], 1e-5, weight_decay=0, storage=storage, **flags)
        for _ in range(200):
            p.grad = torch.full_like(p, 0.5)
            optimizer.step()
        ends.append(p.detach().float())
    torch.testing.assert_close(ends[0], torch.full((80, 80), 0.998), rtol=0, atol=0.004)
    assert (ends[0] < 1).all()
    assert (ends[1] == 1).all()


@pytest.mark.parametrize("after", ["float32", "int8", {"exp_avg": "int8"}, None])
def test_corrections_go_from_format_to_format(after: Any) -> None:
    """A correction is kept, widened, shortened or dropped as the new format says."""
    params = leaves(p.detach().bfloat16() for p in start())
    optimizer = AdamW(params, storage="int8")
    for row in rows(3):
        gradients_into(params, [g.bfloat16() for g in row])
        optimizer.step()
    again = leaves(detached(params))
    other = AdamW(again, storage=after)
    other.load_state_dict(snapshot(optimizer))
    was, now = optimizer.state[params[0]], other.state[again[0]]
    correction = was["weight_correction"]
    if after == "int8":
        assert torch.equal(now["weight_correction"], correction)
    elif after == "float32":
        assert torch.equal(now["weight_correction"], correction.short() * 256)
    else:
        assert "weight_correction" not in now
    assert list(optimizer.state_dict(storage="float32")["state"][0]) == [
        "step", "exp_avg", "exp_avg_sq",
    ]  # fmt: skip
    assert all(p.dtype == torch.bfloat16 for p in again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_distributed_checkpoints_round_trip(tmp_path: Path, dtype: torch.dtype) -> None:
    """``torch.distributed.checkpoint`` loads a compact state into another optimizer, every bit."""

    def made(seed: int) -> tuple[torch.nn.Module, Optimizer]:
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(100, 90), torch.nn.Linear(90, 3)).to(dtype)
        return model, AdamW(model.parameters(), 1e-2, storage="int8")

    def train(model: torch.nn.Module, optimizer: Optimizer) -> None:
        make = torch.Generator().manual_seed(5)
        for _ in range(3):
            x = torch.randn(8, 100, generator=make).to(dtype)
            optimizer.zero_grad()
            model(x).float().square().sum().backward()
            optimizer.step()

    model, optimizer = made(0)
    train(model, optimizer)
    saved = {"model": model.state_dict(), "optimizer": get_optimizer_state_dict(model, optimizer)}
    dcp.save(saved, checkpoint_id=tmp_path / "checkpoint")
    other, resumed = made(1)
    target = {"model": other.state_dict(), "optimizer": get_optimizer_state_dict(other, resumed)}
    dcp.load(target, checkpoint_id=tmp_path / "checkpoint")
    other.load_state_dict(target["model"])
    set_optimizer_state_dict(other, resumed, target["optimizer"])
    train(model, optimizer)
    train(other, resumed)
    assert_same_bits(detached(other.parameters()), detached(model.parameters()))
    assert_same_bits(values(resumed.state_dict()), values(optimizer.state_dict()))


@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
def test_no_bias_grows_on_a_quadratic(storage: str) -> None:
    """After thousands of noisy steps the means over elements are those of float32 state."""
    steps, count = 10_000, SMALL
    ends = {}
    for kept in ("float32", storage):
        make = torch.Generator().manual_seed(6)
        p = torch.full((count,), 2.0).requires_grad_()
        optimizer = AdamW([p], 1e-2, weight_decay=0, storage=kept)
        noise = torch.randn(64, count, generator=make)
        variances = []
        for step in range(steps):
            with torch.no_grad():
                p.grad = p.detach() - 0.5 + noise[step % 64] * (1 + torch.arange(count) % 4)
            optimizer.step()
            if step % 1000 == 999:
                variances.append(
                    opened(optimizer.state[p], "exp_avg_sq").float().view(-1, 4).mean(0)
                )
        ends[kept] = torch.stack(variances), p.detach().view(-1, 4).mean(0)
    (exact, home), (found, end) = ends["float32"], ends[storage]
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0)
    torch.testing.assert_close(end, home, rtol=0, atol=0.01)


def test_a_checkpoint_is_small(tmp_path: Path) -> None:
    """The state of AdamW takes at most 0.45 of the bytes of torch's, on disk."""
    sizes = []
    for cls, kwargs in ((AdamW, {"storage": "int8"}), (torch.optim.AdamW, {})):
        p = torch.ones(300, 1000, requires_grad=True)
        p.grad = torch.ones_like(p)
        optimizer = cls([p], **kwargs)
        optimizer.step()
        path = tmp_path / cls.__module__
        torch.save(optimizer.state_dict(), path)
        sizes.append(path.stat().st_size)
    assert sizes[0] <= 0.45 * sizes[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda p, **k: SGD(p, 0.05, momentum=0.9, **k),
        lambda p, **k: AdamW(p, 3e-3, **k),
    ],
    ids=["SGD", "AdamW"],
)
def test_int8_trains_as_well(make: Any) -> None:
    """The loss after training is, on average, that of float32 state to within its seeds' spread."""
    losses: dict[str, list[float]] = {"float32": [], "int8": []}
    for storage, found in losses.items():
        for seed in range(3):
            torch.manual_seed(seed)
            model = torch.nn.Sequential(
                torch.nn.Linear(10, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64),
                torch.nn.Tanh(), torch.nn.Linear(64, 1),
            )  # fmt: skip
            optimizer = make(model.parameters(), storage=storage)
            for _ in range(80):
                x = torch.randn(64, 10)
                target = (x[:, :3].prod(1) + x[:, 3].sin()).unsqueeze(1)
                loss = torch.nn.functional.mse_loss(model(x), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                x = torch.randn(4096, 10, generator=torch.Generator().manual_seed(9))
                target = (x[:, :3].prod(1) + x[:, 3].sin()).unsqueeze(1)
                found.append(float(torch.nn.functional.mse_loss(model(x), target)))
    full, compact = (torch.tensor(v) for v in losses.values())
    assert (compact.mean() - full.mean()).abs() <= full.max() - full.min()
