"""The driver that all optimizer classes share: from parameter groups to one call an engine.

A step reads the groups (hyperparameters, flags), the gradients and the state afresh, makes sure
that the buckets of the last step are still right for them, and hands each bucket its tensors. A
class is a declaration: a rule, a constructor with torch's signature, and its documentation.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._C._autograd import _profiler_enabled
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from ..engines.bucket import Table
from ..engines.clip import Treatment
from ..errors import EngineError
from . import _beyond
from ._buckets import Buckets
from ._clipping import measure, nonfinite_error
from ._compiled import Traced
from ._documentation import described
from ._group import Schedules, set_scheduled
from ._grouped import Grouped, ParamsT
from ._hooks import hooked
from ._memory import Memory, memory_of
from ._placement import level
from ._reading import Reading
from ._release import Release

__all__ = ["Optimizer", "ParamsT", "defaults_of"]

Loss = TypeVar("Loss")

_grad: Callable[[Tensor], Tensor | None] = attrgetter("grad")


class Optimizer(Grouped):
    """What all optimizers here are: ``torch.optim.Optimizer`` with one step for every rule.

    Args:
        params: parameters, named parameters, or parameter groups, as torch takes them.
        defaults: the hyperparameters and flags of groups that do not give their own. A
            hyperparameter may be a number, a one-element tensor or a
            :class:`~downslope.schedules.Schedule` of the number of steps done.

    Which engine runs a step follows torch's flags: ``fused=True`` the compiled one,
    ``foreach=True`` multi-tensor operations, ``False`` for either (and not True for the other) one
    parameter at a time; neither given: the fastest that serves the tensor.
    """

    _norm: float | Tensor | None = None
    _release: Release | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "rule" in vars(cls):
            cls.rule.check_names()
            arguments = list(inspect.signature(cls.__init__).parameters)[2:]
            own = inspect.cleandoc(cls.__doc__ or "")
            cls.__doc__ = f"{own}\n\n{described(cls.rule, arguments)}"
            _beyond.show_in_signature(cls.rule, cls.__init__)

    def _forget(self) -> None:
        """Drop everything that is derived from groups and state."""
        self._reading = Reading(type(self).__name__, self.rule, self.defaults, self._notice)
        self._structure: list[tuple[Any, ...]] | None = None
        self._scheduled_at = [k for k, schedules in enumerate(self._schedules) if schedules]
        scheduled = bool(self._scheduled_at)
        self._buckets = Buckets(type(self).__name__, self.rule, scheduled=scheduled)
        if hasattr(self, "param_groups"):
            self.traced = Traced(self)

    def _added(self, params: list[Tensor]) -> None:
        if self._release is not None:
            self._release.add(params)

    # -- the step ---------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Loss] | None = None) -> Loss | None:  # type: ignore[override]  # torch has the same in two overloads
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again, with gradients.

        Returns:
            the closure's loss, if there is one.
        """
        if torch.compiler.is_compiling():
            return self._compiling_step(closure)
        # torch wraps every step in a profiler's record and loops over hooks. Both cost more than
        # a small step, so they are entered only when somebody looks.
        given = () if closure is None else (closure,)
        if _profiler_enabled():
            return self._watched_step(*given)
        if (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _global_optimizer_pre_hooks
            or _global_optimizer_post_hooks
        ):
            loss: Loss | None = hooked(self, Optimizer._plain_step, *given)
            return loss
        return self._plain_step(closure)

    step.hooked = True  # type: ignore[attr-defined]  # torch's mark that it need not wrap it

    def _compiling_step(self, closure: Callable[[], Loss] | None) -> Loss | None:
        """The step as ``torch.compile`` sees it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.traced.step()
        return loss

    def _check_ready(self) -> None:
        """Raise if no step may be taken now."""

    def _plain_step(self, closure: Callable[[], Loss] | None = None) -> Loss | None:
        self._check_ready()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        table, treatment = self._begin_step()
        if self._release is not None:
            if treatment.scale is not None:
                raise EngineError(
                    f"{type(self).__name__}: gradients were released before a GradScaler could "
                    "look at them. Train in bfloat16, without a scaler"
                )
        elif not self._step_tensors(table, treatment):
            self.skipped_steps += 1
            return loss
        for group, _ in self._scheduled():
            group["schedule_step"] += 1
        return loss

    def _begin_step(self) -> tuple[Table, Treatment]:
        """This step's hyperparameters, schedules at their present step."""
        for group, schedules in self._scheduled():
            set_scheduled(group, schedules)
        return self._read_groups()

    def memory(self) -> Memory:
        """What weights, gradients and state take, foretold and measured; ``print`` it for a table.

        >>> import torch
        >>> from downslope.optim import AdamW
        >>> AdamW([torch.ones(100, 100, requires_grad=True)]).memory().predicted.state
        80004
        """
        return memory_of(self)

    def release_gradients(self) -> Release:
        """Step every parameter inside the backward pass, as soon as it has its gradient; free that.

        Of all gradients only one exists at a time. From now on :meth:`step` only counts: it moves
        schedules on and runs hooks, so a training loop with learning-rate schedulers stays as it
        is. Each backward pass is a step, so gradients are not accumulated over several.

        Returns:
            a handle whose ``remove()`` ends it; also a context manager.

        Raises:
            EngineError: ``clip_norm``, ``on_nonfinite`` or the formula needs all gradients at once;
                at the step, a ``GradScaler``, which would come too late.

        >>> import torch
        >>> from downslope.optim import AdamW
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = AdamW([w], lr=0.1, weight_decay=0)
        >>> handle = optimizer.release_gradients()
        >>> w.sum().backward()
        >>> w.data, w.grad
        (tensor([0.9000, 0.9000]), None)
        >>> optimizer.step()
        >>> handle.remove()
        """
        if self._release is None:
            self._release = Release(self)
        return self._release

    _watched_step = torch.optim.Optimizer.profile_hook_step(_plain_step)

    @property
    def grad_norm(self) -> float | None:
        """The L2 norm of all gradients that the last step saw: unscaled, not clipped.

        None where it had no reason to compute one: no ``clip_norm`` (``inf`` measures and does not
        clip) and no ``on_nonfinite``.
        """
        return None if self._norm is None else float(self._norm)

    def _step_tensors(self, table: Table, treatment: Treatment) -> bool:
        """Step, or return False where a gradient is not finite and such steps are skipped."""
        params = list(itertools.chain.from_iterable(self._reading.lists))
        grads: list[Any] = list(map(_grad, params))
        used = [g is not None for g in grads]
        if not all(used):
            params = list(itertools.compress(params, used))
            grads = list(itertools.compress(grads, used))
        buckets = self._buckets
        buckets.fit(params, grads, used, self.param_groups, self.state)
        if not (buckets.counts_on_device and self.on_nonfinite is None):
            if treatment.skip is not None and float(treatment.skip) != 0:
                buckets.undo(params, self.state)
                return False
            if treatment.scale is not None:
                treatment = treatment.read()
        if not buckets.torch_operations:
            done = self._run_buckets(params, grads, table, treatment)
        else:
            with torch.set_grad_enabled(bool(self.defaults.get("differentiable"))):
                done = self._run_buckets(params, grads, table, treatment)
        if done and self.rule.shared and params and not all(used):
            level(self.rule, self.state.values(), self.state[params[0]])
        return done

    def _run_buckets(
        self, params: list[Tensor], grads: list[Tensor], table: Table, treatment: Treatment
    ) -> bool:
        clipping = self._reading.clipping
        if clipping is not None or self.on_nonfinite is not None:
            measured = measure(self._buckets.placed, params, grads, treatment)
            self._norm = measured.norm()
            if self.on_nonfinite is not None and (bad := measured.nonfinite()):
                self._leave_out(params, bad)
                return False
            if clipping is not None:
                treatment = clipping.clipped(treatment, measured)
        self._buckets.step(params, grads, table, treatment)
        return True

    def _leave_out(self, params: list[Tensor], bad: list[int]) -> None:
        """Undo what was prepared for a step; say which gradient is not finite."""
        self._buckets.undo(params, self.state)
        self._blame(params, bad)

    def _blame(self, params: list[Tensor], bad: list[int]) -> None:
        """Raise, or warn the first time, because gradients are not finite."""
        error = nonfinite_error(type(self).__name__, self.param_groups, params, bad)
        if self.on_nonfinite == "raise":
            raise error
        if not self.skipped_steps:
            warnings.warn(
                f"{error}; this one was. skipped_steps counts them, without a word from now on.",
                stacklevel=5,
            )

    def _scheduled(self) -> list[tuple[dict[str, Any], Schedules]]:
        return [(self.param_groups[k], self._schedules[k]) for k in self._scheduled_at]

    def _read_groups(self) -> tuple[Table, Treatment]:
        """This step's hyperparameters; buckets are dropped when what they depend on changed."""
        reading = self._reading
        reading.update(self.param_groups, unread=self._buckets.counts_on_device)
        if reading.structure is not self._structure:
            self._structure = reading.structure
            self._buckets.drop()
        treatment = reading.treatment
        # A GradScaler sets these two around the step when ``_step_supports_amp_scaling``.
        scale, found = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        if scale is not None or found is not None:
            treatment = replace(treatment, scale=scale, skip=found)
        return reading.table, treatment


def defaults_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """A constructor's ``locals()`` without what is no argument, and without what was not given."""
    named = ("self", "params", "__class__", "beyond")
    cls = type(arguments["self"])
    beyond = _beyond.given(cls.__name__, cls.rule, arguments.get("beyond", {}))
    return {k: v for k, v in arguments.items() if k not in named} | beyond
