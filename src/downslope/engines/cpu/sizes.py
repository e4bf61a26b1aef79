"""The pieces that CPU kernels work in: how many elements, partial sums and bytes at a time."""

from __future__ import annotations

__all__ = ["AHEAD", "CHUNK", "LANES", "LEAST", "LINE", "PAGE", "RUN", "TILE"]

#: Elements a chunk: the unit that threads take. 128 KiB of float32, so a chunk's arrays stay in L2.
CHUNK = 1 << 15
#: Elements of a compact array that are computed before they are closed: two blocks, so that the
#: second is computed while the first one's largest value is found.
TILE = 256
#: Partial sums a chunk, added in a fixed tree: the same bits on any number of threads. As many as
#: registers hold.
LANES = 64
#: Elements of which squares are added in float32, a lane 16 of them, before they go on in float64.
RUN = 16 * LANES
#: The least sum of squares of a chunk that is found so: what vanishes in float32 is far smaller.
LEAST = 1e-24
#: Bytes that memory is fetched by, and that a page table has an entry for.
LINE, PAGE = 64, 4096
#: How far ahead of a sum its memory is asked for, in bytes, and the page table one page further.
#: Processors fetch ahead by themselves, but not beyond the end of a page.
AHEAD = 2 * PAGE
