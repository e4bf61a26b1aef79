"""The part of a class's documentation that its rule knows."""

from __future__ import annotations

from ..rules import Rule
from . import _beyond

__all__ = ["described"]


def described(rule: Rule, arguments: list[str]) -> str:
    """The arguments of a constructor in words, and where its formula comes from.

    Args:
        rule: of the class.
        arguments: the constructor's, by name.
    """
    lines = {"params": "parameters, named parameters or parameter groups."}
    for hyper in rule.hypers:
        said = f"{hyper.meaning}; {hyper.range}, a one-element tensor or a schedule."
        before = lines.get(hyper.group_key)
        lines[hyper.group_key] = f"{before} Then: {said}" if before else said
    for flag in rule.flags:
        if flag.meaning:
            lines[flag.group_key] = f"{flag.meaning}."
    flags = [name for name in arguments if name not in (*lines, "beyond", *_beyond.MEANINGS)]
    return "\n".join(
        [
            "Args:",
            *(f"    {name}: {said}" for name, said in lines.items()),
            *([f"    {', '.join(flags)}: as in torch."] if flags else []),
            *(f"    {name}: {said}" for name, said in _beyond.MEANINGS.items()),
            "",
            f"Formula: ``{rule.update.__module__}``; ``downslope explain`` prints it from there.",
            "",
            f"Source: {rule.paper}",
            *(f"\n{note}" for note in rule.notes),
        ]
    )
