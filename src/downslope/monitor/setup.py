"""What is known before the first step: the model's shape and how the optimizer treats it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

__all__ = ["kinds_of_parameters", "setup_event"]

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def kinds_of_parameters(model: nn.Module) -> dict[str, str]:
    """``"norm"``, ``"bias"``, ``"embedding"`` or ``"weight"`` of every parameter's name.

    >>> kinds_of_parameters(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    {'0.weight': 'weight', '0.bias': 'bias', '1.weight': 'norm', '1.bias': 'norm'}
    """
    kinds = {}
    for prefix, module in model.named_modules():
        for name, p in module.named_parameters(recurse=False):
            if isinstance(module, _NORMS):
                kind = "norm"
            elif isinstance(module, _EMBEDDINGS):
                kind = "embedding"
            else:
                kind = "bias" if "bias" in name or p.dim() < 2 else "weight"
            kinds[f"{prefix}.{name}" if prefix else name] = kind
    return kinds


def setup_event(model: nn.Module, optimizer: Optimizer, total_steps: int | None) -> dict[str, Any]:
    """The event ``setup``, from which the doctor knows what it looks at."""
    group_of = {id(p): k for k, g in enumerate(optimizer.param_groups) for p in g["params"]}
    kinds = kinds_of_parameters(model)
    tensors = {
        name: {
            "kind": kinds.get(name, "weight"),
            "shape": list(p.shape),
            "trained": p.requires_grad,
            "group": group_of.get(id(p)),
            "dtype": str(p.dtype).removeprefix("torch."),
        }
        for name, p in model.named_parameters()
    }
    plain = (int, float, bool, str, type(None), tuple, list)
    return {
        "event": "setup",
        "optimizer": type(optimizer).__name__,
        "groups": [
            {k: _plain(v) for k, v in g.items() if k != "params" and isinstance(v, plain)}
            | {"lr": float(g["lr"])}
            for g in optimizer.param_groups
        ],
        "tensors": tensors,
        "modules": dict(Counter(type(m).__name__ for m in model.modules())),
        "total_steps": total_steps,
        "device": str(next((p.device for p in model.parameters()), torch.device("cpu"))),
    }


def _plain(value: Any) -> Any:
    """Without tensors inside tuples."""
    if isinstance(value, (tuple, list)):
        return [float(v) for v in value if isinstance(v, (int, float, torch.Tensor))]
    return value
