"""L-BFGS. It is no rule of single elements: it works on all parameters as one vector."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from numbers import Real
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from ..errors import InputError, InputTypeError, NonfiniteLossError, is_whole
from ..rules import Hyper
from ..schedules import Schedule
from ._checks import check_keys, check_kinds, check_number, check_order, check_state
from ._grouped import ParamsT, torchs_add_param_group, torchs_load_state_dict
from ._line_search import Point
from ._problem import Problem, check_finite, largest
from ._two_loops import direction

__all__ = ["LBFGS"]

Loss = TypeVar("Loss")

_LR = Hyper("lr", "step size", "eta", phrase="learning rate")
_COUNTS = ("max_iter", "max_eval", "history_size")
_TOLERANCES = ("tolerance_grad", "tolerance_change")
#: What is kept, as torch keeps it: all of it in the state of the first parameter.
_STATE = frozenset(
    {"func_evals", "n_iter", "d", "t", "old_dirs", "old_stps", "ro", "H_diag", "al"}
    | {"prev_flat_grad", "prev_loss"}
)


class LBFGS(torch.optim.Optimizer):
    r"""Newton's steps, with the curvature seen by the last gradients; torch's twin.

    All parameters are one vector x with the gradient g. A step goes along the direction d, which is
    -g times an estimate of the inverse Hessian: from the last ``history_size`` pairs
    :math:`s = x_{k+1} - x_k`, :math:`y = g_{k+1} - g_k`, by the two loops of

    .. math::
        q &= -g, \quad
            \alpha_i = \frac{s_i^T q}{y_i^T s_i}, \quad q \leftarrow q - \alpha_i y_i
            \quad (i = k, \ldots, k - m) \\
        d &= \frac{s_k^T y_k}{y_k^T y_k} q, \quad
            d \leftarrow d + s_i \left(\alpha_i - \frac{y_i^T d}{y_i^T s_i}\right)
            \quad (i = k - m, \ldots, k)

    ``step`` takes up to ``max_iter`` of them, so it needs a closure that computes loss and
    gradients again. Give it the same data each time: for small problems and full batches, where it
    needs far fewer evaluations than gradient descent. It remembers ``2 * history_size`` vectors.

    Args:
        params: parameters or named parameters: one group.
        lr: length of a step, in directions; with a line search, of the first that is tried; a
            number >= 0, a one-element tensor or a schedule of the calls of ``step``. The very first
            direction is shortened to a sum of 1 if it is longer.
        max_iter: iterations in a step.
        max_eval: calls of the closure in a step after which no further iteration begins; None:
            1.25 times ``max_iter``.
        tolerance_grad: a step ends when no element of the gradient is larger.
        tolerance_change: a step ends when no parameter, or the loss, changes by more.
        history_size: how many pairs are remembered.
        line_search_fn: ``"strong_wolfe"``, or None: every step has the length lr.
        on_nonfinite: what a step does where the loss or a gradient is infinite or NaN (torch goes
            on with it): ``"skip"`` ends it with a warning, ``"raise"`` with an error; the
            parameters stay where the loss was finite. In a line search it is only a step too far.

    Raises:
        InputError: a value out of range; more than one parameter group.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([-1.2, 1.0]))
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe", max_iter=50)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> w.data
    tensor([1.0000, 1.0000])

    Source: Liu, Nocedal: On the limited memory BFGS method for large scale optimization, 1989;
    Nocedal, Wright: Numerical Optimization, 2006, algorithm 7.4.
    """

    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    _schedule: Schedule | None = None

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor | Schedule = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        *,
        on_nonfinite: Literal["skip", "raise"] = "skip",
    ) -> None:
        check_order(params)
        if on_nonfinite not in ("skip", "raise"):
            raise InputError(f"LBFGS: on_nonfinite must be 'skip' or 'raise', got {on_nonfinite!r}")
        self.on_nonfinite = on_nonfinite
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        if max_eval is None:
            _check_count("max_iter", max_iter)
            defaults["max_eval"] = max(max_iter * 5 // 4, 1)
        _check(defaults)
        if isinstance(lr, Schedule):
            self._schedule = lr
            defaults["lr"] = float(lr(0))
        super().__init__(params, defaults)
        if self._schedule is not None:
            self.param_groups[0].setdefault("schedule_step", 0)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add the one group; its values are checked.

        Raises:
            InputError: there is a group already; a value out of range; an integer parameter.
        """
        if not isinstance(param_group, dict):
            raise InputTypeError(f"param_group must be a dict, but got {type(param_group)}")
        check_keys("LBFGS", param_group, self.defaults)
        _check({**self.defaults, **param_group})
        torchs_add_param_group(self, dict(param_group))
        if len(self.param_groups) > 1:
            self.param_groups.pop()
            raise InputError(
                "LBFGS doesn't support per-parameter options (parameter groups): its direction "
                "is one for all parameters. Give all of them in one list"
            )
        try:
            check_kinds("LBFGS", self._params)
        except InputError:
            self.param_groups.pop()
            raise

    @property
    def _params(self) -> list[Tensor]:
        params: list[Tensor] = self.param_groups[0]["params"]
        return params

    # -- the step ---------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, closure: Callable[[], Loss] | None = None) -> Loss:
        """Iterate until a tolerance or ``max_iter`` is reached.

        Args:
            closure: computes the loss again, with gradients.

        Returns:
            the loss before the step.

        Raises:
            NonfiniteLossError: the loss or a gradient is infinite or NaN, with
                ``on_nonfinite="raise"``.
        """
        if closure is None:
            raise InputTypeError(
                "LBFGS.step() needs a closure: a function that zeroes the gradients, computes the "
                "loss, calls backward() and returns the loss. step(closure) calls it many times"
            )
        group = self.param_groups[0]
        if self._schedule is not None:
            group["lr"] = float(self._schedule(group["schedule_step"]))
        _check(group)
        problem = Problem(torch.enable_grad()(closure), self._params)
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        value, loss, grad = problem.look()
        state["func_evals"] += 1
        try:
            self._iterate(problem, group, state, loss, grad)
        except NonfiniteLossError as error:
            if self.on_nonfinite == "raise":
                raise
            warnings.warn(str(error), stacklevel=4)
        if self._schedule is not None:
            group["schedule_step"] += 1
        first: Loss = value
        return first

    def _iterate(
        self,
        problem: Problem,
        group: dict[str, Any],
        state: dict[str, Any],
        loss: float,
        grad: Tensor,
    ) -> None:
        """Go on from a point until a tolerance or a limit is reached."""
        lr: Any = group["lr"]
        if isinstance(lr, Tensor):  # a copy, because the state keeps it as the step's length
            lr = lr.detach().squeeze().clone()
        max_iter, max_eval, least = (group[n] for n in ("max_iter", "max_eval", "tolerance_change"))
        check_finite(loss, grad)
        calls = 1
        for iteration in range(1, max_iter + 1):
            if largest(grad) <= group["tolerance_grad"]:
                return
            new = direction(state, grad, group["history_size"])
            step = lr
            if state["n_iter"] == 0:
                share: Any = 1.0 / grad.abs().sum()
                step = min(1.0, share) * lr
            new |= {"n_iter": state["n_iter"] + 1, "prev_flat_grad": grad, "prev_loss": loss}
            d = new["d"]
            start = Point.of(0, loss, grad, d)
            if start.slope > -least:
                state.update(new, t=step)
                return
            if group["line_search_fn"] is None:
                point, more = problem.go(start, step, d, look=iteration < max_iter)
            else:
                point, more = problem.search(start, step, d, least, max_eval - calls)
            # Only now: had the closure failed, parameters and state would be where they were.
            state.update(new, t=point.step, func_evals=state["func_evals"] + more)
            calls += more
            before, loss, grad = loss, point.loss, point.grad
            moved = largest(d * point.step)
            if iteration == max_iter or calls >= max_eval or moved <= least:
                return
            if abs(loss - before) < least:
                return

    # -- saving and loading -----------------------------------------------------------------------

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state, of this class or of torch's twin.

        Raises:
            InputError: the state was saved by another optimizer; nothing was changed.
            ValueError: the groups or their parameters differ in number.
        """

        def check(_: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
            check_state("LBFGS", _STATE, saved)

        with self.register_load_state_dict_pre_hook(check):  # after the user's, which may mend it
            torchs_load_state_dict(self, state_dict)

    def __getstate__(self) -> dict[str, Any]:
        own = ("_schedule", "on_nonfinite")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._schedule is not None:
            self.param_groups[0].setdefault("schedule_step", 0)  # torch's twin counts no steps


def _check(group: dict[str, Any]) -> None:
    """Raise if the group's values cannot be used."""
    check_number("LBFGS", _LR, group["lr"])
    for name in _COUNTS:
        _check_count(name, group[name])
    for name in _TOLERANCES:
        value = group[name]
        if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
            raise InputError(f"LBFGS: {name} must be a number, got {value!r}")
    if group["line_search_fn"] not in (None, "strong_wolfe"):
        raise InputError(
            "only 'strong_wolfe' is supported. LBFGS: line_search_fn must be that or None, got "
            f"{group['line_search_fn']!r}"
        )


def _check_count(name: str, value: Any) -> None:
    if not is_whole(value, 1):
        raise InputError(f"LBFGS: {name} must be a whole number >= 1, got {value!r}")
