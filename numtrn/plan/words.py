"""How an exact product of digits is cut into launches: the kernels from words to words, and the guard's.

The operands of a launch are digit planes, made on the device from the host's words by a pre-pass of the same
blocks (`Planes`); a launch's result is carried words. As in `numtrn.plan.tiling`: functions of plain
integers, and the instructions counted are those the kernels issue. Output blocks and the form are chosen by
the times that the clock predicted for samples (`numtrn.plan.tuned`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from numtrn.machine import Chip
from numtrn.plan.tiling import BANK_COLUMNS, EXACT, INT32, TILE, Tiling, bucket, split
from numtrn.plan.tuned import Block, blocks_of, karatsuba_from
from numtrn.precision.fixed import result_words, word_bytes

__all__ = [
    "LONG",
    "Planes",
    "deepest",
    "fits",
    "pair_count",
    "plane_count",
    "prefers_karatsuba",
    "regroup",
    "tile_karatsuba",
    "tile_least",
    "tile_planes",
    "tile_products",
    "tile_words",
]

LONG = 65_000
"""Most instructions of one launch; a published kernel had 403,039 of VectorE alone
(``trnsci/trnblas: docs/design/mp2_energy_profile_findings.md``)."""

PEAK = 128
"""Largest |digit|."""

LIMITS = (
    (2048, 4096, 2048),
    (2048, 4096, 1024),
    (2048, 2048, 2048),
    (1024, 2048, 2048),
    (1024, 2048, 1024),
    (1024, 1024, 1024),
    (512, 1024, 1024),
    (512, 1024, 512),
)
"""Most of M, K, N in a launch: the first that keeps the instruction and int32 bounds."""

ORDINARY_GROUP = 8
"""Matmuls in a bank of the product of digit sums for ordinary data; `numtrn.engine` asks the data."""

CARRIED = 2**24
"""Room for a carry in the int32 accumulators."""

LEAST_LIMIT = (2048, 2048, 8192)
STRIP = 2
CHUNK_BYTES = 8192
SPAN = 2
BANKED = 8
KARATSUBA_BANKED = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Planes:
    """The pre-pass for one operand of a launch.

    Attributes
    ----------
    kernel
        ``"digit_planes"`` or ``"karatsuba_planes"``.
    parameters
        Compile-time integers that the kernel takes after the words.
    rows, columns
        Of the int8 words it takes.
    instructions
        Of the launch.
    bytes_in, bytes_out
        Of the words, and of the planes.
    """

    kernel: str
    parameters: tuple[int, ...]
    rows: int
    columns: int
    instructions: int
    bytes_in: int
    bytes_out: int


def plane_count(slices: int) -> int:
    """Planes of Karatsuba's form, which are its products: the digits and the sums of pairs.

    >>> plane_count(7), plane_count(8)
    (19, 24)
    """
    return slices + pair_count(slices)


def prefers_karatsuba(batch: int, m: int, k: int, n: int, slices: int, chip: Chip) -> bool:
    """Whether fewer products save more than the planes of digit sums cost; where the data allow them."""
    least = karatsuba_from(chip.name, slices)
    return least is not None and min(m, k, n) >= least


def tile_products(
    batch: int, m: int, k: int, n: int, slices: int, parts: int, chip: Chip, symmetric: bool = False
) -> tuple[Tiling, ...]:
    """Tilings of all products of words that one product takes, of the same launches.

    Parameters
    ----------
    batch, m, k, n, slices, chip
        As for `tile_words`.
    parts
        1, or 2 for complex operands: then the products of real parts, of imaginary parts, and of their sums.
        Launches are as small as the larger digits of the latter may need; the matmuls in a bank of that
        product are those of ordinary data, and `regroup` gives others.
    symmetric
        As ``triangle`` of `tile_words`.
    """
    tiling = tile_words(batch, m, k, n, slices, chip, parts * PEAK, symmetric)
    if parts == 1:
        return (tiling,)
    single = regroup(tiling, EXACT // (TILE * PEAK * PEAK))
    return single, single, regroup(tiling, ORDINARY_GROUP)


def regroup(tiling: Tiling, group: int) -> Tiling:
    """The same launches of ``sliced_gemm`` with ``group`` matmuls in a bank."""
    *shape, _, triangle = tiling.parameters
    columns = tiling.n // tiling.block_n
    blocks = columns * (columns + 1) // 2 if triangle else tiling.m // tiling.block_m * columns
    casts = tiling.batch * blocks * _casts(ceil(tiling.k / TILE), shape[4], tiling.slices, group)
    more = casts - tiling.casts
    return replace(
        tiling,
        parameters=(*shape, group, triangle),
        casts=casts,
        adds=tiling.adds + more,
        instructions=tiling.instructions + 2 * more,
    )


def tile_words(
    batch: int, m: int, k: int, n: int, slices: int, chip: Chip, peak: int = PEAK, triangle: bool = False
) -> Tiling:
    """Tiling of ``sliced_gemm``.

    Parameters
    ----------
    batch, m, k, n
        Extents of the problem; m = n with ``triangle``.
    slices, peak
        Digits of an element, and the largest |digit|.
    chip
        The chip.
    triangle
        Whether the result is symmetric. Then blocks are square, launches on the diagonal run with their last
        parameter 1, those below it with 0, and those above not at all: b (b + 1) / 2 of b x b launches. The
        counts are those of one on the diagonal.
    """
    for limit in LIMITS:
        tiling = _tile_words(limit, batch, m, k, n, slices, peak, chip, triangle)
        if tiling.instructions <= LONG and tiling.k * slices * peak**2 + CARRIED < INT32:
            break
    return tiling


def _tile_words(
    limit: tuple[int, int, int],
    batch: int,
    m: int,
    k: int,
    n: int,
    slices: int,
    peak: int,
    chip: Chip,
    triangle: bool,
) -> Tiling:
    size_m, pieces_m = split(m, limit[0])
    size_k, pieces_k = split(k, limit[1])
    size_n, pieces_n = (size_m, pieces_m) if triangle else split(n, limit[2], 64)
    choice = _choice("sliced_gemm", size_m, size_n, slices, peak, chip, pieces_m if triangle else 0)
    block_m, block_n, depth = _extent(size_m, choice.rows), _extent(size_n, choice.columns, 64), choice.depth
    if triangle:
        block_n = block_m
    blocks_m, blocks_n = ceil(size_m / block_m), ceil(size_n / block_n)
    size_m, size_n = blocks_m * block_m, blocks_n * block_n
    blocks = blocks_m * (blocks_m + 1) // 2 if triangle else blocks_m * blocks_n
    group = EXACT // (TILE * peak * peak)
    row_tiles = ceil(block_m / TILE)
    tiles_k = ceil(size_k / TILE)
    matmuls = blocks * row_tiles * tiles_k * slices * (slices + 1) // 2
    casts = blocks * _casts(tiles_k, depth, slices, group)
    adds = casts - blocks  # each diagonal begins with a cast; slices - 1 of them get a carry
    instructions = blocks * (2 * tiles_k + _carries(slices) + row_tiles) + matmuls + casts + adds
    size_batch, pieces_batch = _batches(batch, instructions)
    return Tiling(
        kernel="sliced_gemm",
        batch=size_batch,
        m=size_m,
        k=size_k,
        n=size_n,
        pieces=(pieces_batch, pieces_m, pieces_k, pieces_n),
        parameters=(size_batch, slices, block_m, block_n, depth, group, int(triangle)),
        slices=slices,
        block_m=block_m,
        block_n=block_n,
        matmuls=size_batch * matmuls,
        casts=size_batch * casts,
        adds=size_batch * adds,
        instructions=size_batch * instructions,
        pe_columns=size_batch * matmuls * max(64, block_n),
        bytes_in=size_batch * size_k * (size_m + size_n) * word_bytes(slices),
        bytes_out=size_batch * blocks * block_m * block_n * result_words(slices) * 4,
    )


def tile_karatsuba(
    batch: int, m: int, k: int, n: int, slices: int, chip: Chip, triangle: bool = False
) -> Tiling:
    """Tiling of ``karatsuba_gemm``, as `tile_words`; K is rounded up to whole chunks."""
    for limit in LIMITS:
        tiling = _tile_karatsuba(limit, batch, m, k, n, slices, chip, triangle)
        largest = tiling.k * (4 * PEAK**2 * ceil(slices / 2) + PEAK**2 * slices) + CARRIED
        if tiling.instructions <= LONG and largest < INT32:
            break
    return tiling


def _tile_karatsuba(
    limit: tuple[int, int, int],
    batch: int,
    m: int,
    k: int,
    n: int,
    slices: int,
    chip: Chip,
    triangle: bool,
) -> Tiling:
    size_m, pieces_m = split(m, limit[0])
    size_n, pieces_n = (size_m, pieces_m) if triangle else split(n, limit[2], 64)
    choice = _choice("karatsuba_gemm", size_m, size_n, slices, PEAK, chip, pieces_m if triangle else 0)
    tiles_k = ceil(ceil(k / ceil(k / limit[1])) / TILE)
    depth = ceil(tiles_k / ceil(tiles_k / choice.depth))
    chunks = ceil(tiles_k / depth)
    size_k = chunks * depth * TILE
    block_m, block_n = _extent(size_m, choice.rows), _extent(size_n, choice.columns, 64)
    if triangle:
        block_n = block_m
    blocks_m, blocks_n = ceil(size_m / block_m), ceil(size_n / block_n)
    size_m, size_n = blocks_m * block_m, blocks_n * block_n
    blocks = blocks_m * (blocks_m + 1) // 2 if triangle else blocks_m * blocks_n
    row_tiles = ceil(block_m / TILE)
    products, pairs, kept = plane_count(slices), pair_count(slices), (slices - 1) // 2 + 1
    matmuls = blocks * products * chunks * depth * row_tiles
    casts = blocks * products * chunks
    subtracted = sum(slices - p for p in range(kept, slices))
    settled = slices - 1 + 2 * (kept - 1)
    adds = blocks * (chunks * (pairs + kept + subtracted) - (slices - 1 + kept) + settled + slices - 1)
    vector = kept - 1 + _carries(slices)
    stores = result_words(slices) * row_tiles
    instructions = blocks * (2 * products * chunks + vector + stores) + matmuls + casts + adds
    size_batch, pieces_batch = _batches(batch, instructions)
    return Tiling(
        kernel="karatsuba_gemm",
        batch=size_batch,
        m=size_m,
        k=size_k,
        n=size_n,
        pieces=(pieces_batch, pieces_m, ceil(k / size_k), pieces_n),
        parameters=(size_batch, slices, block_m, block_n, depth, int(triangle)),
        slices=slices,
        block_m=block_m,
        block_n=block_n,
        matmuls=size_batch * matmuls,
        casts=size_batch * casts,
        adds=size_batch * adds,
        instructions=size_batch * instructions,
        pe_columns=size_batch * matmuls * max(64, block_n),
        bytes_in=size_batch * size_k * (size_m + size_n) * word_bytes(slices),
        bytes_out=size_batch * blocks * block_m * block_n * result_words(slices) * 4,
    )


def tile_planes(tiling: Tiling, side: str, transpose: bool) -> Planes:
    """The pre-pass of one operand of a launch.

    Parameters
    ----------
    tiling
        Of ``sliced_gemm`` or ``karatsuba_gemm``.
    side
        ``"lhs"`` or ``"rhs"``.
    transpose
        Whether the contraction lies along the rows of the words.
    """
    extent, block = (tiling.m, tiling.block_m) if side == "lhs" else (tiling.n, tiling.block_n)
    size = word_bytes(tiling.slices)
    k, s = tiling.k, tiling.slices
    parameters: tuple[int, ...]
    lead, along = (extent, k) if transpose else (k, extent)
    strips = ceil(block / TILE)
    tiles_k = ceil(k / TILE)
    if tiling.kernel == "karatsuba_gemm":
        depth = tiling.parameters[4]
        chunks = tiles_k // depth
        each = plane_count(s) + pair_count(s) * (2 + strips * depth) + 1
        each += ceil(depth / STRIP) * 2 * strips if transpose else depth + s
        turns = tiles_k * (s * strips + ceil(s / KARATSUBA_BANKED))
        instructions = chunks * each + (turns if transpose else 0)
        parameters = (tiling.batch, s, block, depth, int(transpose))
        kernel, count = "karatsuba_planes", plane_count(s)
    else:
        instructions = tiles_k * s
        if transpose:
            turns = tiles_k * (s * strips + ceil(s / BANKED))
            instructions = ceil(k * size / CHUNK_BYTES) * 2 * strips + turns + tiles_k
        parameters = (tiling.batch, s, block, int(transpose))
        kernel, count = "digit_planes", s
    blocks = extent // block
    instructions *= blocks
    if kernel == "digit_planes" and not transpose:
        instructions += 2 * tiles_k * ceil(blocks / SPAN)
    return Planes(
        kernel=kernel,
        parameters=parameters,
        rows=tiling.batch * lead,
        columns=along * size,
        instructions=tiling.batch * instructions,
        bytes_in=tiling.batch * extent * k * size,
        bytes_out=tiling.batch * extent * k * count * 2,
    )


def tile_least(batch: int, m: int, k: int, n: int) -> Tiling:
    """Tiling of ``least_product``."""
    size_m, pieces_m = split(m, LEAST_LIMIT[0])
    size_k, pieces_k = split(k, LEAST_LIMIT[1])
    size_n, pieces_n = split(n, LEAST_LIMIT[2], 64)
    tiles_m, tiles_k, width = ceil(size_m / TILE), ceil(size_k / TILE), 2 * BANK_COLUMNS
    panels_m, panels_n = ceil(size_m / width), ceil(size_n / width)
    banks = [min(BANK_COLUMNS, size_n - start) for start in range(0, size_n, BANK_COLUMNS)]
    matmuls = tiles_m * tiles_k * len(banks)
    instructions = matmuls + 5 * tiles_m * len(banks) + panels_n * tiles_k * (1 + panels_m) + 2 * tiles_m
    size_batch, pieces_batch = _batches(batch, instructions)
    return Tiling(
        kernel="least_product",
        batch=size_batch,
        m=size_m,
        k=size_k,
        n=size_n,
        pieces=(pieces_batch, pieces_m, pieces_k, pieces_n),
        parameters=(size_batch,),
        slices=0,
        block_m=size_m,
        block_n=size_n,
        matmuls=size_batch * matmuls,
        casts=0,
        adds=0,
        instructions=size_batch * instructions,
        pe_columns=size_batch * tiles_m * tiles_k * sum(max(64, c) for c in banks),
        bytes_in=size_batch * size_k * (size_m + size_n) * 2,
        bytes_out=size_batch * size_m * 8,
    )


def _choice(kernel: str, m: int, n: int, slices: int, peak: int, chip: Chip, pieces: int) -> Block:
    """The block with the least predicted time for the shape: of a sample's multiply-add, times all made.

    A block that a shape fills to half at most is slower than its sample, and left to smaller ones. With
    ``pieces``, launches along each side of a symmetric result, blocks are square.
    """
    listed = blocks_of(kernel, chip.name, slices, peak)
    if pieces:
        squares = [b for b in listed if b.rows == b.columns]
        filled = [b for b in squares if m > b.rows // 2] or squares
        return min(filled, key=lambda b: b.ns * _triangle_work(m, _extent(m, b.rows), pieces))
    filled = [b for b in listed if m > b.rows // 2 and n > b.columns // 2]
    low = [b for b in listed if b.rows == TILE and n > b.columns // 2]
    narrow = [b for b in listed if b.columns <= 2 * TILE and (m > b.rows // 2 or b.rows == TILE)]
    return min(filled or low or narrow, key=lambda b: b.ns * _work(m, n, b))


def _work(m: int, n: int, block: Block) -> int:
    """Elements made of a result, padding included."""
    return _padded(m, _extent(m, block.rows)) * _padded(n, _extent(n, block.columns, 64))


def _extent(extent: int, limit: int, step: int = TILE) -> int:
    """Extent of equal blocks of at most ``limit``."""
    return bucket(ceil(extent / ceil(extent / limit)), step)


def _padded(extent: int, block: int) -> int:
    return ceil(extent / block) * block


def _triangle_work(extent: int, block: int, pieces: int) -> int:
    """Elements made of a symmetric result: blocks on the diagonal are computed whole."""
    padded = _padded(extent, block)
    return pieces * padded * (padded + block) // 2 + pieces * (pieces - 1) // 2 * padded**2


def fits(kernel: str, rows: int, columns: int, depth: int, slices: int, chip: Chip) -> bool:
    """Whether a block fits SBUF, with room for TensorE never to wait."""
    tile = ceil(rows / TILE) * columns * 4
    planes = 2 * depth * (rows + columns) * 2
    if kernel == "sliced_gemm":
        tiles = slices + 6 + 2 * result_words(slices)
        return planes * slices + tiles * tile <= chip.sbuf_usable_bytes
    kept = (slices - 1) // 2 + 1
    tiles = max(slices + 3, slices - 1 + kept) + 7
    return depth <= deepest(slices, chip) and planes + tiles * tile <= chip.sbuf_usable_bytes


def deepest(slices: int, chip: Chip) -> int:
    """Tiles of K in a chunk: eight, or as many as SBUF holds in ``karatsuba_planes``, digits twice."""
    column = BANK_COLUMNS * (4 * slices + word_bytes(slices) + 6)
    return min(8, chip.sbuf_usable_bytes // column)


def pair_count(slices: int) -> int:
    """Pairs p < q with p + q < slices."""
    return slices // 2 * ((slices + 1) // 2)


def _casts(tiles_k: int, depth: int, slices: int, group: int) -> int:
    """PSUM evictions of ``sliced_gemm`` for one block."""
    chunks = (min(depth, tiles_k - start) for start in range(0, tiles_k, depth))
    return sum(ceil((t + 1) * tiles / group) for tiles in chunks for t in range(slices))


def _carries(slices: int) -> int:
    """VectorE instructions that carry a block: three for each diagonal, and one where a word has a digit."""
    begun = sum(t == slices - 1 or t % 3 == 0 for t in range(1, slices))
    return 4 * (slices - 1) - begun


def _batches(batch: int, instructions: int) -> tuple[int, int]:
    """Pairs of one launch, within the instruction bound, and launches along the batch."""
    pieces = ceil(batch / max(1, LONG // instructions))
    size = ceil(batch / pieces)
    return size, ceil(batch / size)
