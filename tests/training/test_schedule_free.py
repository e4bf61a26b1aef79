"""A run with a Schedule-Free optimizer is judged and kept at the average."""

from __future__ import annotations

from pathlib import Path

import torch

from downslope import fit, optim
from downslope.training import checkpoint

from .tiny import RECIPE, tiny


def test_checkpoints_after_an_epoch_hold_the_average(tmp_path: Path) -> None:
    """The best and the last weights are those to evaluate: ``train()`` would change them."""
    recipe = RECIPE.replace(optimizer="sgdschedulefree", schedule="constant", warmup=0.0)
    run = fit(tiny(), recipe, tmp_path)
    for file in (run.files.best, run.files.last):
        saved = checkpoint.load(file)
        model = tiny().model()
        model.load_state_dict(saved["model"])
        optimizer = optim.SGDScheduleFree(model.parameters())
        optimizer.load_state_dict(saved["optimizer"])
        assert [group["train_mode"] for group in optimizer.param_groups] == [False]
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.train()
        assert any(not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
