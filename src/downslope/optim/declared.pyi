"""The optimizers whose classes are declared from their rules. Written by dev/stubs.py: not by hand.

Every hyperparameter may be a schedule.
"""

from typing import ClassVar

from ..rules import Rule
from ._declare import Declared, Number
from ._optimizer import ParamsT

__all__ = [
    "Lion",
    "NormalizedSGD",
    "Signum",
]

class NormalizedSGD(Declared):
    """A smoothed sign step: the gradient gives the direction, lr alone the distance.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = NormalizedSGD([w], lr=0.001)
    >>> loss = (w**2).sum()
    >>> loss.backward()
    >>> optimizer.step()
    >>> bool((w**2).sum() < loss)
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        maximize, foreach, fused, differentiable, capturable: as in torch.

    Formula: ``downslope.rules.sgd``; ``downslope explain`` prints it from there.

    Source: Riedmiller, Braun: A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm, 1993, for the sign of the gradient as a direction; Bernstein et al.: signSGD,
    arXiv 1802.04434.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        eps: Number = 1e-08,
        weight_decay: Number = 0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None: ...

class Lion(Declared):
    """The sign of an average between the momentum and the gradient.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Lion([w], lr=0.0001)
    >>> loss = (w**2).sum()
    >>> loss.backward()
    >>> optimizer.step()
    >>> bool((w**2).sum() < loss)
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: share of the momentum in the direction; a finite number >= 0 and < 1, a one-element
            tensor or a schedule. Then: decay rate of the momentum; a finite number >= 0 and < 1, a
            one-element tensor or a schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update points against their gradient, and lengthen
            the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.

    Formula: ``downslope.rules.sign``; ``downslope explain`` prints it from there.

    Source: Chen et al.: Symbolic Discovery of Optimization Algorithms, arXiv 2302.06675.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.0001,
        betas: tuple[Number, Number] = (0.9, 0.99),
        weight_decay: Number = 0,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None: ...

class Signum(Declared):
    """The sign of the running mean of gradients; with momentum=0, signSGD.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Signum([w], lr=0.0001)
    >>> loss = (w**2).sum()
    >>> loss.backward()
    >>> optimizer.step()
    >>> bool((w**2).sum() < loss)
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        momentum: decay rate of the running mean; a finite number >= 0 and < 1, a one-element tensor
            or a schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update points against their gradient, and lengthen
            the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.

    Formula: ``downslope.rules.sign``; ``downslope explain`` prints it from there.

    Source: Bernstein, Wang, Azizzadenesheli, Anandkumar: signSGD: Compressed Optimisation for
    Non-Convex Problems, arXiv 1802.04434.

    The weights decay apart from the sign, as in the authors' second paper (arXiv 1810.05291,
    algorithm 1); their code adds weight_decay to the gradient where it does not compress.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.0001,
        momentum: Number = 0.9,
        weight_decay: Number = 0,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None: ...
