"""Kernels for the clock's comparison with published times, where the timed source is not public or is old.

They are ours: each has the loop structure, the instructions and the DMA shapes that the publication
describes, and says where it had to guess. They are made to be timed, not to be used.
"""

import nki
import nki.isa as nisa
import nki.language as nl

TILE = 128
BANK = 512


@nki.jit
def gemm(lhs_t, rhs, width):
    """``lhs_t.T @ rhs`` with an rhs panel resident for a sweep over M; result in the operands' dtype."""
    out = nl.ndarray((lhs_t.shape[1], rhs.shape[1]), dtype=rhs.dtype, buffer=nl.shared_hbm)
    layer(lhs_t, rhs, out, width)
    return out


@nki.jit
def mlp(x_t, w1, w2, w3, width):
    """Three products in a row, each result stored transposed for the next one (weights stationary)."""
    one = nl.ndarray((w1.shape[1], x_t.shape[1]), dtype=x_t.dtype, buffer=nl.hbm)
    two = nl.ndarray((w2.shape[1], x_t.shape[1]), dtype=x_t.dtype, buffer=nl.hbm)
    out = nl.ndarray((w3.shape[1], x_t.shape[1]), dtype=x_t.dtype, buffer=nl.shared_hbm)
    layer(w1, x_t, one, width)
    layer(w2, one, two, width)
    layer(w3, two, out, width)
    return out


def layer(lhs_t, rhs, out, width):
    M = lhs_t.shape[1]
    N = rhs.shape[1]
    for n0 in range(0, N, width):
        n1 = min(n0 + width, N)
        rhs_panel = []
        for m0 in range(0, M, width):
            m1 = min(m0 + width, M)
            lhs_panel = []
            for k in range(0, rhs.shape[0], TILE):  # both operands of a step together, so that it can start
                lhs_panel.append(load(lhs_t, k, m0, m1))
                if m0 == 0:
                    rhs_panel.append(load(rhs, k, n0, n1))
            for m in range(m0, m1, TILE):
                block(lhs_panel, rhs_panel, m - m0, out, m, n0, n1)


def load(source, row, c0, c1):
    tile = nl.ndarray((TILE, c1 - c0), dtype=source.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source[row : row + TILE, c0:c1])
    return tile


def block(lhs_panel, rhs_panel, m, out, row, n0, n1):
    result = nl.ndarray((TILE, n1 - n0), dtype=out.dtype, buffer=nl.sbuf)
    for n in range(0, n1 - n0, BANK):
        end = min(n + BANK, n1 - n0)
        bank = nl.ndarray((TILE, end - n), dtype=nl.float32, buffer=nl.psum)
        for k in range(len(lhs_panel)):
            nisa.nc_matmul(
                dst=bank,
                stationary=lhs_panel[k][0:TILE, m : m + TILE],
                moving=rhs_panel[k][0:TILE, n:end],
                accumulate=(k > 0),
            )
        nisa.tensor_copy(dst=result[0:TILE, n:end], src=bank, engine=nisa.engine.vector)
    nisa.dma_copy(dst=out[row : row + TILE, n0:n1], src=result)


@nki.jit
def gemm_given(lhs, rhs, width):
    """``lhs @ rhs`` with lhs row-major: blocks of 128 x 128 transposed once on TensorE, and kept in HBM."""
    M = lhs.shape[0]
    N = rhs.shape[1]
    lhs_t = nl.ndarray((lhs.shape[1], M), dtype=lhs.dtype, buffer=nl.hbm)
    out = nl.ndarray((M, N), dtype=rhs.dtype, buffer=nl.shared_hbm)
    for n0 in range(0, N, width):
        n1 = min(n0 + width, N)
        rhs_panel = []
        for k in range(0, rhs.shape[0], TILE):
            rhs_panel.append(load(rhs, k, n0, n1))
        for m0 in range(0, M, width):
            m1 = min(m0 + width, M)
            lhs_panel = []
            if n0 == 0:
                lhs_panel = turn(lhs, lhs_t, m0, m1)
            else:
                for k in range(0, rhs.shape[0], TILE):
                    lhs_panel.append(load(lhs_t, k, m0, m1))
            for m in range(m0, m1, TILE):
                block(lhs_panel, rhs_panel, m - m0, out, m, n0, n1)
    return out


def turn(lhs, lhs_t, m0, m1):
    """Rows m0 to m1 transposed: whole rows are loaded, and one bank evicted for each 128 columns."""
    K = lhs.shape[1]
    strips = []
    for m in range(m0, m1, TILE):
        strips.append(load(lhs, m, 0, K))
    panel = []
    for k in range(0, K, TILE):
        bank = nl.ndarray((TILE, m1 - m0), dtype=lhs.dtype, buffer=nl.psum)
        for i in range(len(strips)):
            nisa.nc_transpose(
                dst=bank[0:TILE, i * TILE : (i + 1) * TILE],
                data=strips[i][0:TILE, k : k + TILE],
                engine=nisa.engine.tensor,
            )
        tile = nl.ndarray((TILE, m1 - m0), dtype=lhs.dtype, buffer=nl.sbuf)
        nisa.tensor_copy(dst=tile, src=bank, engine=nisa.engine.vector)
        nisa.dma_copy(dst=lhs_t[k : k + TILE, m0:m1], src=tile)
        panel.append(tile)
    return panel


@nki.jit
def mamba(delta, u, A, B, C, step, reload):
    """The selective scan of the SDK's tutorial, [channels, steps], states in the inner loop.

    ``reload`` loads delta and u anew for each state (first version); else they stay and their product,
    which does not depend on the state, is computed once (the compiler is assumed to move it out).
    Rows of B and C are spread over partitions by a matmul with ones and read from PSUM; the tutorial does not
    show how its compiler does that, and a copy to SBUF, after which VectorE pays 2N instead of N, is as
    possible. A ``scalar_tensor_tensor`` stands for ``tensor_tensor_scan``: the published cost is the same.
    """
    channels = delta.shape[0]
    steps = delta.shape[1]
    out = nl.ndarray((channels, steps), dtype=delta.dtype, buffer=nl.shared_hbm)
    ones = nl.ndarray((1, TILE), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=ones, value=1.0)
    for c in range(0, channels, TILE):
        total = nl.ndarray((TILE, steps), dtype=nl.float32, buffer=nl.sbuf)
        nisa.memset(dst=total, value=0.0)
        if not reload:
            delta_i = whole(delta, c, 0, steps)
            u_i = whole(u, c, 0, steps)
            product = nl.ndarray((TILE, steps), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_tensor(dst=product, data1=delta_i, data2=u_i, op=nl.multiply)
        for state in range(A.shape[1]):
            a = nl.ndarray((TILE, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(dst=a, src=A[c : c + TILE, state : state + 1])
            if reload:
                delta_i = whole(delta, c, 0, steps)
                u_i = whole(u, c, 0, steps)
                product = nl.ndarray((TILE, steps), dtype=nl.float32, buffer=nl.sbuf)
                nisa.tensor_tensor(dst=product, data1=delta_i, data2=u_i, op=nl.multiply)
            for s in range(0, steps, step):
                scan(delta_i, product, a, B, C, state, total, s, step, ones)
        nisa.dma_copy(dst=out[c : c + TILE, 0:steps], src=total)
    return out


def whole(source, row, s0, s1):
    tile = nl.ndarray((TILE, s1 - s0), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source[row : row + TILE, s0:s1])
    return tile


def scan(delta_i, product, a, B, C, state, total, s, step, ones):
    decay = nl.ndarray((TILE, step), dtype=nl.float32, buffer=nl.sbuf)
    nisa.activation(dst=decay, op=nl.exp, data=delta_i[0:TILE, s : s + step], scale=a)
    b = spread(B, state, s, step, ones)
    drive = nl.ndarray((TILE, step), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_tensor(dst=drive, data1=product[0:TILE, s : s + step], data2=b, op=nl.multiply)
    states = nl.ndarray((TILE, step), dtype=nl.float32, buffer=nl.sbuf)
    nisa.scalar_tensor_tensor(
        dst=states, data=decay, op0=nl.multiply, operand0=1.0, op1=nl.add, operand1=drive
    )
    c = spread(C, state, s, step, ones)
    seen = nl.ndarray((TILE, step), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_tensor(dst=seen, data1=states, data2=c, op=nl.multiply)
    nisa.tensor_tensor(
        dst=total[0:TILE, s : s + step], data1=total[0:TILE, s : s + step], data2=seen, op=nl.add
    )


def spread(source, state, s, step, ones):
    """One row over all partitions: a matmul with ones."""
    row = nl.ndarray((1, step), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=row, src=source[state : state + 1, s : s + step])
    bank = nl.ndarray((TILE, step), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(dst=bank, stationary=ones, moving=row, accumulate=False)
    return bank


@nki.jit
def mp2(T, T_t, e_i, e_a, pairs, v, rows, copies):
    """The pair energies of a published fp32 kernel, strip by strip, T and its transpose read from HBM.

    The algebra is the publication's: one instruction for each operation, 2N for two operands, 8N for the
    reciprocal. Of its 24.6 VectorE instructions a strip the ``copies`` that are not algebra are broadcasts
    and copies of a strip each, as it describes them.
    """
    out = nl.ndarray((rows, pairs), dtype=nl.float32, buffer=nl.shared_hbm)
    energies = nl.ndarray((rows, pairs), dtype=nl.float32, buffer=nl.sbuf)
    nisa.memset(dst=energies, value=0.0)
    virtuals = nl.ndarray((rows, v), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=virtuals, src=e_a[0:rows, 0:v])
    occupied = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=occupied, src=e_i[0:rows, 0:1])
    for pair in range(pairs):
        for r in range(pair * v, (pair + 1) * v, rows):
            strip(T, T_t, r, rows, v, virtuals, occupied, energies[0:rows, pair : pair + 1], copies)
    nisa.dma_copy(dst=out, src=energies)
    return out


def tile_of(rows, v):
    return nl.ndarray((rows, v), dtype=nl.float32, buffer=nl.sbuf)


def strip(T, T_t, r, rows, v, virtuals, occupied, energy, copies):
    t = tile_of(rows, v)
    nisa.dma_copy(dst=t, src=T[r : r + rows, 0:v])
    swapped = tile_of(rows, v)
    nisa.dma_copy(dst=swapped, src=T_t[r : r + rows, 0:v])
    gap = tile_of(rows, v)
    for _ in range(copies):
        nisa.tensor_copy(dst=gap, src=virtuals)
    shifted = tile_of(rows, v)
    nisa.tensor_scalar(dst=shifted, data=gap, op0=nl.add, operand0=occupied)
    denominator = tile_of(rows, v)
    nisa.tensor_tensor(dst=denominator, data1=shifted, data2=virtuals, op=nl.subtract)
    inverse = tile_of(rows, v)
    nisa.reciprocal(dst=inverse, data=denominator)
    twice = tile_of(rows, v)
    nisa.tensor_scalar(dst=twice, data=t, op0=nl.multiply, operand0=2.0)
    exchange = tile_of(rows, v)
    nisa.tensor_tensor(dst=exchange, data1=twice, data2=swapped, op=nl.subtract)
    weighted = tile_of(rows, v)
    nisa.tensor_tensor(dst=weighted, data1=t, data2=exchange, op=nl.multiply)
    scaled = tile_of(rows, v)
    nisa.tensor_tensor(dst=scaled, data1=weighted, data2=inverse, op=nl.multiply)
    partial = nl.ndarray((rows, 1), dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_reduce(dst=partial, op=nl.add, data=scaled, axis=1)
    nisa.tensor_tensor(dst=energy, data1=energy, data2=partial, op=nl.add)
