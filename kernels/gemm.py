"""Batched GEMM, fp32 results from fp32, tf32, bf16 or fp16 operands: out[i] = lhs_t[i].T @ rhs[i].

What makes it more than a port: operands are read as they lie, with the contraction on partitions, as TensorE
reads them, or along their rows, and then each element is transposed on the PE array once; one panel of an
operand, of the transposed one if there is one, stays in SBUF while all of the other streams past it; and tf32
costs no pass over the data, because the DMA that loads an operand also casts it.

Engines     TensorE multiplies and transposes, VectorE evicts PSUM, DMA loads and stores; ScalarE evicts
            every other transposed tile, and is idle without; GpSimd is idle.
SBUF        One rhs panel of K x 2 KiB a partition row (512 fp32 or 1024 bf16 columns), resident for a sweep
            over M; lhs panels of the same width, the next one loading while the present one is used. The
            other way round if only lhs is transposed. Of an operand to be transposed also strips of 128
            rows x 2 KiB, as many as the panel is wide.
PSUM        Four fresh banks for each 512 x 512 block of the result, all of K accumulated in them, a moving
            tile for all four in turn; two sets of four rotate, so that evictions hide behind the matmuls
            of the next block. A transposed tile of a panel is one bank.
HBM         Where both are transposed, and there are several rhs panels, lhs is kept as [batch * K, M].
Cores       Of two, each makes half of the rows of every product: M is even.
DMA         Rows of 2 KiB for inputs and results, where the matrix is that wide.
Bound       T_pe = batch ceil(M/128) ceil(K/128) sum(max(n, 64)) c / f, with n the columns of each block,
            c = 4 cycles for fp32 and 1 otherwise, f the TensorE clock; an operand transposed adds
            batch ceil(extent/128) ceil(K/128) 128 c' / f, c' = 4 (trn1) or 2 for fp32 and 1 otherwise.
Limits      K <= 2048: two lhs panels and two of rhs, at the change of panel, fit SBUF.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
BANK_COLUMNS = 512
ROWS = 512
ROW_BYTES = 2048


@nki.jit
def gemm(lhs, rhs, batch, tf32, turn_lhs=0, turn_rhs=0):
    """Multiply ``batch`` pairs of matrices stacked along their rows.

    Parameters
    ----------
    lhs
        [batch * K, M] in HBM, fp32, bf16 or fp16: the stationary operands, transposed; or with ``turn_lhs``
        [batch * M, K].
    rhs
        [batch * K, N] in HBM, of the same dtype: the moving operands; or with ``turn_rhs`` [batch * N, K].
    batch
        Number of pairs.
    tf32
        Whether fp32 operands are cast to tf32 on their way in.
    turn_lhs, turn_rhs
        1 if the contraction lies along the rows of ``lhs``, of ``rhs``; else 0.

    Returns
    -------
    out
        [batch * M, N] fp32 in HBM.
    """
    K = lhs.shape[0] // batch
    M = lhs.shape[1]
    if turn_lhs:
        M = lhs.shape[0] // batch
        K = lhs.shape[1]
    N = rhs.shape[1]
    if turn_rhs:
        N = rhs.shape[0] // batch
    width = 1024
    if lhs.dtype == nl.float32:
        width = ROW_BYTES // 4
    dtype = lhs.dtype
    if tf32:
        dtype = nl.tfloat32
    rows = M // nl.num_programs()
    mine = nl.program_id(0) * rows
    out = nl.ndarray((batch * M, N), dtype=nl.float32, buffer=nl.shared_hbm)
    turned = lhs
    kept = mine
    if turn_lhs and turn_rhs and width < N:
        turned = nl.ndarray((batch * K, rows), dtype=lhs.dtype, buffer=nl.hbm)
        kept = 0
    for i in range(batch):
        if turn_lhs and not turn_rhs:
            stream_rhs(lhs, rhs, out, i, i * M + mine, rows, K, N, width, dtype)
        else:
            row = i * M + mine
            stream_lhs(lhs, rhs, turned, out, i, row, rows, kept, K, N, width, dtype, turn_lhs, turn_rhs)
    return out


def stream_rhs(lhs, rhs, out, i, row, rows, K, N, width, dtype):
    """``rows`` rows of the i-th product, from ``row`` on: rhs streams past each panel of lhs, transposed."""
    for m0 in range(0, rows, width):
        height = min(width, rows - m0)
        lhs_panel = turn_panel(lhs, row + m0, height, width, dtype)
        for n0 in range(0, N, width):
            n1 = min(n0 + width, N)
            rhs_panel = load_panel(rhs, i * K, K, n0, n1 - n0, dtype)
            multiply_panels(lhs_panel, rhs_panel, out, row + m0, height, n0, n1)


def stream_lhs(lhs, rhs, turned, out, i, row, rows, column, K, N, width, dtype, turn_lhs, turn_rhs):
    """The same where all of lhs streams past each panel of rhs, to be transposed past the first only.

    Its columns are those of ``turned`` from ``column`` on.
    """
    for n0 in range(0, N, width):
        n1 = min(n0 + width, N)
        if turn_rhs:
            rhs_panel = turn_panel(rhs, i * N + n0, n1 - n0, width, dtype)
        else:
            rhs_panel = load_panel(rhs, i * K, K, n0, n1 - n0, dtype)
        for m0 in range(0, rows, width):
            height = min(width, rows - m0)
            if turn_lhs and n0 == 0:
                lhs_panel = turn_panel(lhs, row + m0, height, width, dtype)
                if width < N:
                    store_panel(lhs_panel, turned, i * K, column + m0, height)
            else:
                lhs_panel = load_panel(turned, i * K, K, column + m0, height, dtype)
            multiply_panels(lhs_panel, rhs_panel, out, row + m0, height, n0, n1)


def load_panel(source, row, K, column, columns, dtype):
    """``columns`` columns of K rows as SBUF tiles of at most 128 rows, cast to ``dtype`` by the DMA."""
    panel = []
    for k in range(0, K, PARTITIONS):
        rows = min(PARTITIONS, K - k)
        tile = nl.ndarray((rows, columns), dtype=dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=source[row + k : row + k + rows, column : column + columns])
        panel.append(tile)
    return panel


def store_panel(panel, target, row, column, columns):
    """The tiles of a panel as ``columns`` columns of the rows from ``row`` on."""
    for k in range(len(panel)):
        first = row + k * PARTITIONS
        nisa.dma_copy(dst=target[first : first + panel[k].shape[0], column : column + columns], src=panel[k])


def turn_panel(source, row, rows, chunk, dtype):
    """``rows`` rows, transposed: SBUF tiles of at most 128 of their columns, cast to ``dtype`` by the DMA.

    ``chunk`` columns are loaded at a time.
    """
    K = source.shape[1]
    panel = []
    for k0 in range(0, K, chunk):
        k1 = min(k0 + chunk, K)
        strips = []
        for r in range(0, rows, PARTITIONS):
            height = min(PARTITIONS, rows - r)
            strip = nl.ndarray((height, k1 - k0), dtype=dtype, buffer=nl.sbuf)
            nisa.dma_copy(dst=strip, src=source[row + r : row + r + height, k0:k1])
            strips.append(strip)
        for k in range(k0, k1, PARTITIONS):
            panel.append(turn_tile(strips, k - k0, min(PARTITIONS, k1 - k), dtype, k // PARTITIONS))
    return panel


def turn_tile(strips, column, depth, dtype, turn):
    """``depth`` columns of all strips, transposed into one tile by TensorE."""
    width = 0
    for strip in strips:
        width += strip.shape[0]
    bank = nl.ndarray((depth, width), dtype=dtype, buffer=nl.psum)
    for i in range(len(strips)):
        first = i * PARTITIONS
        rows = strips[i].shape[0]
        nisa.nc_transpose(
            dst=bank[0:depth, first : first + rows],
            data=strips[i][0:rows, column : column + depth],
            engine=nisa.engine.tensor,
        )
    tile = nl.ndarray((depth, width), dtype=dtype, buffer=nl.sbuf)
    if turn % 2 == 0:
        nisa.tensor_copy(dst=tile, src=bank, engine=nisa.engine.vector)
    else:
        nisa.activation(dst=tile, op=nl.copy, data=bank)
    return tile


def multiply_panels(lhs_panel, rhs_panel, out, row, rows, n0, n1):
    """The product of two panels to ``rows`` rows of ``out`` from ``row`` on, columns n0 to n1."""
    for m in range(0, rows, ROWS):
        results = multiply(lhs_panel, rhs_panel, m, min(m + ROWS, rows), n1 - n0)
        for r in range(len(results)):
            first = row + m + r * PARTITIONS
            nisa.dma_copy(dst=out[first : first + results[r].shape[0], n0:n1], src=results[r])


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
