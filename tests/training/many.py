"""One of the two processes of ``test_processes.py``: trains in every way, one run after another.

``python -m tests.training.many FOLDER``; what it finds out besides the runs it writes to
``FOLDER/said-RANK.json``.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from downslope import fit
from downslope.training import TrainingDivergedError

from .tiny import RECIPE, nested, plain, tiny

EVERY_THREE = RECIPE.replace(checkpoint_every=3)
Loss = Callable[[Tensor, Tensor], Tensor]


def on_rank_1(call: int, act: Callable[[], float]) -> Loss:
    """The mean squared error; at one of its calls on the second process something happens."""
    calls = iter(range(1, 1000))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        factor = act() if dist.get_rank() == 1 and next(calls) == call else 1.0
        return F.mse_loss(outputs, targets) * factor

    return loss


def terminate() -> float:
    os.kill(os.getpid(), signal.SIGTERM)
    return 1.0


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ddp, fsdp = (EVERY_THREE.replace(strategy=s) for s in ("ddp", "fsdp"))
    said: dict[str, object] = {}

    for recipe in (ddp, ddp.replace(accumulate=2), fsdp.replace(ema=0.9)):
        fit(tiny(model=plain), recipe, folder / f"{recipe.strategy}-{recipe.accumulate}")

    fit(tiny(model=nested), fsdp, folder / "nested")

    # What one process left, two go on with; what two leave, one will go on with.
    fit(tiny(model=plain), None, folder / "one", resume=True, changes={"strategy": "fsdp"})
    stopped = tiny(model=plain, loss=on_rank_1(8, terminate))
    said["sharded"] = fit(stopped, fsdp.replace(ema=0.9), folder / "two").reason

    # With dropout and batch norm: a signal to one of them stops both after the same step.
    fit(tiny(), ddp, folder / "whole")
    run = fit(tiny(loss=on_rank_1(11, terminate)), ddp, folder / "broken")
    said["signalled"] = run.reason
    fit(tiny(), None, folder / "broken", resume=True)

    try:
        fit(tiny(loss=on_rank_1(5, lambda: math.nan)), ddp, folder / "nan")
    except TrainingDivergedError as error:
        said["nan"] = str(error)

    (folder / f"said-{dist.get_rank()}.json").write_text(json.dumps(said))
    dist.barrier()  # or the first would leave, and take with it what the other asks when it leaves
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
