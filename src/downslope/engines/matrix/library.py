"""What matrix rules are made of: operations on stacks ``[tensors, ..., rows, columns]``.

No result depends on the number of threads or on what else is in a stack. torch divides a reduction
between threads only where it has a single result, so long sums are cut into blocks first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import eager

__all__ = [
    "FUNCTIONS",
    "INTO",
    "JOINT",
    "NARROW",
    "PRODUCTS",
    "PROMOTING",
    "SHAPES",
    "VIEWS",
    "Shape",
]

Out = Tensor | None
Shape = tuple[int, ...]

#: What formulas call bfloat16; a test of a formula in full precision puts another kind here.
NARROW = torch.bfloat16

#: Elements that are summed by one thread: below what torch divides; and how many such blocks of a
#: matrix are converted to float32 at once, so that the numbers stay in the cache.
BLOCK, BLOCKS = 1 << 14, 16

#: Elements of a matrix that is worth a call of its own to transpose.
LARGE = 1 << 14


def _swapped(on_tensor: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operation whose arguments may change places, as it wants a tensor first."""

    def call(a: Any, b: Any, out: Out = None) -> Tensor:
        return on_tensor(a, b, out=out) if isinstance(a, Tensor) else on_tensor(b, a, out=out)

    return call


def _ordered(on_tensors: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operation whose first argument may be a number, which it wants as a tensor."""

    def call(a: Any, b: Any, out: Out = None) -> Tensor:
        if not isinstance(a, Tensor):
            a = torch.tensor(a, dtype=b.dtype, device=b.device)
        return on_tensors(a, b, out=out)

    return call


def _bound(on_tensors: Callable[..., Tensor], side: str) -> Callable[..., Tensor]:
    """The larger or the smaller of two, one of which may be a number."""

    def call(a: Any, b: Any, out: Out = None) -> Tensor:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return on_tensors(a, b, out=out)
        x, bound = (a, b) if isinstance(a, Tensor) else (b, a)
        return torch.clamp(x, **{side: bound}, out=out)

    return call


def _fma(a: Any, b: Any, c: Any, out: Out = None) -> Tensor:
    if not isinstance(c, Tensor):
        return _swapped(torch.mul)(a, b, out=out).add_(c)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.addcmul(c, a, b, out=out)
    x, factor = (a, b) if isinstance(a, Tensor) else (b, a)
    return torch.add(c, x, alpha=factor, out=out)


def _norm(x: Tensor) -> Tensor:
    """The root of the sum of all squares of each matrix, in a tree that only its size decides.

    A float64 number each, as what is computed from it; of bfloat16, one that bfloat16 has.
    """
    flat, kind = x.flatten(1), torch.promote_types(x.dtype, torch.float32)
    while flat.shape[1] > 1:
        whole = flat.shape[1] // BLOCK * BLOCK
        parts = [flat[:, :whole].view(len(flat), -1, BLOCK), flat[:, whole:].unsqueeze(1)]
        norms = [
            torch.linalg.vector_norm(some, dim=2, dtype=kind)
            for q in parts
            if q.numel()
            for some in torch.split(q, BLOCKS, dim=1)
        ]
        flat, kind = torch.cat(norms, dim=1).double(), torch.float64
    number = flat.abs().view(-1, *(1 for _ in x.shape[1:]))
    return (number.bfloat16() if x.dtype == torch.bfloat16 else number).double()


def _compared(on_tensor: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A comparison whose result is 1 or 0, of the kind of what was compared."""
    return lambda a, b: on_tensor(a, b).to(a.dtype)


def _where(condition: Any, a: Any, b: Any) -> Tensor:
    kind = next(x.dtype for x in (a, b, condition) if isinstance(x, Tensor))
    return torch.where(torch.as_tensor(condition != 0), a, b).to(kind)


def _tall(shape: Sequence[int]) -> bool:
    return shape[-2] > shape[-1]


def _in_rows(x: Tensor) -> Tensor:
    """The stack with its rows one after the other: what is done with it then takes less time.

    torch transposes in blocks, three times as fast, what has two dimensions.
    """
    if x.is_contiguous() or x[0].numel() < LARGE:
        return x.contiguous()
    rows = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    for old, new in zip(x.unbind(), rows.unbind(), strict=True):
        new.copy_(old)
    return rows


#: Operations that write their result into ``out``, which may be one of their arguments.
INTO: dict[str, Callable[..., Tensor]] = {
    "add": _swapped(torch.add), "mul": _swapped(torch.mul),
    "sub": _ordered(torch.sub), "div": _ordered(torch.div), "pow": torch.pow,
    "maximum": _bound(torch.maximum, "min"), "minimum": _bound(torch.minimum, "max"),
    "lerp": torch.lerp, "fma": _fma,
    **{name: getattr(torch, name) for name in ("sqrt", "abs", "sign", "exp", "log", "neg")},
}  # fmt: skip


#: Those of them that convert their arguments to the widest kind themselves.
PROMOTING = frozenset({"add", "mul", "sub", "div", "fma"})


def _addmm(beta: Any, c: Tensor, alpha: Any, a: Tensor, b: Tensor, out: Out = None) -> Tensor:
    return torch.baddbmm(c, a, b, beta=beta, alpha=alpha, out=out)


#: Operations that write into ``out`` too, which must be none of their arguments.
PRODUCTS: dict[str, Callable[..., Tensor]] = {"matmul": torch.bmm, "addmm": _addmm}

#: Operations whose result may be a view of their first argument.
VIEWS: dict[str, Callable[..., Tensor]] = {
    "transpose": lambda x: x.mT,
    "wide": lambda x: x.mT if _tall(x.shape) else x,
    "turned": lambda y, x: _in_rows(y.mT) if _tall(x.shape) else y,
    "bfloat16": lambda x: _in_rows(x.to(NARROW)),
}

#: The others.
_OTHERS: dict[str, Callable[..., Tensor]] = {
    **{name: _compared(getattr(torch, name)) for name in ("gt", "lt", "ge", "le")},
    "where": _where,
    "atan2": eager.atan2, "f32": eager.f32,
    "row_mean": lambda x: x.mean(-1, keepdim=True),
    "column_mean": lambda x: x.mean(-2, keepdim=True),
    "norm": _norm,
}  # fmt: skip


def _turned(shape: Shape) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2])


#: The shape of a result that is not its arguments', broadcast.
SHAPES: dict[str, Callable[..., Shape]] = {
    "transpose": _turned,
    "wide": lambda x: _turned(x) if _tall(x) else x,
    "turned": lambda y, x: _turned(y) if _tall(x) else y,
    "row_mean": lambda x: (*x[:-1], 1),
    "column_mean": lambda x: (*x[:-2], 1, x[-1]),
    "norm": lambda x: (x[0], *(1 for _ in x[1:])),
    "matmul": lambda a, b: (*a[:-1], b[-1]),
    "addmm": lambda c, a, b: c,
}

#: Every operation of a matrix rule by its name in a program.
FUNCTIONS = INTO | PRODUCTS | VIEWS | _OTHERS

#: Operations that are worth a stack of large matrices.
JOINT = frozenset((*PRODUCTS, "transpose"))
