"""What a look measures of tensors, compiled and in torch's operations, beside naive NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from downslope.monitor import activations, memory
from downslope.monitor.activations import activation_facts, input_facts, output_facts
from downslope.monitor.rows import data_event

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SHAPES = ((70,), (9, 5), (4, 6, 7), (6, 3, 2, 2), (5, 1, 9, 9), (4, 3, 2, 5, 3), (130, 1), (1, 4))


def tensor(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Random numbers whose features differ in size and middle."""
    feature = torch.arange(1.0, 1 + shape[-1])
    return (torch.randn(shape) * feature + 3).to(dtype)


def units(value: Tensor) -> Any:
    """[rows, units] in float64: a unit is a channel of an image, else a last index."""
    x = value.detach().double().numpy()
    if x.ndim >= 4:
        x = np.moveaxis(x, 1, -1)
    return x.reshape(-1, x.shape[-1]) if x.ndim > 1 else x.reshape(-1, 1)


def of_inputs(value: Tensor) -> dict[str, float]:
    x = units(value)
    facts = {
        "rows": value.shape[0],
        "checksum": value[:1].double().sum().item(),
        "largest": np.abs(x).max(),
    }
    std, mean = x.std(0), x.mean(0)
    varies = std > 1e-6 * np.abs(x).max()
    if len(x) < 4 or not varies.any():
        return facts
    std, mean = std[varies], mean[varies]
    away = sorted(np.abs(mean) / std)
    return facts | {
        "std_max": std.max(),
        "std_min": std.min(),
        "std_ratio": std.max() / std.min(),
        "mean_over_std": away[(len(away) - 1) // 2],
    }


def told(facts: tuple[Any, tuple[float, ...]]) -> dict[str, float]:
    return dict(zip(facts[0].names, facts[1], strict=True))


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to measure; that a compiled one is taken is its own test."""
    if request.param == "torch":
        for name in ("inputs", "moments", "relu", "saturated"):
            monkeypatch.setattr(activations._compiled(), name, lambda *_: None)
    return str(request.param)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_facts_of_inputs(way: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Spread, middle and size, of images by channel."""
    value = tensor(shape, dtype)
    rel = 1e-12 if way == "compiled" else 1e-4
    if way == "torch" and dtype in (torch.bfloat16, torch.float16):
        rel = 2e-2  # the first row is summed in its own precision
    assert told(input_facts(value)) == pytest.approx(of_inputs(value), rel=rel)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_facts_of_outputs(way: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Their size and what differs between rows."""
    x = units(value := tensor(shape, dtype))
    expected = {"rows": len(x), "scale": math.sqrt((x.var(0) + x.mean(0) ** 2).mean())}
    if len(x) > 1:
        expected["spread"] = math.sqrt(x.var(0).mean())
    rel = 1e-12 if way == "compiled" else 1e-4
    assert told(output_facts(value)) == pytest.approx(expected, rel=rel)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["relu", "tanh", "sigmoid"])
def test_facts_of_activations(
    way: str, kind: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Dead units and zeros; saturated numbers."""
    z = torch.randn(shape) * 3 - 4 * (torch.arange(shape[-1]) % 2)
    value = getattr(torch, kind)(z.to(dtype))
    x = units(value)
    if kind == "relu":
        expected = ((~(x > 0).any(0)).mean(), (x <= 0).mean())
    else:
        flat = np.abs(x) > 0.975 if kind == "tanh" else (x < 0.0127) | (x > 1 - 0.0127)
        expected = (flat.mean(),)
    assert activation_facts(kind, value) == pytest.approx(expected, abs=1e-12)


def test_channels_last_are_channels(way: str) -> None:
    """The layout in memory changes nothing."""
    value = tensor((6, 3, 4, 5))
    other = value.to(memory_format=torch.channels_last)
    assert told(input_facts(other)) == pytest.approx(told(input_facts(value)), rel=1e-4)


@pytest.mark.parametrize(
    "value",
    [tensor((6, 3, 4, 5)).to(memory_format=torch.channels_last), tensor((5, 3)), tensor((7,))],
    ids=["channels last", "rows", "one dimension"],
)
def test_what_lies_in_one_piece_is_read_compiled(value: Tensor) -> None:
    """And not by torch's operations."""
    assert activations._compiled().inputs(value) is not None


@pytest.mark.parametrize(
    "value",
    [
        tensor((8, 6))[:, ::2],
        tensor((6, 8)).t(),
        tensor((1, 3)).expand(5, 3),
        torch.zeros(0, 3),
        torch.ones(4, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
        torch._neg_view(torch.ones(1, 1)),
    ],
    ids=["gaps", "transposed", "expanded", "empty", "complex", "sparse", "negated view"],
)
def test_what_lies_otherwise_is_left_to_torch(value: Tensor) -> None:
    """Its memory is not its value, in this order."""
    assert activations._compiled().inputs(value) is None


def test_rows_of_a_transposed_tensor() -> None:
    """Facts are of the tensor, not of its memory."""
    value = tensor((6, 8)).t()
    assert told(input_facts(value)) == pytest.approx(of_inputs(value), rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_said(way: str, bad: float) -> None:
    """A single bad number leaves no finite size."""
    value = tensor((40, 5))
    value[7, 2] = bad
    assert not math.isfinite(told(input_facts(value))["largest"])
    assert not math.isfinite(told(output_facts(value))["scale"])


def test_a_middle_far_from_zero_keeps_its_digits() -> None:
    """The deviation of numbers near ten million, in float64."""
    value = 1e7 + torch.randn(1000, 2, dtype=torch.float64) * 1e-3
    assert told(input_facts(value)) == pytest.approx(of_inputs(value), rel=1e-6)


def test_a_torch_of_another_layout_is_measured_by_its_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where tensors cannot be read by address, nothing is."""
    from downslope.engines.cpu import look

    look.functions.cache_clear()
    monkeypatch.setattr(look, "HEADER", look.HEADER + 8)
    try:
        assert memory._elements() == (None, {})
    finally:
        look.functions.cache_clear()


def test_what_repeats_by_nature_is_known_of_rows_of_any_shape() -> None:
    """Clips of sound do not repeat; pictures of two grey levels may, by what one pixel tells."""
    clips = torch.randn(50, 1, 200)
    twice = data_event(clips.repeat(2, 1, 1), clips)
    assert twice is not None
    assert (twice["repeated"], twice["finest"]) == (1.0, 1.0)
    pictures = torch.randint(2, (50, 1, 8, 8))
    few = data_event(pictures, pictures)
    assert few is not None
    assert few["finest"] < 0.1
