"""Pair energies of MP2, fp32: sums over virtual orbitals a, b of T_ab T_ab / D_ab and T_ab T_ba / D_ab.

For each pair of occupied orbitals (i, j), T = (ia|jb) is made in PSUM by TensorE, T_ba = sum_Q B_jbQ B_iaQ,
and never leaves the chip: what comes back is a few numbers a pair and partition, which the host adds in
float64. What makes it more than a port: with s = D^-1/2, which is symmetric in a and b, and Y = T s, both
sums are those of Y Y and Y Y^T, so that one pass of VectorE takes T out of PSUM and divides it, and the
transposes that TensorE makes of Y need no denominators; blocks of Y Y^T above the diagonal count twice, those
below it are not made; and rows that do not fill a tile of 128 share one with those of the next orbitals.

Engines     TensorE multiplies and transposes. ScalarE makes s (of D = e_a + e_b - e_i - e_j, with all but
            e_a as bias), sums Y Y and Y Y^T, and never touches PSUM. VectorE makes one Newton step of s, two
            instructions of 2N cycles, in which the error e of ScalarE's function becomes 1.5 e^2; then Y, N
            from PSUM; then Y Y^T, N from PSUM, of half the blocks. DMA loads; GpSimd is idle.
            s of later tiles is made ``ahead`` tiles at a time, as functions of ScalarE change at a cost.
SBUF        B of ``resident`` orbitals i; of the orbitals j a group of ``pack`` at a time streams past, unless
            all are resident. Y of a group and of the one before, s of some tiles, sums.
PSUM        A bank for each tile of at most 128 rows b and 512 columns a, all of K accumulated in it; as many
            for transposes, those of a group after the first products of the next, which hide VectorE.
DMA         Rows of ``chunk`` orbitals, 2 KiB or so.
Cores       Two make the same sums, and each gives half of the partitions.
Bound       T_pe = pairs ceil(x/128) R v c / f, R the tiles of rows an orbital has: 3.5 for v = 448, not 4;
            c = 4 cycles for fp32 and 1 for tf32, f the TensorE clock. VectorE needs about 5.6 v a tile.
Limits      A resident orbital, a group of others and Y fit SBUF: see ``numtrn/plan/mp2_tiling.py``.
"""

import nki
import nki.isa as nisa
import nki.language as nl

PARTITIONS = 128
BANK_COLUMNS = 512


@nki.jit
def mp2_pairs(
    moving,
    stationary,
    energies,
    oi,
    oj,
    vi,
    vj,
    pack,
    resident,
    chunk,
    ahead,
    exchange,
    triangle,
    given,
    tf32,
):
    """Partial sums of the pairs of ``oi`` orbitals i and ``oj`` orbitals j.

    Parameters
    ----------
    moving
        [x, oi * wi] fp32 in HBM: B of the orbitals i, transposed, wi >= vi columns each. With ``given``
        [oj * oi * vj, vi], the integrals: row (j * oi + i) * vj + b, column a.
    stationary
        [x, oj * wj] fp32 in HBM: B of the orbitals j, transposed; zeros from column vj of each on. The same
        tensor for a triangle; not read with ``given``.
    energies
        [128, vi + oi + c] fp32 in HBM, all shifted to be positive: e_a, then -e_i, the same in all rows; then
        for each tile of rows e_b - e_j: those of full tiles, orbital by orbital, then the packed ones.
    oi, oj, vi, vj
        Orbitals i and j, and virtual orbitals of each.
    pack
        Orbitals j that share the tile of rows beyond the last multiple of 128: 1, 2 or 4, with 128, 64 or 32
        rows for each at most.
    resident
        Orbitals i whose B is in SBUF together; ``oi`` if everything is.
    chunk
        Orbitals loaded together, a multiple of ``pack``; 0, with ``pack`` 1, to load B of j for each tile.
    ahead
        Tiles whose s is begun together, while those before them are multiplied.
    exchange
        Whether T_ab T_ba / D_ab is wanted; then vi = vj.
    triangle
        Whether the orbitals are the same, so that only pairs i <= j are made; of i = j no exchange.
    given
        Whether the integrals are given.
    tf32
        Whether B is cast to tf32 on its way in.

    Returns
    -------
    out
        [128, kinds * oi * oj] fp32 in HBM, 4 times the sums of each partition, for a kind, i and j. Kinds, as
        far as there are such: of packed tiles direct sums, at the first j of a group, in whose rows the
        orbitals of the group follow each other; exchange within those rows; of full tiles direct sums;
        exchange of blocks on the diagonal, and above it, where it counts twice. Zero where nothing is made.
    """
    full = vj // PARTITIONS
    rest = vj - full * PARTITIONS
    size = {"oi": oi, "oj": oj, "vi": vi, "vj": vj, "full": full, "rest": rest}
    size["pack"] = pack
    size["resident"] = resident
    size["chunk"] = chunk
    dtype = nl.float32
    if tf32:
        dtype = nl.tfloat32
    kinds = kinds_of(full, rest, exchange)
    out = nl.ndarray((PARTITIONS, kinds[0] * oi * oj), dtype=nl.float32, buffer=nl.shared_hbm)
    sums = nl.ndarray(out.shape, dtype=nl.float32, buffer=nl.sbuf)
    table = nl.ndarray(energies.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=table, src=energies)
    nisa.memset(dst=sums, value=0.0, engine=nisa.engine.vector)
    tiles = energies.shape[1] - vi - oi
    biases = nl.ndarray((PARTITIONS, tiles * oi), dtype=nl.float32, buffer=nl.sbuf)
    known = []
    for _t in range(tiles):
        known.append(False)
    units = units_of(size, triangle)
    jobs = jobs_of(units, size, triangle)
    held = {"moving": [], "stationary": [], "packed": [], "first": -1, "group": -1, "passing": True}
    if triangle and resident == oi:
        held["stationary"] = held["moving"]
        held["passing"] = False
    seeds = []
    roots = []
    for n in range(min(ahead, len(jobs))):
        seeds.append(seed(jobs[n], units[jobs[n][0]], table, biases, known, size))
    square_all(seeds, 0)
    roots.append(refine(jobs[0], units[0], seeds[0], table, biases, size))
    seeds[0] = 0
    before = []
    present = []
    for n in range(len(jobs)):
        if n % ahead == 0:
            for m in range(n + ahead, min(n + 2 * ahead, len(jobs))):
                seeds.append(seed(jobs[m], units[jobs[m][0]], table, biases, known, size))
            square_all(seeds, n + ahead)
        if n + 1 < len(jobs):
            job = jobs[n + 1]
            roots.append(refine(job, units[job[0]], seeds[n + 1], table, biases, size))
            seeds[n + 1] = 0
        unit = units[jobs[n][0]]
        if len(present) == 0:
            present = new_amplitudes(unit, size, triangle)
        if given:
            divide_given(jobs[n], unit, moving, roots[n], present, size)
        else:
            multiply(jobs[n], unit, moving, stationary, held, roots[n], present, size, dtype)
        roots[n] = 0
        ends = n + 1 == len(jobs) or jobs[n + 1][0] != jobs[n][0]
        if ends:
            sum_direct(sums, kinds, unit, present, size, triangle)
        if len(before) > 0:
            sum_exchange(sums, kinds, units[jobs[n][0] - 1], before, size, triangle)
            before = []
        if ends:
            if exchange:
                before = present
            present = []
    if exchange:
        sum_exchange(sums, kinds, units[len(units) - 1], before, size, triangle)
    height = PARTITIONS // nl.num_programs()
    mine = nl.program_id(0) * height
    columns = out.shape[1]
    nisa.dma_copy(dst=out[mine : mine + height, 0:columns], src=sums[mine : mine + height, 0:columns])
    return out


# ---- What is made, in which order ----


def kinds_of(full, rest, exchange):
    """Number of kinds of sums, and the place of each: see the kernel's result."""
    count = 0
    places = []
    for present in (rest > 0, exchange and rest > 0, full > 0, exchange and full > 0):
        places.append(count)
        if present:
            count = count + 1
    places.append(count)
    if exchange and full > 0 and full * PARTITIONS + rest > PARTITIONS:
        count = count + 1
    return count, places[0], places[1], places[2], places[3], places[4]


def side_of(vi):
    """Orbitals i side by side in a bank."""
    side = 1
    if vi < 2 * PARTITIONS:
        while 2 * side * vi <= BANK_COLUMNS:
            side = 2 * side
    return side


def units_of(size, triangle):
    """Orbitals i side by side, s0 to s1, with a group of orbitals j, j0 to j1; i0 is the first resident."""
    oi = size["oi"]
    oj = size["oj"]
    vi = size["vi"]
    pack = size["pack"]
    resident = size["resident"]
    side = side_of(vi)
    units = []
    for i0 in range(0, oi, resident):
        first = 0
        if triangle:
            first = i0 // pack * pack
        for j0 in range(first, oj, pack):
            j1 = min(j0 + pack, oj)
            for s0 in range(i0, min(i0 + resident, oi), side):
                s1 = min(s0 + side, i0 + resident, oi)
                if triangle:
                    s1 = min(s1, j1)
                if s0 < s1:
                    units.append({"s0": s0, "s1": s1, "j0": j0, "j1": j1, "i0": i0})
    return units


def jobs_of(units, size, triangle):
    """Tiles of rows: (unit, j of a full tile or -1, its place in the orbital, first i, end)."""
    jobs = []
    for u in range(len(units)):
        s0 = units[u]["s0"]
        s1 = units[u]["s1"]
        for j in range(units[u]["j0"], units[u]["j1"]):
            end = end_of(s1, j, triangle)
            if s0 < end:
                for a in range(size["full"]):
                    jobs.append((u, j, a, s0, end))
        if size["rest"] > 0:
            jobs.append((u, -1, 0, s0, s1))
    return jobs


def end_of(s1, j, triangle):
    """End of the orbitals i that go with an orbital j."""
    if triangle:
        return min(s1, j + 1)
    return s1


def slot_of(size):
    """Rows of an orbital in a packed tile."""
    rest = size["rest"]
    pack = size["pack"]
    if pack > 1:
        return PARTITIONS // pack
    return rest


def rows_of(job, unit, size):
    """Rows of a tile."""
    if job[1] >= 0:
        return PARTITIONS
    return (unit["j1"] - unit["j0"]) * slot_of(size)


def new_amplitudes(unit, size, triangle):
    """SBUF for Y of a unit: the full tiles of each j beside each other, then the packed tile."""
    vi = size["vi"]
    full = size["full"]
    rest = size["rest"]
    s0 = unit["s0"]
    s1 = unit["s1"]
    j0 = unit["j0"]
    j1 = unit["j1"]
    tiles = []
    for j in range(j0, j1):
        columns = full * (end_of(s1, j, triangle) - s0) * vi
        if columns > 0:
            tiles.append(nl.ndarray((PARTITIONS, columns), dtype=nl.float32, buffer=nl.sbuf))
        else:
            tiles.append(0)
    if rest > 0:
        rows = (j1 - j0) * slot_of(size)
        tiles.append(nl.ndarray((rows, (s1 - s0) * vi), dtype=nl.float32, buffer=nl.sbuf))
    return tiles


def place_of(job, unit, amplitudes, size):
    """Where Y of a tile goes: the SBUF tile and its first column there."""
    columns = (job[4] - job[3]) * size["vi"]
    if job[1] >= 0:
        return amplitudes[job[1] - unit["j0"]], job[2] * columns
    return amplitudes[unit["j1"] - unit["j0"]], 0


# ---- s = D^-1/2 ----


def tile_number(job, unit, size):
    """Place of a tile's rows among those of the energies."""
    oj = size["oj"]
    full = size["full"]
    pack = size["pack"]
    if job[1] >= 0:
        return job[1] * full + job[2]
    return oj * full + unit["j0"] // pack


def seed(job, unit, table, biases, known, size):
    """D^-1/2 as ScalarE has it, and its square; what is missing of the energies' sums is made first."""
    oi = size["oi"]
    vi = size["vi"]
    t = tile_number(job, unit, size)
    rows = rows_of(job, unit, size)
    if not known[t]:
        known[t] = True
        nisa.tensor_scalar(
            dst=biases[0:PARTITIONS, t * oi : (t + 1) * oi],
            data=table[0:PARTITIONS, vi : vi + oi],
            op0=nl.add,
            operand0=table[0:PARTITIONS, vi + oi + t : vi + oi + t + 1],
            engine=nisa.engine.vector,
        )
    s0, s1 = job[3], job[4]
    root = nl.ndarray((rows, (s1 - s0) * vi), dtype=nl.float32, buffer=nl.sbuf)
    square = nl.ndarray((rows, (s1 - s0) * vi), dtype=nl.float32, buffer=nl.sbuf)
    for i in range(s0, s1):
        nisa.activation(
            dst=root[0:rows, (i - s0) * vi : (i - s0 + 1) * vi],
            op=nl.rsqrt,
            data=table[0:rows, 0:vi],
            bias=biases[0:rows, t * oi + i : t * oi + i + 1],
        )
    return root, square


def square_all(seeds, first):
    """Squares of the seeds from one on: ScalarE changes its function once for all of them."""
    for n in range(first, len(seeds)):
        nisa.activation(dst=seeds[n][1], op=nl.square, data=seeds[n][0])


def refine(job, unit, seeded, table, biases, size):
    """One Newton step, (D s^2 - 3) s: -2 times D^-1/2."""
    oi = size["oi"]
    vi = size["vi"]
    t = tile_number(job, unit, size)
    rows = rows_of(job, unit, size)
    s0, s1 = job[3], job[4]
    residual = nl.ndarray((rows, (s1 - s0) * vi), dtype=nl.float32, buffer=nl.sbuf)
    for i in range(s0, s1):
        c = (i - s0) * vi
        nisa.scalar_tensor_tensor(
            dst=residual[0:rows, c : c + vi],
            data=table[0:rows, 0:vi],
            op0=nl.add,
            operand0=biases[0:rows, t * oi + i : t * oi + i + 1],
            op1=nl.multiply,
            operand1=seeded[1][0:rows, c : c + vi],
        )
    root = nl.ndarray((rows, (s1 - s0) * vi), dtype=nl.float32, buffer=nl.sbuf)
    nisa.scalar_tensor_tensor(
        dst=root, data=residual, op0=nl.subtract, operand0=3.0, op1=nl.multiply, operand1=seeded[0]
    )
    return root


# ---- Y = T s ----


def multiply(job, unit, moving, stationary, held, root, amplitudes, size, dtype):
    """T of a tile of rows in PSUM, bank by bank, and Y of it in SBUF."""
    oi = size["oi"]
    vi = size["vi"]
    resident = size["resident"]
    chunk = size["chunk"]
    s0, s1 = job[3], job[4]
    wi = moving.shape[1] // oi
    rows = rows_of(job, unit, size)
    if held["first"] != unit["i0"]:
        held["first"] = unit["i0"]
        if resident < oi:
            held["moving"] = []
    moving_chunk = min(chunk, resident)
    if chunk == 0:
        moving_chunk = resident
    for i in range(s0, s1):
        panel_of(held["moving"], moving, i, moving_chunk, oi, dtype)
    place = place_of(job, unit, amplitudes, size)
    lhs, c0 = left_of(job, unit, stationary, held, size, dtype)
    for n0 in range(0, (s1 - s0) * vi, BANK_COLUMNS):
        n1 = min(n0 + BANK_COLUMNS, (s1 - s0) * vi)
        bank = nl.ndarray((rows, n1 - n0), dtype=nl.float32, buffer=nl.psum)
        runs = runs_of(s0, s1, n0, n1, vi, wi, moving_chunk)
        for k in range(len(lhs)):
            for run in runs:
                panel = panel_of(held["moving"], moving, run[0], moving_chunk, oi, dtype)
                nisa.nc_matmul(
                    dst=bank[0:rows, run[1] - n0 : run[2] - n0],
                    stationary=lhs[k][0 : lhs[k].shape[0], c0 : c0 + rows],
                    moving=panel[k][0 : panel[k].shape[0], run[3] : run[3] + run[2] - run[1]],
                    accumulate=(k > 0),
                )
        divide(bank, root, n0, n1, place)


def divide(source, root, n0, n1, place):
    """Y of a tile's columns n0 to n1."""
    rows = source.shape[0]
    first = place[1] + n0
    nisa.tensor_tensor(
        dst=place[0][0:rows, first : first + n1 - n0],
        data1=source,
        data2=root[0:rows, n0:n1],
        op=nl.multiply,
        engine=nisa.engine.vector,
    )


def divide_given(job, unit, integrals, root, amplitudes, size):
    """Y of a tile whose integrals are loaded."""
    oi = size["oi"]
    vi = size["vi"]
    vj = size["vj"]
    full = size["full"]
    s0, s1 = job[3], job[4]
    rows = rows_of(job, unit, size)
    tile = nl.ndarray((rows, (s1 - s0) * vi), dtype=nl.float32, buffer=nl.sbuf)
    j, b = unit["j0"], full * PARTITIONS
    if job[1] >= 0:
        j, b = job[1], job[2] * PARTITIONS
    for i in range(s0, s1):
        row = (j * oi + i) * vj + b
        c = (i - s0) * vi
        nisa.dma_copy(dst=tile[0:rows, c : c + vi], src=integrals[row : row + rows, 0:vi])
    divide(tile, root, 0, (s1 - s0) * vi, place_of(job, unit, amplitudes, size))


def runs_of(s0, s1, n0, n1, vi, wi, chunk):
    """Moving operands of a bank's columns n0 to n1: (i, first column, end, first column in i's panel).

    One for all orbitals that lie side by side in a panel without padding, else one for each.
    """
    runs = []
    i = s0
    while i < s1:
        end = i + 1
        if wi == vi:
            end = min(s1, (i // chunk + 1) * chunk)
        first = (i - s0) * vi
        at = (i - i // chunk * chunk) * wi
        if s1 - s0 == 1:
            runs.append((i, n0, n1, at + n0))
        else:
            runs.append((i, first, (end - s0) * vi, at))
        i = end
    return runs


def panel_of(held, source, orbital, chunk, count, dtype):
    """B of the chunk that an orbital is in, tile by tile of K; loaded if it is not held."""
    c = orbital // chunk
    for entry in held:
        if entry[0] == c:
            return entry[1]
    width = source.shape[1] // count
    panel = load(source, c * chunk * width, min((c + 1) * chunk, count) * width, dtype)
    held.append((c, panel))
    return panel


def load(source, c0, c1, dtype):
    """Columns c0 to c1 in SBUF, tile by tile of K."""
    panel = []
    for k in range(0, source.shape[0], PARTITIONS):
        depth = min(PARTITIONS, source.shape[0] - k)
        tile = nl.ndarray((depth, c1 - c0), dtype=dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=source[k : k + depth, c0:c1])
        panel.append(tile)
    return panel


def left_of(job, unit, stationary, held, size, dtype):
    """Stationary tiles of K of a tile of rows, and their first column."""
    oj = size["oj"]
    full = size["full"]
    pack = size["pack"]
    chunk = size["chunk"]
    wj = stationary.shape[1] // oj
    if chunk == 0:
        first = unit["j0"] * wj + full * PARTITIONS
        if job[1] >= 0:
            first = unit["j0"] * wj + job[2] * PARTITIONS
        return load(stationary, first, first + rows_of(job, unit, size), dtype), 0
    if held["passing"] and len(held["stationary"]) > 0 and held["stationary"][0][0] != unit["j0"] // chunk:
        held["stationary"] = []
    panel = panel_of(held["stationary"], stationary, unit["j0"], chunk, oj, dtype)
    c0 = (unit["j0"] - unit["j0"] // chunk * chunk) * wj
    if job[1] >= 0:
        return panel, c0 + (job[1] - unit["j0"]) * wj + job[2] * PARTITIONS
    if full == 0 or pack == 1:
        return panel, c0 + full * PARTITIONS
    if held["group"] != unit["j0"]:
        held["group"] = unit["j0"]
        held["packed"] = packed_of(
            panel, c0 + full * PARTITIONS, wj, unit["j1"] - unit["j0"], slot_of(size), dtype
        )
    return held["packed"], 0


def packed_of(panel, first, width, count, slot, dtype):
    """The columns beyond the full tiles of a group's orbitals, side by side."""
    packed = []
    for tile in panel:
        depth = tile.shape[0]
        beside = nl.ndarray((depth, count * slot), dtype=dtype, buffer=nl.sbuf)
        for k in range(count):
            nisa.activation(
                dst=beside[0:depth, k * slot : (k + 1) * slot],
                op=nl.copy,
                data=tile[0:depth, first + k * width : first + k * width + slot],
            )
        packed.append(beside)
    return packed


# ---- Sums ----


def add_up(sums, rows, column, data, op):
    """The sum of a function of some columns, a number for each partition."""
    scratch = nl.ndarray(data.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.activation(
        dst=scratch,
        op=op,
        data=data,
        reduce_op=nl.add,
        reduce_res=sums[0:rows, column : column + 1],
        reduce_cmd=nisa.reduce_cmd.reset_reduce,
    )


def column_of(kind, i, j, size):
    """Where a sum goes."""
    return (kind * size["oi"] + i) * size["oj"] + j


def sum_direct(sums, kinds, unit, amplitudes, size, triangle):
    """Sums of squares of Y of a unit."""
    vi = size["vi"]
    full = size["full"]
    rest = size["rest"]
    s0 = unit["s0"]
    s1 = unit["s1"]
    j0 = unit["j0"]
    j1 = unit["j1"]
    for i in range(s0, s1):
        c = (i - s0) * vi
        for j in range(j0, j1):
            end = end_of(s1, j, triangle)
            if full > 0 and i < end:
                sum_tiles(sums, column_of(kinds[3], i, j, size), amplitudes[j - j0], c, vi, full, end - s0)
        if rest > 0:
            packed = amplitudes[j1 - j0]
            rows = packed.shape[0]
            data = packed[0:rows, c : c + vi]
            add_up(sums, rows, column_of(kinds[1], i, j0, size), data, nl.square)


def sum_tiles(sums, column, tiles, first, vi, full, side):
    """The sum of squares of an orbital's columns in all full tiles, which are ``side`` orbitals wide."""
    if side == 1:
        add_up(sums, PARTITIONS, column, tiles, nl.square)
        return
    for a in range(full):
        c = a * side * vi + first
        scratch = nl.ndarray((PARTITIONS, vi), dtype=nl.float32, buffer=nl.sbuf)
        command = nisa.reduce_cmd.reduce
        if a == 0:
            command = nisa.reduce_cmd.reset_reduce
        nisa.activation(
            dst=scratch,
            op=nl.square,
            data=tiles[0:PARTITIONS, c : c + vi],
            reduce_op=nl.add,
            reduce_res=sums[0:PARTITIONS, column : column + 1],
            reduce_cmd=command,
        )


def sum_exchange(sums, kinds, unit, amplitudes, size, triangle):
    """Sums of Y Y^T of a unit, without those of i = j in a triangle."""
    s0 = unit["s0"]
    s1 = unit["s1"]
    j0 = unit["j0"]
    j1 = unit["j1"]
    for j in range(j0, j1):
        end = end_of(s1, j - 1, triangle)
        if s0 < end and size["full"] > 0:
            for i in range(s0, end):
                exchange_full(sums, kinds, i, j, unit, amplitudes, size, triangle)
        if s0 < end and size["rest"] > 0:
            exchange_packed(sums, kinds, j, end, unit, amplitudes, size)


def exchange_full(sums, kinds, i, j, unit, amplitudes, size, triangle):
    """Of one pair: rows of the full tiles, with the columns from the tile's own on."""
    vi = size["vi"]
    vj = size["vj"]
    full = size["full"]
    rest = size["rest"]
    s0 = unit["s0"]
    s1 = unit["s1"]
    j0 = unit["j0"]
    j1 = unit["j1"]
    width = (end_of(s1, j, triangle) - s0) * vi
    tiles = amplitudes[j - j0]
    first = (i - s0) * vi
    diagonal = nl.ndarray((PARTITIONS, full * PARTITIONS), dtype=nl.float32, buffer=nl.sbuf)
    above = []
    if vj > PARTITIONS:
        beside = full * (vj - PARTITIONS) - PARTITIONS * (full * (full - 1) // 2)
        above.append(nl.ndarray((PARTITIONS, beside), dtype=nl.float32, buffer=nl.sbuf))
    done = 0
    for a in range(full):
        row = a * PARTITIONS
        for c0 in range(row, vj, BANK_COLUMNS):
            c1 = min(c0 + BANK_COLUMNS, vj)
            bank = nl.ndarray((PARTITIONS, c1 - c0), dtype=nl.float32, buffer=nl.psum)
            for c in range(c0, c1, PARTITIONS):
                if c < full * PARTITIONS:
                    at = c // PARTITIONS * width + first + row
                    data = tiles[0:PARTITIONS, at : at + PARTITIONS]
                else:
                    p = (j - j0) * slot_of(size)
                    at = first + row
                    data = amplitudes[j1 - j0][p : p + rest, at : at + PARTITIONS]
                nisa.nc_transpose(
                    dst=bank[0:PARTITIONS, c - c0 : c - c0 + data.shape[0]],
                    data=data,
                    engine=nisa.engine.tensor,
                )
            at = a * width + first
            start = c0
            if c0 == row:
                start = row + PARTITIONS
                product(diagonal, row, tiles, at + row, bank, 0, PARTITIONS)
            if start < c1:
                product(above[0], done, tiles, at + start, bank, start - c0, c1 - start)
                done = done + c1 - start
    add_up(sums, PARTITIONS, column_of(kinds[4], i, j, size), diagonal, nl.copy)
    if len(above) > 0:
        add_up(sums, PARTITIONS, column_of(kinds[5], i, j, size), above[0], nl.copy)


def product(out, column, tile, first, bank, start, count):
    """Some columns of Y times as many of a bank of transposes."""
    rows = bank.shape[0]
    nisa.tensor_tensor(
        dst=out[0:rows, column : column + count],
        data1=tile[0:rows, first : first + count],
        data2=bank[0:rows, start : start + count],
        op=nl.multiply,
        engine=nisa.engine.vector,
    )


def exchange_packed(sums, kinds, j, end, unit, amplitudes, size):
    """Of one orbital j and those i beside it: the rows beyond the full tiles, with the same columns."""
    vi = size["vi"]
    full = size["full"]
    rest = size["rest"]
    s0 = unit["s0"]
    j0 = unit["j0"]
    j1 = unit["j1"]
    packed = amplitudes[j1 - j0]
    p = (j - j0) * slot_of(size)
    count = end - s0
    bank = nl.ndarray((rest, count * rest), dtype=nl.float32, buffer=nl.psum)
    for i in range(count):
        c = i * vi + full * PARTITIONS
        nisa.nc_transpose(
            dst=bank[0:rest, i * rest : (i + 1) * rest],
            data=packed[p : p + rest, c : c + rest],
            engine=nisa.engine.tensor,
        )
    products = nl.ndarray((rest, count * rest), dtype=nl.float32, buffer=nl.sbuf)
    # Of vi = rest columns all are wanted, of all orbitals at once.
    steps = count
    width = rest
    if full == 0:
        steps = 1
        width = count * rest
    for i in range(steps):
        tile = packed
        c = i * vi + full * PARTITIONS
        if p > 0:
            tile = nl.ndarray((rest, width), dtype=nl.float32, buffer=nl.sbuf)
            nisa.activation(dst=tile, op=nl.copy, data=packed[p : p + rest, c : c + width])
            c = 0
        product(products, i * width, tile, c, bank, i * width, width)
    for i in range(count):
        data = products[0:rest, i * rest : (i + 1) * rest]
        add_up(sums, rest, column_of(kinds[2], s0 + i, j, size), data, nl.copy)
