"""What the parameter groups say: read at the first step, and again when one of them changed."""

from __future__ import annotations

from operator import is_
from typing import Any

from torch import Tensor

from ..engines.bucket import Table
from ..engines.clip import Treatment
from ..rules import Rule
from . import _beyond
from ._clipping import Clipping, wanted
from ._group import Notice, tells_of_changes
from ._hypers import checked
from ._placement import structure

__all__ = ["Reading"]


class Reading:
    """The groups of an optimizer as the step wants them.

    Args:
        owner: the optimizer's name, for errors.
        rule: its rule.
        defaults: its defaults.
        notice: that the groups share.
    """

    def __init__(self, owner: str, rule: Rule, defaults: dict[str, Any], notice: Notice) -> None:
        self._owner, self._rule, self._defaults, self._notice = owner, rule, defaults, notice
        self._groups: list[dict[str, Any]] = []
        self._sizes: list[int] = []
        self._tensors = False
        #: The parameters of every group.
        self.lists: list[list[Tensor]] = []
        #: What buckets depend on; another object when it changed.
        self.structure: list[tuple[Any, ...]] | None = None
        self.table = Table(())
        self.treatment = Treatment((), (), (), ())
        #: How gradients are clipped by their norms, if they are.
        self.clipping: Clipping | None = None

    def update(self, groups: list[dict[str, Any]], *, unread: bool) -> None:
        """Read the groups again if something changed.

        Args:
            groups: all groups.
            unread: hyperparameters that are tensors are the device's affair.

        Raises:
            InputError: a value that is not allowed.
        """
        known = not self._notice.changed and len(groups) == len(self._groups)
        if (
            known
            and self.structure is not None
            and all(map(is_, groups, self._groups))
            and list(map(len, self.lists)) == self._sizes
            and (unread or not self._tensors)
        ):
            return
        self._notice.changed = True  # until all was read: a value that is refused is no news later
        rule = self._rule
        self._groups, self.lists = list(groups), [g["params"] for g in groups]
        self._sizes = list(map(len, self.lists))
        _beyond.align(rule, groups, self._defaults)
        where = [structure(rule, g) for g in groups]
        if where != self.structure:
            self.structure = where
        hypers, self._tensors = checked(self._owner, rule, groups, self._defaults)
        self.table = Table(hypers)
        signs = tuple(-1.0 if g.get("maximize") else 1.0 for g in groups)
        value, agc = (tuple(g.get(n) for g in groups) for n in ("clip_value", "clip_agc"))
        self.treatment = Treatment(signs, (1.0,) * len(groups), value, agc)
        self.clipping = Clipping(groups) if wanted(groups) else None
        self._notice.changed = not all(map(tells_of_changes, groups))
