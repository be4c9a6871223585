"""Exact products of 8-bit digit planes, carried on the device to words of 24 bits: what float64 GEMM needs.

N = sum over t of 256^-t sum over p + q = t of lhs[p].T @ rhs[q], an integer times 256^(1 - s), in words.

What makes it more than a port: TensorE multiplies bf16 exactly and PSUM adds in fp32, so a sum of integers
stays exact up to 2^24. With digits |q| <= 128 that is eight matmuls of 128 rows in one bank; then ScalarE
casts the banks of all row tiles of the block to int32 in one instruction and GpSimd, which has native int32,
adds them to the accumulator of their diagonal. Nothing is rounded: the result is the same for every tiling,
order of summation and target. Carries of one block run between the products of the next one, and a word
holds three diagonals, so that 12 bytes leave for an output of seven.

Engines     TensorE s (s + 1) / 2 products for s slices, the limit; ScalarE casts every bank; GpSimd adds;
            VectorE splits digits and carries, five passes over a diagonal; DMA.
SBUF        int32 accumulators of the s diagonals of one block, and those of the block before while they are
            carried; its words; all planes of ``depth`` * 128 rows of both operands, twice, so that the next
            rows load meanwhile.
PSUM        A tile of one bank for each 128 rows of the block, for each group of ``group`` matmuls; rotating.
DMA         Operand rows hold all planes of a block side by side: 2 * slices * block_m bytes (7 KiB at
            7 x 512); result rows 4 * words * block_n bytes (6 KiB).
Cores       Of two, each makes half of the rows of every block, of half of lhs and all of rhs; block_m even.
Bound       T_pe = batch s (s + 1) / 2 ceil(M/128) ceil(K/128) N / f, f the TensorE clock; (b + 1) / 2b
            of it for b blocks of rows with ``part`` 1 and 2.
Limits      block_m <= 512; K slices max|digit|^2 + 2^24 < 2^31, for the int32 accumulators.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
BANK_COLUMNS = 512
DIGITS = 3
SIGN = -2147483648
CARRY_OFFSET = 8388608


@nki.jit
def sliced_gemm(lhs, rhs, batch, slices, block_m, block_n, depth, group, part):
    """Multiply ``batch`` pairs of sliced matrices stacked along their rows, in blocks of the result.

    Parameters
    ----------
    lhs
        [batch * K, (M / block_m) * slices * block_m] bf16 in HBM: for each block of M, the planes
        side by side, most significant first.
    rhs
        [batch * K, (N / block_n) * slices * block_n] bf16 in HBM, likewise.
    batch
        Number of pairs.
    slices
        Digit planes of each operand, s; the diagonals t = 0 .. s - 1 are computed.
    block_m, block_n
        Rows and columns of one output block: block_m <= 128 or a multiple up to 512, block_n <= 512.
    depth
        Tiles of 128 contraction rows that are in SBUF together.
    group
        Matmuls accumulated in one PSUM bank: group * 128 * max|digit|^2 <= 2^24.
    part
        0 for all of the product; 1 to compute only the blocks on and below the diagonal of a square result,
        of square blocks; 2 where the product's left operand is square and lower triangular, to leave out the
        tiles of K that lie above its diagonal in all rows of a block.

    Returns
    -------
    out
        int32 in HBM, W = 1 + ceil((slices - 1) / 3) words of each output, N = sum of w_i 2^(-24 i), w_0
        signed, the others in 0 .. 2^24 - 1. [batch * M, (N / block_n) * W * block_n], for each block of N
        the words side by side; with ``part`` 1 [batch * b (b + 1) / 2 * block_m, W * block_n], the blocks
        (0, 0), (1, 0), (1, 1), (2, 0) ... below each other.
    """
    K = lhs.shape[0] // batch
    blocks_m = lhs.shape[1] // (slices * block_m)
    blocks_n = rhs.shape[1] // (slices * block_n)
    width = (1 + (slices - 1 + DIGITS - 1) // DIGITS) * block_n
    shape = (batch * blocks_m * block_m, blocks_n * width)
    if part == 1:
        shape = (batch * (blocks_m * (blocks_m + 1) // 2) * block_m, width)
    out = nl.ndarray(shape, dtype=nl.int32, buffer=nl.shared_hbm)
    height = block_m // nl.num_programs()
    mine = nl.program_id(0) * height
    before = []
    before_row = 0
    before_column = 0
    row = 0
    for i in range(batch):
        for bm in range(blocks_m):
            last = blocks_n
            if part == 1:
                last = bm + 1
            end = K
            if part == 2:
                end = min(K, ((bm + 1) * block_m + PARTITIONS - 1) // PARTITIONS * PARTITIONS)
            for bn in range(last):
                column = bn * width
                if part == 1:
                    column = 0
                words = new_words(height, width)
                totals = multiply_block(
                    lhs, rhs, i * K, end, bm, bn, slices, block_m, mine, block_n, depth, group, before, words
                )
                if len(before) > 0:
                    store(out, words, before_row + mine, before_column, width)
                before = totals
                before_row = row
                before_column = column
                if part == 1 or bn == last - 1:
                    row = row + block_m
    words = new_words(height, width)
    for step in range(1, slices):
        carry(before, words, slices - step, slices, block_n)
    store(out, words, before_row + mine, before_column, width)
    return out


def new_words(height, width):
    """A tile for the words of ``height`` rows of a block: [rows, row tiles, words * block_n]."""
    row_tiles = (height + PARTITIONS - 1) // PARTITIONS
    return nl.ndarray((height // row_tiles, row_tiles, width), dtype=nl.int32, buffer=nl.sbuf)


def multiply_block(lhs, rhs, row, K, bm, bn, slices, block_m, first, block_n, depth, group, before, words):
    """All diagonals of the rows that ``words`` has of one block, from ``first`` on; carries those ``before``.

    They are int32 tiles [rows, row tiles * block_n].
    """
    rows = words.shape[0]
    height = rows * words.shape[1]
    totals = []
    for k in range(0, K, depth * PARTITIONS):
        end = min(k + depth * PARTITIONS, K)
        lhs_planes = load_planes(lhs, row + k, row + end, bm * slices, slices, block_m, first, height)
        rhs_planes = load_planes(rhs, row + k, row + end, bn * slices, slices, block_n, 0, block_n)
        for t in range(slices):
            if k == 0:
                totals.append(nl.ndarray((rows, (height // rows) * block_n), dtype=nl.int32, buffer=nl.sbuf))
            add_diagonal(totals[t], lhs_planes, rhs_planes, t, height, block_n, group, k == 0)
            if k == 0 and t > 0 and len(before) > 0:
                carry(before, words, slices - t, slices, block_n)
    return totals


def load_planes(source, r0, r1, plane, slices, block, first, width):
    """Rows r0 to r1 of one block's planes, ``width`` columns of each, as SBUF tiles of at most 128 rows."""
    planes = []
    for r in range(r0, r1, PARTITIONS):
        rows = min(PARTITIONS, r1 - r)
        tile = nl.ndarray((rows, slices * width), dtype=nl.bfloat16, buffer=nl.sbuf)
        if width == block:
            nisa.dma_copy(dst=tile, src=source[r : r + rows, plane * block : (plane + slices) * block])
        else:
            of_planes = source.reshape((source.shape[0], source.shape[1] // block, block))
            nisa.dma_copy(
                dst=tile.reshape((rows, slices, width)),
                src=of_planes[r : r + rows, plane : plane + slices, first : first + width],
            )
        planes.append(tile)
    return planes


def add_diagonal(total, lhs_planes, rhs_planes, t, height, block_n, group, first):
    """Add the products of planes p + q = t to ``total``, ``group`` matmuls to a bank."""
    rows = total.shape[0]
    row_tiles = height // rows
    tiles = len(lhs_planes)
    count = (t + 1) * tiles
    for g in range(0, count, group):
        banks = nl.ndarray((rows, row_tiles, BANK_COLUMNS), dtype=nl.float32, buffer=nl.psum)
        for i in range(g, min(g + group, count)):
            p = i // tiles
            k = i % tiles
            depth = lhs_planes[k].shape[0]
            for tile in range(row_tiles):
                m = p * height + tile * rows
                nisa.nc_matmul(
                    dst=banks[0:rows, tile : tile + 1, 0:block_n],
                    stationary=lhs_planes[k][0:depth, m : m + rows],
                    moving=rhs_planes[k][0:depth, (t - p) * block_n : (t - p + 1) * block_n],
                    accumulate=(i > g),
                )
        sums = banks[0:rows, 0:row_tiles, 0:block_n]
        if first and g == 0:
            nisa.activation(dst=total, op=nl.copy, data=sums)
        else:
            integers = nl.ndarray(total.shape, dtype=nl.int32, buffer=nl.sbuf)
            nisa.activation(dst=integers, op=nl.copy, data=sums)
            nisa.tensor_tensor(dst=total, data1=total, data2=integers, op=nl.add, engine=nisa.engine.gpsimd)


def carry(totals, words, t, slices, block_n):
    """Put the low digit of diagonal t, the last of ``totals``, into its word, the rest into diagonal t - 1.

    The right shift is logical; with the sign bit flipped before, its result is 2^23 too large, which fp32
    subtracts exactly.
    """
    total = totals.pop()
    rows = total.shape[0]
    row_tiles = words.shape[1]
    word = (t + DIGITS - 1) // DIGITS
    shift = 8 * (DIGITS * word - t)
    target = words[0:rows, 0:row_tiles, word * block_n : (word + 1) * block_n]
    if t == slices - 1 or shift == 0:
        low_digit(target, total, shift)
    else:
        digit = nl.ndarray(total.shape, dtype=nl.int32, buffer=nl.sbuf)
        low_digit(digit, total, shift)
        nisa.tensor_tensor(dst=target, data1=target, data2=digit, op=nl.bitwise_or, engine=nisa.engine.vector)
    nisa.tensor_scalar(
        dst=total, data=total, op0=nl.bitwise_xor, operand0=SIGN, op1=nl.right_shift, operand1=8
    )
    nisa.tensor_scalar(dst=total, data=total, op0=nl.subtract, operand0=CARRY_OFFSET)
    above = words[0:rows, 0:row_tiles, 0:block_n]
    if t > 1:
        above = totals[t - 1]
    nisa.tensor_tensor(dst=above, data1=totals[t - 1], data2=total, op=nl.add, engine=nisa.engine.gpsimd)


def low_digit(dst, total, shift):
    """The low 8 bits of a diagonal, moved to their place in a word."""
    nisa.tensor_scalar(
        dst=dst, data=total, op0=nl.bitwise_and, operand0=255, op1=nl.left_shift, operand1=shift
    )


def store(out, words, row, column, width):
    """The words of one block to HBM."""
    rows = words.shape[0]
    for tile in range(words.shape[1]):
        r = row + tile * rows
        nisa.dma_copy(
            dst=out[r : r + rows, column : column + width],
            src=words[0:rows, tile : tile + 1, 0:width],
        )
