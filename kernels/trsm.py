"""Triangular solve, fp32: out = X with L X = B, by inverted diagonal tiles and one refinement of each.

What makes it more than a port: nothing is divided or substituted element by element. A tile of 128 rows is
solved by three matmuls, Y = W T, R = T - L_ii Y, X = Y + W R, with T = B_i - sum over j < i of L_ij X_j taken
from PSUM and W the inverse of the tile L_ii, made by the host. The refinement takes the error of the inverse
away; what is left is that of two dot products (``numtrn/precision/inverses.py`` says when, and proves it).
Where that proof needs smaller inverses, of 64 or 32 rows, they take turns within the tile. TensorE runs its
instructions in order, so the program does the pipelining: each link of that chain is followed by the same
link of the other strip of columns and by an equal share of the next tile's updates.

Engines     TensorE multiplies; VectorE makes the four links of an inverse, each from PSUM to SBUF; DMA loads
            and stores. ScalarE and GpSimd are idle.
SBUF        All of X for a group of up to 1024 columns, 4 KiB a partition and tile (128 KiB at M = 4096); two
            rows of tiles of L, of up to 16 KiB each, one of them loading; B, which becomes T and then R in
            place; inverses.
PSUM        For each of two strips one bank for this tile's updates, one for the next tile's, and two for the
            links of the chain, which rotate: eight.
DMA         L, in rows of 512 bytes, and the inverses once for each group of columns; B and X once, in rows of
            4 KiB.
Cores       Of two, each solves for half of the right-hand sides: N is even. Both read L and the inverses.
Bound       T_pe = t (t + 1) / 2 N 4 / f for t = ceil(M/128) tiles, f the TensorE clock: that of plain
            inverses. With p inverses in a tile there are (4 p - 2) t matmuls more, so that the share
            (t + 1) / (t + 8 p - 3) of it can be reached.
Limits      M <= 4096, for X in SBUF.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
BANK_COLUMNS = 512
GROUP_COLUMNS = 1024
COLUMN_STEP = 64
LINKS = 4


@nki.jit
def trsm(lower_t, inverses_t, rhs, block, edge):
    """Solve L X = B for M rows of N right-hand sides.

    Parameters
    ----------
    lower_t
        fp32 in HBM, [b (b + 1) / 2 * block, block], blocks of L transposed, below each other: (0, 0), (1, 0),
        (1, 1), (2, 0) ...; block (i, j) has the columns of L's block j as rows, the rows of its block i as
        columns, and zeros for what is above L's diagonal.
    inverses_t
        [M, min(M, 128)] fp32 in HBM: for each 128 rows a tile, all below each other. On its diagonal are the
        inverses of the ``edge`` x ``edge`` parts of L's diagonal, each transposed; zeros elsewhere.
    rhs
        [M, N] fp32 in HBM.
    block
        Rows and columns of a block: M, or a multiple of 128 that divides M.
    edge
        Rows of an inverse: 128, 64 or 32, or M if that is less.

    Returns
    -------
    out
        [M, N] fp32 in HBM.
    """
    M = rhs.shape[0]
    N = rhs.shape[1]
    out = nl.ndarray((M, N), dtype=nl.float32, buffer=nl.shared_hbm)
    columns = N // nl.num_programs()
    mine = nl.program_id(0) * columns
    groups = (columns + GROUP_COLUMNS - 1) // GROUP_COLUMNS
    width = share(columns, groups)
    for n0 in range(0, columns, width):
        n1 = min(n0 + width, columns)
        solve_group(out, lower_t, inverses_t, rhs, block, edge, mine + n0, mine + n1)
    return out


def share(columns, parts):
    """Columns of each of ``parts`` equal parts, a multiple of 64."""
    steps = (columns + parts * COLUMN_STEP - 1) // (parts * COLUMN_STEP)
    return steps * COLUMN_STEP


def solve_group(out, lower_t, inverses_t, rhs, block, edge, n0, n1):
    """X in columns n0 to n1, row tile by row tile, two strips in turn."""
    M = rhs.shape[0]
    rows = min(PARTITIONS, M)
    tiles = M // rows
    strips = cut(n1 - n0)
    solved = []
    row = load_row(lower_t, block, rows, 0)
    inverse = load(inverses_t, 0, rows, 0, rows)
    rest = load(rhs, 0, rows, n0, n1)
    sums = new_banks(strips, rows)
    for i in range(tiles):
        next_sums = []
        next_row = []
        next_inverse = inverse
        next_rest = rest
        if i + 1 < tiles:
            m = (i + 1) * rows
            next_row = load_row(lower_t, block, rows, i + 1)
            next_inverse = load(inverses_t, m, rows, 0, rows)
            next_rest = load(rhs, m, rows, n0, n1)
            next_sums = new_banks(strips, rows)
        solve_tile(solved, row, inverse, rest, sums, next_row, next_sums, strips, edge)
        nisa.dma_copy(dst=out[i * rows : (i + 1) * rows, n0:n1], src=solved[i])
        row = next_row
        inverse = next_inverse
        rest = next_rest
        sums = next_sums


def cut(columns):
    """Starts and ends of two strips of columns, or of one where there are few."""
    width = share(columns, 2)
    strips = []
    for start in range(0, columns, width):
        strips.append((start, min(start + width, columns)))
    return strips


def load_row(lower_t, block, rows, i):
    """The tiles of row i of L, each transposed, from the first column to the diagonal."""
    per_block = block // rows
    bi = i // per_block
    column = (i - bi * per_block) * rows
    tiles = []
    for j in range(i + 1):
        bj = j // per_block
        base = (bi * (bi + 1) // 2 + bj) * block + (j - bj * per_block) * rows
        tiles.append(load(lower_t, base, rows, column, column + rows))
    return tiles


def load(source, row, rows, c0, c1):
    """Columns c0 to c1 of some rows in SBUF."""
    tile = nl.ndarray((rows, c1 - c0), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=source[row : row + rows, c0:c1])
    return tile


def new_banks(strips, rows):
    """An accumulator for each strip."""
    banks = []
    for strip in strips:
        banks.append(nl.ndarray((rows, strip[1] - strip[0]), dtype=nl.float32, buffer=nl.psum))
    return banks


def solve_tile(solved, row, inverse, rest, sums, next_row, next_sums, strips, edge):
    """Append one tile of X to ``solved``; between its links, update the next tile with those before it.

    ``rest`` holds B, then T, then R. ``sums`` lack the product with the tile of X solved last.
    """
    i = len(solved)
    x = nl.ndarray(rest.shape, dtype=nl.float32, buffer=nl.sbuf)
    updates = 0
    if len(next_row) > 0:
        updates = i * len(strips)
    slots = x.shape[0] // edge * LINKS * len(strips)
    slot = 0
    for r0 in range(0, x.shape[0], edge):
        for link in range(LINKS):
            for s in range(len(strips)):
                if link > 0:
                    refined_link(link, row[i], inverse, rest, x, r0, r0 + edge, strips[s])
                elif r0 > 0:
                    inner_link(row[i], rest, x, r0, r0 + edge, strips[s])
                elif i > 0:
                    outer_link(row[i - 1], rest, solved[i - 1], sums[s], strips[s], i > 1)
                for t in range(updates * slot // slots, updates * (slot + 1) // slots):
                    update(next_sums, next_row, solved, strips, t // len(strips), t % len(strips))
                slot = slot + 1
    solved.append(x)


def outer_link(lower, rest, x, total, strip, accumulate):
    """T of a tile: B less its updates, the last of which is made here."""
    known = rest[0 : rest.shape[0], strip[0] : strip[1]]
    moving = x[0 : x.shape[0], strip[0] : strip[1]]
    nisa.nc_matmul(dst=total, stationary=lower, moving=moving, accumulate=accumulate)
    nisa.tensor_tensor(dst=known, data1=known, data2=total, op=nl.subtract, engine=nisa.engine.vector)


def inner_link(diagonal, rest, x, r0, r1, strip):
    """T of rows r0 to r1 of a tile: less what the rows above in the same tile give."""
    rows = x.shape[0]
    known = rest[r0:r1, strip[0] : strip[1]]
    bank = nl.ndarray((rows, strip[1] - strip[0]), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(
        dst=bank,
        stationary=diagonal[0:r0, 0:rows],
        moving=x[0:r0, strip[0] : strip[1]],
        accumulate=False,
    )
    product = bank[r0:r1, 0 : strip[1] - strip[0]]
    nisa.tensor_tensor(dst=known, data1=known, data2=product, op=nl.subtract, engine=nisa.engine.vector)


def refined_link(link, diagonal, inverse, rest, x, r0, r1, strip):
    """Y (link 1), R (2) or X (3) of rows r0 to r1: one matmul, and its result from PSUM."""
    rows = x.shape[0]
    known = rest[r0:r1, strip[0] : strip[1]]
    found = x[r0:r1, strip[0] : strip[1]]
    stationary = inverse[r0:r1, 0:rows]
    moving = known
    if link == 2:
        stationary = diagonal[r0:r1, 0:rows]
        moving = found
    bank = nl.ndarray((rows, strip[1] - strip[0]), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(dst=bank, stationary=stationary, moving=moving, accumulate=False)
    product = bank[r0:r1, 0 : strip[1] - strip[0]]
    if link == 1:
        nisa.tensor_copy(dst=found, src=product, engine=nisa.engine.vector)
    elif link == 2:
        nisa.tensor_tensor(dst=known, data1=known, data2=product, op=nl.subtract, engine=nisa.engine.vector)
    else:
        nisa.tensor_tensor(dst=found, data1=found, data2=product, op=nl.add, engine=nisa.engine.vector)


def update(sums, row, solved, strips, j, s):
    """Add the product with tile j of X to the sums of one strip of the next tile."""
    x = solved[j]
    rows = x.shape[0]
    nisa.nc_matmul(
        dst=sums[s], stationary=row[j], moving=x[0:rows, strips[s][0] : strips[s][1]], accumulate=(j > 0)
    )
