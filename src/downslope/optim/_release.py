"""Gradient release: a parameter is stepped, and its gradient freed, inside the backward pass.

Of all gradients only one exists at a time (Lv et al., arXiv 2306.09782).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..engines import together
from ..engines.bucket import Bucket
from ..engines.shards import local
from ..engines.trace import trace
from ..errors import EngineError
from ._clipping import measure
from ._placement import make_buckets

if TYPE_CHECKING:
    from ._optimizer import Optimizer

__all__ = ["Release"]


class Release:
    """What :meth:`Optimizer.release_gradients` returns; as a context manager it ends with it.

    Args:
        owner: the optimizer.
    """

    def __init__(self, owner: Optimizer) -> None:
        self._owner = owner
        self._lock = threading.Lock()  # autograd has a thread for each device
        self._buckets: dict[Tensor, Bucket] = {}
        self._structure: Any = None
        self._handles: list[RemovableHandle] = []
        #: The bytes of the largest gradient so far.
        self.largest = 0
        self.check()
        for group in owner.param_groups:
            self.add(group["params"])

    def add(self, params: Iterable[Tensor]) -> None:
        """Step these parameters too as soon as they have their gradients."""
        trained = (p for p in params if p.requires_grad)
        self._handles += [_after_accumulation(p, self._step) for p in trained]

    @property
    def buckets(self) -> list[Bucket]:
        """What parameters are stepped with, one each."""
        return list(self._buckets.values())

    def remove(self) -> None:
        """Go back to steps that :meth:`Optimizer.step` takes."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._owner._release = None

    def __enter__(self) -> Release:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def check(self) -> None:
        """Raise EngineError if something needs all gradients before the first may be used."""
        owner = self._owner
        name, rule = type(owner).__name__, owner.rule
        for group in owner.param_groups:
            needs = ""
            if group.get("clip_norm") is not None:
                needs = "clip_norm needs the norm of all. Take clip_value or clip_agc"
            elif owner.on_nonfinite is not None:
                needs = "on_nonfinite looks at all before a step. Leave it out"
            elif group.get("differentiable"):
                needs = "differentiable=True keeps all. Leave it out"
            elif not rule.matrix:
                waits = trace(rule, rule.present(group), rule.flag_values(group)).waits
                if rule.shared or waits:
                    needs = "the formula has sums over all. Step as usual"
            if needs:
                raise EngineError(f"{name}: gradients are released one by one, but {needs}")

    @torch.no_grad()
    def _step(self, p: Tensor) -> None:
        """Step one parameter and free its gradient."""
        owner, grad = self._owner, p.grad
        if grad is None:
            return
        self.largest = max(self.largest, local(grad).nbytes)
        with self._lock:
            table, treatment = owner._begin_step()
            if self._structure is not owner._structure:
                self.check()
                self._buckets, self._structure = {}, owner._structure
            bucket = self._buckets.get(p)
            if bucket is None or not bucket.accepts([p], [grad], [owner.state[p]]):
                bucket = self._buckets[p] = self._bucket(p, grad)
            clipping = owner._reading.clipping
            if clipping is not None:
                measured = measure([([0], bucket)], [p], [grad], treatment)
                treatment = clipping.clipped(treatment, measured)
            together.run([bucket.step([p], [grad], table, treatment)])
        p.grad = None

    def _bucket(self, p: Tensor, grad: Tensor) -> Bucket:
        owner = self._owner
        number, group = next(
            (n, g) for n, g in enumerate(owner.param_groups) if any(q is p for q in g["params"])
        )
        members = [(number, group, p, grad)]
        ((_, bucket),) = make_buckets(type(owner).__name__, owner.rule, members, owner.state)
        if not bucket.accepts([p], [grad], [owner.state[p]]):
            raise EngineError(
                f"{type(owner).__name__}: a parameter or its state changed while a step was "
                "prepared; is another thread changing them?"
            )
        return bucket


def _after_accumulation(p: Tensor, act: Callable[[Tensor], None]) -> RemovableHandle:
    register: Callable[..., RemovableHandle] = p.register_post_accumulate_grad_hook
    return register(act)
