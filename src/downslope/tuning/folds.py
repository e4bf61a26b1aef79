"""Cross validation: one task for each fold of the rows that are trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from ..errors import InputError, MissingExtraError
from ..tasks import Task, size, subset
from ..tasks.images.folder import unaugmented
from .outcome import Outcome

__all__ = ["cross_validated", "folded"]

Pair = tuple[Tensor, ...]


def folded(task: Task, folds: int, seed: int) -> list[Task]:
    """Tasks that each train on all but one part of the training rows and validate on that part.

    The task's own validation rows are in none of them. Parts are drawn by scikit-learn:
    ``StratifiedKFold`` where the targets are class indices in a tensor, else ``KFold``. Images are
    judged by as they are, not augmented. What a task has learnt from all its training rows, such as
    the mean of a column, stays as it is.

    Args:
        task: to be cut up.
        folds: how many parts, 2 or more; 1 gives the task itself.
        seed: of the shuffling before the cut.

    Raises:
        InputError: more folds than rows, or than rows of the rarest class.
        MissingExtraError: scikit-learn is not installed.

    >>> from downslope import load_task
    >>> [(len(fold.train), len(fold.validation)) for fold in folded(load_task("digits"), 3, seed=0)]
    [(958, 479), (958, 479), (958, 479)]
    """
    if folds == 1:
        return [task]
    try:
        from sklearn.model_selection import KFold, StratifiedKFold
    except ImportError:
        raise MissingExtraError("scikit-learn", "tune", "Cross validation") from None
    judged = unaugmented(task.train)
    rows, classes = size(judged), _classes(judged)
    fewest = rows if classes is None else min(Counter(classes.tolist()).values())
    if folds > fewest:
        what = "rows to train on" if classes is None else "rows of the rarest class"
        raise InputError(f"{folds} folds need as many {what}; {task.name!r} has {fewest}.")
    kind = KFold if classes is None else StratifiedKFold
    cuts = kind(folds, shuffle=True, random_state=seed).split(np.zeros(rows), classes)
    return [
        replace(
            task,
            train=subset(task.train, torch.from_numpy(train)),
            validation=subset(judged, torch.from_numpy(held_out)),
            train_rows=(),
            validation_rows=(),
            source={},
        )
        for train, held_out in cuts
    ]


def cross_validated(outcomes: Sequence[Outcome], *, by_loss: bool, higher_is_better: bool) -> float:
    """The best value, over the course of training, of the mean over folds.

    Args:
        outcomes: a run on each fold, validated equally often.
        by_loss: whether the loss is meant, not the metric.
        higher_is_better: of the metric.
    """
    curves = [[p.loss if by_loss else p.metric for p in o.curve] for o in outcomes]
    means = [fmean(values) for values in zip(*curves, strict=False)]
    return max(means) if higher_is_better and not by_loss else min(means)


def _classes(data: Dataset[Pair]) -> Tensor | None:
    """The class of each row, where that is known without reading all rows."""
    if not isinstance(data, TensorDataset):
        return None
    targets = data.tensors[-1]
    whole = not targets.is_floating_point() and targets.ndim == 1 and bool((targets >= 0).all())
    return targets if whole else None
