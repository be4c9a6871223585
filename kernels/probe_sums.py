"""Sums of products as PSUM holds them, for the device probe: out = lhs.T @ rhs in fp32, nothing else.

What makes it more than a port: it is the smallest kernel in which only TensorE and PSUM can be wrong. Where
there are several matmuls, the first is issued twice with accumulate=False, so that a second start which does
not overwrite shows.

Engines     TensorE multiplies, VectorE copies fp32 bits out of PSUM, DMA loads; ScalarE and GpSimd are idle.
SBUF        Both operands: K / 128 tiles of 128 x 128 and 128 x 512.
PSUM        One bank.
DMA         Rows of 256 bytes and 1 KiB in bf16, 2 KiB out.
Cores       Two compute the same, and each gives half of the rows: M is even.
Bound       Launch; it runs once for each device.
Limits      M <= 128, N <= 512.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128


@nki.jit
def probe_sums(lhs, rhs, tf32):
    """Multiply two small matrices.

    Parameters
    ----------
    lhs
        [K, M] in HBM, fp32, bf16 or fp16: the stationary operand, transposed.
    rhs
        [K, N] in HBM, of the same dtype: the moving operand.
    tf32
        Whether fp32 operands are cast to tf32 on their way in.

    Returns
    -------
    out
        [M, N] fp32 in HBM.
    """
    K = lhs.shape[0]
    M = lhs.shape[1]
    N = rhs.shape[1]
    dtype = lhs.dtype
    if tf32:
        dtype = nl.tfloat32
    out = nl.ndarray((M, N), dtype=nl.float32, buffer=nl.shared_hbm)
    bank = nl.ndarray((M, N), dtype=nl.float32, buffer=nl.psum)
    for k in range(0, K, PARTITIONS):
        rows = min(PARTITIONS, K - k)
        stationary = nl.ndarray((rows, M), dtype=dtype, buffer=nl.sbuf)
        moving = nl.ndarray((rows, N), dtype=dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=stationary, src=lhs[k : k + rows, 0:M])
        nisa.dma_copy(dst=moving, src=rhs[k : k + rows, 0:N])
        if k == 0 and K > PARTITIONS:
            nisa.nc_matmul(dst=bank, stationary=stationary, moving=moving, accumulate=False)
        nisa.nc_matmul(dst=bank, stationary=stationary, moving=moving, accumulate=(k > 0))
    result = nl.ndarray((M, N), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(dst=result, src=bank, engine=nisa.engine.vector)
    height = M // nl.num_programs()
    mine = nl.program_id(0) * height
    nisa.dma_copy(dst=out[mine : mine + height, 0:N], src=result[mine : mine + height, 0:N])
    return out
