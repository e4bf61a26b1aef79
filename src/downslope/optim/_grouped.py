"""What an optimizer is between two steps: parameter groups, schedules, state that can be saved."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ..errors import EngineError, InputError, InputTypeError
from ..rules import Rule
from ..schedules import Schedule
from . import _beyond
from ._checks import check_alike, check_group, check_keys, check_kinds, check_order
from ._group import Group, Notice, Schedules, take_schedules
from ._loading import Loading, of_parameters
from ._placement import make_state
from ._storage import kinds_of, plain

__all__ = ["Grouped", "ParamsT", "torchs_add_param_group", "torchs_load_state_dict"]

ParamsT = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]

# torch keeps its compiler out of these by a wrapper whose first call imports that whole compiler,
# some seconds, in every program that makes an optimizer. Nothing in them needs it.
torchs_add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
torchs_load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
_state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)


class Grouped(torch.optim.Optimizer):
    """Groups whose values are checked, may be schedules, and note being written to.

    Args:
        params: parameters, named parameters, or parameter groups, as torch takes them.
        defaults: the hyperparameters and flags of groups that do not give their own.
    """

    rule: ClassVar[Rule]

    #: What a step does about a gradient that is not finite: ``"skip"``, ``"raise"``, or None: step.
    on_nonfinite: _beyond.OnNonfinite = None
    #: Steps that were not taken because a gradient was not finite. Not kept in state dicts. Where
    #: the device counts the steps, the host is not told of those that a GradScaler leaves out.
    skipped_steps: int = 0

    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        check_order(params)
        defaults = _beyond.without_none(defaults)
        self.on_nonfinite = _beyond.policy(type(self).__name__, defaults.pop("on_nonfinite", None))
        check_group(type(self).__name__, self.rule, defaults)
        if defaults.get("fused"):
            if defaults["differentiable"]:
                raise EngineError("`fused` does not support `differentiable`. Give one of them")
            if defaults["foreach"]:
                raise EngineError(
                    "`fused` and `foreach` cannot be `True` together. Give one of them"
                )
        self._schedules: list[Schedules] = []
        self._notice = Notice()
        self.skipped_steps = 0
        self.defaults = defaults
        self._forget()
        super().__init__(params, defaults)
        # As torch: only then does a GradScaler leave the gradients to the step.
        self._step_supports_amp_scaling = bool(defaults.get("fused"))
        if self.rule.state_at_construction:
            for group in self.param_groups:
                for p in group["params"]:
                    kinds = kinds_of(type(self).__name__, self.rule, group, p)
                    make_state(type(self).__name__, self.rule, group, p, self.state[p], kinds)

    @abstractmethod
    def _forget(self) -> None:
        """Drop everything that is derived from groups and state."""

    @abstractmethod
    def _added(self, params: list[Tensor]) -> None:
        """Take note of the parameters of a new group."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its values are checked, and the caller's dict is left as it was.

        Its schedules begin at their step 0, whatever the steps that other groups have done.

        Raises:
            InputError: a value out of range, a misspelt key, an integer parameter.
        """
        if not isinstance(param_group, dict):
            raise InputTypeError(f"param_group must be a dict, but got {type(param_group)}")
        owner = type(self).__name__
        check_keys(owner, param_group, (*self.defaults, *self.rule.switches))
        completed = {**self.defaults, **param_group}
        check_group(owner, self.rule, completed)
        check_alike(owner, self.rule, [*self.param_groups, completed])
        group = Group(param_group, self._notice)
        _beyond.mark(group)
        torchs_add_param_group(self, group)
        try:
            check_kinds(owner, group["params"])
        except InputError:
            self.param_groups.pop()
            raise
        self._schedules.append(take_schedules(self.rule, group))
        self._added(group["params"])
        _beyond.align(self.rule, self.param_groups, self.defaults)
        self._forget()

    # -- saving and loading -----------------------------------------------------------------------

    def state_dict(self, *, storage: Literal["float32"] | None = None) -> dict[str, Any]:
        """The state as plain data, to be saved.

        Args:
            storage: ``"float32"``: compact state (``storage=``) is opened, so that torch's
                optimizers can load it too; None: as it is kept, to resume to the same bits.

        Returns:
            ``{"state": ..., "param_groups": ...}`` as torch's.

        >>> import torch
        >>> from downslope.optim import AdamW
        >>> w = torch.nn.Parameter(torch.ones(64, 64))
        >>> optimizer = AdamW([w], storage="int8")
        >>> w.sum().backward()
        >>> optimizer.step()
        >>> optimizer.state_dict()["state"][0]["exp_avg"].dtype
        torch.int8
        >>> optimizer.state_dict(storage="float32")["state"][0]["exp_avg"].dtype
        torch.float32
        """
        if storage not in (None, "float32"):
            raise InputError(
                f"{type(self).__name__}: state_dict(storage=) must be 'float32' or None, "
                f"got {storage!r}"
            )
        saved: dict[str, Any] = _state_dict(self)
        if storage is not None:
            opened = {k: plain(self.rule, s) for k, s in of_parameters(saved).items()}
            saved = {**saved, "state": {**saved["state"], **opened}}
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a saved state, of this class or of torch's twin; what is loaded is copied.

        A hyperparameter that is a schedule here goes on from the step it had reached. Thresholds
        of clipping that were not saved (by torch, say) stay what they are here. State that was
        saved in another format than ``storage=`` asks for here is converted.

        Raises:
            InputError: the state was saved by another optimizer; nothing was changed.
            ValueError: the groups or their parameters differ in number.
        """
        loading = Loading(type(self).__name__, self.rule)
        # As hooks: the user's may change what is loaded before, and see what was loaded after.
        before = self.register_load_state_dict_pre_hook(loading.prepare)
        after = self.register_load_state_dict_post_hook(loading.finish, prepend=True)
        with before, after:
            torchs_load_state_dict(self, state_dict)

    def __getstate__(self) -> dict[str, Any]:
        own = ("_schedules", "on_nonfinite", "skipped_steps")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in own}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Reached from pickle and deepcopy, and from load_state_dict with groups and state alone.
        takes = "differentiable" in state.get("defaults", vars(self).get("defaults", ()))
        super().__setstate__(state)
        if not takes:  # torch adds it to all defaults, and it would go into the groups
            del self.defaults["differentiable"]
        self._notice = Notice()
        self.param_groups = [Group(g, self._notice) for g in self.param_groups]
        self._step_supports_amp_scaling = bool(self.defaults.get("fused"))
        self._forget()
        for group, schedules in zip(self.param_groups, self._schedules, strict=True):
            for key, default in self.defaults.items():
                # Older checkpoints lack newer flags. A schedule's value is set by the next step.
                group.setdefault(key, None if isinstance(default, Schedule) else default)
            if schedules:
                group.setdefault("schedule_step", self._steps_of(group))
        _beyond.align(self.rule, self.param_groups, self.defaults)

    def _steps_of(self, group: dict[str, Any]) -> int:
        """How many steps a group has done, from a checkpoint that did not count them itself."""
        counts = [self.state.get(p, {}).get("step", 0.0) for p in group["params"]]
        return int(max(map(float, counts), default=0))
