"""Names of a package that are imported when first used: a help text must not wait for torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["importer"]


def importer(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``.

    Args:
        package: its ``__name__``.
        homes: by exported name the module inside the package that has it; a module's own name is
            the module itself.

    >>> importer("downslope", {"Recipe": "training"})("Recipe")
    <class 'downslope.training.recipe.Recipe'>
    >>> importer("downslope", {"Recipe": "training"})("Recipes")
    Traceback (most recent call last):
    AttributeError: module 'downslope' has no attribute 'Recipes'. Did you mean 'Recipe'?
    """

    def get(name: str) -> Any:
        if name not in homes:
            from .errors import guess

            raise AttributeError(
                f"module {package!r} has no attribute {name!r}.{guess(name, homes)}"
            )
        module = importlib.import_module(f".{homes[name]}", package)
        value = module if name == homes[name] else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return get
