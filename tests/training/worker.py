"""A process that starts runs and sends itself signals, so that tests can resume them.

``python -m tests.training.worker FOLDER:SIGNAL:STEP ...``; a SIGKILL must be the last one.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

import torch

from downslope import fit

from .tiny import RECIPE, tiny


def shoot(number: int, at: int, event: dict[str, Any]) -> None:
    if event["event"] == "train" and event["step"] == at:
        os.kill(os.getpid(), number)


if __name__ == "__main__":
    torch.set_num_threads(1)  # as the tests: dropout's bits depend on it
    for argument in sys.argv[1:]:
        folder, name, step = argument.split(":")
        shot = partial(shoot, getattr(signal, name), int(step))
        run = fit(tiny(), RECIPE.replace(checkpoint_every=3), folder, on_event=[shot])
        print(run.reason)
