"""Buckets that step in turns, because a formula asks for sums over all tensors of the step.

A bucket's step is a generator. It yields each tensor's share of such sums, by the number of the
formula's call of ``xp.total``, and is sent the sums over all tensors of all buckets. A formula
without such calls runs in one turn.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import EngineError

__all__ = ["DIFFERENT_SUMS", "Exchange", "Shares", "Turns", "each", "run", "whole"]

#: By the number of the formula's call a sequence, or one tensor: of every tensor its share.
Shares = dict[int, Any]

#: A bucket's step: yields shares, wants the sums.
Turns = Generator[Shares, Mapping[int, Any], None]
#: A part of one that returns all of its sums.
Exchange = Generator[Shares, Mapping[int, Any], dict[int, Any]]

DIFFERENT_SUMS = (
    "the parameter groups' flags make this formula ask for different sums over all tensors. Give "
    "all groups the same flags"
)


def run(steps: Sequence[Turns]) -> None:
    """Run all steps to their end, exchanging sums between them."""
    shares = [next(step, None) for step in steps]
    while any(shares):
        known = [s for s in shares if s is not None]
        if len(known) < len(shares) or any(s.keys() != known[0].keys() for s in known):
            raise EngineError(DIFFERENT_SUMS)
        sums = {call: whole([x for s in known for x in each(s[call])]) for call in known[0]}
        shares = [_sent(step, sums) for step in steps]


def each(shares: Any) -> Sequence[Any]:
    """One tensor of all shares as a sequence for :func:`whole`, others as they are."""
    return [shares] if isinstance(shares, Tensor) else shares


def _sent(step: Turns, sums: Mapping[int, Any]) -> Shares | None:
    try:
        return step.send(sums)
    except StopIteration:
        return None


def whole(shares: Sequence[Any]) -> Any:
    """The sum of all tensors' shares: the same bits in any order, where they are numbers.

    >>> whole([1e16, 1.0, -1e16])
    1.0

    Args:
        shares: numbers, or tensors of one share or many.
    """
    tensors = [s for s in shares if isinstance(s, Tensor)]
    if tensors:
        like = tensors[0]
        return torch.cat([torch.as_tensor(s).to(like).reshape(-1) for s in shares]).sum()
    try:
        return math.fsum(shares)
    except (OverflowError, ValueError):  # infinities, which IEEE addition has an answer to
        return float(sum(shares))
