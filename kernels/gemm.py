"""Batched GEMM, fp32 results from fp32, tf32, bf16 or fp16 operands: out[i] = lhs_t[i].T @ rhs[i].

What makes it more than a port: both operands arrive with the contraction on partitions, as TensorE reads
them, so that no transpose runs; one panel of ``rhs`` stays in SBUF while all of ``lhs_t`` streams past
it; and tf32 costs no pass over the data, because the DMA that loads an operand also casts it.

Engines     TensorE multiplies, VectorE evicts PSUM, DMA loads and stores; ScalarE and GpSimd are idle.
SBUF        One rhs panel of K x 2 KiB a partition row (512 fp32 or 1024 bf16 columns), resident for a sweep
            over M; lhs_t panels of the same width, the next one loading while the present one is used.
PSUM        Four fresh banks for each 512 x 512 block of the result, all of K accumulated in them, a moving
            tile for all four in turn; two sets of four rotate, so that evictions hide behind the matmuls
            of the next block.
DMA         Rows of 2 KiB for inputs and results, where the matrix is that wide.
Bound       T_pe = batch ceil(M/128) ceil(K/128) sum(max(n, 64)) c / f, with n the columns of each block,
            c = 4 cycles for fp32 and 1 otherwise, f the TensorE clock.
Limits      K <= 2048: two lhs_t panels and two of rhs, at the change of panel, fit SBUF.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
BANK_COLUMNS = 512
ROWS = 512
ROW_BYTES = 2048


@nki.jit
def gemm(lhs_t, rhs, batch, tf32):
    """Multiply ``batch`` pairs of matrices stacked along their rows.

    Parameters
    ----------
    lhs_t
        [batch * K, M] in HBM, fp32, bf16 or fp16: the stationary operands, transposed.
    rhs
        [batch * K, N] in HBM, of the same dtype: the moving operands.
    batch
        Number of pairs.
    tf32
        Whether fp32 operands are cast to tf32 on their way in.

    Returns
    -------
    out
        [batch * M, N] fp32 in HBM.
    """
    K = lhs_t.shape[0] // batch
    M = lhs_t.shape[1]
    N = rhs.shape[1]
    width = 1024
    if lhs_t.dtype == nl.float32:
        width = ROW_BYTES // 4
    dtype = lhs_t.dtype
    if tf32:
        dtype = nl.tfloat32
    out = nl.ndarray((batch * M, N), dtype=nl.float32, buffer=nl.shared_hbm)
    for i in range(batch):
        for n0 in range(0, N, width):
            n1 = min(n0 + width, N)
            rhs_panel = load_panel(rhs, i * K, K, n0, n1, dtype)
            for m0 in range(0, M, width):
                m1 = min(m0 + width, M)
                lhs_panel = load_panel(lhs_t, i * K, K, m0, m1, dtype)
                for m in range(m0, m1, ROWS):
                    end = min(m + ROWS, m1)
                    results = multiply(lhs_panel, rhs_panel, m - m0, end - m0, n1 - n0)
                    for r in range(len(results)):
                        row = i * M + m + r * PARTITIONS
                        nisa.dma_copy(dst=out[row : row + results[r].shape[0], n0:n1], src=results[r])
    return out


def load_panel(source, row, K, c0, c1, dtype):
    """Columns c0 to c1 of K rows as SBUF tiles of at most 128 rows, cast to ``dtype`` by the DMA."""
    panel = []
    for k in range(0, K, PARTITIONS):
        rows = min(PARTITIONS, K - k)
        tile = nl.ndarray((rows, c1 - c0), dtype=dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=source[row + k : row + k + rows, c0:c1])
        panel.append(tile)
    return panel


def multiply(lhs_panel, rhs_panel, m0, m1, columns):
    """Rows m0 to m1 of the panel's product, in SBUF tiles of at most 128 rows.

    Four banks, one for each 128 rows, are filled together: each moving tile serves all of them in turn.
    """
    results = []
    for m in range(m0, m1, PARTITIONS):
        results.append(nl.ndarray((min(PARTITIONS, m1 - m), columns), dtype=nl.float32, buffer=nl.sbuf))
    for n in range(0, columns, BANK_COLUMNS):
        end = min(n + BANK_COLUMNS, columns)
        banks = []
        for result in results:
            banks.append(nl.ndarray((result.shape[0], end - n), dtype=nl.float32, buffer=nl.psum))
        for k in range(len(lhs_panel)):
            depth = lhs_panel[k].shape[0]
            for r in range(len(banks)):
                m = m0 + r * PARTITIONS
                nisa.nc_matmul(
                    dst=banks[r],
                    stationary=lhs_panel[k][0:depth, m : m + banks[r].shape[0]],
                    moving=rhs_panel[k][0:depth, n:end],
                    accumulate=(k > 0),
                )
        for r in range(len(banks)):
            nisa.tensor_copy(
                dst=results[r][0 : banks[r].shape[0], n:end], src=banks[r], engine=nisa.engine.vector
            )
    return results
