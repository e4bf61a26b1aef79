"""A close look at one step of training: its forward pass, its gradients, its update."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from .forms import Block, Form, Part, form
from .forward import Forward
from .hooks import Noting
from .tensors import norms
from .weights import Weights

if TYPE_CHECKING:
    from .steady import Steady

__all__ = ["Look"]

_HEAD = Part((), ("step",), (("event", "monitor"),))
_TAILS = [
    Part((), ("data_share", "data_seconds"), (("stale_gradients", stale),))
    for stale in (False, True)
]


class Look:
    """Looks at the step that comes, again and again.

    Args:
        model: what is trained.
        optimizer: what steps it.
        noting: the note of the model's batches.
        overflowed: called before a step whose gradients are not all finite.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        noting: Noting,
        overflowed: Callable[[], None],
    ) -> None:
        self._optimizer, self._noting, self._overflowed = optimizer, noting, overflowed
        self._forward = Forward(model, noting, self._pass_ended)
        self.weights = Weights(model)
        self._stale: bool | None = None
        self._earlier: weakref.ref[Tensor] | None = None  # a gradient of the step before
        self._first: Tensor | None = None  # the parameter that had it
        self._replaces = False  # whether the loop was last seen to make new gradients each step
        self._hook: Any = None  # in the optimizer
        self.armed = False  # whether the step that comes is looked at
        self.thorough = False  # whether the step that comes is looked at from scratch
        self._kept: list[tuple[Form, Any]] = []
        #: For looks like the last one: the parts of its pass, the form of its parameters.
        self._steady: Steady | None = None
        self._parts: list[Part] = []
        self._block: Block | None = None

    def arm(self, *, thorough: bool) -> None:
        """Look at the step that comes, and forget what was seen of it.

        Args:
            thorough: find out anew what there is to see.
        """
        if thorough or self.thorough or not self.armed:
            self._earlier = None
            self._noting.settle()
            if thorough:
                self._replaces = False
                self._noting.ask()
            self.weights.refresh()
            self._forward.arm(thorough=thorough)
            self.thorough = thorough
            if not self.armed:
                self.armed = True
                self._hook = self._optimizer.register_step_pre_hook(self._before_step)
        self._again()

    def _again(self) -> None:
        """Forget what was seen of a step, and look at the one that comes."""
        forward, self._stale = self._forward, None
        forward.began, forward.in_table, self.weights.waiting = None, False, False
        if forward.parts:
            forward.parts, forward.numbers = [], []

    def disarm(self) -> None:
        """Look no more, and let go of what only looks need."""
        if self.armed:
            self._forward.disarm()
            self.weights.rest()
            self._noting.settle()
            self._hook.remove()
            self.armed = False

    def end(self, step: int, last: float, now: float) -> None:
        """Keep what was seen of the step that was just done.

        Args:
            step: its number.
            last: when the step before ended, in seconds.
            now: when this one did.
        """
        forward, weights, steady = self._forward, self.weights, self._steady
        waited = 0.0 if forward.began is None else forward.began - last
        share = min(1.0, waited / max(now - last, 1e-9))
        if steady is not None and forward.in_table:
            if weights.waiting and weights.form is self._block and not self._stale:
                weights.write_after(*steady.place)
                if not steady.end(step, share, waited):
                    self._take_table()
                self._again()
                return
            forward.parts, forward.numbers = self._parts, steady.of_pass
        parts = (_HEAD, *forward.parts, _TAILS[bool(self._stale)])
        numbers = [step, *forward.numbers, share, waited]
        if not weights.waiting:
            self._keep(form(parts), numbers)
            self._again()
            return
        numbers += weights.after()
        found_form = form(parts, weights.form)
        self._keep(found_form, numbers)
        if forward.regular is None or self._stale:
            self._steady = None
        elif steady is None or found_form is not steady.form:
            from .steady import Steady  # imports Numba

            self._parts, self._block = forward.parts, weights.form
            self._steady = Steady(found_form, *forward.regular, weights.width)
        forward.steady = self._steady
        self._again()

    def take(self) -> list[tuple[Form, Any]]:
        """Forms and rows of numbers of the looks since the last call."""
        self._take_table()
        kept, self._kept = self._kept, []
        return kept

    def _keep(self, found: Form, numbers: list[float]) -> None:
        self._take_table()
        self._kept.append((found, [numbers]))

    def _take_table(self) -> None:
        if self._steady is not None and len(rows := self._steady.take()):
            self._kept.append((self._steady.form, rows))

    def _pass_ended(self, output: Tensor | None) -> None:
        """See to it that gradients which are still there when the backward pass begins are seen.

        A hook in it says so exactly, and costs more than the rest of a small look. A loop that was
        seen to replace its gradients is believed to go on so while the first of them is replaced.
        """
        if self._replaces and self._earlier is not None:
            return  # that of the look at the step before
        left = None if self._first is None else self._first.grad
        if left is None:
            self._first = next((p for p in self._parameters() if p.grad is not None), None)
            left = None if self._first is None else self._first.grad
        if left is None:
            self._stale = False
            return
        self._earlier = weakref.ref(left)
        if output is not None and output.requires_grad and not self._replaces:
            hook = (
                output.register_hook if output.grad_fn is None else output.grad_fn.register_prehook
            )
            hook(self._check_stale)

    def _parameters(self) -> Iterator[Tensor]:
        """Those of the optimizer."""
        for group in self._optimizer.param_groups:
            yield from group["params"]

    def _left(self) -> list[Tensor]:
        """The gradients that the optimizer's parameters have."""
        return [p.grad for p in self._parameters() if p.grad is not None]

    def _check_stale(self, *_: Any) -> None:
        """Gradients that are not zero when the first backward pass after a step begins."""
        if self._stale is None:
            self._stale = any(n != 0 for n in norms(self._left()))

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Measure the gradients; where the step is given a closure, those that it makes."""
        closure = kwargs.get("closure") if len(args) < 2 else args[1]
        if closure is not None:

            def measured() -> Any:
                loss = closure()
                self._before_step(optimizer, (), {})
                return loss

            return (args[0], measured), {k: v for k, v in kwargs.items() if k != "closure"}
        if self.weights.waiting:
            return None
        if self._earlier is not None:
            earlier = self._earlier()
            self._replaces = earlier is None or all(g is not earlier for g in self._left())
            self._earlier = None
            if self._replaces:  # since: a backward pass of another model's loss may have come first
                self._stale = False
        if self._replaces and self._first is not None and self._first.grad is not None:
            self._earlier = weakref.ref(self._first.grad)
        scale = float(getattr(optimizer, "grad_scale", None) or 1.0)
        if not self.weights.before(scale):
            self._overflowed()
        return None
