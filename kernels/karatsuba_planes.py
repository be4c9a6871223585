"""Digits of scaled integers and their sums as bf16 planes: what `karatsuba_gemm` multiplies.

What makes it more than a port: besides the digits of an operand it stores the sums of pairs of digits, exact
in bf16 as they are at most 256, and gives the largest sum of squares of their columns, from which the host
sees whether all products of a chunk fit one PSUM bank (Cauchy-Schwarz). It is the largest element of Gram
matrices, which TensorE has time for: no element off the diagonal is larger than all on it.

Engines     ScalarE casts, VectorE adds and finds the largest, TensorE transposes and makes the
            Gram matrices. DMA is the limit, closely followed by VectorE.
SBUF        Of one block of columns and one chunk of depth * 128 rows: the bytes, the s digit planes, and one
            sum, with room for the next ones.
PSUM        With transpose, bf16 tiles of up to four planes of 128 x 512; a bank for a sum's Gram matrices.
DMA         Rows of 8 * block bytes in (4 KiB at 512) and 2 * depth * block bytes out (8 KiB).
Cores       Of two, each makes half of the columns of every block, in rows half as long: block is even.
Bound       T_dma = batch K extent (8 + 2 P) / rate for P planes, the rate of the core's DMA engines.
Limits      block <= 512; K a multiple of depth * 128; depth <= 8.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
WORD = 8
BANKED = 4
STRIP = 2
BEHIND = 2


@nki.jit
def karatsuba_planes(words, batch, slices, block, depth, transpose):
    """Cut ``batch`` matrices of integers, stacked along their rows, into planes and sums of planes.

    Parameters
    ----------
    words
        int8 in HBM, 8 bytes an element for up to 8 slices, else 16; byte slices - 1 - p is digit p.
        [batch * K, extent * bytes], or with ``transpose`` [batch * extent, K * bytes].
    batch
        Number of matrices.
    slices
        Digits of an element, s, the most significant first.
    block
        Columns of one block of the extent: a divisor of it.
    depth
        Tiles of 128 contraction rows in one chunk: a divisor of K / 128.
    transpose
        1 if the contraction lies along the rows of ``words``.

    Returns
    -------
    planes
        [batch * K / depth, (extent / block) * P * depth * block] bf16 in HBM. Row c * 128 + r is row r of
        each tile of chunk c; along it, for each block, P planes of ``depth`` tiles of ``block`` columns.
        First are the sums of planes p < q by p + q = 1 .. s - 1 and p, then the s planes.
    squares
        [batch * K / (128 depth) * r, (extent / block) * (P - s)] fp32 in HBM, r = min(128, block), or twice
        min(128, block / 2) from two cores: for each chunk, r rows, and for each block the sums of planes; the
        largest of those r numbers is the largest sum of squares of a column, in fp32.
    """
    size = ((slices + WORD - 1) // WORD) * WORD
    if transpose:
        extent = words.shape[0] // batch
        K = words.shape[1] // size
    else:
        extent = words.shape[1] // size
        K = words.shape[0] // batch
    pairs = slices // 2 * ((slices + 1) // 2)
    width = (pairs + slices) * depth * block
    blocks = extent // block
    chunks = K // (depth * PARTITIONS)
    shape = (batch * chunks * PARTITIONS, blocks * width)
    planes = nl.ndarray(shape, dtype=nl.bfloat16, buffer=nl.shared_hbm)
    programs = nl.num_programs()
    half = block // programs
    mine = nl.program_id(0) * half
    place = nl.program_id(0)
    largest_rows = min(PARTITIONS, half)
    shape = (batch * chunks * programs * largest_rows, blocks * pairs)
    squares = nl.ndarray(shape, dtype=nl.float32, buffer=nl.shared_hbm)
    parts = 1
    if transpose:
        parts = (depth + STRIP - 1) // STRIP
    before = ()
    b_before = 0
    row = 0
    column = 0
    for i in range(batch):
        for b in range(blocks):
            for c in range(chunks):
                digits = nl.ndarray((PARTITIONS, slices, depth * half), dtype=nl.bfloat16, buffer=nl.sbuf)
                k = c * depth * PARTITIONS
                banks = []
                for part in range(parts):
                    if transpose:
                        first = part * STRIP
                        last = min(first + STRIP, depth)
                        turn_strip(words, digits, i * extent + b * block + mine, k, first, last, half, size)
                    else:
                        cast_chunk(words, digits, i * K + k, b * block + mine, half, depth, size)
                    if len(before) > 0:
                        store_sums(
                            planes, before[0], before[1], banks, part, parts, row, column, block, mine, half
                        )
                if len(before) > 0:
                    store_largest(squares, before[1], banks, row * programs + place, b_before)
                largest = nl.ndarray((largest_rows, pairs), dtype=nl.float32, buffer=nl.sbuf)
                before = (digits, largest)
                row = i * chunks + c
                column = b * width
                b_before = b
    banks = []
    store_sums(planes, before[0], before[1], banks, 0, 1, row, column, block, mine, half)
    store_largest(squares, before[1], banks, row * programs + place, b_before)
    return planes, squares


def store_largest(squares, largest, banks, row, b):
    """The largest sums of squares of one block and chunk to HBM."""
    rows = largest.shape[0]
    pairs = largest.shape[1]
    for index in range(pairs - BEHIND, pairs):
        keep_largest(largest, banks, index)
    nisa.dma_copy(dst=squares[row * rows : (row + 1) * rows, b * pairs : (b + 1) * pairs], src=largest)


def store(planes, plane, row, column, block, first, half):
    """``half`` columns of the tiles of one plane of one chunk to HBM."""
    width = plane.shape[2]
    r = row * PARTITIONS
    if half == block:
        nisa.dma_copy(dst=planes[r : r + PARTITIONS, column : column + width], src=plane)
    else:
        of_tiles = planes.reshape((planes.shape[0], planes.shape[1] // block, block))
        depth = width // half
        tile = column // block
        nisa.dma_copy(
            dst=of_tiles[r : r + PARTITIONS, tile : tile + depth, first : first + half],
            src=plane.reshape((PARTITIONS, depth, half)),
        )


def cast_chunk(words, digits, row, column, block, depth, size):
    """The digits of ``block`` columns."""
    slices = digits.shape[1]
    codes = nl.ndarray((PARTITIONS, depth * block, size), dtype=nl.int8, buffer=nl.sbuf)
    for j in range(depth):
        r = row + j * PARTITIONS
        nisa.dma_copy(
            dst=codes[0:PARTITIONS, j * block : (j + 1) * block, 0:size],
            src=words[r : r + PARTITIONS, column * size : (column + block) * size],
        )
    for p in range(slices):
        byte = slices - 1 - p
        nisa.activation(
            dst=digits[0:PARTITIONS, p : p + 1, 0 : depth * block],
            op=nl.copy,
            data=codes[0:PARTITIONS, 0 : depth * block, byte : byte + 1],
        )


def turn_strip(words, digits, row, k, first, last, block, size):
    """Tiles ``first`` to ``last`` of the digits of one block of rows, transposed."""
    width = (last - first) * PARTITIONS
    strips = []
    for tile in range(0, block, PARTITIONS):
        r = row + tile
        rows = min(PARTITIONS, block - tile)
        column = (k + first * PARTITIONS) * size
        codes = nl.ndarray((rows, width * size), dtype=nl.int8, buffer=nl.sbuf)
        nisa.dma_copy(dst=codes, src=words[r : r + rows, column : column + width * size])
        strip = nl.ndarray((rows, width, size), dtype=nl.bfloat16, buffer=nl.sbuf)
        nisa.activation(dst=strip.reshape((rows, width * size)), op=nl.copy, data=codes)
        strips.append(strip)
    for j in range(first, last):
        turn_tile(strips, digits, (j - first) * PARTITIONS, j * block, block)


def turn_tile(strips, digits, k, column, block):
    """All digits of 128 elements of each row, transposed."""
    slices = digits.shape[1]
    for p0 in range(0, slices, BANKED):
        p1 = min(p0 + BANKED, slices)
        turned = nl.ndarray((PARTITIONS, p1 - p0, spacing(block)), dtype=nl.bfloat16, buffer=nl.psum)
        for p in range(p0, p1):
            byte = slices - 1 - p
            for tile in range(len(strips)):
                rows = strips[tile].shape[0]
                m = tile * PARTITIONS
                nisa.nc_transpose(
                    dst=turned[0:PARTITIONS, p - p0 : p - p0 + 1, m : m + rows],
                    data=strips[tile][0:rows, k : k + PARTITIONS, byte : byte + 1],
                    engine=nisa.engine.tensor,
                )
        nisa.activation(
            dst=digits[0:PARTITIONS, p0:p1, column : column + block],
            op=nl.copy,
            data=turned[0:PARTITIONS, 0 : p1 - p0, 0:block],
        )


def spacing(block):
    """Columns from one plane to the next in PSUM, so that none crosses a bank."""
    columns = 128
    if block > 128:
        columns = 256
    if block > 256:
        columns = 512
    return columns


def store_sums(planes, digits, largest, banks, part, parts, row, column, block, first, half):
    """One of ``parts`` of the planes and their sums to HBM, and Gram matrices of the sums to ``banks``.

    Of ``half`` columns of a block, from ``first`` on.
    """
    slices = digits.shape[1]
    width = digits.shape[2]
    size = width // half * block
    pairs = largest.shape[1]
    for p in range(part * slices // parts, (part + 1) * slices // parts):
        plane = digits[0:PARTITIONS, p : p + 1, 0:width]
        store(planes, plane, row, column + (pairs + p) * size, block, first, half)
    index = 0
    for t in range(1, slices):
        for p in range((t + 1) // 2):
            if index >= part * pairs // parts and index < (part + 1) * pairs // parts:
                total = nl.ndarray((PARTITIONS, 1, width), dtype=nl.bfloat16, buffer=nl.sbuf)
                nisa.tensor_tensor(
                    dst=total,
                    data1=digits[0:PARTITIONS, p : p + 1, 0:width],
                    data2=digits[0:PARTITIONS, t - p : t - p + 1, 0:width],
                    op=nl.add,
                    engine=nisa.engine.vector,
                )
                store(planes, total, row, column + index * size, block, first, half)
                if index >= BEHIND:
                    keep_largest(largest, banks, index - BEHIND)
                banks.append(gram(total.reshape((PARTITIONS, width)), half))
            index = index + 1


def gram(total, block):
    """Products of the columns of one plane of one chunk with each other, 128 by 128, side by side in a bank.

    Where block is no multiple of 128 the last ones go over some columns again.
    """
    rows = min(PARTITIONS, block)
    bank = nl.ndarray((rows, block), dtype=nl.float32, buffer=nl.psum)
    for start in range(0, block, rows):
        c = min(start, block - rows)
        for j in range(total.shape[1] // block):
            columns = total[0:PARTITIONS, j * block + c : j * block + c + rows]
            nisa.nc_matmul(
                dst=bank[0:rows, c : c + rows], stationary=columns, moving=columns, accumulate=(j > 0)
            )
    return bank


def keep_largest(largest, banks, index):
    """The largest element of each row of a bank, which is then free."""
    rows = largest.shape[0]
    nisa.tensor_reduce(dst=largest[0:rows, index : index + 1], op=nl.maximum, data=banks[index], axis=1)
    banks[index] = 0
