"""A step among hooks, without a record for torch's profiler."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

__all__ = ["hooked"]


def hooked(optimizer: Optimizer, step: Callable[..., Any], *closure: Any) -> Any:
    """Call ``step(optimizer, *closure)`` among the hooks, as torch's own wrapper does.

    That opens a record for the profiler first, which takes half of the time of a small step.
    """
    args: tuple[Any, ...] = (optimizer, *closure)
    kwargs: dict[str, Any] = {}
    for hooks in (_global_optimizer_pre_hooks, optimizer._optimizer_step_pre_hooks):
        if not hooks:
            continue
        for hook in hooks.values():
            changed = hook(optimizer, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(
                        f"a hook before {type(optimizer).__name__}.step must return None or a "
                        f"tuple of new arguments, positional and named, but returned {changed!r}."
                    )
                args, kwargs = changed
    loss = step(*args, **kwargs)
    if optimizer._optimizer_step_post_hooks or _global_optimizer_post_hooks:
        after = optimizer._optimizer_step_post_hooks.values(), _global_optimizer_post_hooks.values()
        for told in chain(*after):
            told(optimizer, args, kwargs)
    return loss
