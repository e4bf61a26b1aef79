"""All engines by name: what :mod:`downslope.optim` chooses from."""

from __future__ import annotations

from .bucket import Bucket
from .called import EagerBucket, TensorScalarBucket
from .compiled import CompiledBucket
from .foreach import ForeachBucket
from .gpu.bucket import CountingTritonBucket, TritonBucket
from .matrix.run import MATRIX, MATRIX_LOOP, MatrixBucket, MatrixLoopBucket
from .shards import Shards

__all__ = ["ENGINES"]


class _CompiledShards(Shards, CompiledBucket):
    """Local shards of DTensors on the CPU."""


class _TritonShards(Shards, TritonBucket):
    """Local shards of DTensors on an accelerator."""


class _CountingTritonShards(Shards, CountingTritonBucket):
    """The same for fused and capturable steps."""


ENGINES: dict[str, type[Bucket]] = {
    "foreach": ForeachBucket,
    "eager": EagerBucket,
    "tensor": TensorScalarBucket,
    MATRIX: MatrixBucket,
    MATRIX_LOOP: MatrixLoopBucket,
    "numba": CompiledBucket,
    "numba-shards": _CompiledShards,
    "triton": TritonBucket,
    "triton-shards": _TritonShards,
    "triton-counting": CountingTritonBucket,
    "triton-counting-shards": _CountingTritonShards,
}
