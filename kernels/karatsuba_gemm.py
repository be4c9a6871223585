"""Exact products of 8-bit digit planes in Karatsuba's form: the words of `sliced_gemm` from fewer products.

With Q_p = A_p B_p and S_t the sum over p < q, p + q = t of (A_p + A_q)(B_p + B_q), the sum of plane products
on diagonal t is D_t = S_t - (Q_0 + .. + Q_t) + 2 Q_{t/2}, the last for even t: 19 products for s = 7, not 28.

What makes it more than a port: it runs only where the host has seen, from sums of squares, that a whole chunk
of K fits one PSUM bank; without that, sums of digits would fill a bank with two matmuls, and GpSimd would
need longer for the additions than TensorE for the products. Each product loads its own two planes, so that
SBUF holds the accumulators of a block of 512 x 512.

Engines     TensorE s + floor(s/2) ceil(s/2) products for s slices, the limit; ScalarE casts every bank;
            GpSimd adds; VectorE splits digits and carries; DMA.
SBUF        int32 accumulators of s - 1 sums and of the first half of the squares of one block; the other
            squares are subtracted from their sums at once, the first half with the last chunk, and the sums
            are released one after the other while those of the next block begin; two planes of a chunk of
            both operands; a word.
PSUM        A tile of one bank for each 128 rows of the block, for each product and chunk; rotating.
DMA         Operand rows 2 * depth * block bytes (8 KiB at 8 x 512), each read once for every block of the
            result; result rows 4 * block_n bytes.
Cores       Of two, each makes half of the rows of every block, of half of lhs and all of rhs; block_m even.
Bound       T_pe = batch (s + floor(s/2) ceil(s/2)) ceil(M/128) ceil(K/128) N / f, f the TensorE clock;
            (b + 1) / 2b of it for b blocks of rows with ``part`` 1, and for b chunks of K with 2.
Limits      block_m <= 512; K a multiple of depth * 128; K (2^16 ceil(s/2) + 2^14 s) + 2^24 < 2^31.
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
def karatsuba_gemm(lhs, rhs, batch, slices, block_m, block_n, depth, part):
    """Multiply ``batch`` pairs of sliced matrices, in blocks of the result.

    Parameters
    ----------
    lhs, rhs
        Planes of `karatsuba_planes`, bf16 in HBM, in blocks of block_m and block_n columns and chunks of
        ``depth`` tiles; every partial sum of a chunk must be at most 2^24 in size.
    batch
        Number of pairs.
    slices
        Digit planes of each operand, s.
    block_m, block_n
        Rows and columns of one output block: block_m <= 128 or a multiple up to 512, block_n <= 512.
    depth
        Tiles of 128 contraction rows in one chunk.
    part
        0 for all of the product; 1 to compute only the blocks on and below the diagonal of a square result,
        of square blocks; 2 where the product's left operand is square and lower triangular, to leave out the
        chunks of K that lie above its diagonal in all rows of a block.

    Returns
    -------
    out
        int32 in HBM, W = 1 + ceil((slices - 1) / 3) words of each output, N = sum of w_i 2^(-24 i), w_0
        signed, the others in 0 .. 2^24 - 1. [batch * M, (N / block_n) * W * block_n], for each block of N
        the words side by side; with ``part`` 1 [batch * b (b + 1) / 2 * block_m, W * block_n], the blocks
        (0, 0), (1, 0), (1, 1), (2, 0) ... below each other.
    """
    products = slices + slices // 2 * ((slices + 1) // 2)
    chunks = lhs.shape[0] // (batch * PARTITIONS)
    blocks_m = lhs.shape[1] // (products * depth * block_m)
    blocks_n = rhs.shape[1] // (products * depth * block_n)
    width = (1 + (slices - 1 + DIGITS - 1) // DIGITS) * block_n
    shape = (batch * blocks_m * block_m, blocks_n * width)
    if part == 1:
        shape = (batch * (blocks_m * (blocks_m + 1) // 2) * block_m, width)
    out = nl.ndarray(shape, dtype=nl.int32, buffer=nl.shared_hbm)
    height = block_m // nl.num_programs()
    mine = nl.program_id(0) * height
    before = ([], [], [], [])
    row = 0
    column = 0
    following = 0
    for i in range(batch):
        for bm in range(blocks_m):
            last = blocks_n
            if part == 1:
                last = bm + 1
            used = chunks
            if part == 2:
                used = min(chunks, ((bm + 1) * block_m + depth * PARTITIONS - 1) // (depth * PARTITIONS))
            for bn in range(last):
                before = multiply_block(
                    lhs,
                    rhs,
                    i * chunks,
                    used,
                    bm,
                    bn,
                    slices,
                    block_m,
                    height,
                    mine,
                    block_n,
                    depth,
                    before,
                    out,
                    row + mine,
                    column,
                )
                row = following
                column = bn * width
                if part == 1:
                    column = 0
                if part == 1 or bn == last - 1:
                    following = following + block_m
    for step in range(1, slices):
        finish(before, slices - step, slices, out, row + mine, column, block_n)
    finish_first(before, out, row + mine, column, block_n)
    return out


def multiply_block(
    lhs, rhs, chunk, chunks, bm, bn, slices, block_m, height, first, block_n, depth, before, out, row, column
):
    """The sums for t = 1 .. s - 1 and the squares, no words, no carries, of ``height`` rows of one block.

    They are those from ``first`` on. Finishes ``before``.
    """
    pairs = slices // 2 * ((slices + 1) // 2)
    products = slices + pairs
    sums = []
    squares = []
    settled = 0
    for c in range(chunks):
        r = (chunk + c) * PARTITIONS
        order = product_order(slices, c > 0)
        for place in range(products):
            index = order[place]
            lhs_plane = load(lhs, r, (bm * products + index) * depth, depth, block_m, first, height)
            rhs_plane = load(rhs, r, (bn * products + index) * depth, depth, block_n, 0, block_n)
            banks = multiply(lhs_plane, rhs_plane, height, block_n, depth)
            integers = cast(banks, block_n)
            t = diagonal_of(slices, index)
            p = index - pairs
            if t > 0:
                accumulate(sums, t - 1, integers)
            elif p <= (slices - 1) // 2:
                accumulate(squares, p, integers)
            else:
                for above in range(p, slices):
                    combine(sums[above - 1], integers, nl.subtract)
            if c == 0 and len(before[1]) > 0:
                step = (place + 1) // 2
                if place % 2 == 1 and step < slices:
                    finish(before, slices - step, slices, out, row, column, block_n)
                elif place == 2 * slices - 2:
                    finish_first(before, out, row, column, block_n)
            if c > 0 and c == chunks - 1 and place >= slices and settled < slices - 1:
                settled = settled + 1
                settle(sums, squares, settled)
    for t in range(settled + 1, slices):
        settle(sums, squares, t)
    for _ in range(1, len(squares)):
        squares.pop()
    return (sums, squares, [], [])


def product_order(slices, squares_first):
    """Numbers of the products of one chunk in the order they are made.

    Sums come first where accumulators of the block before are still in use: several share one.
    """
    pairs = slices // 2 * ((slices + 1) // 2)
    products = slices + pairs
    order = []
    for place in range(products):
        if squares_first:
            order.append((place + pairs) % products)
        else:
            order.append(place)
    return order


def diagonal_of(slices, index):
    """The diagonal t of a sum of planes, 0 for a plane itself."""
    found = 0
    end = 0
    for t in range(1, slices):
        if index >= end:
            found = t
        end = end + (t + 1) // 2
    if index >= end:
        found = 0
    return found


def load(source, row, tile, depth, block, first, width):
    """One plane of one chunk, ``width`` columns of each of its tiles."""
    plane = nl.ndarray((PARTITIONS, depth * width), dtype=nl.bfloat16, buffer=nl.sbuf)
    if width == block:
        columns = source[row : row + PARTITIONS, tile * block : (tile + depth) * block]
        nisa.dma_copy(dst=plane, src=columns)
    else:
        of_tiles = source.reshape((source.shape[0], source.shape[1] // block, block))
        nisa.dma_copy(
            dst=plane.reshape((PARTITIONS, depth, width)),
            src=of_tiles[row : row + PARTITIONS, tile : tile + depth, first : first + width],
        )
    return plane


def multiply(lhs_plane, rhs_plane, height, block_n, depth):
    """The product of two planes of one chunk: a bank for at most 128 rows."""
    row_tiles = (height + PARTITIONS - 1) // PARTITIONS
    rows = height // row_tiles
    banks = nl.ndarray((rows, row_tiles, BANK_COLUMNS), dtype=nl.float32, buffer=nl.psum)
    for tile in range(row_tiles):
        for j in range(depth):
            m = j * height + tile * rows
            nisa.nc_matmul(
                dst=banks[0:rows, tile : tile + 1, 0:block_n],
                stationary=lhs_plane[0:PARTITIONS, m : m + rows],
                moving=rhs_plane[0:PARTITIONS, j * block_n : (j + 1) * block_n],
                accumulate=(j > 0),
            )
    return banks


def cast(banks, block_n):
    """Banks as int32 in SBUF, the row tiles side by side."""
    rows = banks.shape[0]
    row_tiles = banks.shape[1]
    integers = nl.ndarray((rows, row_tiles * block_n), dtype=nl.int32, buffer=nl.sbuf)
    nisa.activation(dst=integers, op=nl.copy, data=banks[0:rows, 0:row_tiles, 0:block_n])
    return integers


def accumulate(totals, index, integers):
    """Add to an accumulator; the first ones make it."""
    if index == len(totals):
        totals.append(integers)
    else:
        combine(totals[index], integers, nl.add)


def combine(total, other, op):
    """Replace ``total`` by total op other, exactly."""
    nisa.tensor_tensor(dst=total, data1=total, data2=other, op=op, engine=nisa.engine.gpsimd)


def settle(sums, squares, t):
    """Take the squares off S_t: Q_t becomes Q_0 + .. + Q_t, after 2 Q_t went to S_2t."""
    last = len(squares) - 1
    if t <= last:
        twice = nl.ndarray(squares[t].shape, dtype=nl.int32, buffer=nl.sbuf)
        nisa.tensor_scalar(dst=twice, data=squares[t], op0=nl.left_shift, operand0=1)
        combine(sums[2 * t - 1], twice, nl.add)
        combine(squares[t], squares[t - 1], nl.add)
    combine(sums[t - 1], squares[min(t, last)], nl.subtract)


def finish(before, t, slices, out, row, column, block_n):
    """Put the low digit of diagonal t into its word, and keep the rest for diagonal t - 1.

    The right shift is logical; with the sign bit flipped before, its result is 2^23 too large, which fp32
    subtracts exactly. The carry is added in the next step, so that GpSimd does not wait for it.
    """
    words = before[2]
    carries = before[3]
    total = before[0].pop()
    if len(carries) > 0:
        combine(total, carries.pop(), nl.add)
    word = (t + DIGITS - 1) // DIGITS
    shift = 8 * (DIGITS * word - t)
    digit = nl.ndarray(total.shape, dtype=nl.int32, buffer=nl.sbuf)
    nisa.tensor_scalar(
        dst=digit, data=total, op0=nl.bitwise_and, operand0=255, op1=nl.left_shift, operand1=shift
    )
    nisa.tensor_scalar(
        dst=total, data=total, op0=nl.bitwise_xor, operand0=SIGN, op1=nl.right_shift, operand1=8
    )
    nisa.tensor_scalar(dst=total, data=total, op0=nl.subtract, operand0=CARRY_OFFSET)
    carries.append(total)
    if t == slices - 1 or shift == 0:
        words.append(digit)
    else:
        nisa.tensor_tensor(
            dst=words[0], data1=words[0], data2=digit, op=nl.bitwise_or, engine=nisa.engine.vector
        )
    if t % DIGITS == 1:
        store(out, words.pop(), row, column + word * block_n, block_n)


def finish_first(before, out, row, column, block_n):
    """Word 0 of a block: diagonal 0, which is the first square, and the carry."""
    first = before[1].pop()
    combine(first, before[3].pop(), nl.add)
    store(out, first, row, column, block_n)


def store(out, word, row, column, block_n):
    """One word of a block to HBM."""
    rows = word.shape[0]
    for tile in range(word.shape[1] // block_n):
        r = row + tile * rows
        nisa.dma_copy(
            dst=out[r : r + rows, column : column + block_n],
            src=word[0:rows, tile * block_n : (tile + 1) * block_n],
        )
