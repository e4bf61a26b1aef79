"""The built-in models: plain torch modules, one of a kind a file, each made from a few numbers.

:func:`mlp` for arrays, :class:`Cnn` for images, :class:`Gru` and :class:`Transformer` for text.
"""

from .cnn import Cnn
from .gru import Gru
from .mlp import flat_mlp, mlp
from .transformer import Transformer

__all__ = ["Cnn", "Gru", "Transformer", "flat_mlp", "mlp"]
