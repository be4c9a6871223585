"""How a product is cut into launches of one compiled shape, and what one launch holds.

A kernel's loops are unrolled when it is compiled, so a launch is bounded in instructions; larger problems
are several launches of equal shape. Extents are rounded up a little so that similar problems share a
compiled shape; the partition count does not change an instruction's cost, so rounding M and K to 128
costs nothing, while every padded column of N does. Functions of plain integers: no arrays, no machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from numtrn.machine import Chip

__all__ = ["MAX_INSTRUCTIONS", "Tiling", "bucket", "tile_gemm", "tile_sliced"]

MAX_INSTRUCTIONS = 16_000
"""Most instructions of one launch; keeps compilation of the unrolled kernel bounded."""

TILE = 128
BANK_COLUMNS = 512
GEMM_LIMIT = (2048, 2048, 2048)
"""Most of M, K and N in one launch of the plain kernel; K by SBUF, see ``kernels/gemm.py``."""

SLICED_LIMITS = ((1024, 2048, 1024), (1024, 1024, 1024), (512, 1024, 1024), (512, 1024, 512))
"""Most of M, K, N in a launch of the sliced kernel: the first that keeps the instruction and int32 bounds."""

INT32 = 2**31

EXACT = 2**24
"""fp32 holds every integer up to here."""


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
        Launches along batch, m, k and n; their product is the number of launches.
    parameters
        Compile-time integers that the kernel takes after its two operands.
    slices
        Digit planes, or 0 for the plain kernel.
    block_m, block_n
        Output block of the sliced kernel; ``m`` and ``n`` for the plain one.
    matmuls, casts, adds, instructions
        Of one launch: ``nc_matmul``, PSUM evictions, integer additions, and all together.
    pe_columns
        Moving columns of one launch, each at least 64 a matmul: TensorE cycles of a 16-bit operand.
    bytes_in, bytes_out
        Of one launch, host to device and back.
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

    @property
    def limbs(self) -> int:
        """Words of an output of the sliced kernels."""
        return 1 + (self.slices + 1) // 3

    @property
    def lower(self) -> Tiling:
        """The same launch for the blocks on and below the diagonal only."""
        return replace(self, parameters=(*self.parameters[:-1], 1))

    @property
    def result_shape(self) -> tuple[int, int]:
        """Shape of what one launch gives."""
        if self.kernel == "least_product":
            return self.batch * self.m, 2
        if not self.slices:
            return self.batch * self.m, self.n
        if self.parameters[-1]:
            blocks = self.m // self.block_m
            return self.batch * blocks * (blocks + 1) // 2 * self.block_m, self.limbs * self.block_n
        return self.batch * self.m, self.n * self.limbs

    @property
    def launches(self) -> int:
        """Number of launches."""
        batch, m, k, n = self.pieces
        return batch * m * k * n


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


def tile_gemm(batch: int, m: int, k: int, n: int, itemsize: int, tf32: bool = False) -> Tiling:
    """Tiling of the plain kernel for operands of ``itemsize`` bytes."""
    limit_m, limit_k, limit_n = GEMM_LIMIT
    size_m, pieces_m = split(m, limit_m)
    size_k, pieces_k = split(k, limit_k)
    size_n, pieces_n = split(n, limit_n, 64)
    width = 1024 if itemsize == 2 else 512
    tiles_k = ceil(size_k / TILE)
    tiles_m = sum(ceil(part / TILE) for part in _parts(size_m, width))
    columns = [bank for part in _parts(size_n, width) for bank in _parts(part, BANK_COLUMNS)]
    panels_m, panels_n = ceil(size_m / width), ceil(size_n / width)
    matmuls = tiles_m * tiles_k * len(columns)
    casts = tiles_m * len(columns)
    loads = panels_n * tiles_k * (1 + panels_m)
    instructions = loads + matmuls + casts + tiles_m * panels_n
    size_batch, pieces_batch = _batches(batch, instructions)
    return Tiling(
        kernel="gemm",
        batch=size_batch,
        m=size_m,
        k=size_k,
        n=size_n,
        pieces=(pieces_batch, pieces_m, pieces_k, pieces_n),
        parameters=(size_batch, int(tf32)),
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
    )


def tile_sliced(batch: int, m: int, k: int, n: int, slices: int, peak: int, chip: Chip) -> Tiling:
    """Tiling of the sliced kernel for digits of at most ``peak`` in size."""
    for limit in SLICED_LIMITS:
        tiling = _tile_sliced(limit, batch, m, k, n, slices, peak, chip)
        if tiling.instructions <= MAX_INSTRUCTIONS and tiling.k * slices * peak**2 < INT32:
            break
    return tiling


def _tile_sliced(
    limit: tuple[int, int, int], batch: int, m: int, k: int, n: int, slices: int, peak: int, chip: Chip
) -> Tiling:
    limit_m, limit_k, limit_n = limit
    size_m, pieces_m = split(m, limit_m)
    size_k, pieces_k = split(k, limit_k)
    size_n, pieces_n = split(n, limit_n, 64)
    block_m, block_n, depth = _sliced_block(size_m, size_n, slices, chip)
    blocks_m, blocks_n = ceil(size_m / block_m), ceil(size_n / block_n)
    size_m, size_n = blocks_m * block_m, blocks_n * block_n
    group = EXACT // (TILE * peak * peak)
    tiles_k = ceil(size_k / TILE)
    chunks = [ceil(part / TILE) for part in _parts(size_k, depth * TILE)]
    tiles_m = blocks_m * ceil(block_m / TILE)
    matmuls = blocks_n * tiles_m * tiles_k * slices * (slices + 1) // 2
    casts = blocks_n * tiles_m * sum(ceil((t + 1) * tiles / group) for tiles in chunks for t in range(slices))
    adds = casts - blocks_n * tiles_m * slices
    loads = 2 * blocks_m * blocks_n * tiles_k
    instructions = loads + matmuls + casts + adds + blocks_n * tiles_m
    size_batch, pieces_batch = _batches(batch, instructions)
    return Tiling(
        kernel="sliced_gemm",
        batch=size_batch,
        m=size_m,
        k=size_k,
        n=size_n,
        pieces=(pieces_batch, pieces_m, pieces_k, pieces_n),
        parameters=(size_batch, slices, block_m, block_n, depth, group),
        slices=slices,
        block_m=block_m,
        block_n=block_n,
        matmuls=size_batch * matmuls,
        casts=size_batch * casts,
        adds=size_batch * adds,
        instructions=size_batch * instructions,
        pe_columns=size_batch * matmuls * max(64, block_n),
        bytes_in=size_batch * size_k * (size_m + size_n) * slices * 2,
        bytes_out=size_batch * size_m * size_n * slices * 4,
    )


def _sliced_block(m: int, n: int, slices: int, chip: Chip) -> tuple[int, int, int]:
    """Output block and depth whose accumulators and double-buffered planes fit SBUF.

    Large blocks read each operand fewer times; depth fills the PSUM groups of the short diagonals.
    """
    blocks_n = ceil(n / BANK_COLUMNS)
    block_n = bucket(ceil(n / blocks_n), 64)
    for limit, depth in ((512, 4), (256, 4), (512, 2), (256, 2), (128, 2)):
        block_m = bucket(ceil(m / ceil(m / limit)))
        planes = 2 * depth * slices * (block_m + block_n) * 2
        totals = ceil(block_m / TILE) * slices * block_n * 4
        if planes + totals + 2 * block_n * 4 <= chip.sbuf_usable_bytes:
            return block_m, block_n, depth
    return bucket(min(m, TILE)), block_n, 1


def _batches(batch: int, instructions: int) -> tuple[int, int]:
    """Pairs of one launch, within the instruction bound, and launches along the batch."""
    most = max(1, MAX_INSTRUCTIONS // instructions)
    pieces = ceil(batch / most)
    size = ceil(batch / pieces)
    return size, ceil(batch / size)


def _parts(extent: int, width: int) -> list[int]:
    """Widths of the steps of ``range(0, extent, width)``."""
    return [min(width, extent - start) for start in range(0, extent, width)]


def tile_words(batch, m, k, n, slices, parts, chip, symmetric=False):
    from dataclasses import replace

    t = tile_sliced(batch, m, k, n, slices, 128 * parts, chip)
    if symmetric:
        t = replace(t, n=t.m, block_n=t.block_m, pieces=(*t.pieces[:3], t.pieces[1]))
    group = EXACT // (TILE * 128 * 128)
    p = (t.batch, t.slices, t.block_m, t.block_n, t.parameters[4])
    first = replace(t, kernel="word_gemm", parameters=(*p, group, 0))
    if parts == 1:
        return (first,)
    return first, first, replace(t, kernel="word_gemm", parameters=(*p, t.parameters[5], 0))


def tile_planes(t: Tiling, side: int, k_is_fast: bool) -> Tiling:
    from dataclasses import replace

    extent, block = ((t.m, t.block_m), (t.n, t.block_n))[side]
    return replace(
        t,
        kernel="digit_planes",
        parameters=(t.batch, t.slices, block, int(k_is_fast)),
        bytes_out=t.batch * t.k * extent * t.slices * 2,
    )


def tile_least(batch: int, m: int, k: int, n: int) -> Tiling:
    from dataclasses import replace

    t = tile_gemm(batch, m, k, n, 2)
    return replace(t, kernel="least_product", parameters=(t.batch,))
