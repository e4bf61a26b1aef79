"""How a name on the command line becomes a model."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["named_model"]


def named_model(spec: str, target: str | None = None) -> nn.Module:
    """The model of a task, or what a function of the user's own makes."""
    if ":" not in spec or Path(spec).exists():
        from ..tasks import load_task

        return load_task(spec, target=target).model()
    module, _, function = spec.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        made: Any = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{spec!r} is no function: {error}. Give package.module:function, importable from here."
        ) from None
    model: nn.Module = made.model() if hasattr(made, "metric") else made  # a task, or a model
    return model
