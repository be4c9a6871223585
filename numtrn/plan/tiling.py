"""How a product is cut into launches of one compiled shape, and what one launch holds.

A kernel's loops are unrolled when it is compiled, so a launch is bounded in instructions; larger problems
are several launches of equal shape. Extents are rounded up a little so that similar problems share a
compiled shape; the partition count does not change an instruction's cost, so rounding M and K to 128
costs nothing, while every padded column of N does. Functions of plain integers: no arrays, no machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from numtrn.precision.fixed import result_words

__all__ = [
    "MAX_INSTRUCTIONS",
    "Tiling",
    "Turned",
    "batches",
    "block_edge",
    "bucket",
    "dividing_edge",
    "extent_of",
    "split",
    "stacked_rows",
    "tile_gemm",
]

MAX_INSTRUCTIONS = 16_000
"""Most instructions of one launch; keeps compilation of the unrolled kernel bounded."""

TILE = 128
BANK_COLUMNS = 512
GEMM_LIMIT = (4096, 2048, 4096)
"""Most of M, K and N in one launch of the plain kernel; K by SBUF, see ``kernels/gemm.py``."""

BLOCK_LIMIT = 512
"""Largest edge of the stacked blocks of a triangle: one PSUM bank of columns."""

INT32 = 2**31

EXACT = 2**24
"""fp32 holds every integer up to here."""

WHOLE, LOWER_RESULT, LOWER_LHS = 0, 1, 2
"""Last parameter of the sliced kernels: all blocks; those on and below the diagonal of a square result; all
blocks of a product whose lhs is lower triangular, without its zeros."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiling:
    """Launches of one shape that cover a batched product.

    Attributes
    ----------
    kernel
        Name of the kernel.
    batch, m, k, n
        Extents of one launch, after rounding up.
    pieces
        Launches along batch, m, k and n.
    parameters
        Compile-time integers that the kernel takes after its two operands.
    slices
        Digit planes, or 0 for the plain kernel.
    block_m, block_n
        Output block of the sliced kernel, edge of the stacked blocks of a triangle; ``m`` and ``n`` for the
        plain kernel.
    matmuls, casts, adds, instructions
        Of one launch, on the diagonal where there is one: ``nc_matmul``, PSUM evictions, integer
        additions, and all together.
    transposes
        ``nc_transpose`` on TensorE, of operands with the contraction along their rows.
    pe_columns, turned_columns
        Moving columns of one launch, each at least 64 a matmul, and what transposes take beside: TensorE
        cycles of a 16-bit operand.
    bytes_in, bytes_out
        Of one launch, host to device and back.
    cores
        Cores that the launches are spread over; see `numtrn.plan.cores`.
    """

    kernel: str
    batch: int
    m: int
    k: int
    n: int
    pieces: tuple[int, int, int, int]
    parameters: tuple[int, ...]
    slices: int
    block_m: int
    block_n: int
    matmuls: int
    casts: int
    adds: int
    instructions: int
    pe_columns: int
    bytes_in: int
    bytes_out: int
    transposes: int = 0
    turned_columns: int = 0
    cores: int = 1

    @property
    def limbs(self) -> int:
        """Words of an output of the sliced kernels."""
        return result_words(self.slices)

    @property
    def part(self) -> int:
        """What a sliced kernel multiplies: `WHOLE`, `LOWER_RESULT` or `LOWER_LHS`."""
        return self.parameters[-1] if self.slices else WHOLE

    @property
    def result_shape(self) -> tuple[int, int]:
        """Shape of what one launch gives."""
        if self.kernel == "least_product":
            return self.batch * self.m, 2
        if self.kernel == "rank_k":
            return self.batch * stacked_rows(self.n, self.block_n), self.block_n
        if not self.slices:
            return self.batch * self.m, self.n
        if self.part == LOWER_RESULT:
            blocks = self.m // self.block_m
            return self.batch * blocks * (blocks + 1) // 2 * self.block_m, self.limbs * self.block_n
        return self.batch * self.m, self.n * self.limbs

    @property
    def launches(self) -> int:
        """Number of launches; of triangles those on the diagonal and below it."""
        batch, m, k, n = self.pieces
        below = m * (m + 1) // 2
        return batch * {WHOLE: m * k * n, LOWER_RESULT: below * k, LOWER_LHS: below * n}[self.part]


def bucket(extent: int, step: int = TILE) -> int:
    """Round an extent up: to 16, 32, 64 or 128, and above that to a multiple of ``step``.

    >>> bucket(3), bucket(93), bucket(420), bucket(420, 64)
    (16, 128, 512, 448)
    """
    for size in (16, 32, 64, 128):
        if extent <= size:
            return size
    return ceil(extent / step) * step


def split(extent: int, limit: int, step: int = TILE) -> tuple[int, int]:
    """Equal pieces of at most ``limit``: (extent of a piece, number of pieces).

    >>> split(700, 512, 64)
    (384, 2)
    """
    pieces = max(1, ceil(extent / limit))
    size = bucket(ceil(extent / pieces), step)
    return size, ceil(extent / size)


def extent_of(extent: int, limit: int, step: int = TILE) -> int:
    """Extent of equal blocks of at most ``limit``.

    >>> extent_of(768, 512), extent_of(93, 512)
    (384, 128)
    """
    return bucket(ceil(extent / ceil(extent / limit)), step)


def block_edge(order: int) -> int:
    """Edge of the equal blocks that a triangle of that order is stacked in: at most 512.

    >>> block_edge(93), block_edge(512), block_edge(768)
    (128, 512, 384)
    """
    return extent_of(order, BLOCK_LIMIT)


def dividing_edge(order: int) -> int:
    """Edge of the blocks that pad an order least, of those that the kernels take: all of it up to 512.

    >>> dividing_edge(384), dividing_edge(2304), dividing_edge(4096)
    (384, 384, 512)
    """
    return order if order <= BLOCK_LIMIT else min((512, 384, 256), key=lambda edge: -order % edge)


def stacked_rows(order: int, block: int) -> int:
    """Rows of the blocks (0, 0), (1, 0), (1, 1), (2, 0) ... of a triangle below each other."""
    blocks = ceil(order / block)
    return blocks * (blocks + 1) // 2 * block


def tile_gemm(
    batch: int,
    m: int,
    k: int,
    n: int,
    itemsize: int,
    tf32: bool = False,
    k_is_fast: tuple[bool, bool] = (False, False),
) -> Tiling:
    """Tiling of the plain kernel.

    Parameters
    ----------
    batch, m, k, n
        Extents of the product.
    itemsize
        Bytes of an element as it is stored.
    tf32
        Whether float32 is cast to tf32.
    k_is_fast
        Of A and of B, whether neighbours in memory are neighbours along k: then the kernel transposes it.
    """
    limit_m, limit_k, limit_n = GEMM_LIMIT
    size_m, pieces_m = split(m, limit_m)
    size_k, pieces_k = split(k, limit_k)
    size_n, pieces_n = split(n, limit_n, 64)
    width = 1024 if itemsize == 2 else 512
    tiles_k = ceil(size_k / TILE)
    tiles_m = sum(ceil(part / TILE) for part in _parts(size_m, width))
    columns = [bank for part in _parts(size_n, width) for bank in _parts(part, BANK_COLUMNS)]
    matmuls = tiles_m * tiles_k * len(columns)
    casts = tiles_m * len(columns)
    sides = zip((size_m, size_n), k_is_fast, strict=True)
    turned = [Turned.of(size, size_k, width, itemsize) for size, turns in sides if turns]
    panels_m, panels_n = ceil(size_m / width), ceil(size_n / width)
    loads = tiles_k * _panel_moves(panels_m, panels_n, k_is_fast)
    instructions = loads + matmuls + casts + tiles_m * panels_n + sum(side.instructions for side in turned)
    size_batch, pieces_batch = batches(batch, instructions)
    return Tiling(
        kernel="gemm",
        batch=size_batch,
        m=size_m,
        k=size_k,
        n=size_n,
        pieces=(pieces_batch, pieces_m, pieces_k, pieces_n),
        parameters=(size_batch, int(tf32), *(int(turns) for turns in k_is_fast)),
        slices=0,
        block_m=size_m,
        block_n=size_n,
        matmuls=size_batch * matmuls,
        casts=size_batch * casts,
        adds=0,
        instructions=size_batch * instructions,
        pe_columns=size_batch * tiles_m * tiles_k * sum(max(64, c) for c in columns),
        bytes_in=size_batch * size_k * (size_m + size_n) * itemsize,
        bytes_out=size_batch * size_m * size_n * 4,
        transposes=size_batch * sum(side.transposes for side in turned),
        turned_columns=size_batch * sum(side.columns for side in turned),
    )


class Turned(NamedTuple):
    """What a kernel does to transpose one operand, panel by panel.

    Attributes
    ----------
    transposes
        ``nc_transpose`` on TensorE.
    columns
        Their cycles of a 16-bit operand.
    instructions
        All of them, with loads and evictions.
    """

    transposes: int
    columns: int
    instructions: int

    @classmethod
    def of(cls, extent: int, k: int, width: int, itemsize: int) -> Turned:
        """Of panels of ``width`` rows.

        Strips of at most 128 rows are loaded 2 KiB of each row at a time, and banks of as much evicted.
        """
        panels, bank = _parts(extent, width), 1024 if itemsize == 2 else 512
        strips = [rows for part in panels for rows in _parts(part, TILE)]
        depths = _parts(k, TILE)
        transposes = len(strips) * len(depths)
        columns = sum(max(rows, min(64, depth)) for rows in strips for depth in depths)
        loads = len(strips) * ceil(k / bank)
        evictions = sum(ceil(part / bank) for part in panels) * len(depths)
        return cls(transposes, columns, loads + transposes + evictions)


def _panel_moves(panels_m: int, panels_n: int, k_is_fast: tuple[bool, bool]) -> int:
    """Panels that the plain kernel loads with k on partitions, or stores so.

    One that is transposed stays while the other operand streams past it. Of two the lhs is stored as it is
    transposed, where it is needed again.
    """
    if k_is_fast == (True, True):
        return panels_m * panels_n if panels_n > 1 else 0
    return panels_m * panels_n + (0 if any(k_is_fast) else panels_n)


def batches(batch: int, instructions: int, most: int = MAX_INSTRUCTIONS) -> tuple[int, int]:
    """Problems of one launch, within the instruction bound, and launches along the batch."""
    pieces = ceil(batch / max(1, most // instructions))
    size = ceil(batch / pieces)
    return size, ceil(batch / size)


def _parts(extent: int, width: int) -> list[int]:
    """Widths of the steps of ``range(0, extent, width)``."""
    return [min(width, extent - start) for start in range(0, extent, width)]
