"""Digits of scaled integers as bf16 planes: what `sliced_gemm` multiplies, from 8 bytes an element.

What makes it more than a port: the bytes of one int64 of the host are its signed 8-bit digits, so that a
plane is a strided view, and casting it is all the slicing there is. An operand that lies the other way is
transposed on the PE array on its way, digit by digit: one tile of PSUM takes all planes of 128 rows.

Engines     Without transpose VectorE and ScalarE cast planes in turn. With it they cast whole rows of bytes,
            TensorE transposes, and they evict in turn. DMA is the limit.
SBUF        One block of rows at a time: its bytes, its planes, with room for the next ones.
PSUM        With transpose, bf16 tiles of up to eight planes of 128 x 512: two of them rotating.
DMA         Rows of 8 KiB in (two blocks of 512 columns, or 1024 elements of a row to be transposed); rows of
            2 * slices * block bytes out (7 KiB at 512), without transpose of two blocks.
Cores       Of two, each makes half of the rows of every matrix of planes: K is even.
Bound       T_dma = batch K extent (8 + 2 slices) / rate, the rate of the core's DMA engines.
Limits      block <= 512.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
WORD = 8
BANKED = 8
CHUNK_BYTES = 8192
SPAN = 2


@nki.jit
def digit_planes(words, batch, slices, block, transpose):
    """Cut ``batch`` matrices of integers, stacked along their rows, into planes.

    Parameters
    ----------
    words
        int8 in HBM, 8 bytes an element for up to 8 slices, else 16; byte slices - 1 - p is digit p.
        [batch * K, extent * bytes], or with ``transpose`` [batch * extent, K * bytes].
    batch
        Number of matrices.
    slices
        Digits of an element, the most significant first.
    block
        Columns of one block of the extent: a divisor of it.
    transpose
        1 if the contraction lies along the rows of ``words``.

    Returns
    -------
    planes
        [batch * K, (extent / block) * slices * block] bf16 in HBM: for each block, the planes side by side.
    """
    size = ((slices + WORD - 1) // WORD) * WORD
    if transpose:
        extent = words.shape[0] // batch
        K = words.shape[1] // size
    else:
        extent = words.shape[1] // size
        K = words.shape[0] // batch
    width = slices * block
    planes = nl.ndarray((batch * K, (extent // block) * width), dtype=nl.bfloat16, buffer=nl.shared_hbm)
    blocks = extent // block
    depth = K // nl.num_programs()
    mine = nl.program_id(0) * depth
    for i in range(batch):
        if transpose:
            chunk = CHUNK_BYTES // size
            for b in range(blocks):
                for k in range(0, depth, chunk):
                    count = min(chunk, depth - k)
                    row = i * extent + b * block
                    turn_block(words, planes, row, i * K, b, mine + k, count, slices, block, size)
        else:
            for b in range(0, blocks, SPAN):
                span = min(SPAN, blocks - b)
                for k in range(0, depth, PARTITIONS):
                    rows = min(PARTITIONS, depth - k)
                    cast_blocks(words, planes, i * K + mine + k, rows, b, span, slices, block, size)
    return planes


def cast_blocks(words, planes, row, rows, b, span, slices, block, size):
    """The planes of ``span`` blocks of columns, for up to 128 rows."""
    width = slices * block
    codes = nl.ndarray((rows, span * block, size), dtype=nl.int8, buffer=nl.sbuf)
    nisa.dma_copy(
        dst=codes.reshape((rows, span * block * size)),
        src=words[row : row + rows, b * block * size : (b + span) * block * size],
    )
    result = nl.ndarray((rows, span * width), dtype=nl.bfloat16, buffer=nl.sbuf)
    for j in range(span):
        for p in range(slices):
            byte = slices - 1 - p
            column = j * width + p * block
            cast(
                result[0:rows, column : column + block],
                codes[0:rows, j * block : (j + 1) * block, byte : byte + 1],
                p,
            )
    nisa.dma_copy(dst=planes[row : row + rows, b * width : (b + span) * width], src=result)


def turn_block(words, planes, first, row, b, k0, count, slices, block, size):
    """The planes of ``count`` elements from k0 on of one block of rows, transposed."""
    strips = []
    for tile in range(0, block, PARTITIONS):
        r = first + tile
        rows = min(PARTITIONS, block - tile)
        codes = nl.ndarray((rows, count * size), dtype=nl.int8, buffer=nl.sbuf)
        nisa.dma_copy(dst=codes, src=words[r : r + rows, k0 * size : (k0 + count) * size])
        digits = nl.ndarray((rows, count, size), dtype=nl.bfloat16, buffer=nl.sbuf)
        cast(digits.reshape((rows, count * size)), codes, tile // PARTITIONS)
        strips.append(digits)
    for k in range(0, count, PARTITIONS):
        depth = min(PARTITIONS, count - k)
        result = nl.ndarray((depth, slices * block), dtype=nl.bfloat16, buffer=nl.sbuf)
        for p0 in range(0, slices, BANKED):
            p1 = min(p0 + BANKED, slices)
            turned = nl.ndarray((depth, p1 - p0, spacing(block)), dtype=nl.bfloat16, buffer=nl.psum)
            for p in range(p0, p1):
                byte = slices - 1 - p
                for tile in range(len(strips)):
                    rows = strips[tile].shape[0]
                    m = tile * PARTITIONS
                    nisa.nc_transpose(
                        dst=turned[0:depth, p - p0 : p - p0 + 1, m : m + rows],
                        data=strips[tile][0:rows, k : k + depth, byte : byte + 1],
                        engine=nisa.engine.tensor,
                    )
            found = turned[0:depth, 0 : p1 - p0, 0:block]
            cast(result[0:depth, p0 * block : p1 * block], found, (k // PARTITIONS) + p0 // BANKED)
        target = row + k0 + k
        columns = b * slices * block
        nisa.dma_copy(dst=planes[target : target + depth, columns : columns + slices * block], src=result)


def spacing(block):
    """Columns from one plane to the next in PSUM, so that none crosses a bank."""
    columns = 128
    if block > 128:
        columns = 256
    if block > 256:
        columns = 512
    return columns


def cast(dst, src, turn):
    """Copy with a cast, on VectorE and ScalarE by turns."""
    if turn % 2 == 0:
        nisa.tensor_copy(dst=dst, src=src, engine=nisa.engine.vector)
    else:
        nisa.activation(dst=dst, op=nl.copy, data=src)
