"""A saved state, of ours or of torch's twin, taken over by an optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..rules import Rule
from . import _beyond
from ._checks import check_state
from ._placement import number_dtype
from ._storage import kinds_of, planes_of, take_over

__all__ = ["Loading", "of_parameters"]


class Loading:
    """What is done before and after torch's own ``load_state_dict``.

    Args:
        owner: the optimizer's name.
        rule: its rule.
    """

    def __init__(self, owner: str, rule: Rule) -> None:
        self._owner, self._rule = owner, rule
        self._loaded: dict[str, Any] = {}

    def prepare(self, optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
        """Check a saved state, and complete it with what torch's has not.

        Raises:
            InputError: another optimizer saved it.
        """
        rule = self._rule
        mine = {s.name for s in rule.slots} | ({"step"} if rule.counts_steps else set())
        states = of_parameters(saved).items()
        own = {k: s.keys() - planes_of(rule, s) for k, s in states}
        check_state(self._owner, mine, {**saved, "state": own})
        self._loaded = _beyond.completed(rule, saved, optimizer.param_groups)
        return self._loaded

    def finish(self, optimizer: torch.optim.Optimizer) -> None:
        """Make what torch has put into the state the optimizer's own, in its formats."""
        state, loaded = optimizer.state, self._loaded
        params = [(group, p) for group in optimizer.param_groups for p in group["params"]]
        for p in (p for _, p in params):
            if p in state:
                tensors = {k: v for k, v in state[p].items() if isinstance(v, Tensor)}
                state[p].update({k: v.clone() for k, v in tensors.items()})
        # torch gives every number the parameter's dtype; ours keep their own, and their bits.
        numbers = {"step", *(s.name for s in self._rule.slots if s.scalar)}
        keys = (k for group in loaded["param_groups"] for k in group["params"])
        for key, (group, p) in zip(keys, params, strict=True):
            for name in numbers.intersection(loaded["state"].get(key, ())):
                value = loaded["state"][key][name]
                plain = name == "step" and self._rule.plain_step
                state[p][name] = int(value) if plain else _as_number(value)
            if key in loaded["state"]:
                kinds = kinds_of(self._owner, self._rule, group, p)
                take_over(self._rule, kinds, p, state[p], loaded["state"][key])


def of_parameters(saved: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    """The parameters' part of a saved state; hooks may keep something of their own beside it."""
    keys = {key for group in saved["param_groups"] for key in group["params"]}
    return {key: state for key, state in saved["state"].items() if key in keys}


def _as_number(value: Any) -> Tensor:
    """A number of a checkpoint as a tensor of its own."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    return torch.tensor(float(value), dtype=number_dtype())
