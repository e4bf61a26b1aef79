"""How a slot is kept in memory between steps: formats, their layouts, and their torch operations.

A *codec* is a pair: ``open`` gives a slot's numbers as float32, ``close`` keeps new ones. Rules see
float32 alone. What a codec keeps are *planes*, tensors in the optimizer's state:

| codec | planes | a number |
|---|---|---|
| ``stochastic16`` | the slot in bfloat16 | 2 bytes |
| ``signed8`` | codes in int8; ``.._scale``, float32, one a block | 1 + 4 / 128 bytes |
| ``positive8`` | codes in uint8; ``.._scale``, float32, one a block | 1 + 4 / 128 bytes |
| ``bfloat16x8``, ``float16x8`` | a 16-bit weight; ``weight_correction`` in int8 | 2 + 1 bytes |
| ``bfloat16x16``, ``float16x16`` | a 16-bit weight; ``weight_correction`` in int16 | 2 + 2 bytes |

A block is 128 numbers that follow each other in memory. With s its scale and q a code, a number is
``s q / (254 - |q|)`` (``signed8``, s the block's largest absolute value) or ``s q**2``
(``positive8``, s the largest over 255**2): the companding of FlashOptim (arXiv 2602.23349), finer
where numbers are small, because most are much smaller than their block's largest.

Closing rounds at random to one of the two neighbours, so that the expected value is the number
itself. Rounded to the nearest, a mean that moves by a thousandth of its distance a step would stay
where it is for ever. With v between 0 and 1 at random and y = x / s, the code of ``positive8`` is

    floor(sqrt(y - v (1 - v)) + v)

which is k + 1 exactly where y > k**2 + (1 - v) (2 k + 1), with k the lower neighbour's code: as
often as it should be, without k being needed. Likewise that of ``signed8`` is, with y = abs(x) / s,

    floor(254 - 254 / (1 + y) + v - v (1 - v) (1 + y) / 254)

to within 6e-6 of a code. The random bits come from a hash of the step and the block, and from the
element's place in its block (:func:`noise`): the same whatever the thread or the engine, and
nothing to save. A positive number never becomes zero in ``positive8``, because roots of such slots
are divided by. A block that contains a NaN or an infinity opens as NaN.

The last four are *split weights*: the model has the weight rounded to the nearest 16-bit number,
the state has the rest, in units of 1/256 or 1/65536 of that number's last place. Together they are
a weight of 24 bits, or float32 itself.

This module has the layouts and the torch operations; ``cpu/codecs.py`` has the same for kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .layout import dtype_name
from .program import Program

__all__ = [
    "BLOCK",
    "CODECS",
    "INSIDE",
    "LATTICE",
    "MULTIPLIERS",
    "POSITIVE_LEVELS",
    "SIGNED_LEVELS",
    "SMALL",
    "WEIGHT",
    "WEYL",
    "Codec",
    "Plane",
    "close",
    "empty_planes",
    "noise",
    "open_planes",
    "plane_rows",
]

#: Numbers that share a scale.
BLOCK = 128
#: Tensors of fewer elements keep float32: little to save, and biases and norms need it most.
SMALL = 4096

#: The largest code.
SIGNED_LEVELS, POSITIVE_LEVELS = 127, 255

#: The parts of a last place that corrections count, by their dtype.
_STEPS = {torch.int8: 2**8, torch.int16: 2**16}

#: Of the hash that random bits come from.
WEYL, MULTIPLIERS = 0x9E3779B9, (0x7FEB352D, 0x846CA68B)
#: By how much the random bits of neighbours in a block differ, for either array of a pair: powers
#: of the plastic number's inverse, whose multiples modulo 1 fill the square evenly.
LATTICE = (0xC13FA9A9, 0x91E10DA5)
#: What is left of the random numbers' range in 8-bit codecs, so that v is never 0 or 1.
INSIDE = 1 - 2.0**-16


@dataclass(frozen=True)
class Plane:
    """One tensor that a codec keeps.

    Args:
        dtype: its kind of number.
        suffix: what is added to the slot's name for its key in the state.
        block: the elements of the slot that one of its numbers belongs to.
    """

    dtype: torch.dtype
    suffix: str = ""
    block: int = 1

    def bytes(self, elements: str) -> str:
        """How far into the plane so many elements reach, as an expression in bytes."""
        count = f"{elements} // {self.block}" if self.block > 1 else elements
        return f"{count} * {self.dtype.itemsize}" if self.dtype.itemsize > 1 else count


@dataclass(frozen=True)
class Codec:
    """A way to keep numbers.

    Args:
        planes: what it keeps.
        random: whether it rounds at random.
    """

    planes: tuple[Plane, ...]
    random: bool = True

    def keys(self, slot: str) -> tuple[str, ...]:
        """The keys of its planes in the state; of the parameter ``p``, the first has none there."""
        name = WEIGHT if slot == "p" else slot
        return tuple(name + plane.suffix for plane in self.planes)


#: What the parameter is called where formats are given, and in the state.
WEIGHT = "weight"

_SCALES = Plane(torch.float32, "_scale", BLOCK)

CODECS: Mapping[str, Codec] = {
    "stochastic16": Codec((Plane(torch.bfloat16),)),
    "signed8": Codec((Plane(torch.int8), _SCALES)),
    "positive8": Codec((Plane(torch.uint8), _SCALES)),
    **{
        f"{dtype_name(weight)}x{8 * rest.itemsize}": Codec(
            (Plane(weight), Plane(rest, "_correction")), random=False
        )
        for weight in (torch.bfloat16, torch.float16)
        for rest in (torch.int8, torch.int16)
    },
}

Planes = Sequence[Tensor]


def plane_rows(program: Program, kinds: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """The rows of a kernel's table of addresses where an array's planes are.

    First come all arrays, each with its first plane; then the other planes of compact ones.
    """
    rows, row = {}, len(program.arrays)
    for k, name in enumerate(program.arrays):
        codec = CODECS.get(kinds.get(name, ""))
        others = len(codec.planes) - 1 if codec else 0
        rows[name] = (k, *range(row, row + others))
        row += others
    return rows


def empty_planes(codec: str, like: Tensor) -> tuple[Tensor, ...]:
    """Planes that open as zeros, for a slot laid out in memory as ``like``."""
    first, *others = CODECS[codec].planes
    codes = torch.zeros_like(like, dtype=first.dtype, memory_format=torch.preserve_format)
    counts = [-(-like.numel() // plane.block) for plane in others]
    return (
        codes.detach(),
        *(
            torch.zeros(count, dtype=plane.dtype, device=like.device)
            for plane, count in zip(others, counts, strict=True)
        ),
    )


def open_planes(codec: str, planes: Planes) -> Tensor:
    """The numbers that planes keep, in float32, laid out in memory as the first plane.

    >>> planes = empty_planes("signed8", torch.zeros(3))
    >>> close("signed8", torch.tensor([1.0, -0.5, 0.0]), planes)
    >>> open_planes("signed8", planes)
    tensor([ 1.0000, -0.5030,  0.0000])
    """
    codes = planes[0]
    if codec == "stochastic16":
        return codes.float()
    if len(planes) > 1 and planes[1].dtype in _STEPS:
        return _open_split(codes, planes[1])
    opened = torch.empty_like(codes, dtype=torch.float32)
    q = _blocks(_memory(codes).float())
    scale = planes[1].view(-1, 1)
    signed = codec == "signed8"
    blocks = q / (2 * SIGNED_LEVELS - q.abs()) * scale if signed else q * q * scale
    _memory(opened).copy_(blocks.view(-1)[: codes.numel()])
    return opened


def close(codec: str, numbers: Tensor, planes: Planes, random: Tensor | None = None) -> None:
    """Keep numbers in planes.

    Args:
        codec: its name.
        numbers: of the planes' shape.
        planes: overwritten.
        random: float32 numbers from -1/2 to 1/2, one an element in the order of memory; None: round
            to the nearest.
    """
    codes = planes[0]
    x = _memory(torch.empty_like(codes, dtype=torch.float32).copy_(numbers))
    if random is None:
        random = torch.zeros_like(x)
    if codec == "stochastic16":
        _memory(codes).copy_(_dithered(x, random))
        return
    if planes[1].dtype in _STEPS:
        _close_split(x, _memory(codes), _memory(planes[1]))
        return
    x, random = _blocks(x), _blocks(random)
    largest = x.abs().amax(1)  # NaN wins
    if codec == "signed8":
        q, scale = _close_signed(x, largest, random), largest
    else:
        scale = largest * (1 / POSITIVE_LEVELS**2)
        q = _close_positive(x, scale, random)
    planes[1].view(-1).copy_(scale)  # of a sharded tensor they are in rows
    _memory(codes).copy_(q.nan_to_num(0.0).view(-1)[: codes.numel()])


def _open_split(weight: Tensor, rest: Tensor) -> Tensor:
    steps = _STEPS[rest.dtype]
    if weight.dtype == torch.float16:
        return weight.float() + rest * _last_place(weight.float()) / steps
    bits = weight.view(torch.int16).int() << 16
    return (bits + rest.int() * (2**16 // steps)).view(torch.float32)


def _close_split(x: Tensor, weight: Tensor, rest: Tensor) -> None:
    steps = _STEPS[rest.dtype]
    if weight.dtype == torch.float16:
        weight.copy_(x)
        error = (x - weight.float()) / _last_place(weight.float()) * steps
    else:
        # Half a last place up, and cut off: the rest fits, and is exact in bits.
        bits = x.view(torch.int32).long()
        upper = torch.where(x.isnan(), 0x7FC0, (bits + 0x8000) >> 16)
        weight.copy_(upper.to(torch.int16).view(torch.bfloat16))
        error = (bits - (upper << 16)) / (2**16 // steps)
    kept = (error + 0.5).floor().clamp(-steps // 2, steps // 2 - 1)
    rest.copy_(torch.where(x.isfinite(), kept, 0))


def _last_place(half: Tensor) -> Tensor:
    """The value of the last bit of float16 numbers, given as float32."""
    power = (half.view(torch.int32) & 0x7F800000).view(torch.float32)
    return power.clamp(min=2.0**-14) * 2.0**-10


def _close_signed(x: Tensor, largest: Tensor, random: Tensor) -> Tensor:
    top = 2 * SIGNED_LEVELS
    centred = random * INSIDE
    # One over 254 - q, with q the code before it is rounded.
    over = (x.abs() * (_reciprocal(largest) * (1 / top)) + 1 / top).clamp_(max=2 / top)
    q = (centred.square() - 0.25) * over + centred + (top + 0.5 - 1 / over)
    return q.trunc_().copysign_(x)


def _close_positive(x: Tensor, scale: Tensor, random: Tensor) -> Tensor:
    v = random * INSIDE + 0.5
    q = (x * _reciprocal(scale) + (v * v - v)).clamp_(min=0).sqrt_() + v
    return torch.where(x > 0, q.trunc_().clamp_(1, POSITIVE_LEVELS), 0)


def _reciprocal(scale: Tensor) -> Tensor:
    """One over each scale, as a column; zero where that would be infinite."""
    return torch.where(scale < 2.0**-126, 0.0, 1 / scale)[:, None]


def _dithered(x: Tensor, random: Tensor) -> Tensor:
    """Float32 numbers rounded to bfloat16 at random; NaN stays NaN."""
    bits = x.view(torch.int32).long() & 0xFFFFFFFF
    up = (random.double() * 2**16 + 2**15).long()  # 0 to 65535
    rounded = ((bits + up) >> 16).to(torch.int16).view(torch.bfloat16)
    return torch.where(x.isnan(), torch.nan, rounded)


def noise(step: float, number: int, count: int, device: torch.device | None = None) -> Tensor:
    """Random numbers in [-1/2, 1/2) of one array in one step, one for each element in memory.

    A block starts anywhere, independently of other blocks and steps; in it, each element is a
    multiple of an irrational number from the first, modulo 1. So every element's numbers are
    independent from step to step, and those of a block are spread more evenly than by chance.

    Args:
        step: of the tensor, from 1.
        number: of the array among those of the step that round at random.
        count: of elements.
        device: where.
    """
    pair, half = divmod(number, 2)
    blocks = torch.arange(-(-count // BLOCK), device=device)
    first = _hash(blocks, int(_hash(torch.tensor(int(step)), pair + 1)))
    if half:
        first = (first << 16 | first >> 16) & 0xFFFFFFFF
    bits = first[:, None] + torch.arange(BLOCK, device=device) * LATTICE[half]
    # Cut to 32 bits, with a sign.
    return bits.to(torch.int32).view(-1)[:count].float() * 2.0**-32


def _hash(x: Tensor, seed: int) -> Tensor:
    """32 bits for each number: a Weyl sequence, then the mixing of Wellons' lowbias32."""
    h = (x * WEYL + seed) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * MULTIPLIERS[0]) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * MULTIPLIERS[1]) & 0xFFFFFFFF
    return h ^ (h >> 16)


def _memory(tensor: Tensor) -> Tensor:
    """All elements of a dense tensor in the order of memory."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _blocks(vector: Tensor) -> Tensor:
    """A vector cut into rows of a block, the last one filled up with zeros."""
    missing = -len(vector) % BLOCK
    return torch.nn.functional.pad(vector, (0, missing)).view(-1, BLOCK)
