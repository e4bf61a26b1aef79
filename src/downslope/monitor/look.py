"""A close look at one step of training: its forward pass, its gradients, its update."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from .forms import Form, Part, form
from .forward import Forward
from .habits import Habits
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
        #: In a thorough look what the loop does around the step.
        self._habits: Habits | None = None
        #: For looks made when the step is done; the same if the one that comes is to be such a one.
        self._steady: Steady | None = None
        self._late: Steady | None = None
        self._was_late = False  # whether the last look was
        #: Whether the weights that are kept are those that the last pass was made with.
        self.stepped = False

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
            self.armed, self.thorough = True, thorough
            steady, passes = self._steady, self.weights.passes
            fits = steady is not None and steady.passes is passes and not thorough
            self._be_late(steady if fits else None)
            self._habits = None
            if thorough and passes is not None and passes.small:
                self._habits = Habits(passes.params)
                self._forward.begins = self._habits.before_pass
        self._again()

    def _be_late(self, steady: Steady | None) -> None:
        """Measure when the step is done; before it too without what is to measure then."""
        self._late, self._earlier = steady, None
        self._forward.late = steady is not None
        self._forward.begins = None if steady is None else steady.begin
        if steady is not None:
            self._unhook()
        elif self._hook is None:
            self._hook = self._optimizer.register_step_pre_hook(self._before_step)

    def _unhook(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _again(self) -> None:
        """Forget what was seen of a step, and look at the one that comes."""
        self._stale, self.weights.waiting = None, False
        self._forward.forget()

    def disarm(self) -> None:
        """Look no more, and let go of what only looks need."""
        if self.armed:
            self._forward.disarm()
            self.weights.rest()
            self._noting.settle()
            self._unhook()
            self.armed, self._habits = False, None

    def end(self, step: int, last: float, now: float) -> bool:
        """Keep what was seen of the step that was just done.

        Args:
            step: its number.
            last: when the step before ended, in seconds.
            now: when this one did.

        Returns:
            whether its gradients were finite, if that was not said before it.
        """
        forward, weights = self._forward, self.weights
        waited = 0.0 if forward.began is None else forward.began - last
        share = min(1.0, waited / max(now - last, 1e-9))
        self.stepped = self._was_late = False
        finite = True
        if self._late is not None:
            finite = self._end_late(self._late, step, share, waited)
        else:
            numbers = [step, *forward.numbers, share, waited]
            found_form = None
            if weights.waiting:
                numbers += weights.after()
                found_form = form(self._parts, weights.form)
            self._keep(found_form or form(self._parts), numbers)
            if self.thorough:
                self._consider(found_form)
        self._again()
        return finite

    @property
    def _parts(self) -> tuple[Part, ...]:
        return (_HEAD, *self._forward.parts, _TAILS[bool(self._stale)])

    def _end_late(self, steady: Steady, step: int, share: float, waited: float) -> bool:
        """Measure a step that is done; nothing is kept of one that cannot be measured any more."""
        forward = self._forward
        if not steady.end(forward.left, step, share, waited):  # do without until a thorough look
            self._take_table()
            self._steady = None
            self._be_late(None)
            return True
        self._was_late, self.stepped = True, not steady.finite
        if not steady.in_table:
            forward.measure()
            numbers = [step, *forward.numbers, share, waited, *steady.of_parameters]
            self._keep(form(self._parts, self.weights.form), numbers)
        elif steady.full:
            self._take_table()
        return steady.finite

    def _consider(self, found_form: Form | None) -> None:
        """Find out in a thorough look whether later ones may be made when their step is done."""
        habits, regular, passes = self._habits, self._forward.regular, self.weights.passes
        self._take_table()
        was, self._steady = self._steady, None
        if habits is None or regular is None or passes is None or found_form is None:
            return
        seen = habits.after_step()
        if seen is None or habits.params is not passes.params or self._stale:
            return
        if was is not None and was.fits(found_form, passes, seen):
            self._steady = was
            return
        from .steady import Steady  # imports Numba

        self._steady = Steady(found_form, *regular, passes, self.weights.others, seen)

    @property
    def kept(self) -> list[Tensor]:
        """The last weights that are known to be finite; none of a large model."""
        steady = self._steady if self._was_late else None
        return self.weights.kept if steady is None else steady.kept

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
        if self._late is not None or (self._replaces and self._earlier is not None):
            return  # a gradient that is added to has another version; that of the step before
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
            self._habits = None  # gradients of several passes come and go

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
        if self._habits is not None:
            self._habits.before_step()
        return None
