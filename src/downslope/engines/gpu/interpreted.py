"""NumPy's twins of what Triton's interpreter does not have or does otherwise than a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import TensorHandle

__all__ = ["atan2", "exp", "fma", "log", "pow", "to_bfloat16"]


def _elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            values = function(*(a.handle.data for a in args))
        like = next((a for a in args if a.type.is_block()), args[0])
        return tl.tensor(TensorHandle(values, like.handle.dtype), like.type)

    return call


def _fma(a: Any, b: Any, c: Any) -> Any:
    # The interpreter's own rounds twice. Exact for float32 but for double rounding.
    wide = np.float64 if c.dtype == np.float32 else np.longdouble
    return (a.astype(wide) * b.astype(wide) + c.astype(wide)).astype(c.dtype)


exp, log, pow = _elementwise(np.exp), _elementwise(np.log), _elementwise(np.power)
atan2, fma = _elementwise(np.arctan2), _elementwise(_fma)


def to_bfloat16(x: Any) -> Any:
    """Round to nearest, ties to even; the interpreter's own conversion cuts off."""
    bits = x.handle.data.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    kept = np.where(np.isnan(x.handle.data), bits >> 16 | 0x40, rounded).astype(np.uint16)
    kind = tl.block_type(tl.bfloat16, x.type.shape) if x.type.is_block() else tl.bfloat16
    return tl.tensor(TensorHandle(kept, tl.bfloat16), kind)
