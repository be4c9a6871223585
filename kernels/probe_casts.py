"""One cast or transpose at a time, for the device probe: what comes out of each engine for known values.

What makes it more than a port: every case moves the data by bits before and after, so that only the cast
itself can be wrong. Sums reach PSUM as bits too, not by a matmul.

Engines     By case: VectorE, ScalarE, TensorE (transpose) or DMA does the work; the others are idle.
SBUF        Source and result: rows of up to 4 KiB.
PSUM        One bank, or one tile of 128 x 128 for each transpose.
DMA         Rows of up to 4 KiB.
Cores       Two compute the same, and each gives half of the rows.
Bound       Launch; it runs once for each device.
Limits      128 rows; 512 columns, or 8 times as many bytes.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
WORD = 8
SUMS_BY_SCALAR = 0
SUMS_BY_VECTOR = 1
BYTES_BY_SCALAR = 2
BYTES_BY_VECTOR = 3
TRANSPOSE = 4
TF32_BY_DMA = 5
BF16_BY_DMA = 6
BF16_BY_VECTOR = 7


@nki.jit
def probe_casts(source, case):
    """Cast 128 rows.

    Parameters
    ----------
    source
        [128, n] in HBM: fp32 for sums and conversions, bf16 for the transpose, and int8 [128, 8 n] for bytes.
    case
        0, 1: fp32 in PSUM to int32, by ScalarE or VectorE. 2, 3: every eighth byte to bf16, by ScalarE or
        VectorE. 4: tiles of 128 x 128 transposed by TensorE. 5: fp32 to tf32 by DMA. 6, 7: fp32 to bf16, by
        DMA or VectorE.

    Returns
    -------
    out
        In HBM: int32 [128, n]; bf16 [128, 8 n], plane by plane; bf16 [128, n]; fp32 [128, n]; bf16 [128, n].
    """
    columns = source.shape[1]
    given = source.dtype
    dtype = nl.bfloat16
    if case <= SUMS_BY_VECTOR:
        dtype = nl.int32
    if case == TF32_BY_DMA:
        dtype = nl.float32
        given = nl.tfloat32
    if case == BF16_BY_DMA:
        given = nl.bfloat16
    out = nl.ndarray((PARTITIONS, columns), dtype=dtype, buffer=nl.shared_hbm)
    loaded = nl.ndarray((PARTITIONS, columns), dtype=given, buffer=nl.sbuf)
    nisa.dma_copy(dst=loaded, src=source)
    result = loaded
    if case < TF32_BY_DMA or case == BF16_BY_VECTOR:
        result = nl.ndarray((PARTITIONS, columns), dtype=dtype, buffer=nl.sbuf)
    if case <= SUMS_BY_VECTOR:
        cast_sums(result, loaded, case)
    elif case <= BYTES_BY_VECTOR:
        cast_bytes(result, loaded, case)
    elif case == TRANSPOSE:
        transpose(result, loaded)
    elif case == BF16_BY_VECTOR:
        nisa.tensor_copy(dst=result, src=loaded, engine=nisa.engine.vector)
    rows = PARTITIONS // nl.num_programs()
    mine = nl.program_id(0) * rows
    nisa.dma_copy(dst=out[mine : mine + rows, 0:columns], src=result[mine : mine + rows, 0:columns])
    return out


def cast_sums(result, loaded, case):
    """From a PSUM bank to int32."""
    bank = nl.ndarray(loaded.shape, dtype=nl.float32, buffer=nl.psum)
    nisa.tensor_copy(dst=bank, src=loaded, engine=nisa.engine.vector)
    if case == SUMS_BY_SCALAR:
        nisa.activation(dst=result, op=nl.copy, data=bank)
    else:
        nisa.tensor_copy(dst=result, src=bank, engine=nisa.engine.vector)


def cast_bytes(result, loaded, case):
    """Each of the eight byte planes to bf16."""
    width = loaded.shape[1] // WORD
    words = loaded.reshape((PARTITIONS, width, WORD))
    for byte in range(WORD):
        plane = result[0:PARTITIONS, byte * width : (byte + 1) * width]
        if case == BYTES_BY_SCALAR:
            nisa.activation(dst=plane, op=nl.copy, data=words[0:PARTITIONS, 0:width, byte : byte + 1])
        else:
            nisa.tensor_copy(
                dst=plane, src=words[0:PARTITIONS, 0:width, byte : byte + 1], engine=nisa.engine.vector
            )


def transpose(result, loaded):
    """Each 128 x 128 tile by TensorE."""
    for column in range(0, loaded.shape[1], PARTITIONS):
        turned = nl.ndarray((PARTITIONS, PARTITIONS), dtype=nl.bfloat16, buffer=nl.psum)
        tile = loaded[0:PARTITIONS, column : column + PARTITIONS]
        nisa.nc_transpose(dst=turned, data=tile, engine=nisa.engine.tensor)
        nisa.tensor_copy(
            dst=result[0:PARTITIONS, column : column + PARTITIONS], src=turned, engine=nisa.engine.vector
        )
