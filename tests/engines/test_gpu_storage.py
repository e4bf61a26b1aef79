"""Compact state in the Triton engine: the codecs of the CPU's kernels, to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from downslope.engines.gpu.bucket import TritonBucket
from downslope.engines.storage import BLOCK
from downslope.optim import SGD, AdamW, Optimizer, _placement

from ..optim.harness import detached, gradients, snapshot, tensors
from .on_device import DEVICE, assert_same, assert_same_bits, drive, leaves, moved

#: Of two chunks and a part of a block with a scale, and too short to be compact.
SHAPES = ((8_192 + 130,), (64, 65), (7,))
FORMATS = pytest.mark.parametrize("storage", ["int8", "bfloat16"])

pytestmark = pytest.mark.usefixtures("on_triton")


def start(dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Parameters of these shapes."""
    make = torch.Generator().manual_seed(3)
    return tuple(torch.randn(s, generator=make).to(dtype) for s in SHAPES)


def kept(optimizer: Optimizer, params: list[Tensor]) -> list[Tensor]:
    """Parameters, and all planes of the state."""
    return [*detached(params), *tensors(snapshot(optimizer))]


@pytest.mark.skipif(DEVICE.type != "cpu", reason="a GPU has its own power function")
@pytest.mark.parametrize(
    ("cls", "kwargs", "dtype"),
    [
        (AdamW, {"storage": "int8"}, torch.float32),
        (AdamW, {"storage": {"exp_avg": "bfloat16", "exp_avg_sq": "int8"}}, torch.bfloat16),
        (SGD, {"storage": {"weight": "float24"}, "lr": 0.1}, torch.bfloat16),
        (SGD, {"storage": {"weight": "float32"}, "lr": 0.1}, torch.float16),
        (SGD, {"storage": "int8", "lr": 0.1, "momentum": 0.9}, torch.float32),
    ],
)
def test_bits_are_those_of_the_cpus_kernels(
    monkeypatch: pytest.MonkeyPatch,
    cls: type[Optimizer],
    kwargs: dict[str, Any],
    dtype: torch.dtype,
) -> None:
    """Parameters, codes and scales are those of the Numba engine after three steps."""
    rows = gradients(start(dtype), 3)
    ends = []
    for engine in ("triton", "numba"):
        monkeypatch.setitem(_placement.COMPILED, "cpu", engine)
        params = leaves(start(dtype))
        optimizer = cls(params, **kwargs)
        drive(optimizer, rows)
        on_triton = {isinstance(b, TritonBucket) for _, b in optimizer._buckets.placed}
        assert on_triton == {engine == "triton"}
        ends.append(kept(optimizer, params))
    assert_same_bits(*ends)


@FORMATS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_off_16_byte_boundaries(storage: str, dtype: torch.dtype) -> None:
    """Where parameters, codes and corrections lie changes no bit."""
    rows = gradients(start(dtype), 2)
    straight, crooked = leaves(start(dtype)), []
    for t in moved(start(dtype)):
        odd = torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape)
        crooked.append(odd.requires_grad_())
    plain, other = AdamW(straight, storage=storage), AdamW(crooked, storage=storage)
    drive(plain, rows)
    drive(other, rows[:1])
    for state in other.state.values():
        for name, slot in state.items():
            if slot.dim() and not name.endswith("_scale"):
                state[name] = torch.cat([slot.new_zeros(1), slot.flatten()])[1:].view(slot.shape)
    drive(other, rows[1:])
    assert all(state["exp_avg"].data_ptr() % 16 for state in other.state.values())
    assert_same_bits(kept(other, crooked), kept(plain, straight))


@pytest.mark.parametrize("cls", [AdamW, SGD])
def test_steps_counted_on_the_device(cls: type[Optimizer]) -> None:
    """Random bits are the same wherever steps are counted, and a step left out draws none."""
    rows = gradients(start(), 3)
    kwargs: dict[str, Any] = {"storage": "int8", "lr": 0.1}
    kwargs |= {"momentum": 0.9} if cls is SGD else {}
    plain, counted = leaves(start()), leaves(start())
    host, device = cls(plain, **kwargs), cls(counted, fused=True, **kwargs)
    drive(host, rows)
    for number, row in enumerate([rows[0], rows[0], *rows[1:]]):
        device.found_inf = torch.tensor([float(number == 1)], device=DEVICE)
        before = kept(device, counted)
        drive(device, [row])
        if number == 1:
            assert_same_bits(kept(device, counted), before)
    assert_same_bits(kept(device, counted), kept(host, plain))


@pytest.mark.parametrize(
    "clips", [{"clip_norm": 1.0}, {"clip_agc": 0.01, "clip_value": 0.5}], ids=str
)
def test_clipping(clips: dict[str, float]) -> None:
    """A first step with compact state is that with float32, clipped alike: also by odd rows."""
    rows = gradients(start(), 1)
    ends = []
    for storage in ("int8", None):
        params = leaves(start())
        optimizer = AdamW(params, lr=0.1, storage=storage, **clips)
        drive(optimizer, rows)
        assert all(isinstance(b, TritonBucket) for _, b in optimizer._buckets.placed)
        ends.append(params)
    assert_same(*ends)


@FORMATS
def test_nan_stays_in_its_block(storage: str) -> None:
    """A gradient of NaN makes its element NaN for good, and no other block's."""
    rows = gradients(start(), 2)
    poisoned = [rows[0][0].clone(), *rows[0][1:]]
    poisoned[0][BLOCK + 5] = torch.nan
    params = leaves(start())
    drive(AdamW(params, storage=storage), [poisoned, rows[1]])
    bad = params[0].isnan()
    assert bad[BLOCK + 5]
    assert not bad[:BLOCK].any()
    assert not bad[2 * BLOCK :].any()
