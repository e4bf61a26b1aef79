"""``downslope.optim`` has every name of ``torch.optim``, so that one line migrates."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch

from downslope import optim

CLASSES = [n for n in torch.optim.__all__ if inspect.isclass(getattr(torch.optim, n))]


@pytest.mark.parametrize("name", torch.optim.__all__)
def test_every_name_of_torch_is_here(name: str) -> None:
    """Public, and listed by ``from downslope.optim import *``."""
    assert hasattr(optim, name)
    assert name in optim.__all__


@pytest.mark.parametrize("name", [n for n in CLASSES if n != "Optimizer"])
def test_a_class_takes_torchs_arguments(name: str) -> None:
    """Torch's parameters come first, in torch's order, with torch's defaults."""
    theirs = list(inspect.signature(getattr(torch.optim, name)).parameters.values())
    ours = list(inspect.signature(getattr(optim, name)).parameters.values())
    for mine, torchs in zip(ours, theirs, strict=False):
        assert (mine.name, mine.kind, mine.default) == (torchs.name, torchs.kind, torchs.default)
    assert len(ours) >= len(theirs)


@pytest.mark.parametrize("name", ["AdamW", "NAdam", "RMSprop", "Adafactor"])
def test_parameters_and_state_swapped_in(name: str) -> None:
    """Steps on swapped-in tensors change these alone, counts included, as with torch's classes."""
    ends = []
    for module in (torch.optim, optim):
        p = torch.nn.Parameter(torch.ones(3, 2))
        optimizer = getattr(module, name)([p], lr=0.1)
        p.grad = torch.ones(3, 2)
        optimizer.step()
        lent, state = p.detach().clone(), copy.deepcopy(optimizer.state_dict())
        lent.grad = torch.full((3, 2), 2.0)
        with optim.swap_in_optimizer_params_and_state(optimizer, {"p": lent}, state):
            optimizer.step()
            optimizer.step()
        mine = {k: float(v.sum()) for k, v in optimizer.state[p].items()}
        theirs = {k: float(v.sum()) for k, v in state["state"][0].items()}
        ends.append((lent[0, 0].item(), theirs, p[0, 0].item(), mine))
    for ours, torchs in zip(ends[1], ends[0], strict=True):
        assert ours == pytest.approx(torchs, rel=1e-6)


def test_averaged_model_and_its_scheduler_work() -> None:
    """Torch's ``swa_utils`` step our optimizers."""
    model = torch.nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    averaged = optim.swa_utils.AveragedModel(model)
    scheduler = optim.swa_utils.SWALR(optimizer, swa_lr=0.01, anneal_epochs=1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    averaged.update_parameters(model)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert torch.equal(averaged.module.weight, model.weight)
