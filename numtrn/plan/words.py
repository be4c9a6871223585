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
from numtrn.plan.tiling import (
    BANK_COLUMNS,
    EXACT,
    INT32,
    LOWER_LHS,
    LOWER_RESULT,
    TILE,
    WHOLE,
    Tiling,
    batches,
    extent_of,
    split,
)
from numtrn.plan.tuned import Block, blocks_of, karatsuba_from
from numtrn.precision.fixed import result_words, word_bytes
from numtrn.request import MIRRORED, Structure

__all__ = [
    "LONG",
    "Planes",
    "counted_launches",
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
    "whole",
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

LATER = 2.5
"""For a triangle Karatsuba's form is faster from so many times the extent on: by the clock, 3072 to 6144."""

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


def prefers_karatsuba(
    batch: int, m: int, k: int, n: int, slices: int, chip: Chip, structure: Structure = "general"
) -> bool:
    """Whether fewer products save more than the planes of digit sums cost; where the data allow them.

    Planes of a triangle cost as much as others, and whole chunks of K hold more of its zeros than tiles do.
    """
    least = karatsuba_from(chip.name, slices)
    more = LATER if structure == "trmm" else 1
    return least is not None and min(m, k, n) >= more * least


def tile_products(
    batch: int,
    m: int,
    k: int,
    n: int,
    slices: int,
    parts: int,
    chip: Chip,
    structure: Structure = "general",
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
    structure
        As for `tile_words`.
    """
    tiling = tile_words(batch, m, k, n, slices, chip, parts * PEAK, structure)
    if parts == 1:
        return (tiling,)
    single = regroup(tiling, EXACT // (TILE * PEAK * PEAK))
    return single, single, regroup(tiling, ORDINARY_GROUP)


def regroup(tiling: Tiling, group: int) -> Tiling:
    """The same launches of ``sliced_gemm`` with ``group`` matmuls in a bank."""
    *shape, _, part = tiling.parameters
    return _counted(replace(tiling, parameters=(*shape, group, part)))


def counted_launches(tiling: Tiling) -> list[tuple[int, Tiling]]:
    """Tilings of all launches, each with its own counts, and how many there are of each.

    Those on the diagonal of a triangle come first; those below it are whole.
    """
    batch, m, k, n = tiling.pieces
    if tiling.part == WHOLE:
        return [(tiling.launches, tiling)]
    across = batch * (k if tiling.part == LOWER_RESULT else n)
    return [(across * m, tiling), (across * m * (m - 1) // 2, whole(tiling))]


def whole(tiling: Tiling) -> Tiling:
    """The launch of a sliced kernel for all blocks of whole operands, of the same extents."""
    return _counted(replace(tiling, parameters=(*tiling.parameters[:-1], WHOLE)))


def tile_words(
    batch: int,
    m: int,
    k: int,
    n: int,
    slices: int,
    chip: Chip,
    peak: int = PEAK,
    structure: Structure = "general",
) -> Tiling:
    """Tiling of ``sliced_gemm``.

    Parameters
    ----------
    batch, m, k, n
        Extents of the problem; m = n where the structure is one of `numtrn.request.MIRRORED`, m = k with
        ``"trmm"``.
    slices, peak
        Digits of an element, and the largest |digit|.
    chip
        The chip.
    structure
        Of the operands. Where the result is its own mirror image, blocks are square, launches on the diagonal
        run with their last parameter `LOWER_RESULT`, those below it with `WHOLE`, and those above not at all.
        With ``"trmm"`` M and K are cut alike; launches on the diagonal of A run with `LOWER_LHS`, those below
        it with `WHOLE`, and those above not at all. The counts are those of one on the diagonal.
    """
    for limit in LIMITS:
        tiling = _tile_words(limit, batch, m, k, n, slices, peak, chip, structure)
        if _longest(tiling) <= LONG and tiling.k * slices * peak**2 + CARRIED < INT32:
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
    structure: Structure,
) -> Tiling:
    size_m, pieces_m = split(m, min(limit[:2]) if structure == "trmm" else limit[0])
    size_k, pieces_k = split(k, limit[1])
    size_n, pieces_n = (size_m, pieces_m) if structure in MIRRORED else split(n, limit[2], 64)
    choice = _choice("sliced_gemm", size_m, size_n, slices, peak, chip, structure, pieces_m)
    block_m, block_n = extent_of(size_m, choice.rows), extent_of(size_n, choice.columns, 64)
    if structure in MIRRORED:
        block_n = block_m
    size_m, size_n = _padded(size_m, block_m), _padded(size_n, block_n)
    if structure == "trmm":
        pieces_m = ceil(m / size_m)
        size_k, pieces_k = size_m, pieces_m
    group = EXACT // (TILE * peak * peak)
    return _batched(
        batch,
        Tiling(
            kernel="sliced_gemm",
            batch=1,
            m=size_m,
            k=size_k,
            n=size_n,
            pieces=(batch, pieces_m, pieces_k, pieces_n),
            parameters=(1, slices, block_m, block_n, choice.depth, group, _part(structure)),
            slices=slices,
            block_m=block_m,
            block_n=block_n,
            matmuls=0,
            casts=0,
            adds=0,
            instructions=0,
            pe_columns=0,
            bytes_in=0,
            bytes_out=0,
        ),
    )


def _part(structure: Structure) -> int:
    """Of the launches on the diagonal."""
    return LOWER_RESULT if structure in MIRRORED else LOWER_LHS if structure == "trmm" else WHOLE


def _longest(tiling: Tiling) -> int:
    """Instructions of the longest launch."""
    several = tiling.part == LOWER_LHS and tiling.pieces[1] > 1
    return whole(tiling).instructions if several else tiling.instructions


def _batched(batch: int, tiling: Tiling) -> Tiling:
    """Launches of as many pairs as the instruction bound leaves room for, of a tiling of one."""
    size, pieces = batches(batch, _longest(_counted(tiling)), LONG)
    return _counted(
        replace(
            tiling,
            batch=size,
            pieces=(pieces, *tiling.pieces[1:]),
            parameters=(size, *tiling.parameters[1:]),
        )
    )


def _counted(tiling: Tiling) -> Tiling:
    """The tiling with the counts that its extents and parameters make."""
    blocks = _blocks(tiling)
    count = _count_karatsuba if tiling.kernel == "karatsuba_gemm" else _count_words
    matmuls, casts, adds, others = count(tiling, blocks)
    return replace(
        tiling,
        matmuls=tiling.batch * matmuls,
        casts=tiling.batch * casts,
        adds=tiling.batch * adds,
        instructions=tiling.batch * (matmuls + casts + adds + others),
        pe_columns=tiling.batch * matmuls * max(64, tiling.block_n),
        bytes_in=tiling.batch * tiling.k * (tiling.m + tiling.n) * word_bytes(tiling.slices),
        bytes_out=tiling.batch
        * sum(blocks.values())
        * tiling.block_m
        * tiling.block_n
        * result_words(tiling.slices)
        * 4,
    )


def _blocks(tiling: Tiling) -> dict[int, int]:
    """Output blocks of one pair, by the tiles of K that they are summed over."""
    tiles_k, columns = ceil(tiling.k / TILE), tiling.n // tiling.block_n
    blocks: dict[int, int] = {}
    for row in range(tiling.m // tiling.block_m):
        end = ceil((row + 1) * tiling.block_m / TILE) if tiling.part == LOWER_LHS else tiles_k
        end = min(end, tiles_k)
        blocks[end] = blocks.get(end, 0) + (row + 1 if tiling.part == LOWER_RESULT else columns)
    return blocks


def _count_words(tiling: Tiling, blocks: dict[int, int]) -> tuple[int, int, int, int]:
    """Matmuls, casts, additions and other instructions of one pair in ``sliced_gemm``."""
    s, row_tiles = tiling.slices, ceil(tiling.block_m / TILE)
    depth, group = tiling.parameters[4:6]
    matmuls = casts = adds = others = 0
    for tiles, count in blocks.items():
        evicted = _casts(tiles, depth, s, group)
        matmuls += count * row_tiles * tiles * s * (s + 1) // 2
        casts += count * evicted
        adds += count * (evicted - 1)  # each diagonal begins with a cast; slices - 1 of them get a carry
        others += count * (2 * tiles + _carries(s) + row_tiles)
    return matmuls, casts, adds, others


def tile_karatsuba(
    batch: int, m: int, k: int, n: int, slices: int, chip: Chip, structure: Structure = "general"
) -> Tiling:
    """Tiling of ``karatsuba_gemm``, as `tile_words`; K is rounded up to whole chunks."""
    for limit in LIMITS:
        tiling = _tile_karatsuba(limit, batch, m, k, n, slices, chip, structure)
        largest = tiling.k * (4 * PEAK**2 * ceil(slices / 2) + PEAK**2 * slices) + CARRIED
        if _longest(tiling) <= LONG and largest < INT32:
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
    structure: Structure,
) -> Tiling:
    size_m, pieces_m = split(m, min(limit[:2]) if structure == "trmm" else limit[0])
    size_n, pieces_n = (size_m, pieces_m) if structure in MIRRORED else split(n, limit[2], 64)
    choice = _choice("karatsuba_gemm", size_m, size_n, slices, PEAK, chip, structure, pieces_m)
    block_m, block_n = extent_of(size_m, choice.rows), extent_of(size_n, choice.columns, 64)
    if structure in MIRRORED:
        block_n = block_m
    size_m, size_n = _padded(size_m, block_m), _padded(size_n, block_n)
    if structure == "trmm" and pieces_m > 1:
        size_m, depth = _common(size_m, block_m, choice.depth)
        size_k, pieces_m = size_m, ceil(m / size_m)
    else:
        tiles_k = ceil(ceil(k / ceil(k / limit[1])) / TILE)
        depth = ceil(tiles_k / ceil(tiles_k / choice.depth))
        size_k = _padded(tiles_k, depth) * TILE
    return _batched(
        batch,
        Tiling(
            kernel="karatsuba_gemm",
            batch=1,
            m=size_m,
            k=size_k,
            n=size_n,
            pieces=(batch, pieces_m, ceil(k / size_k), pieces_n),
            parameters=(1, slices, block_m, block_n, depth, _part(structure)),
            slices=slices,
            block_m=block_m,
            block_n=block_n,
            matmuls=0,
            casts=0,
            adds=0,
            instructions=0,
            pe_columns=0,
            bytes_in=0,
            bytes_out=0,
        ),
    )


def _common(extent: int, block: int, depth: int) -> tuple[int, int]:
    """The extent, or a little more, of whole blocks and of whole chunks; the tiles in a chunk.

    They are ``depth`` at most, and half as many at least where the extent has them.

    >>> _common(1664, 128, 8), _common(1536, 512, 8)
    ((1792, 7), (1536, 6))
    """
    while True:
        tiles = extent // TILE
        most = next(d for d in range(min(depth, tiles), 0, -1) if tiles % d == 0)
        if 2 * most >= min(depth, tiles):
            return extent, most
        extent += block


def _count_karatsuba(tiling: Tiling, blocks: dict[int, int]) -> tuple[int, int, int, int]:
    """Matmuls, casts, additions and other instructions of one pair in ``karatsuba_gemm``."""
    s, depth, row_tiles = tiling.slices, tiling.parameters[4], ceil(tiling.block_m / TILE)
    products, pairs, kept = plane_count(s), pair_count(s), (s - 1) // 2 + 1
    subtracted = sum(s - p for p in range(kept, s))
    settled = s - 1 + 2 * (kept - 1)
    count = sum(blocks.values())
    chunks = sum(number * ceil(tiles / depth) for tiles, number in blocks.items())
    casts = chunks * products
    adds = chunks * (pairs + kept + subtracted) + count * (settled - kept)
    others = count * (kept - 1 + _carries(s) + result_words(s) * row_tiles) + 2 * casts
    return casts * depth * row_tiles, casts, adds, others


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
    size_batch, pieces_batch = batches(batch, instructions, LONG)
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


def _choice(
    kernel: str, m: int, n: int, slices: int, peak: int, chip: Chip, structure: Structure, pieces: int
) -> Block:
    """The block with the least predicted time for the shape: of a sample's multiply-add, times all made.

    A block that a shape fills to half at most is slower than its sample, and left to smaller ones. Of
    symmetric results blocks are square. ``pieces`` are the launches along M.
    """
    listed = blocks_of(kernel, chip.name, slices, peak)
    if structure in MIRRORED:
        squares = [b for b in listed if b.rows == b.columns]
        filled = [b for b in squares if m > b.rows // 2] or squares
        return min(filled, key=lambda b: b.ns * _triangle_work(m, extent_of(m, b.rows), pieces))
    filled = [b for b in listed if m > b.rows // 2 and n > b.columns // 2]
    low = [b for b in listed if b.rows == TILE and n > b.columns // 2]
    narrow = [b for b in listed if b.columns <= 2 * TILE and (m > b.rows // 2 or b.rows == TILE)]
    lower = pieces if structure == "trmm" else 0
    return min(filled or low or narrow, key=lambda b: b.ns * _work(m, n, b, lower))


def _work(m: int, n: int, block: Block, lower: int) -> int:
    """Elements made of a result, padding included; of all of K, or of the pieces of a triangle times m."""
    rows, columns = extent_of(m, block.rows), _padded(n, extent_of(n, block.columns, 64))
    return columns * (_triangle_work(m, rows, lower) if lower else _padded(m, rows))


def _padded(extent: int, block: int) -> int:
    return ceil(extent / block) * block


def _triangle_work(extent: int, block: int, pieces: int) -> int:
    """Elements of a triangle, of a number of launches along each side: blocks on the diagonal are whole."""
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
