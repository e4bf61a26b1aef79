"""Codecs: what they keep of a number, in kernels as in torch operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from downslope.engines.cpu import codecs
from downslope.engines.cpu.library import JITTED, TILE
from downslope.engines.storage import BLOCK, CODECS, close, empty_planes, noise, open_planes

SPLIT = tuple(name for name, codec in CODECS.items() if not codec.random)
each_codec = pytest.mark.parametrize("codec", [name for name in CODECS if name not in SPLIT])
each_split = pytest.mark.parametrize("codec", SPLIT)


def kept(codec: str, x: Tensor, random: Tensor | None = None) -> Tensor:
    """What is left of numbers."""
    planes = empty_planes(codec, x)
    close(codec, x, planes, random)
    return open_planes(codec, planes)


def gap(codec: str, x: np.ndarray, largest: float) -> np.ndarray:
    """How far apart the two numbers are that a number lies between, at most: from the formats."""
    if codec == "stochastic16":
        return np.maximum(np.abs(x) * 2.0**-7, 2.0**-133)
    if codec == "signed8":  # |x| = s q / (254 - q), whose slope is (s + |x|)**2 / (254 s)
        q = 254 * np.abs(x) / (largest + np.abs(x))
        above = np.minimum(np.floor(q) + 1, 127)
        return largest * 254 / (254 - above) ** 2
    scale = largest / 255**2
    return scale * (2 * np.floor(np.sqrt(np.abs(x) / scale)) + 1)


def numbers(codec: str, seed: int, count: int, decades: float, largest: float) -> Tensor:
    """Numbers over so many powers of ten below the largest, with some zeros."""
    make = np.random.default_rng(seed)
    x = largest * 10 ** -make.uniform(0, decades, count) * (make.random(count) > 0.1)
    signs = 1 if codec == "positive8" else make.choice([-1, 1], count)
    return torch.from_numpy((x * signs).astype(np.float32))


@each_codec
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 3 * BLOCK + 5),
    decades=st.floats(0, 9),
    largest=st.floats(1e-25, 1e25),
    up=st.floats(-0.5, 0.499),
)
def test_rounding_goes_to_a_neighbour(
    codec: str, seed: int, count: int, decades: float, largest: float, up: float
) -> None:
    """A number is kept to within the gap it lies in; rounded to the nearest, to half of it."""
    x = numbers(codec, seed, count, decades, largest)
    exact = x.double().numpy()
    for random, share in ((torch.full((count,), up), 1.0), (None, 0.5)):
        error = np.abs(kept(codec, x, random).double().numpy() - exact)
        for first in range(0, count, BLOCK):
            part = slice(first, first + BLOCK)
            top = np.abs(exact[part]).max()
            if top == 0:
                assert not error[part].any()
                continue
            bound = gap(codec, exact[part], top)
            # A positive number that would be zero is the smallest code instead: half a gap more.
            smallest = (exact[part] > 0) & (exact[part] < top / 255**2)
            room = np.where(smallest & (codec == "positive8"), 1.0, share)
            assert (error[part] <= bound * room * 1.001 + top * 3e-7).all()


@each_codec
def test_the_largest_of_a_block_and_zero_are_exact(codec: str) -> None:
    """Zero stays zero, and a block's largest number is kept to float32's rounding."""
    x = torch.zeros(2 * BLOCK)
    x[3], x[BLOCK + 7] = 0.71875, 3.0  # exact in bfloat16
    torch.testing.assert_close(kept(codec, x), x, rtol=3e-7, atol=0)


@each_codec
def test_what_was_kept_is_kept_unchanged(codec: str) -> None:
    """Closing what was opened gives the same codes: numbers that do not move are not rounded."""
    x = numbers(codec, 1, 1000, 4, 0.3)
    planes = empty_planes(codec, x)
    close(codec, x, planes)
    codes = planes[0].clone()
    close(codec, open_planes(codec, planes), planes)
    assert torch.equal(codes, planes[0])


@each_codec
def test_rounding_is_unbiased(codec: str) -> None:
    """Over many steps the mean of what is kept is the number itself, to six standard errors."""
    x = numbers(codec, 2, BLOCK, 2, 0.3)
    runs = 4096
    several = x.repeat(runs)
    found = kept(codec, several, noise(7, 1, runs * BLOCK)).view(runs, BLOCK).double()
    error = found.mean(0) - x.double()
    # The last part is for what rounds up so rarely that it never did.
    bound = 6 * found.std(0) / runs**0.5 + 6 * 0.02 / runs * x.abs().max()
    assert (error.abs() <= bound).all()


def test_a_positive_number_never_becomes_zero() -> None:
    """Beside a number a million times larger, a positive one is the smallest code, not zero."""
    x = torch.full((BLOCK,), 1e-9)
    x[0], x[1] = 1.0, 0.0
    found = kept("positive8", x, torch.full((BLOCK,), -0.5))
    assert (found[2:] > 0).all()
    assert found[1] == 0


@each_codec
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(codec: str, bad: float) -> None:
    """A NaN or infinity is not finite after it was kept, and other blocks are as they were."""
    x = numbers(codec, 3, 2 * BLOCK, 2, 1.0)
    expected = kept(codec, x)
    x[5] = bad
    found = kept(codec, x, noise(1, 0, len(x)))
    assert not found[5].isfinite()
    assert found[BLOCK:].isfinite().all()
    torch.testing.assert_close(kept(codec, x)[BLOCK:], expected[BLOCK:], rtol=0, atol=0)


def through_kernels_codec(codec: str, x: Tensor, number: int = 0) -> tuple[list[Tensor], Tensor]:
    """The planes that kernels keep numbers in, in a third step, and what those open as."""
    scaled = CODECS[codec].planes[-1].block > 1
    like = x if CODECS[codec].random else x.to(dtype_of(codec))
    planes = list(empty_planes(codec, like))
    seen = [p.view(torch.uint16).numpy() if p.is_floating_point() and p.itemsize == 2 else p.numpy()
            for p in planes]  # fmt: skip
    call = {verb: getattr(codecs, f"{verb}_{codec}", None)
            for verb in ("open", "close", "scale", "reciprocal")}  # fmt: skip
    opened, (pair, half) = np.zeros(len(x), np.float32), divmod(number, 2)
    with np.errstate(all="ignore"):
        for block, part in enumerate(x.split(BLOCK)):
            h = codecs.random_of(block, codecs.seed_of(3.0, pair), half)
            top = np.uint32(0)
            for value in part.numpy():
                top = codecs.larger(top, value)
            if scaled:
                seen[1][block] = call["scale"](top)
            scale = (seen[1][block],) if scaled else ()
            by = tuple(map(call["reciprocal"], scale))
            for j, value in enumerate(part.numpy(), block * BLOCK):
                if CODECS[codec].random:
                    seen[0][j] = call["close"](value, *by, h)
                    h = codecs.next_random(h, half)
                else:
                    seen[0][j], seen[1][j] = call["close"](value)
                elements = [plane[j] for plane in (seen[:1] if scaled else seen)]
                opened[j] = call["open"](*elements, *scale)
    return planes, torch.from_numpy(opened)


@each_codec
@pytest.mark.parametrize("count", [TILE, 2 * BLOCK - 3, 5])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_kernel_keeps_the_same_bits(codec: str, count: int, number: int) -> None:
    """The kernels' codec gives the planes of the one in torch operations, and opens them alike."""
    x = numbers(codec, count, count, 3, 0.02)
    ours = empty_planes(codec, x)
    close(codec, x, ours, noise(3, number, count))
    planes, opened = through_kernels_codec(codec, x, number)
    off = (planes[0].float() - ours[0].float()).abs()
    # Torch fuses no products with sums, and its roots are not always correctly rounded: that may
    # decide a rounding.
    assert off.max() <= (0 if codec == "stochastic16" else 1)
    assert (off > 0).double().mean() < 0.01
    for a, b in zip(planes[1:], ours[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=0)
    torch.testing.assert_close(opened, open_planes(codec, planes), rtol=1e-6, atol=0)


def dtype_of(codec: str) -> torch.dtype:
    """Of the weights that a codec splits."""
    return torch.float16 if codec.startswith("float16") else torch.bfloat16


def weights(seed: int, codec: str) -> Tensor:
    """Numbers of all sizes that a weight of 16 bits can have, zero and powers of two among them."""
    make = torch.Generator().manual_seed(seed)
    powers = (-9, 9) if codec.startswith("float16") else (-90, 90)
    x = torch.randn(4096, generator=make) * torch.exp2(
        torch.randint(*powers, (4096,), generator=make).float()
    )
    x[:6] = torch.tensor([0.0, 1.0, -1.0, 1 - 2**-20, -(2**-7), 1 + 2**-11])
    return x


@each_split
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_split_weight_has_the_bits_that_it_says(codec: str, seed: int) -> None:
    """The weight is the nearest of 16 bits, and with its correction exact to 1/256 or all bits."""
    x = weights(seed, codec)
    dtype = dtype_of(codec)
    planes = empty_planes(codec, torch.zeros_like(x, dtype=dtype))
    close(codec, x, planes)
    nearest = x.to(dtype)
    ulp = torch.finfo(dtype).eps * x.abs().clamp(min=float(torch.finfo(dtype).tiny))
    assert ((planes[0].float() - x).abs() <= (nearest.float() - x).abs()).all()
    error = (open_planes(codec, planes) - x).abs()
    if codec.endswith("x16"):
        assert (error <= ulp * 2.0**-16).all()
        if dtype == torch.bfloat16:
            assert not error.any()
    else:  # a tie upwards is one step of 1/256 short
        assert (error <= ulp * 2.0**-8).all()
        assert ((error > ulp * 2.0**-9 * 1.01).double().mean()) < 0.01


@each_split
@pytest.mark.parametrize("count", [TILE, 77])
def test_a_kernel_splits_weights_to_the_same_bits(codec: str, count: int) -> None:
    """The kernels' codec gives the planes of the one in torch operations, not finite ones too."""
    x = weights(1, codec)[:count].clone()
    x[-3:] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    ours = empty_planes(codec, x.to(dtype_of(codec)))
    close(codec, x, ours)
    planes, opened = through_kernels_codec(codec, x)
    for a, b in zip(planes, ours, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(opened, open_planes(codec, ours), rtol=0, atol=0, equal_nan=True)
    assert opened[-3].isnan()


def test_random_bits_are_even() -> None:
    """Random numbers fill their range evenly, in both halves, and differ between steps."""
    count = 1 << 16
    for number in (0, 1, 2):
        found = noise(5, number, count)
        counts = torch.histc(found, 64, -0.5, 0.5)
        assert ((counts - count / 64).abs() < 6 * (count / 64) ** 0.5).all()
        assert (found - noise(6, number, count)).abs().mean() > 0.3
    pair = torch.stack([noise(5, 0, count), noise(5, 1, count)])
    assert torch.corrcoef(pair)[0, 1].abs() < 6 / count**0.5


def test_the_kernels_codecs_are_compiled_unless_numba_is_off() -> None:
    """These tests see machine code, unless they were asked not to."""
    assert hasattr(codecs.random_of, "py_func") == JITTED
