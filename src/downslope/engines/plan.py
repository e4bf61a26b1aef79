"""Where a step's numbers lie, gathered afresh each step. Nothing is trusted but what was just seen.

Parameters and slots must be the objects and lie where the plan found them when it was made. The
plan holds an alias of each, so such an address cannot belong to another storage; any difference
makes the plan stale and its owner makes a new one. Gradients are new objects at recycled addresses
every step. Kind, sizes and strides of all of them are compared each step.

With a thousand small tensors this is most of the step, so what Python must do is one call in C over
a list, and all the rest one compiled call (``cpu/look.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .cpu.look import AS_PLANNED, STALE, Expected, handles
from .layout import PLAIN, adopt

__all__ = ["Plan"]

Int64 = npt.NDArray[np.int64]

_pointer = Tensor.data_ptr


class Plan:
    """Addresses of parameters, gradients and slots of tensors that are stepped in one call.

    Args:
        params: dense parameters.
        state: the state of each, in the same order.
        names: the slots that are arrays.
    """

    def __init__(
        self, params: Sequence[Tensor], state: Sequence[dict[str, Any]], names: Sequence[str]
    ) -> None:
        slots = [[s[n] for s in state] for n in names]
        self._params, self._values = list(params), list(_values(state))
        self._aliases = [t.detach() for group in (params, *slots) for t in group]
        self.addresses: Int64 = np.array(
            [list(map(_pointer, group)) for group in (params, params, *slots)], np.int64
        )
        self._handles = np.stack([handles(g, len(params)) for g in (params, params, *slots)])
        self._expected = Expected(params, [group[0] for group in (params, params, *slots)])
        self._scalars = [k for k, p in enumerate(params) if not p.dim()]
        self._complex = params[0].is_complex()
        self._grads: Sequence[Tensor] = ()

    def holds(
        self, params: Sequence[Tensor], grads: Sequence[Tensor], state: Sequence[dict[str, Any]]
    ) -> bool:
        """Whether all parameters and slots lie where the plan found them, laid out as it did.

        If so, it has read where the gradients lie. A gradient that is laid out otherwise than its
        parameter (expanded, transposed, of another kind) is copied; the copies live until
        :meth:`release`. A gradient that is not strided (sparse, say) is none that it can hold.
        """
        if not (
            all(map(is_, params, self._params))
            and sum(map(len, state)) == len(self._values)
            and all(map(is_, _values(state), self._values))
        ):
            return False
        self._handles[1] = handles(grads, len(grads))
        found = self._expected.look(self._handles, self.addresses)
        if found == STALE:
            return False
        if found == AS_PLANNED and not self._strange(grads):
            self._grads = grads
            return True
        if not all(g.layout == torch.strided for g in grads):
            return False
        self._grads = [_like(g, p) for p, g in zip(params, grads, strict=True)]
        self.addresses[1] = np.fromiter(map(_pointer, self._grads), np.int64, len(grads))
        return True

    def _strange(self, grads: Sequence[Tensor]) -> bool:
        """Whether the memory of a gradient is not its value.

        That of a subclass may be anything. That of a complex tensor may be the conjugate, and its
        imaginary part is then a negative; of equal layout with a parameter only without dimensions.
        """
        return (
            not PLAIN.issuperset(map(type, grads))
            or (self._complex and any(g.is_conj() for g in grads))
            or any(grads[k].is_neg() for k in self._scalars)
        )

    def release(self) -> None:
        """Forget the gradients of this step."""
        self._grads = ()


def _values(state: Sequence[dict[str, Any]]) -> Iterable[Any]:
    """All that states hold; much faster than to look things up by name."""
    return chain.from_iterable(map(dict.values, state))


def _like(gradient: Tensor, param: Tensor) -> Tensor:
    if gradient.shape != param.shape:
        raise RuntimeError(
            f"a gradient of shape {tuple(gradient.shape)} belongs to a parameter of shape "
            f"{tuple(param.shape)}: its .data was replaced; set .grad to a tensor of that shape"
        )
    return adopt(gradient.resolve_conj().resolve_neg(), param, param.dtype)
