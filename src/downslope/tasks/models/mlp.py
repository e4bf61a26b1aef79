"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import nn

__all__ = ["flat_mlp", "mlp"]


def mlp(
    *sizes: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] | None = None,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Linear layers of these sizes, with a norm and an activation after each but the last.

    Args:
        sizes: of the input, of each hidden layer, of the output.
        activation: makes the activation.
        norm: makes a norm for so many features; ``None``: no norm.
        dropout: after each activation.

    >>> [type(layer).__name__ for layer in mlp(4, 8, 2, norm=nn.BatchNorm1d)]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers.append(nn.Linear(before, after))
        layers += [norm(after)] if norm else []
        layers.append(activation())
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def flat_mlp(
    features: int, outputs: int, *, width: int = 128, depth: int = 2, dropout: float = 0.0
) -> nn.Sequential:
    """An MLP with batch norm on inputs of any shape, which are flattened.

    Args:
        features: numbers in an input.
        outputs: classes, or values to predict; the output has the shape ``(rows, outputs)``.
        width: units of each hidden layer.
        depth: hidden layers.
        dropout: after each of them.

    >>> import torch
    >>> flat_mlp(12, 2)(torch.zeros(5, 3, 4)).shape
    torch.Size([5, 2])
    """
    sizes = (features, *[width] * depth, outputs)
    return nn.Sequential(nn.Flatten(), mlp(*sizes, norm=nn.BatchNorm1d, dropout=dropout))
