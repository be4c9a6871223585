"""SYMM: the product of a symmetric matrix S, of which the lower blocks are given, and a general one, in fp32.

What makes it more than a port: half of S is all there is in HBM. A tile S[k, m] with k >= m is a stationary
operand as it lies; one above the diagonal is made on chip, once in a launch, by VectorE, which transposes
32 x 32 elements at a time from SBUF to SBUF. That moves bits, so it is exact, and costs TensorE nothing.
Nothing is computed with what lies above the diagonal of S, which may be NaN. A panel grows from the last
row of S up, so that the first products need tiles as they lie; the next one grows during its products.

Engines     TensorE multiplies, the limit; VectorE mirrors; ScalarE evicts PSUM, so that no mirror waits
            behind a product; GpSimd makes one mask; DMA.
SBUF        A panel of S, all rows of one column of blocks (64 KiB a partition at M = 4096, block = 512),
            resident for a sweep over N, and the next one as it grows; the tiles of the block that is being
            mirrored (8 KiB); tiles of rhs on their way.
PSUM        A fresh bank for each 128 rows of a strip of 512 columns of the result, all of K accumulated in
            it, a moving tile for all of them in turn; two sets of up to four rotate.
DMA         Rows of 2 KiB at block = 512: each block below the diagonal twice, as it lies and to be mirrored;
            rhs M / block times; the result.
Cores       Of two, each makes half of the columns: N is even. Both mirror S.
Bound       T_pe = ceil(M/128)^2 sum(max(n, 64)) c / f, with n the columns of each strip, c = 4 cycles for
            fp32 and 1 otherwise, f the TensorE clock. With c = 1 the DMA of rhs takes longer.
Limits      block <= 512; M <= 4096: two panels fit SBUF. Below N of about 300 VectorE or the DMA of S takes
            longer than T_pe; where M is several blocks of less than 384, the DMA may.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
QUADRANT = 32
BANK_COLUMNS = 512


@nki.jit
def symm(lower, rhs, block, tf32):
    """Multiply a symmetric matrix by a general one.

    Parameters
    ----------
    lower
        [b (b + 1) / 2 * block, block] in HBM, fp32, bf16 or fp16, b = M / block: the blocks (0, 0), (1, 0),
        (1, 1), (2, 0) ... of S below each other. What lies above the diagonal of S may be anything.
    rhs
        [M, N] in HBM, of the same dtype: the moving operand.
    block
        Edge of a block: 16, 32, 64 or 128, or a multiple of 128 up to 512.
    tf32
        Whether fp32 operands are cast to tf32 on their way in.

    Returns
    -------
    out
        [M, N] fp32 in HBM.
    """
    M = rhs.shape[0]
    N = rhs.shape[1]
    dtype = rhs.dtype
    if tf32:
        dtype = nl.tfloat32
    out = nl.ndarray((M, N), dtype=nl.float32, buffer=nl.shared_hbm)
    upper = above_diagonal(min(PARTITIONS, block))
    rows = upper.shape[0]
    tiles = M // rows
    blocks = M // block
    columns = N // nl.num_programs()
    mine = nl.program_id(0) * columns
    strips = (columns + BANK_COLUMNS - 1) // BANK_COLUMNS
    panel = []
    following = []
    sources = []
    for b in range(blocks):
        for s in range(strips):
            n0 = s * BANK_COLUMNS
            n1 = min(n0 + BANK_COLUMNS, columns)
            banks = []
            for _ in range(block // rows):
                banks.append(nl.ndarray((rows, n1 - n0), dtype=nl.float32, buffer=nl.psum))
            for step in range(tiles):
                if b == 0 and s == 0:
                    sources = extend(panel, sources, lower, b, tiles, block, dtype, upper)
                moving = load(rhs, (tiles - 1 - step) * rows, rows, mine + n0, mine + n1, dtype)
                for r in range(len(banks)):
                    nisa.nc_matmul(
                        dst=banks[r],
                        stationary=panel[step][0:rows, r * rows : (r + 1) * rows],
                        moving=moving,
                        accumulate=(step > 0),
                    )
                if b + 1 < blocks and (s * tiles + step + 1) % strips == 0:
                    sources = extend(following, sources, lower, b + 1, tiles, block, dtype, upper)
            for r in range(len(banks)):
                store(out, banks[r], b * block + r * rows, mine + n0, mine + n1)
        panel = following
        following = []
    return out


def above_diagonal(rows):
    """A square mask: 1 where the column is greater than the row."""
    ones = nl.ndarray((rows, rows), dtype=nl.uint8, buffer=nl.sbuf)
    nisa.memset(dst=ones, value=1, engine=nisa.engine.vector)
    mask = nl.ndarray((rows, rows), dtype=nl.uint8, buffer=nl.sbuf)
    nisa.affine_select(
        dst=mask,
        pattern=[[1, rows]],
        channel_multiplier=-1,
        on_true_tile=ones,
        on_false_value=0.0,
        cmp_op=nl.greater,
    )
    return mask


def extend(panel, sources, lower, b, tiles, block, dtype, upper):
    """Append the next tile up of columns b * block .. of S; gives the tiles from which more are mirrored.

    ``panel`` holds what has been made of it, from the last row up; ``sources`` is what the call before gave.
    """
    rows = upper.shape[0]
    inside = block // rows
    k = tiles - 1 - len(panel)
    i = k // inside
    r = k % inside
    tile = nl.ndarray((rows, block), dtype=dtype, buffer=nl.sbuf)
    if i >= b:
        end = block
        if i == b:
            end = (r + 1) * rows
        row = (i * (i + 1) // 2 + b) * block + r * rows
        nisa.dma_copy(dst=tile[0:rows, 0:end], src=lower[row : row + rows, 0:end])
    elif r == inside - 1:
        sources = []
        row = (b * (b + 1) // 2 + i) * block
        for c in range(inside):
            sources.append(load(lower, row + c * rows, rows, 0, block, dtype))
    if i == b:
        mirror_itself(tile, r * rows, upper)
        for c in range(r + 1, inside):
            mirror(tile, c * rows, panel[len(panel) - (c - r)], r * rows, rows)
    elif i < b:
        for c in range(inside):
            mirror(tile, c * rows, sources[c], r * rows, rows)
    panel.append(tile)
    return sources


def mirror(dst, column, src, source_column, rows):
    """Transpose the square tile at ``source_column`` of ``src`` to ``column`` of ``dst``."""
    edge = min(QUADRANT, rows)
    for p in range(0, rows, edge):
        for q in range(0, rows, edge):
            nisa.nc_transpose(
                dst=dst[p : p + edge, column + q : column + q + edge],
                data=src[q : q + edge, source_column + p : source_column + p + edge],
                engine=nisa.engine.vector,
            )


def mirror_itself(tile, column, upper):
    """Replace what lies above the diagonal of the square tile at ``column`` by what lies below."""
    rows = upper.shape[0]
    turned = nl.ndarray((rows, rows), dtype=tile.dtype, buffer=nl.sbuf)
    mirror(turned, 0, tile, column, rows)
    nisa.tensor_copy_predicated(dst=tile[0:rows, column : column + rows], src=turned, predicate=upper)


def load(source, row, rows, c0, c1, dtype):
    """Columns c0 to c1 of rows from ``row`` on in SBUF, cast to ``dtype`` by the DMA."""
    tile = nl.ndarray((rows, c1 - c0), dtype=dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source[row : row + rows, c0:c1])
    return tile


def store(out, bank, row, c0, c1):
    """Evict a bank of sums and write it to HBM."""
    rows = bank.shape[0]
    result = nl.ndarray((rows, c1 - c0), dtype=nl.float32, buffer=nl.sbuf)
    nisa.activation(dst=result, op=nl.copy, data=bank)
    nisa.dma_copy(dst=out[row : row + rows, c0:c1], src=result)
