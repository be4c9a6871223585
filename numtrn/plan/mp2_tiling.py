"""How the pair energies of MP2 are cut into launches of ``kernels/mp2_pairs.py``.

As in `numtrn.plan.tiling`: functions of plain integers, and the instructions counted are those the kernel
issues. Occupied orbitals are cut into blocks, whose B stays on the device; a launch takes the pairs of two
blocks, or the triangle of one with itself, so that there are at most four programs for one spin or two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import ceil

from numtrn.machine import Chip
from numtrn.plan.cores import assign
from numtrn.plan.cost import Prediction
from numtrn.plan.spread import counts
from numtrn.plan.tiling import BANK_COLUMNS, TILE
from numtrn.plan.words import LONG

__all__ = [
    "KEEP_BYTES",
    "PairLaunch",
    "PairTiling",
    "Spin",
    "pair_shares",
    "predict_pairs",
    "spin_of",
    "tile_blocks",
    "tile_pairs",
]

KEEP_BYTES = 8 * 2**30
"""B stays on the device up to this size, half of what the HBM of trn1 has for a core (32 GiB a device of two
cores; ``aws-neuron/aws-neuron-sdk: about-neuron/arch/neuron-hardware/trainium.rst``). Of what does not fit,
blocks are sent again for each launch."""

SBUF_BYTES = 176 * 1024
"""SBUF bytes of a partition that a launch may use: those of trn1, so that programs fit every chip."""

SUM_BYTES = 16 * 1024
"""Of them for sums."""

ROW_BYTES = 1536
"""Least bytes of a row that DMA loads, where there are as many orbitals."""

AHEAD = (4, 2, 1)
"""Tiles whose denominators the kernel makes together: the first that fits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spin:
    """How orbitals of one spin lie in device memory.

    Attributes
    ----------
    v
        Virtual orbitals, rounded up to 32 or 64 below that: what the kernel is told.
    pack
        Orbitals whose rows beyond the full tiles share one.
    width
        Columns of an orbital's B.
    """

    v: int
    pack: int
    width: int

    @property
    def full(self) -> int:
        """Full tiles of 128 rows."""
        return self.v // TILE

    @property
    def rest(self) -> int:
        """Rows beyond them."""
        return self.v % TILE

    def tiles(self, orbitals: int) -> int:
        """Tiles of rows of so many orbitals."""
        return orbitals * self.full + (ceil(orbitals / self.pack) if self.rest else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairLaunch:
    """One launch: the pairs of ``oi`` orbitals i of the first spin and ``oj`` orbitals j of the second.

    Attributes
    ----------
    oi, oj
        Orbitals.
    triangle
        Whether they are the same, so that only pairs i <= j are made.
    count
        Launches of this shape.
    parameters
        Compile-time integers that the kernel takes after its three arrays.
    result_shape
        Of what it gives.
    matmuls, transposes, instructions
        Of one launch.
    pe_columns, transposed
        Moving columns of its matmuls, each at least 64, and TensorE cycles of its transposes in 16 bits.
    vector_cycles, scalar_cycles
        What VectorE and ScalarE need: their elements a partition, twice those of two operands in SBUF.
    loaded
        Bytes that the launch reads of B, or of the integrals.
    bytes_in, bytes_out
        Over the host link, without what is on the device already.
    """

    oi: int
    oj: int
    triangle: bool
    count: int
    parameters: tuple[int, ...]
    result_shape: tuple[int, int]
    matmuls: int
    transposes: int
    instructions: int
    pe_columns: int
    transposed: int
    vector_cycles: int
    scalar_cycles: int
    loaded: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PairTiling:
    """All launches of the pair energies of one spin, or of two.

    Attributes
    ----------
    spins
        Layouts of the first and of the second spin.
    blocks
        Orbitals of a block of each; the last one may be smaller.
    nocc
        Orbitals of each.
    launches
        Their distinct shapes.
    bytes_in, bytes_out
        Over the host link in all: B once, as far as it stays on the device.
    device_bytes
        Most that lies on the device at once: B, energies, and the result of a launch.
    tf32
        Whether B is cast to tf32.
    naux
        Auxiliary functions; 0 where integrals are given.
    same
        Whether both spins are one.
    cores
        Cores that the launches are spread over.
    """

    spins: tuple[Spin, Spin]
    blocks: tuple[int, int]
    nocc: tuple[int, int]
    launches: tuple[PairLaunch, ...]
    bytes_in: int
    bytes_out: int
    device_bytes: int
    tf32: bool
    naux: int
    same: bool
    cores: int = 1

    @property
    def count(self) -> int:
        """Launches in all."""
        return sum(launch.count for launch in self.launches)

    @property
    def instructions(self) -> int:
        """Instructions of all launches."""
        return sum(launch.count * launch.instructions for launch in self.launches)

    @property
    def pe_columns(self) -> int:
        """Moving columns of all launches."""
        return sum(launch.count * launch.pe_columns for launch in self.launches)


def spin_of(v: int, packs: bool = True) -> Spin:
    """Layout of a spin with so many virtual orbitals.

    >>> spin_of(448), spin_of(112).width, spin_of(19)
    (Spin(v=448, pack=2, width=448), 112, Spin(v=32, pack=4, width=32))
    """
    if packs and v <= 64:
        v = 32 if v <= 32 else 64
    rest = v % TILE
    pack = TILE // (32 if rest <= 32 else 64) if packs and 0 < rest <= 64 else 1
    return Spin(v=v, pack=pack, width=v - rest + (TILE // pack if pack > 1 else rest))


def side_of(v: int) -> int:
    """Orbitals i side by side in a bank of PSUM: a power of two."""
    side = 1
    while v < 2 * TILE and 2 * side * v <= BANK_COLUMNS:
        side *= 2
    return side


@lru_cache(maxsize=256)
def tile_pairs(
    nocc: tuple[int, int],
    nvir: tuple[int, int],
    naux: int,
    *,
    same: bool,
    exchange: bool,
    tf32: bool = False,
    cores: int = 1,
    chip: Chip | None = None,
) -> PairTiling | None:
    """Launches for pairs whose integrals are made of B on the chip.

    Parameters
    ----------
    nocc, nvir
        Occupied and virtual orbitals of the first and the second spin, 1 or more of each.
    naux
        Auxiliary functions, 1 or more.
    same
        Whether both are one spin, so that only pairs i <= j are made.
    exchange
        Whether the exchange is wanted; then both have as many virtual orbitals.
    tf32
        Whether B is cast to tf32.
    cores, chip
        Most cores, and the chip whose predicted times decide over how many of them; None where times decide
        nothing.

    Returns
    -------
    PairTiling or None
        None where B of one orbital of each, and what is made of it, does not fit SBUF.
    """
    for packs in (True, False):
        spins = spin_of(nvir[0], packs), spin_of(nvir[1], packs)
        found = _spread(partial(_blocked, spins, nocc, naux, same, exchange, tf32), cores, chip)
        if found is not None:
            return found
    return None


@lru_cache(maxsize=256)
def tile_blocks(
    nocc: tuple[int, int],
    nvir: tuple[int, int],
    *,
    same: bool,
    exchange: bool,
    cores: int = 1,
    chip: Chip | None = None,
) -> PairTiling | None:
    """Launches for pairs whose integrals are given; arguments as of `tile_pairs`.

    The first spin's orbitals are those j of the kernel, so that its virtual orbitals are rows: integrals
    (i, j, a, b) then lie as the kernel reads them. ``spins``, ``blocks`` and ``nocc`` are in the kernel's
    order, the second spin first.

    Returns
    -------
    PairTiling or None
        None where what is made of the integrals of one pair does not fit SBUF.
    """
    spins = spin_of(nvir[1], packs=False), spin_of(nvir[0], packs=False)
    blocked = partial(_blocked, spins, (nocc[1], nocc[0]), 0, same, exchange, False)
    return _spread(blocked, cores, chip)


def predict_pairs(tiling: PairTiling, chip: Chip) -> Prediction:
    """Predicted seconds of all launches: each what its busiest engine needs, and its fixed costs."""
    if tiling.cores > 1:
        return _predict_on_cores(tiling, chip)
    device = sum(launch.count * _launch_seconds(launch, chip, tiling.tf32) for launch in tiling.launches)
    link = tiling.bytes_in / chip.link_in_bytes_per_second + tiling.bytes_out / chip.link_out_bytes_per_second
    return Prediction(
        device=device,
        link=link,
        fixed=tiling.count * chip.launch_seconds,
        bytes=tiling.bytes_in + tiling.bytes_out,
        measured=chip.measured,
    )


def _launch_seconds(launch: PairLaunch, chip: Chip, tf32: bool) -> float:
    passes = chip.fp32_passes // (2 if chip.generation >= 3 else 1)
    cycles = launch.pe_columns * (1 if tf32 else chip.fp32_passes) + launch.transposed * passes
    tensor = cycles * chip.matmul_stretch / chip.tensor_ghz
    vector = launch.vector_cycles / chip.vector_ghz
    scalar = launch.scalar_cycles / chip.scalar_ghz
    moved = (launch.loaded + launch.bytes_out) / chip.dma_bytes_per_ns
    return chip.kernel_seconds + 1e-9 * chip.factor("mp2_pairs") * max(tensor, vector, scalar, moved)


# ---- Blocks ----


def pair_sweep(t: PairTiling) -> list[tuple[int, int, PairLaunch]]:
    """Numbers of the blocks of every launch, and its shape."""
    shapes = {(launch.oi, launch.oj, launch.triangle): launch for launch in t.launches}
    parts = [range(0, o, block) for o, block in zip(t.nocc, t.blocks, strict=True)]
    found = []
    for p, i in enumerate(parts[0]):
        for q, j in enumerate(parts[1]):
            if not t.same or p <= q:
                oi, oj = min(t.blocks[0], t.nocc[0] - i), min(t.blocks[1], t.nocc[1] - j)
                found.append((p, q, shapes[oi, oj, t.same and p == q]))
    return found


def pair_shares(t: PairTiling) -> list[list[tuple[int, int, PairLaunch]]]:
    """The same for each core."""
    sweep = pair_sweep(t)
    cores = assign([launch.instructions for _, _, launch in sweep], t.cores)
    return [
        [one for one, its in zip(sweep, cores, strict=True) if its == core] for core in range(max(cores) + 1)
    ]


def _spread(blocked: Callable[[int], PairTiling | None], cores: int, chip: Chip | None) -> PairTiling | None:
    """The fewest blocks for one core; for several as many as they need, if that is predicted to be faster."""
    plain = blocked(1)
    if plain is None or cores == 1:
        return plain
    found = [plain]
    for count in counts(cores):
        tilings = (blocked(least) for least in (1, count, 2 * count))
        found += [
            replace(t, cores=len(pair_shares(replace(t, cores=count)))) for t in tilings if t is not None
        ]
    if chip is None:
        return max(found, key=lambda t: t.cores)
    return min(found, key=lambda t: predict_pairs(t, chip).total)


def _predict_on_cores(t: PairTiling, chip: Chip) -> Prediction:
    """Of the core that has most to do; B is sent to each memory where it is read."""
    each, blocks = [], set()
    for core, share in enumerate(pair_shares(t)):
        each.append((sum(_launch_seconds(launch, chip, t.tf32) for _, _, launch in share), len(share)))
        for p, q, launch in share:
            second = 0 if t.same else 1
            blocks |= {(chip.hbm_of(core), 0, p, launch.oi), (chip.hbm_of(core), second, q, launch.oj)}
    sent = sum(4 * t.naux * t.spins[side].width * orbitals for _, side, _, orbitals in blocks)
    sent += sum(launch.count * launch.bytes_in for launch in t.launches)
    return Prediction(
        device=max(seconds for seconds, _ in each),
        link=sent / chip.link_in_bytes_per_second + t.bytes_out / chip.link_out_bytes_per_second,
        fixed=max(count for _, count in each) * chip.launch_seconds,
        bytes=sent + t.bytes_out,
    )


def _blocked(
    spins: tuple[Spin, Spin],
    nocc: tuple[int, int],
    naux: int,
    same: bool,
    exchange: bool,
    tf32: bool,
    least: int,
) -> PairTiling | None:
    """The fewest blocks of equal size whose launches are within all limits, at least so many if possible."""
    for pieces in range(1, max(nocc) + 1):
        blocks = _block(nocc[0], pieces, spins[1].pack), _block(nocc[1], pieces, spins[1].pack)
        found = _launches(spins, nocc, blocks, naux, same, exchange, tf32)
        if found is None or any(launch.instructions > LONG for launch in found):
            continue
        if sum(launch.count for launch in found) >= least or pieces == max(nocc):
            return _tiling(spins, nocc, blocks, naux, same, found, tf32)
    return None


def _block(orbitals: int, pieces: int, pack: int) -> int:
    """Orbitals of a block of equal ones, a multiple of those that share a tile."""
    return min(orbitals, ceil(ceil(orbitals / pieces) / pack) * pack)


def _launches(
    spins: tuple[Spin, Spin],
    nocc: tuple[int, int],
    blocks: tuple[int, int],
    naux: int,
    same: bool,
    exchange: bool,
    tf32: bool,
) -> tuple[PairLaunch, ...] | None:
    """Distinct launches of all pairs of blocks; None if one does not fit SBUF."""
    parts = [
        [min(block, o - start) for start in range(0, o, block)] for o, block in zip(nocc, blocks, strict=True)
    ]
    counts: dict[tuple[int, int, bool], int] = {}
    for p, oi in enumerate(parts[0]):
        for q, oj in enumerate(parts[1]):
            if not same or p <= q:
                key = oi, oj, same and p == q
                counts[key] = counts.get(key, 0) + 1
    found = []
    for (oi, oj, triangle), count in counts.items():
        launch = _launch(spins, oi, oj, naux, exchange, triangle, tf32, count)
        if launch is None:
            return None
        found.append(launch)
    return tuple(found)


def _tiling(
    spins: tuple[Spin, Spin],
    nocc: tuple[int, int],
    blocks: tuple[int, int],
    naux: int,
    same: bool,
    launches: tuple[PairLaunch, ...],
    tf32: bool,
) -> PairTiling:
    sizes = [4 * naux * spin.width * o for spin, o in zip(spins, nocc, strict=True)][: 1 if same else 2]
    integrals = sum(sizes)
    sent = integrals
    if integrals > KEEP_BYTES:
        sent = sum(launch.count * 4 * naux * _columns(spins, launch) for launch in launches)
    largest = max(launch.bytes_in + launch.bytes_out for launch in launches)
    return PairTiling(
        spins=spins,
        blocks=blocks,
        nocc=nocc,
        launches=launches,
        bytes_in=sent + sum(launch.count * launch.bytes_in for launch in launches),
        bytes_out=sum(launch.count * launch.bytes_out for launch in launches),
        device_bytes=min(integrals, KEEP_BYTES) + largest,
        tf32=tf32,
        naux=naux,
        same=same,
    )


def _columns(spins: tuple[Spin, Spin], launch: PairLaunch) -> int:
    """Columns of B that a launch takes."""
    first = launch.oi * spins[0].width
    return first if launch.triangle else first + launch.oj * spins[1].width


# ---- One launch ----


def _launch(
    spins: tuple[Spin, Spin],
    oi: int,
    oj: int,
    naux: int,
    exchange: bool,
    triangle: bool,
    tf32: bool,
    count: int,
) -> PairLaunch | None:
    """Parameters and counts of a launch; None if it does not fit SBUF."""
    first, second = spins
    kinds = _kinds(second, exchange)
    if kinds * oi * oj * 4 > SUM_BYTES and oi * oj > 1:
        return None
    fits = [
        (ahead, found)
        for ahead in AHEAD
        if (found := _resident(spins, oi, oj, naux, exchange, triangle, kinds, ahead)) is not None
    ]
    if not fits:
        return None
    ahead, (held, chunk) = fits[0]
    counted = _Counted(spins, oi, oj, naux, held, chunk, exchange, triangle)
    columns = kinds * oi * oj
    energies = first.v + oi + second.tiles(oj)
    given = 0 if naux else 4 * oi * oj * first.v * second.v
    flags = int(exchange), int(triangle), int(not naux), int(tf32)
    return PairLaunch(
        oi=oi,
        oj=oj,
        triangle=triangle,
        count=count,
        parameters=(oi, oj, first.v, second.v, second.pack, held, chunk, ahead, *flags),
        result_shape=(TILE, columns),
        matmuls=counted.matmuls,
        transposes=counted.transposes,
        instructions=counted.instructions + 3,
        pe_columns=counted.pe_columns,
        transposed=counted.transposed,
        vector_cycles=counted.vector_cycles + columns,
        scalar_cycles=counted.scalar_cycles,
        loaded=counted.loaded,
        bytes_in=4 * TILE * energies + given,
        bytes_out=4 * TILE * columns,
    )


def _kinds(spin: Spin, exchange: bool) -> int:
    """Kinds of sums that a launch gives; see the kernel's result."""
    packed, full = spin.rest > 0, spin.full > 0
    above = full and spin.v > TILE
    return packed + full + (exchange and packed) + (exchange and full) + (exchange and above)


def _resident(
    spins: tuple[Spin, Spin],
    oi: int,
    oj: int,
    naux: int,
    exchange: bool,
    triangle: bool,
    kinds: int,
    ahead: int,
) -> tuple[int, int] | None:
    """Orbitals i in SBUF together, and orbitals loaded together, 0 for parts of one; None if none fits."""
    first, second = spins
    room = SBUF_BYTES - _working_bytes(spins, oi, oj, naux, exchange, kinds, ahead)
    if not naux:
        return (oi, 1) if room >= 0 else None
    tiles = 4 * ceil(naux / TILE)
    chunk = second.pack
    while chunk < max(oi, oj) and chunk * second.width * 4 < ROW_BYTES:
        chunk *= 2
    if triangle and oi * first.width * tiles <= room:
        return oi, chunk
    for together, spare in ((chunk, 1.5), (second.pack, 1.5), (second.pack, 1)):
        held = min(oi, int(room // tiles - spare * together * second.width) // first.width)
        if held >= together:
            return held // together * together, together
        if held > 0:
            return 2 ** (held.bit_length() - 1), together
    held = min(oi, (room // tiles - 2 * TILE) // first.width)
    return (held, 0) if held > 0 and second.pack == 1 else None


def _working_bytes(
    spins: tuple[Spin, Spin], oi: int, oj: int, naux: int, exchange: bool, kinds: int, ahead: int
) -> int:
    """SBUF bytes of a partition for all but B."""
    first, second = spins
    columns = side_of(first.v) * first.v
    full, v = second.full, second.v
    tables = first.v + oi + second.tiles(oj) * (oi + 1) + kinds * oi * oj
    denominators = (2 * (2 * ahead - 1) + 4) * columns
    amplitudes = (full * second.pack + (second.rest > 0)) * columns
    direct = full * columns
    if exchange:
        amplitudes += (full or 1) * columns
        direct = max(direct, 2 * full * TILE + 2 * (full * (v - TILE) - TILE * (full * (full - 1) // 2)))
        direct = max(direct, 3 * columns)
    packed = 2 * ceil(naux / TILE) * TILE if full and second.pack > 1 else 0
    given = 0 if naux else 2 * columns
    return 4 * (tables + denominators + amplitudes + direct + packed + given)


class _Counted:
    """What a launch does, counted along the kernel's loops.

    Attributes
    ----------
    matmuls, transposes, instructions, pe_columns, transposed, vector_cycles, scalar_cycles, loaded
        As of `PairLaunch`; of the instructions all but three.
    """

    def __init__(
        self,
        spins: tuple[Spin, Spin],
        oi: int,
        oj: int,
        naux: int,
        resident: int,
        chunk: int,
        exchange: bool,
        triangle: bool,
    ) -> None:
        self.first, self.second = spins
        self.oi, self.oj, self.naux = oi, oj, naux
        self.resident, self.chunk, self.triangle = resident, chunk, triangle
        self.tiles_k = ceil(naux / TILE)
        self._together = min(chunk, resident) if chunk else resident
        self.matmuls = self.transposes = self.instructions = 0
        self.pe_columns = self.transposed = self.vector_cycles = self.scalar_cycles = self.loaded = 0
        self._moving: set[int] = set()
        self._passing = not (triangle and resident == oi)
        self._stationary: set[int] = set() if self._passing else self._moving
        self._known: set[int] = set()
        self._group = self._start = -1
        for unit in self._units():
            self._unit(*unit, exchange)

    def _units(self) -> list[tuple[int, int, int, int, int]]:
        """First i, end, first j, end, and first resident i of every group."""
        pack, side = self.second.pack, side_of(self.first.v)
        units = []
        for i0 in range(0, self.oi, self.resident):
            for j0 in range(i0 // pack * pack if self.triangle else 0, self.oj, pack):
                j1 = min(j0 + pack, self.oj)
                for s0 in range(i0, min(i0 + self.resident, self.oi), side):
                    s1 = min(s0 + side, i0 + self.resident, self.oi, j1 if self.triangle else self.oi)
                    if s0 < s1:
                        units.append((s0, s1, j0, j1, i0))
        return units

    def _end(self, s1: int, j: int) -> int:
        return min(s1, j + 1) if self.triangle else s1

    def _unit(self, s0: int, s1: int, j0: int, j1: int, i0: int, exchange: bool) -> None:
        full, rest = self.second.full, self.second.rest
        for j in range(j0, j1):
            count = self._end(s1, j) - s0
            if count > 0:
                for a in range(full):
                    self._tile(j * full + a, s0, s0 + count, j0, i0, packed=0)
                if full:
                    self._sums(count * (1 if count == 1 else full), count * full * self.first.v)
        if rest:
            self._tile(self.oj * full + j0 // self.second.pack, s0, s1, j0, i0, packed=j1 - j0)
            self._sums(s1 - s0, (s1 - s0) * self.first.v)
        for j in range(j0, j1) if exchange else ():
            count = self._end(s1, j - 1) - s0
            if count > 0:
                self._exchange(count, packed_at=j - j0)

    def _vector(self, cycles: int, times: int = 1) -> None:
        self.instructions += times
        self.vector_cycles += times * max(64, cycles)

    def _scalar(self, cycles: int, times: int = 1) -> None:
        self.instructions += times
        self.scalar_cycles += times * max(64, cycles)

    def _sums(self, times: int, columns: int) -> None:
        """Activations that reduce, 64 cycles more each."""
        self.instructions += times
        self.scalar_cycles += columns + 64 * times

    def _tile(self, number: int, s0: int, s1: int, j0: int, i0: int, packed: int) -> None:
        """Denominators, integrals and amplitudes of one tile of rows."""
        v, count = self.first.v, s1 - s0
        if number not in self._known:
            self._known.add(number)
            self._vector(self.oi)
        self._scalar(v, count)
        self._scalar(count * v)
        self._vector(2 * v, count)
        self._vector(2 * count * v)
        if not self.naux:
            self._load(count, 4 * v * self._rows(packed) * count)
            self._vector(2 * count * v)
            return
        self._panels(s0, s1, j0, i0, packed)
        if packed and self.second.full and self.second.pack > 1 and self._group != j0:
            self._group = j0
            self._scalar(TILE // self.second.pack, packed * self.tiles_k)
        for n0 in range(0, count * v, BANK_COLUMNS):
            columns = min(BANK_COLUMNS, count * v - n0)
            self._matmuls(s0, s1, columns)
            self._vector(columns)

    def _rows(self, packed: int) -> int:
        return self.second.rest if packed else TILE

    def _load(self, times: int, size: int) -> None:
        self.instructions += times
        self.loaded += size

    def _panels(self, s0: int, s1: int, j0: int, i0: int, packed: int) -> None:
        """Loads of B that are not held."""
        if i0 != self._start:
            self._start = i0
            if self.resident < self.oi:
                self._moving.clear()
        together = self._together
        for c in range(s0 // together, (s1 - 1) // together + 1):
            self._panel(self._moving, c, together, self.oi, self.first.width)
        if not self.chunk:
            self._load(self.tiles_k, 4 * self.naux * self._rows(packed))
            return
        c = j0 // self.chunk
        if self._passing and c not in self._stationary:
            self._stationary.clear()
        self._panel(self._stationary, c, self.chunk, self.oj, self.second.width)

    def _panel(self, held: set[int], c: int, together: int, orbitals: int, width: int) -> None:
        if c not in held:
            held.add(c)
            self._load(
                self.tiles_k, 4 * self.naux * width * (min((c + 1) * together, orbitals) - c * together)
            )

    def _matmuls(self, s0: int, s1: int, columns: int) -> None:
        v, together = self.first.v, self._together
        widths = [columns]
        if s1 - s0 > 1:
            step = together if self.first.width == v else 1
            starts = range(s0 // step * step, s1, step)
            widths = [(min(start + step, s1) - max(start, s0)) * v for start in starts]
        self.matmuls += self.tiles_k * len(widths)
        self.instructions += self.tiles_k * len(widths)
        self.pe_columns += self.tiles_k * sum(max(64, width) for width in widths)

    def _exchange(self, count: int, packed_at: int) -> None:
        """Transposes and products of an orbital j with so many i."""
        full, rest, v = self.second.full, self.second.rest, self.second.v
        for a in range(full):
            row = a * TILE
            for c0 in range(row, v, BANK_COLUMNS):
                columns = min(BANK_COLUMNS, v - c0)
                for c in range(c0, c0 + columns, TILE):
                    self._transpose(TILE if c < full * TILE else rest, TILE, count)
                diagonal = TILE if c0 == row else 0
                if diagonal:
                    self._vector(TILE, count)
                if columns > diagonal:
                    self._vector(columns - diagonal, count)
        if full:
            self._sums(count, count * full * TILE)
            if v > TILE:
                self._sums(count, count * (full * (v - TILE) - TILE * (full * (full - 1) // 2)))
        if rest:
            self._transpose(rest, rest, count)
            steps, width = (count, rest) if full else (1, count * rest)
            if packed_at:
                self._scalar(width, steps)
            self._vector(width, steps)
            self._sums(count, count * rest)

    def _transpose(self, rows: int, columns: int, times: int) -> None:
        self.transposes += times
        self.instructions += times
        self.transposed += times * max(rows, min(64, columns))
