"""The optimizers whose classes are declared from their rules. Written by dev/stubs.py: not by hand.

Every hyperparameter may be a schedule.
"""

import math
from typing import ClassVar, Unpack

from ..rules import Rule
from ._beyond import Beyond
from ._declare import Declared, Number
from ._optimizer import ParamsT
from ._schedule_free import ScheduleFree

__all__ = [
    "ADOPT",
    "LAMB",
    "LARS",
    "MARS",
    "AdEMAMix",
    "AdaBelief",
    "AdamAtan2",
    "AdamWScheduleFree",
    "Adan",
    "LaProp",
    "Lion",
    "NormalizedSGD",
    "Prodigy",
    "SGDScheduleFree",
    "Signum",
    "StableAdamW",
]

class AdaBelief(Declared):
    """AdamW that divides by the deviation of gradients from their mean, not by their size.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdaBelief([w], lr=0.001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of the variance; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.adabelief``; ``downslope explain`` prints it from there.

    Source: Zhuang et al.: AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
    Gradients, arXiv 2010.07468.

    The paper's algorithm, with its authors' eps and decoupled weight decay. Their package also
    waits as RAdam does unless rectify=False; here it never does.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-16,
        weight_decay: Number = 0,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class AdamAtan2(Declared):
    """AdamW with an arc tangent in place of the division: no eps, and no step above pi / 2 * a.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdamAtan2([w], lr=0.0001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of moment 2; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        a: factor of the angle; a finite number >= 0, a one-element tensor or a schedule.
        b: factor of the root mean square; a finite number >= 0, a one-element tensor or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.adam_atan2``; ``downslope explain`` prints it from there.

    Source: Everett et al.: Scaling Exponents Across Parameterizations and Optimizers, arXiv
    2407.05872.

    The authors published no optimizer. The defaults are those of the PyTorch version in common use;
    a = 1.27, nearly 4 / pi, makes the step lr where AdamW's is lr.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.0001,
        betas: tuple[Number, Number] = (0.9, 0.99),
        weight_decay: Number = 0,
        a: Number = 1.27,
        b: Number = 1.0,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class Adan(Declared):
    """Nesterov's momentum from the differences of gradients, over a root mean square.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Adan([w], lr=0.001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of the differences, and their weight; a finite number >= 0
            and < 1, a one-element tensor or a schedule. Then: decay rate of the mean square; a
            finite number >= 0 and < 1, a one-element tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.adan``; ``downslope explain`` prints it from there.

    Source: Xie et al.: Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
    Models, arXiv 2208.06677.

    betas are decay rates, as in the authors' code; in the paper they are what is left to 1. So a
    difference counts betas[1] = 0.92 times; optax counts it 0.08 times.

    The weights are divided by 1 + lr * weight_decay after the step, as in the authors' code unless
    no_prox=True.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: tuple[Number, Number, Number] = (0.98, 0.92, 0.99),
        eps: Number = 1e-08,
        weight_decay: Number = 0,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class AdEMAMix(Declared):
    """AdamW with a second mean of the gradient, which remembers ten thousand steps.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdEMAMix([w], lr=0.001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of the mean square; a finite number >= 0 and < 1, a
            one-element tensor or a schedule. Then: decay rate of the slow mean; a finite number >=
            0 and < 1, a one-element tensor or a schedule.
        alpha: weight of the slow mean; a finite number >= 0, a one-element tensor or a schedule.
        beta3_warmup: steps in which betas[2] grows from betas[0]; a finite number >= 0, a
            one-element tensor or a schedule.
        alpha_warmup: steps in which alpha grows from 0; a finite number >= 0, a one-element tensor
            or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.ademamix``; ``downslope explain`` prints it from there.

    Source: Pagliardini, Ablin, Grangier: The AdEMAMix Optimizer: Better, Faster, Older, arXiv
    2409.03137.

    A warmup of 0 steps is the authors' None. Their code adds 1e-8 to both betas before it takes the
    logarithms of the warmup; the paper's formula, followed here, does not.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: tuple[Number, Number, Number] = (0.9, 0.999, 0.9999),
        alpha: Number = 2.0,
        beta3_warmup: Number = 0,
        alpha_warmup: Number = 0,
        eps: Number = 1e-08,
        weight_decay: Number = 0,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class ADOPT(Declared):
    """Adam that converges with any betas: a gradient has no part in its own denominator.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = ADOPT([w], lr=0.001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of moment 2; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        decoupled_weight_decay, maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.adopt``; ``downslope explain`` prints it from there.

    Source: Taniguchi et al.: ADOPT: Modified Adam Can Converge with Any beta2 with the Optimal
    Rate, arXiv 2411.02853.

    The clipped version of the paper's second edition and of the authors' code, whose bound is the
    number of earlier steps to the power 1/4. The first edition had no bound.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: tuple[Number, Number] = (0.9, 0.9999),
        eps: Number = 1e-06,
        weight_decay: Number = 0,
        *,
        decoupled_weight_decay: bool = False,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class LAMB(Declared):
    """AdamW, every tensor at a rate in proportion to its length.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = LAMB([w], lr=0.001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of moment 2; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.lamb``; ``downslope explain`` prints it from there.

    Source: You et al.: Large Batch Optimization for Deep Learning: Training BERT in 76 minutes,
    arXiv 1904.00962.

    Both means are corrected for their start, as in the paper's algorithm; the authors' first code
    did not.

    A tensor or update of zeros has the ratio 1, as in NVIDIA's and timm's LAMB, which also clip
    gradients to the norm 1 and leave tensors without weight decay unscaled.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-06,
        weight_decay: Number = 0.01,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class LaProp(Declared):
    """The mean of normalized gradients, where Adam normalizes the mean.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = LaProp([w], lr=0.0004)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of moment 2; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.laprop``; ``downslope explain`` prints it from there.

    Source: Ziyin, Wang, Ueda: LaProp: Separating Momentum and Adaptivity in Adam, arXiv 2002.04839.

    The authors' code keeps the learning rate inside the mean, which is the same while it is
    constant; the paper's algorithm, followed here, has it outside.

    The weights decay as in AdamW; the authors' code multiplies by 1 - weight_decay, without the
    learning rate.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.0004,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-15,
        weight_decay: Number = 0,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class LARS(Declared):
    """Gradient descent with momentum, every tensor at a rate in proportion to its length.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = LARS([w], lr=1.0)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        momentum: share of the last step that is kept; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        trust_coefficient: length of a step by that of the tensor, at lr=1; 0: the plain gradient; a
            finite number >= 0, a one-element tensor or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.lars``; ``downslope explain`` prints it from there.

    Source: You, Gitman, Ginsburg: Large Batch Training of Convolutional Networks, arXiv 1708.03888.

    lr and the trust ratio are inside the momentum, as in the paper's algorithm; NVIDIA's LARC and
    timm have lr outside, TensorFlow's LARSOptimizer both. With a constant lr and ratio all are the
    same.

    A tensor or gradient of zeros has the ratio 1, as in those libraries, or it would never move.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1.0,
        momentum: Number = 0.9,
        weight_decay: Number = 0.0005,
        trust_coefficient: Number = 0.001,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class MARS(Declared):
    """AdamW with less variance: gradients are corrected by how they change, and clipped.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = MARS([w], lr=0.003)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of moment 2; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        gamma: weight of the correction; a finite number >= 0, a one-element tensor or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.mars``; ``downslope explain`` prints it from there.

    Source: Yuan et al.: MARS: Unleashing the Power of Variance Reduction for Training Large Models,
    arXiv 2411.10438.

    MARS-AdamW in its approximate form, as in the authors' code: the last gradient is of the last
    batch, and zero before the first. The clipping is to the norm 1, tensor by tensor.

    The authors step vectors (biases, normalization layers) by AdamW with its own settings. Here
    every tensor is stepped alike, as theirs with optimize_1d=True; give vectors an AdamW of their
    own to do as they do.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.003,
        betas: tuple[Number, Number] = (0.95, 0.99),
        eps: Number = 1e-08,
        weight_decay: Number = 0,
        gamma: Number = 0.025,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class Prodigy(Declared):
    """AdamW that needs no learning rate: it estimates how far the minimum is, and grows with it.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Prodigy([w], lr=1.0)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of moment 2; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        beta3: decay rate of the sums; 0: the root of betas[1]; a finite number >= 0 and < 1, a
            one-element tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        d0: first estimate; a finite number > 0, a one-element tensor or a schedule.
        d_coef: factor of the estimate, by which to tune; a finite number >= 0, a one-element tensor
            or a schedule.
        growth_rate: largest factor by which d grows in a step; a number >= 1, a one-element tensor
            or a schedule.
        use_bias_correction: correct both means for their start, as Adam does.
        safeguard_warmup: leave lr out of s, for runs whose lr warms up.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.prodigy``; ``downslope explain`` prints it from there.

    Source: Mishchenko, Defazio: Prodigy: An Expeditiously Adaptive Parameter-Free Learner, arXiv
    2306.06101, algorithm 4.

    As in the authors' code: s and the numerator fall with beta3, a step uses d as it was before but
    in eps, and weight decay is decoupled.

    d is one for all groups, so betas[1], beta3, d0, d_coef and growth_rate must be the same in all.
    Groups may differ in lr, whose steps then count by their own; the authors' code refuses all but
    0. A group whose lr is 0 adds to no sum, as there; its means go on.

    A step whose gradients are all zero is taken; the authors' code leaves out the first ones of a
    run.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1.0,
        betas: tuple[Number, Number] = (0.9, 0.999),
        beta3: Number = 0,
        eps: Number = 1e-08,
        weight_decay: Number = 0,
        d0: Number = 1e-06,
        d_coef: Number = 1.0,
        growth_rate: Number = math.inf,
        *,
        use_bias_correction: bool = False,
        safeguard_warmup: bool = False,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class SGDScheduleFree(ScheduleFree, Declared):
    """Gradient descent evaluated at the average of its path, without a schedule.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = SGDScheduleFree([w], lr=1.0)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        momentum: share of the average in the point that is trained; a finite number > 0 and < 1, a
            one-element tensor or a schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        warmup_steps: steps in which lr grows from 0; a finite number >= 0, a one-element tensor or
            a schedule.
        r: power of the step in its weight in the average; a finite number >= 0, a one-element
            tensor or a schedule.
        weight_lr_power: power of the largest lr in that weight; a finite number >= 0, a one-element
            tensor or a schedule.
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.schedule_free``; ``downslope explain`` prints it from there.

    Source: Defazio et al.: The Road Less Scheduled, arXiv 2405.15682.

    A step is weighted by the largest learning rate so far, as in the authors' code; the paper's
    algorithm takes that step's own, which is the same while it does not fall.

    Averages of batch normalization belong to the weights that were trained: have them made anew by
    some forward passes in training mode between optimizer.eval() and the evaluation.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1.0,
        momentum: Number = 0.9,
        weight_decay: Number = 0,
        warmup_steps: Number = 0,
        r: Number = 0,
        weight_lr_power: Number = 2,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class AdamWScheduleFree(ScheduleFree, Declared):
    """AdamW evaluated at the average of its path, without a schedule.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = AdamWScheduleFree([w], lr=0.0025)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: share of the average in the point that is trained; a finite number > 0 and < 1, a
            one-element tensor or a schedule. Then: decay rate of moment 2; a finite number >= 0 and
            < 1, a one-element tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        warmup_steps: steps in which lr grows from 0; a finite number >= 0, a one-element tensor or
            a schedule.
        r: power of the step in its weight in the average; a finite number >= 0, a one-element
            tensor or a schedule.
        weight_lr_power: power of the largest lr in that weight; a finite number >= 0, a one-element
            tensor or a schedule.
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.schedule_free``; ``downslope explain`` prints it from there.

    Source: Defazio et al.: The Road Less Scheduled, arXiv 2405.15682.

    The root mean square is corrected for its start in lr, as in the paper's algorithm; later
    versions of the authors' code correct it itself, so that eps and weight_decay count more in the
    first steps.

    A step is weighted by the largest learning rate so far, as in the authors' code; the paper's
    algorithm takes that step's own, which is the same while it does not fall.

    Averages of batch normalization belong to the weights that were trained: have them made anew by
    some forward passes in training mode between optimizer.eval() and the evaluation.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.0025,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0,
        warmup_steps: Number = 0,
        r: Number = 0,
        weight_lr_power: Number = 2,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...

class NormalizedSGD(Declared):
    """A smoothed sign step: the gradient gives the direction, lr alone the distance.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = NormalizedSGD([w], lr=0.001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

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
        **beyond: Unpack[Beyond],
    ) -> None: ...

class Lion(Declared):
    """The sign of an average between the momentum and the gradient.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Lion([w], lr=0.0001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: share of the momentum in the direction; a finite number >= 0 and < 1, a one-element
            tensor or a schedule. Then: decay rate of the momentum; a finite number >= 0 and < 1, a
            one-element tensor or a schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

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
        **beyond: Unpack[Beyond],
    ) -> None: ...

class Signum(Declared):
    """The sign of the running mean of gradients; with momentum=0, signSGD.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = Signum([w], lr=0.0001)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        momentum: decay rate of the running mean; a finite number >= 0 and < 1, a one-element tensor
            or a schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

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
        **beyond: Unpack[Beyond],
    ) -> None: ...

class StableAdamW(Declared):
    """AdamW with Adafactor's clipping of updates: it takes no long step after a jump.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    >>> optimizer = StableAdamW([w], lr=0.002)
    >>> losses = []
    >>> for _ in range(3):
    ...     optimizer.zero_grad()
    ...     loss = (w**2).sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[0] > losses[-1]
    True

    Args:
        params: parameters, named parameters or parameter groups.
        lr: step size; a finite number >= 0, a one-element tensor or a schedule.
        betas: decay rate of moment 1; a finite number >= 0 and < 1, a one-element tensor or a
            schedule. Then: decay rate of moment 2; a finite number >= 0 and < 1, a one-element
            tensor or a schedule.
        eps: keeps the denominator from zero; a finite number >= 0, a one-element tensor or a
            schedule.
        weight_decay: pull of every weight towards zero; a finite number >= 0, a one-element tensor
            or a schedule.
        cautious: leave out the elements whose update, by its momentum, points against their
            gradient, and lengthen the others in proportion (Liang et al., arXiv 2411.16085).
        maximize, foreach, fused, differentiable, capturable: as in torch.
        clip_norm: largest L2 norm of all gradients together; a group that gives its own is clipped
            alone, by the norm of its gradients; a number > 0, a one-element tensor or a schedule.
            None: no clipping.
        clip_value: largest absolute value of an element of a gradient; a number > 0, a one-element
            tensor or a schedule. None: no clipping.
        clip_agc: largest norm of the gradient of a unit (a row, a filter, a vector as a whole) as a
            share of the norm of its weights, or of 1e-3 where that is larger (arXiv 2102.06171); a
            number > 0, a one-element tensor or a schedule. None: no clipping.
        on_nonfinite: what a step does when a gradient is infinite or NaN: 'skip' it, or 'raise' an
            error that names the parameter; nothing is changed then. None, as torch: step.
        storage: how state is kept: 'float32', 'bfloat16' or 'int8', or a dict that gives one a slot
            ({'exp_avg': 'int8'}) and 'weight': 'float24' or 'float32' corrects 16-bit weights to so
            many bits, which a word alone does too. Tensors of fewer than 4096 elements keep
            float32. None, as torch: in the parameter's dtype.

    Formula: ``downslope.rules.stable_adamw``; ``downslope explain`` prints it from there.

    Source: Wortsman et al.: Stable and low-precision training for large-scale vision-language
    models, arXiv 2304.13013, algorithm 2.

    The weight decay is shortened with the step, as in the paper's algorithm; the authors' code
    shortens only the step.

    exp_avg and exp_avg_sq are corrected for their start when they are updated, not when they are
    used: they are not AdamW's.
    """

    rule: ClassVar[Rule]
    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.002,
        betas: tuple[Number, Number] = (0.9, 0.99),
        eps: Number = 1e-06,
        weight_decay: Number = 0.2,
        *,
        cautious: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
        capturable: bool = False,
        **beyond: Unpack[Beyond],
    ) -> None: ...
