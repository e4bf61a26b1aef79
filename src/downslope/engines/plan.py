"""Where a step's numbers lie, gathered afresh each step. Nothing is trusted but what was just seen.

Parameters and slots must lie where the plan found them when it was made. The plan holds an alias of
each, so such an address cannot belong to another storage; any difference makes the plan stale and
its owner makes a new one, which validates kind, size and layout. Gradients are new objects at
recycled addresses every step, so their address, size and layout are all read each step.

With a thousand small tensors these reads are most of the step, so each is one call in C over a
list, and none is made that another already implies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, is_, itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Plan", "adopt", "dense"]

_pointer = Tensor.data_ptr
_stride = Tensor.stride
_contiguous = Tensor.is_contiguous
_bytes: Callable[[Tensor], int] = attrgetter("nbytes")


def dense(tensor: Tensor) -> bool:
    """Whether a tensor fills one block of memory without gaps or overlaps, in any order of axes.

    >>> dense(torch.zeros(2, 3).t()), dense(torch.zeros(4)[::2]), dense(torch.zeros(1).expand(3))
    (True, False, False)
    """
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return tensor.numel() == 0
            expected *= size
    return True


def adopt(tensor: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor itself if it lies in memory as ``like`` does, else a copy that does.

    Args:
        tensor: any strided tensor of ``like``'s shape.
        like: the layout to have.
        dtype: the kind of number to have; None: the tensor's own.
    """
    dtype = dtype or tensor.dtype
    if tensor.stride() == like.stride() and tensor.dtype == dtype and tensor.device == like.device:
        return tensor
    return torch.empty_like(like, dtype=dtype).copy_(tensor)


class Plan:
    """Addresses of parameters, gradients and slots of tensors that are stepped in one call.

    Args:
        params: dense parameters.
        state: the state of each, in the same order.
        names: the slots that are arrays.
        numbers: the state keys of what is one number a parameter, the step count among them.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        state: Sequence[dict[str, Any]],
        names: Sequence[str],
        numbers: Sequence[str],
    ) -> None:
        self._slots = [itemgetter(n) for n in names]
        slots = [list(map(get, state)) for get in self._slots]
        self._aliases = [t.detach() for group in (params, *slots) for t in group]
        self._params = list(map(_pointer, params))
        self._places = [list(map(_pointer, group)) for group in slots]
        # These are views that belong to the plan's owner, so it is enough that they are the same.
        self._numbers = [(itemgetter(n), [s[n] for s in state]) for n in numbers]
        self._strides = None if all(map(_contiguous, params)) else list(map(_stride, params))
        self._sizes = list(map(_bytes, params))
        self._grads: Sequence[Tensor] = ()
        self.addresses: npt.NDArray[np.int64] = np.array(
            [self._params, self._params, *self._places], np.int64
        )

    def _laid_out(self, tensors: Sequence[Tensor]) -> bool:
        """Whether tensors of the parameters' shapes have the layout that the plan found."""
        if self._strides is None:
            return all(map(_contiguous, tensors))
        return list(map(_stride, tensors)) == self._strides

    def holds(self, params: Sequence[Tensor], state: Sequence[dict[str, Any]]) -> bool:
        """Whether all parameters and slots lie where the plan found them, laid out as it did."""
        if list(map(_pointer, params)) != self._params or not self._laid_out(params):
            return False
        if list(map(_bytes, params)) != self._sizes:  # cut short in place, say
            return False
        try:
            if not all(all(map(is_, map(get, state), own)) for get, own in self._numbers):
                return False
            return all(
                list(map(_pointer, map(get, state))) == places
                for get, places in zip(self._slots, self._places, strict=True)
            )
        except (KeyError, TypeError):  # a slot was removed, or is no tensor now
            return False

    def take(self, params: Sequence[Tensor], grads: Sequence[Tensor]) -> bool:
        """Read where the gradients lie; False if one is not strided (sparse, say).

        A gradient that is laid out otherwise than its parameter (expanded, transposed, of another
        kind) is copied; the copies live until the next call.
        """
        if self._laid_out(grads) and list(map(_bytes, grads)) == self._sizes:
            self._grads = grads
        elif all(g.layout == torch.strided for g in grads):
            self._grads = [_like(g, p) for p, g in zip(params, grads, strict=True)]
        else:
            return False
        self.addresses[1] = np.fromiter(map(_pointer, self._grads), np.int64, len(self._grads))
        return True

    def release(self) -> None:
        """Forget the gradients of this step."""
        self._grads = ()


def _like(gradient: Tensor, param: Tensor) -> Tensor:
    if gradient.shape != param.shape:
        raise RuntimeError(
            f"a gradient of shape {tuple(gradient.shape)} belongs to a parameter of shape "
            f"{tuple(param.shape)}: its .data was replaced; set .grad to a tensor of that shape"
        )
    return adopt(gradient, param, param.dtype)
