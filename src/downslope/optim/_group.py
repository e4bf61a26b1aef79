"""A parameter group that notes when something is put into it.

A step may be told new hyperparameters by anyone who holds a group. Reading a thousand groups again
takes longer than stepping a thousand small tensors, so they are read only after a change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..rules import Rule
from ..schedules import Schedule
from ._beyond import CLIPS

__all__ = ["Group", "Notice", "Schedules", "set_scheduled", "take_schedules", "tells_of_changes"]

#: By a group's key, and the place in its value where that is a tuple, what drives it.
Schedules = dict[tuple[str, int | None], Schedule]


class Notice:
    """Whether any of some groups was changed; they share it."""

    __slots__ = ("changed",)

    def __init__(self) -> None:
        self.changed = True


class Group(dict[str, Any]):
    """A dict that sets ``notice.changed`` when it is written to; copied and pickled as a dict.

    >>> group = Group({"lr": 0.1}, notice := Notice())
    >>> notice.changed = False
    >>> group["lr"] = 0.2
    >>> notice.changed
    True
    """

    __slots__ = ("_notice",)

    def __init__(self, values: dict[str, Any], notice: Notice) -> None:
        super().__init__(values)
        self._notice = notice

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return dict, (dict(self),)


def _noting(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def write(self: Group, *args: Any, **kwargs: Any) -> Any:
        self._notice.changed = True
        return method(self, *args, **kwargs)

    write.__name__, write.__doc__ = name, method.__doc__
    return write


for _name in (
    "__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update",
):  # fmt: skip
    setattr(Group, _name, _noting(_name))


def tells_of_changes(group: dict[str, Any]) -> bool:
    """Whether no value can change unseen: a dict put in a group's place, a list's elements."""
    return type(group) is Group and not any(
        type(value) is list for key, value in group.items() if key != "params"
    )


def take_schedules(rule: Rule, group: dict[str, Any]) -> Schedules:
    """Note which values of a group are schedules, and put their first values in their place."""
    taken: Schedules = {}
    clips = (h for h in CLIPS if h.name in group)
    for hyper in (*rule.hypers, *clips):
        value = hyper.of(group)
        if isinstance(value, Schedule):
            taken[hyper.group_key, hyper.index] = value
    if taken:
        group["schedule_step"] = 0
        set_scheduled(group, taken)
    return taken


def set_scheduled(group: dict[str, Any], schedules: Schedules) -> None:
    """Put the schedules' values of this step into a group."""
    for (key, index), schedule in schedules.items():
        value = float(schedule(group["schedule_step"]))
        if index is None:
            group[key] = value
        else:
            parts = list(group[key])
            parts[index] = value
            group[key] = tuple(parts)
