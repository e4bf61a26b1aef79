"""Optimizers of other libraries that take part where they are installed; none is needed.

An entry gives the module to import and how its optimizer is made of parameters. The arguments are
those of ours, so that both do the same work.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["installed", "on_cuda"]

Make = Callable[[Sequence[torch.Tensor]], torch.optim.Optimizer]


def _named(module: str, name: str, **kwargs: Any) -> tuple[str, Make]:
    def make(params: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
        optimizer = getattr(importlib.import_module(module), name)(params, **kwargs)
        if hasattr(optimizer, "train"):  # schedule-free ones ask for it
            optimizer.train()
        return optimizer

    return module, make


#: Class here -> rival's name -> its module and how to make it.
_RIVALS: dict[str, dict[str, tuple[str, Make]]] = {
    "AdamW": {
        "DeepSpeed": _named("deepspeed.ops.adam", "DeepSpeedCPUAdam", adamw_mode=True),
        "bitsandbytes": _named("bitsandbytes.optim", "AdamW"),
        "bitsandbytes 8 bit": _named("bitsandbytes.optim", "AdamW8bit"),
        "torchao 8 bit": _named("torchao.optim", "AdamW8bit"),
        "HeavyBall": _named("heavyball", "AdamW"),
    },
    "Lion": {
        "lion-pytorch": _named("lion_pytorch", "Lion"),
        "pytorch_optimizer": _named("pytorch_optimizer", "Lion"),
        "timm": _named("timm.optim", "Lion"),
    },
    "Adan": {"pytorch_optimizer": _named("pytorch_optimizer", "Adan")},
    "ADOPT": {"pytorch_optimizer": _named("pytorch_optimizer", "ADOPT")},
    "AdaBelief": {"pytorch_optimizer": _named("pytorch_optimizer", "AdaBelief")},
    "LAMB": {"pytorch_optimizer": _named("pytorch_optimizer", "Lamb")},
    "Prodigy": {"pytorch_optimizer": _named("pytorch_optimizer", "Prodigy")},
    "AdamWScheduleFree": {"schedulefree": _named("schedulefree", "AdamWScheduleFree")},
    "SGDScheduleFree": {"schedulefree": _named("schedulefree", "SGDScheduleFree")},
}


#: The same of libraries with compact state that need a CUDA device.
_COMPACT: dict[str, dict[str, tuple[str, Make]]] = {
    "AdamW": {"FlashOptim": _named("flashoptim", "FlashAdamW")},
    "Lion": {"FlashOptim": _named("flashoptim", "FlashLion")},
    "SGD": {"FlashOptim": _named("flashoptim", "FlashSGD", lr=0.001, momentum=0.9)},
}


def installed(name: str) -> dict[str, Make]:
    """The rivals of one of our classes whose packages are installed."""
    return _found(_RIVALS.get(name, {}))


def on_cuda(name: str) -> dict[str, Make]:
    """Those that keep compact state on a CUDA device."""
    return _found(_COMPACT.get(name, {}))


def _found(rivals: dict[str, tuple[str, Make]]) -> dict[str, Make]:
    return {
        rival: make
        for rival, (module, make) in rivals.items()
        if importlib.util.find_spec(module.partition(".")[0]) is not None
    }
