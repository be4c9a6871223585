"""Least elements of the rows of a batched product: the guard of float64, 8 bytes a row.

out[i] = the least element of each row of lhs_t[i].T @ rhs[i], and the least that is not zero.

What makes it more than a port: the product itself never leaves the chip. VectorE turns each bank into two
running minima, of the values and of the values with zeros replaced by a large number.

Engines     TensorE multiplies, the limit; VectorE reduces from PSUM; DMA loads; ScalarE and GpSimd are idle.
SBUF        One rhs panel of K x 2 KiB a partition row, resident for a sweep over M; lhs_t panels of the same
            width, the next one loading while the present one is used; two numbers a row for all of M.
PSUM        A fresh bank for each 128 x 512 block of the product, all of K accumulated in it.
DMA         Rows of 2 KiB for operands, where the matrix is that wide; 8 bytes a row out.
Cores       Of two, each takes half of the rows of every product: M is even.
Bound       T_pe = batch ceil(M/128) ceil(K/128) N / f, f the TensorE clock.
Limits      K <= 2048: two lhs_t panels and two of rhs, at the change of panel, fit SBUF.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
BANK_COLUMNS = 512
WIDTH = 1024
LARGE = 3.0e38


@nki.jit
def least_product(lhs_t, rhs, batch):
    """Least elements of the rows of ``batch`` products of non-negative matrices stacked along their rows.

    Parameters
    ----------
    lhs_t
        [batch * K, M] bf16 in HBM: the stationary operands, transposed; M <= 128 or a multiple.
    rhs
        [batch * K, N] bf16 in HBM: the moving operands.
    batch
        Number of pairs.

    Returns
    -------
    out
        [batch * M, 2] fp32 in HBM: of each row the least element, zeros included, and the least that is
        not zero, which is 3e38 or more where all are zero.
    """
    K = lhs_t.shape[0] // batch
    M = lhs_t.shape[1]
    N = rhs.shape[1]
    out = nl.ndarray((batch * M, 2), dtype=nl.float32, buffer=nl.shared_hbm)
    height = M // nl.num_programs()
    mine = nl.program_id(0) * height
    for i in range(batch):
        least = []
        for m in range(0, height, PARTITIONS):
            tile = nl.ndarray((min(PARTITIONS, height - m), 2), dtype=nl.float32, buffer=nl.sbuf)
            nisa.memset(dst=tile, value=LARGE)
            least.append(tile)
        for n0 in range(0, N, WIDTH):
            n1 = min(n0 + WIDTH, N)
            rhs_panel = load_panel(rhs, i * K, K, n0, n1 - n0)
            for m0 in range(0, height, WIDTH):
                m1 = min(m0 + WIDTH, height)
                lhs_panel = load_panel(lhs_t, i * K, K, mine + m0, m1 - m0)
                for m in range(m0, m1, PARTITIONS):
                    reduce_rows(least[m // PARTITIONS], lhs_panel, rhs_panel, m - m0, n1 - n0)
        for tile in range(len(least)):
            rows = least[tile].shape[0]
            row = i * M + mine + tile * PARTITIONS
            nisa.dma_copy(dst=out[row : row + rows, 0:2], src=least[tile])
    return out


def load_panel(source, row, K, column, columns):
    """``columns`` columns of K rows as SBUF tiles of at most 128 rows."""
    panel = []
    for k in range(0, K, PARTITIONS):
        rows = min(PARTITIONS, K - k)
        tile = nl.ndarray((rows, columns), dtype=nl.bfloat16, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=source[row + k : row + k + rows, column : column + columns])
        panel.append(tile)
    return panel


def reduce_rows(least, lhs_panel, rhs_panel, m, columns):
    """Take rows m to m + rows of the panels' product into ``least``.

    Where an element is zero, LARGE times one is added to it; elsewhere zero.
    """
    rows = least.shape[0]
    for n in range(0, columns, BANK_COLUMNS):
        end = min(n + BANK_COLUMNS, columns)
        bank = nl.ndarray((rows, end - n), dtype=nl.float32, buffer=nl.psum)
        for k in range(len(lhs_panel)):
            nisa.nc_matmul(
                dst=bank,
                stationary=lhs_panel[k][0 : lhs_panel[k].shape[0], m : m + rows],
                moving=rhs_panel[k][0 : rhs_panel[k].shape[0], n:end],
                accumulate=(k > 0),
            )
        penalty = nl.ndarray((rows, end - n), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_scalar(
            dst=penalty, data=bank, op0=nl.equal, operand0=0.0, op1=nl.multiply, operand1=LARGE
        )
        found = nl.ndarray((rows, 2), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(dst=found[0:rows, 0:1], op=nl.minimum, data=bank, axis=1)
        nisa.tensor_tensor(dst=penalty, data1=penalty, data2=bank, op=nl.add, engine=nisa.engine.vector)
        nisa.tensor_reduce(dst=found[0:rows, 1:2], op=nl.minimum, data=penalty, axis=1)
        nisa.tensor_tensor(dst=least, data1=least, data2=found, op=nl.minimum, engine=nisa.engine.vector)
