"""Compact state as it is laid out, saved, loaded, and brought from one format to another."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from downslope.engines.storage import BLOCK, SMALL
from downslope.errors import EngineError, InputError, InputTypeError
from downslope.optim import SGD, Adafactor, AdamW, Optimizer, RMSprop
from downslope.optim._storage import opened

from .compact import (
    SHAPES,
    drive,
    each_engine,
    each_format,
    gaps,
    gradients_into,
    rows,
    start,
    values,
)
from .harness import assert_same_bits, detached, leaves, snapshot


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
