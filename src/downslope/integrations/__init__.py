"""Thin adapters: the monitor inside Lightning's and Transformers' trainers.

Optimizers and schedulers of :mod:`downslope.optim` need none: they are torch's there as anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import importer

if TYPE_CHECKING:
    from .lightning import LightningMonitor
    from .transformers import TransformersMonitor

__all__ = ["LightningMonitor", "TransformersMonitor"]

__getattr__ = importer(
    __name__, {"LightningMonitor": "lightning", "TransformersMonitor": "transformers"}
)


def __dir__() -> list[str]:
    return __all__
