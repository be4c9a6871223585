"""The products that precision asks for, made by kernels on one target.

What is multiplied is decided in `numtrn.precision`, how it is cut in `numtrn.plan`; this module knows the
kernels' layouts, ships operands block by block, and keeps on the target what several launches use. Nothing
the caller owns is written here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, product
from threading import Lock
from typing import Any, NamedTuple, TypeAlias, TypeVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from numtrn.errors import KernelError
from numtrn.plan.cores import shares
from numtrn.plan.ladder import Cutting
from numtrn.plan.tiling import EXACT, LOWER_LHS, LOWER_RESULT, TILE, WHOLE, Tiling
from numtrn.plan.words import pair_count, regroup, whole
from numtrn.precision import Block, Magnitudes, Words
from numtrn.precision.fixed import add_words, word_bytes
from numtrn.precision.threads import Once, ahead, merged
from numtrn.request import Array, Structure, k_is_fast
from numtrn.residency import Source, owner_of, place_name
from numtrn.structured import STORED, STRUCTURES, multiply, solve
from numtrn.targets import Resident, Target
from numtrn.targets.programs import Program, program_of, record_of

__all__ = ["KernelEngine", "group_of"]

KEEP_BYTES = 4 * 2**30
"""Digit planes that several launches use stay on the target up to this size, and are made again beyond it."""

PACK_BYTES = 512 * 2**20
"""The same for packed operands of plain products, on the host."""

CERTAIN = 1 + 2.0**-10
"""Covers the rounding of sums of squares on the device."""

CERTAIN_SUMS = 1 + 2.0**-6
"""Covers the rounding of squares in ``kernels/sum_planes.py``, in any direction."""

GROUPS = (8, 6, 4)
"""Matmuls in a bank of the product of digit sums: few, as each is a program of its own. Two always fit."""


class KernelEngine:
    """Implements `numtrn.precision.Engine` and counts what it did.

    Parameters
    ----------
    target
        Where kernels run.
    memories
        Of operands: what is made of their pieces stays on the target.
    shapes
        Of launches; see `numtrn.options.Options`.
    cores
        Most cores that one product is spread over.
    core
        Where all of it runs, with one core.

    Attributes
    ----------
    cutting
        How launches are cut.
    place_name
        What arrays call the memory of the target that its core has.
    launches, bytes
        Kernel launches, and bytes moved to the target and back.
    saved
        Bytes of operands that were not moved, because the target had them.
    programs, compiled
        Distinct programs of these launches, and how many of them this machine is not known to have compiled.
    copied
        Bytes that the host made of operands of plain products, where a launch could not take them as they
        lie: of another dtype, of an extent that is not the launch's, or with gaps in memory.
    form
        "Karatsuba" where a product of words took that form; its sums are the same integers.
    """

    def __init__(
        self,
        target: Target,
        memories: Sequence[Source] = (),
        shapes: str = "fine",
        cores: int = 1,
        core: int = 0,
    ) -> None:
        self._target = target
        self.cutting = Cutting(shapes, target.chip, cores, timed=target.name == "neuron")
        self._memories = memories
        self._on = {"core": core} if core else {}
        self._core = core
        self.hbm = target.chip.hbm_of(core)
        self.place_name = place_name(target.name, self.hbm)
        self.launched: Counter[int] = Counter()
        self.bytes = 0
        self.saved = 0
        self.programs: dict[Program, None] = {}
        self.compiled = 0
        self.copied = 0
        self.form = ""

    @property
    def launches(self) -> int:
        """Kernel launches on all cores."""
        return self.launched.total()

    @property
    def core_launches(self) -> tuple[int, ...]:
        """Those on each core, from core 0 on."""
        return tuple(self.launched[core] for core in range(max(self.launched, default=-1) + 1))

    @contextmanager
    def lanes(self, cores: int) -> Iterator[list[KernelEngine]]:
        """Engines for one core each, whose counts are this one's when they are done; itself for one core."""
        if cores == 1:
            yield [self]
            return
        lanes = [
            KernelEngine(self._target, self._memories, self.cutting.shapes, core=core)
            for core in range(cores)
        ]
        try:
            yield lanes
        finally:
            for lane in lanes:
                self.launched += lane.launched
                self.bytes += lane.bytes
                self.saved += lane.saved
                self.copied += lane.copied
                self.form = self.form or lane.form
                self.programs |= lane.programs
                self.compiled += lane.compiled

    def product(
        self, lhs: Array, rhs: Array, operand_dtype: str, structure: Structure = "general"
    ) -> NDArray[np.float32]:
        """C[i] = lhs[i] @ rhs[i] with fp32 accumulation; see `numtrn.precision.Engine.product`."""
        if structure in STRUCTURES:
            return multiply(self, lhs, rhs, operand_dtype, structure)
        batch, m, k = lhs.shape
        n = rhs.shape[2]
        stored = np.dtype(STORED.get(operand_dtype, np.float32))
        fast = k_is_fast(lhs, rhs)
        t = self.cutting.gemm(batch, m, k, n, stored.itemsize, operand_dtype == "tfloat32", fast)
        of_lhs = lhs, (t.batch, t.m, t.k), fast[0], stored
        of_rhs = rhs.swapaxes(1, 2), (t.batch, t.n, t.k), fast[1], stored

        def parts(
            lane: KernelEngine, kept: _Packed | _Placed, mine: list[_Piece]
        ) -> Generator[tuple[_Piece, Array], None, None]:
            for piece in mine:
                left = kept.get("lhs", piece.lhs, partial(_pack, lane, *of_lhs))
                right = kept.get("rhs", piece.rhs, partial(_pack, lane, *of_rhs))
                part = lane.launch(t, (left, right), np.float32).reshape(t.batch, t.m, t.n)
                filled = (along.stop - along.start for along in (piece.batch, piece.rows, piece.columns))
                yield piece, part[tuple(slice(extent) for extent in filled)]

        pieces = _sweep(t, batch, m, k, n)
        if len(pieces) == 1:
            ((_, only),) = parts(self, _Packed(), pieces)
            return np.require(only, requirements="W")
        # Sums over several pieces of K are formed in float64, so that they add no error worth counting.
        total = np.zeros((batch, m, n), np.float32 if t.pieces[2] == 1 else np.float64)
        with closing(self._spread(t, pieces, parts)) as found:
            for piece, part in found:
                total[piece.batch, piece.rows, piece.columns] += part
        return total.astype(np.float32, copy=False)

    def _spread(
        self,
        t: Tiling,
        pieces: list[_Piece],
        work: Callable[[KernelEngine, _Packed | _Placed, list[_Piece]], Generator[T, None, None]],
    ) -> Generator[T, None, None]:
        """What comes of the pieces of plain operands, on all cores of a tiling."""
        with self.lanes(t.cores) as lanes:
            memories: dict[int, _Packed | _Placed] = {}
            for lane in lanes:
                memories.setdefault(lane.hbm, _Packed() if len(lanes) == 1 else _Placed(t))
            shared = zip(lanes, _shared_out(t, pieces), strict=True)
            yield from merged([work(lane, memories[lane.hbm], mine) for lane, mine in shared])

    def taken(self, block: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | Resident:
        """A matrix, or a stack of matrices, as a launch takes it: stacked along the rows.

        Of a numtrn array it is what the target has of it, and else stays there. Otherwise, where it lies so,
        it is a read-only view of what the caller owns; else packed, zeros around, and counted as copied.
        """
        return self.sent(block, ("matrix", shape, dtype.str), partial(self._laid_out, block, shape, dtype))

    def sent(self, piece: Array, made: Hashable, make: Callable[[], Array]) -> Array | Resident:
        """What launches take of a piece of an operand: what the target has of it, or what is made now.

        Where the piece is a numtrn array's own memory, that stays on the target.

        Parameters
        ----------
        piece
            A view.
        made
            Names what is made of it; with the piece it says all that this depends on.
        make
            Makes it.
        """
        memory = owner_of(self._memories, piece)
        if memory is None:
            return make()
        found = memory.get(self.place_name, piece, made)
        if found is not None:
            self.saved += found.bytes
            resident: Resident = found.resident
            return resident
        array = make()
        resident = self.place(array)
        memory.keep(self.place_name, piece, made, resident, array.nbytes)
        return resident

    def known(self, piece: Array, made: Hashable) -> Resident | None:
        """What the target has of a piece of a numtrn array, made in that way by an earlier call."""
        memory = owner_of(self._memories, piece)
        found = None if memory is None else memory.get(self.place_name, piece, made)
        if found is None:
            return None
        self.saved += found.bytes
        resident: Resident = found.resident
        return resident

    def _laid_out(self, block: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        if block.shape == shape and block.dtype == dtype and block.flags.c_contiguous and block.flags.aligned:
            view = block.reshape(-1, shape[-1])
            view.flags.writeable = False
            return view
        packed = _padded(block, shape, dtype)
        self.copied += packed.nbytes
        return packed

    def solve(self, factor: Array, columns: Array, limit: float) -> NDArray[np.float32] | None:
        """factor^-1 columns in fp32, of a factor that fits one launch; see `numtrn.structured.solve`."""
        return solve(self, factor, columns, limit)

    def least(self, lhs: Magnitudes, rhs: Magnitudes) -> tuple[float, float]:
        """Lower bounds of the product's elements; see `numtrn.precision.Engine.least`.

        Only the least elements of each row come back. Over several pieces of K the sum of the least ones is
        taken, which is no more than the least sum; a sum that is not zero has a part that is not.
        """
        t = self.cutting.least(lhs.batch, lhs.rows, lhs.k, rhs.rows)

        def parts(
            lane: KernelEngine, kept: _Packed | _Placed, mine: list[_Piece]
        ) -> Generator[tuple[float, float], None, None]:
            sums = np.zeros(0)
            for piece in mine:
                left = kept.get("lhs", piece.lhs, partial(_sized, lane, lhs, (t.batch, t.k, t.m)))
                right = kept.get("rhs", piece.rhs, partial(_sized, lane, rhs, (t.batch, t.k, t.n)))
                part = lane.launch(t, (left, right), np.float32)
                rows = part[:, 0].astype(np.float64)
                sums = rows if piece.k.start == 0 else sums + rows
                filled = sums.reshape(t.batch, t.m)[: piece.batch.stop - piece.batch.start]
                yield float(filled.min()) if piece.k.stop == lhs.k else np.inf, float(part[:, 1].min())

        pieces = _sweep(t, lhs.batch, lhs.rows, lhs.k, rhs.rows)
        with closing(self._spread(t, pieces, parts)) as found:
            least, nonzero = zip(*found, strict=True)
        return min(least), min(nonzero)

    def words(self, lhs: Words, rhs: Words, structure: Structure = "general") -> Generator[Block, None, None]:
        """The exact product, block by block; see `numtrn.precision.Engine.words`."""
        extents = lhs.batch, lhs.rows, lhs.k, rhs.rows
        t = self.cutting.karatsuba(*extents, lhs.slices, structure) if lhs.parts == 1 else None
        if t is not None:
            with self.lanes(t.cores) as lanes:
                planes = self._planes(lanes, t, lhs, rhs, structure)
                if all(self._on_all([each.make_all() for each in planes])) and self._fits(t, lanes, planes):
                    self.form = "Karatsuba"
                    yield from self._multiply(lanes, (t,), planes)
                    return
        tilings = self.cutting.products(*extents, lhs.slices, lhs.parts, structure)
        with self.lanes(tilings[0].cores) as lanes:
            yield from self._multiply(lanes, tilings, self._planes(lanes, tilings[0], lhs, rhs, structure))

    def _planes(
        self, lanes: list[KernelEngine], t: Tiling, lhs: Words, rhs: Words, structure: Structure
    ) -> list[_Planes]:
        """Planes for a tiling, of words as its kernels read them, for each core."""
        if self.cutting.few:
            lhs, rhs = (side.recut(t.slices) for side in (lhs, rhs))
        pieces = _sweep(t, lhs.batch, lhs.rows, lhs.k, rhs.rows)
        needed = [piece for piece in pieces if piece.is_needed(t.part)]
        shared = list(zip(lanes, _shared_out(t, needed), strict=True))
        of_memory = Counter(lane.hbm for lane in lanes)
        there = {hbm: _Store(KEEP_BYTES // cores, cores) for hbm, cores in of_memory.items()}
        return [_Planes(lane, t, lhs, rhs, structure, mine, there[lane.hbm]) for lane, mine in shared]

    @staticmethod
    def _on_all(works: list[Generator[T, None, None]]) -> list[T]:
        """What every core came to."""
        with closing(merged(works)) as found:
            return list(found)

    def _multiply(
        self, lanes: list[KernelEngine], tilings: tuple[Tiling, ...], planes: list[_Planes]
    ) -> Generator[Block, None, None]:
        """Every block of a product."""
        with closing(
            merged([lane._share(tilings, its) for lane, its in zip(lanes, planes, strict=True)])
        ) as blocks:
            yield from blocks

    def _share(self, tilings: tuple[Tiling, ...], planes: _Planes) -> Generator[Block, None, None]:
        """Every launch of a core, and its blocks."""
        totals: list[Array] = []
        triangle = tilings[0].part
        below = tilings if triangle == WHOLE else tuple(whole(t) for t in tilings)
        for piece, following in zip(planes.pieces, [*planes.pieces[1:], planes.pieces[0]], strict=True):
            diagonal = piece.on_diagonal(triangle)
            products = tilings if diagonal else below
            for place, (t, pair) in enumerate(zip(products, planes.next(), strict=True)):
                part = self._part(t, *pair)
                if piece.k.start == 0:
                    totals.append(part)
                else:
                    totals[place] = totals[place].astype(np.int64, copy=False)
                    add_words(totals[place], part)
                del part
            if following.k.start == 0:
                lower = diagonal and triangle == LOWER_RESULT
                yield from (_lower_blocks if lower else _blocks)(tilings[0], piece, totals)
                totals.clear()  # before the next launch gives as much again

    def _part(self, t: Tiling, left: _Made, right: _Made) -> Array:
        """One launch of one product; as many matmuls in a bank as the sums of digits leave room for."""
        if left.norms is not None and right.norms is not None and not self.cutting.few:
            t = regroup(t, group_of(t, left.norms, right.norms))
        return self.launch(t, (left.planes, right.planes), np.int32)

    def _fits(self, t: Tiling, lanes: list[KernelEngine], planes: list[_Planes]) -> bool:
        """Whether every chunk of the products of digit sums stays within what fp32 adds exactly.

        By Cauchy-Schwarz from the largest sums of squares of columns, for each chunk of k and pair of digits
        (see ``kernels/karatsuba_planes.py``).
        """
        of_memory = {lane.hbm: (lane, each.store) for lane, each in zip(lanes, planes, strict=True)}
        return all(lane._store_fits(t, store) for lane, store in of_memory.values())

    def _store_fits(self, t: Tiling, store: _Store) -> bool:
        largest: list[dict[int, Array]] = [{}, {}]
        for (side, _, _, _, k), squares in store.squares.items():
            found = self.fetch(squares)
            chunks = t.k // (TILE * t.parameters[-2])
            worst = found.reshape(t.batch, chunks, -1, pair_count(t.slices)).max(axis=(0, 2))
            before = largest[side].get(k)
            largest[side][k] = worst if before is None else np.maximum(before, worst)
        left, right = largest[0], largest[1] or largest[0]  # of A A^T there is one side
        return all(bool((np.sqrt(left[k] * right[k]) * CERTAIN <= EXACT).all()) for k in left)

    def place(self, array: Array) -> Resident:
        """Send an array to the target, for several launches."""
        self.bytes += array.nbytes
        return self._target.place(array, **self._on)

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """Launch a kernel whose results stay on the target."""
        self._count(arrays)
        kept = self._target.keep(kernel, arrays, parameters, **self._on)
        self._note(kernel, arrays, parameters)
        return kept

    def fetch(self, resident: Resident) -> Array:
        """What a kernel left on the target."""
        found = self._target.fetch(resident)
        self.bytes += found.nbytes
        return found

    def launch(self, t: Tiling, arrays: Sequence[Array | Resident], dtype: Any) -> Array:
        """One launch of a tiling, whose result must be of its shape and of the dtype.

        Raises
        ------
        KernelError
            When it is not.
        """
        self._count(arrays)
        part = self.checked(t, self._target.launch(t.kernel, arrays, t.parameters, **self._on), dtype)
        self._note(t.kernel, arrays, t.parameters)
        self.bytes += part.nbytes
        return part

    def checked(self, t: Tiling, part: Array, dtype: Any) -> Array:
        """A launch's result, if it is of the tiling's shape and of the dtype.

        Raises
        ------
        KernelError
            When it is not.
        """
        if part.shape != t.result_shape or part.dtype != dtype:
            raise KernelError(
                f"kernel {t.kernel} must give {t.result_shape} {np.dtype(dtype).name}; target "
                f"{self._target.name} gave {part.shape} {part.dtype.name}"
            )
        return part

    def _note(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> None:
        program = program_of(kernel, arrays, parameters)
        if program not in self.programs:
            self.programs[program] = None
            self.compiled += record_of(self._target).add(program)

    def _count(self, arrays: Sequence[Array | Resident]) -> None:
        self.launched[self._core] += 1
        self.bytes += sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


T = TypeVar("T")
Pack: TypeAlias = "partial[Array | Resident]"
"""Packs a piece of an operand, given where it is, for the engine that is its first argument."""


def _pack(
    engine: KernelEngine,
    side: Array,
    shape: tuple[int, int, int],
    fast: bool,
    dtype: np.dtype[Any],
    *block: slice,
) -> Array | Resident:
    """A block (batch, rows, k) of an operand, in the order in which it lies."""
    if fast:
        return engine.taken(side[block], shape, dtype)
    batch, rows, k = shape
    return engine.taken(side[block].swapaxes(1, 2), (batch, k, rows), dtype)


def _sized(
    engine: KernelEngine, side: Magnitudes, shape: tuple[int, int, int], *where: slice
) -> Array | Resident:
    """Magnitudes of a block of an operand."""
    make = partial(_magnitudes, side, where, shape)
    if side.source is None:
        return make()
    source, starts = side.source, _starts(where)
    if side.layout[0] == 1:  # of several parts, rows are counted through all of them
        source, starts = source[where[:2]], starts[2:]
    return engine.sent(source, ("magnitudes", side.layout, starts, shape), make)


def group_of(t: Tiling, left: Array, right: Array) -> int:
    """Matmuls that may share a bank in the product of digit sums: the most whose sums stay exact.

    By Cauchy-Schwarz the magnitudes that a matmul adds are at most the product of the norms of its columns,
    of which the largest are given for each operand, (batch, tiles of K, digits). They are added as
    ``kernels/sliced_gemm.py`` adds: for each chunk and diagonal, digit by digit, tile by tile.
    """
    diagonals = [
        np.concatenate([left[:, chunk, p] * right[:, chunk, q - p] for p in range(q + 1)], axis=1)
        for chunk in _chunks(t, left.shape[1])
        for q in range(t.slices)
    ]
    for group in GROUPS:
        sums = (np.add.reduceat(terms, range(0, terms.shape[1], group), axis=1) for terms in diagonals)
        if max(float(part.max()) for part in sums) * CERTAIN_SUMS <= EXACT:
            return group
    return 2


def _chunks(t: Tiling, tiles: int) -> list[slice]:
    """Tiles of K that are multiplied together for some block; above a triangle's diagonal there are none."""
    depth, step = t.parameters[4], max(1, t.block_m // TILE)
    ends = range(step, tiles + 1, step) if t.part == LOWER_LHS else ()
    found = {(k, min(k + depth, end)) for end in (*ends, tiles) for k in range(0, end, depth)}
    return [slice(*chunk) for chunk in sorted(found)]


class _Piece(NamedTuple):
    """What one launch computes: ranges of the batch, of rows and columns of C, and of k."""

    batch: slice
    rows: slice
    columns: slice
    k: slice

    @property
    def block(self) -> tuple[int, int, int]:
        """Which block of the result it is a part of."""
        return self.batch.start, self.rows.start, self.columns.start

    @property
    def lhs(self) -> tuple[slice, slice, slice]:
        return self.batch, self.rows, self.k

    @property
    def rhs(self) -> tuple[slice, slice, slice]:
        return self.batch, self.columns, self.k

    def on_diagonal(self, part: int) -> bool:
        """Whether it holds the diagonal of what is a triangle: the result, or A."""
        along = self.columns if part == LOWER_RESULT else self.k
        return part != WHOLE and bool(self.rows.start == along.start)

    def is_needed(self, part: int) -> bool:
        """Whether it is not wholly above that diagonal."""
        if part == LOWER_RESULT:
            return bool(self.rows.start >= self.columns.start)
        return part != LOWER_LHS or bool(self.k.start < self.rows.stop)


def _sweep(t: Tiling, batch: int, m: int, k: int, n: int) -> list[_Piece]:
    """Every launch of a tiling; those that add up along k follow each other."""
    return [
        _Piece(i, rows, columns, ks)
        for i, columns, rows, ks in product(
            _pieces(batch, t.batch), _pieces(n, t.n), _pieces(m, t.m), _pieces(k, t.k)
        )
    ]


def _pieces(extent: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, extent)) for start in range(0, extent, size)]


def _shared_out(t: Tiling, pieces: list[_Piece]) -> list[list[_Piece]]:
    """The pieces of each core, in their order."""
    if t.cores == 1:
        return [pieces]
    blocks = [list(block) for _, block in groupby(pieces, key=lambda piece: piece.block)]
    found, start = [], 0
    for share in shares(t):
        end = start + len(share.parts)
        found.append([piece for block in blocks[start:end] for piece in block])
        start = end
    assert start == len(blocks), f"{len(blocks)} blocks, {start} of them given to cores"
    return found


class _Placed:
    """Operand pieces in one memory, placed once for all cores that have it, within a budget in bytes."""

    def __init__(self, t: Tiling) -> None:
        sides = zip(("lhs", "rhs"), (t.m, t.n), strict=True)
        self._sizes = {side: t.bytes_in * extent // (t.m + t.n) for side, extent in sides}
        self._left = KEEP_BYTES
        self._known: set[Hashable] = set()
        self._lock = Lock()
        self._pieces = Once()

    def get(self, side: str, where: tuple[slice, ...], pack: Pack) -> Array | Resident:
        key = side, _starts(where)
        if self._keeps(key, self._sizes[side]):
            return self._pieces.get(key, lambda: self._place(where, pack))
        return self._place(where, pack)

    def _keeps(self, key: Hashable, size: int) -> bool:
        with self._lock:
            if key not in self._known and size <= self._left:
                self._left -= size
                self._known.add(key)
            return key in self._known

    @staticmethod
    def _place(where: tuple[slice, ...], pack: Pack) -> Array | Resident:
        piece = pack(*where)
        lane: KernelEngine = pack.args[0]
        return lane.place(piece) if isinstance(piece, np.ndarray) else piece


class _Packed:
    """Packed operand pieces, within a budget in bytes; what does not fit is packed again when needed."""

    def __init__(self) -> None:
        self._left = PACK_BYTES
        self._pieces: dict[tuple[str | int, ...], Array | Resident] = {}

    def get(
        self, side: str, where: tuple[slice, ...], pack: Callable[..., Array | Resident]
    ) -> Array | Resident:
        key = (side, *(part.start for part in where))
        if key in self._pieces:
            return self._pieces[key]
        piece = pack(*where)
        ours = isinstance(piece, np.ndarray) and piece.flags.writeable  # else the caller's, or on the target
        size = piece.nbytes if ours else 0  # type: ignore[union-attr]
        if size <= self._left:
            self._left -= size
            self._pieces[key] = piece
        return piece


class _Want(NamedTuple):
    """Digit planes that a launch reads: of which side and part, and where."""

    side: int
    part: int
    batch: slice
    rows: slice
    k: slice

    @property
    def key(self) -> tuple[int, int, int, int, int]:
        return self.side, self.part, self.batch.start, self.rows.start, self.k.start


class _Made(NamedTuple):
    """Planes on the target; of sums of digits also the largest norms of their columns, see `group_of`."""

    planes: Resident
    norms: Array | None = None


@dataclass(eq=False)
class _Store:
    """Digit planes in one memory, for all cores that have it.

    Attributes
    ----------
    budget
        Bytes of planes that each of them keeps there.
    cores
        How many they are.
    planes, sums
        Of parts of an operand, and of the sums of their digits.
    squares
        Sums of squares that a pre-pass gave beside the planes.
    norms
        Of planes of sums.
    """

    budget: int
    cores: int
    planes: Once = field(default_factory=Once)
    sums: Once = field(default_factory=Once)
    squares: dict[tuple[int, int, int, int, int], Resident] = field(default_factory=dict)
    norms: dict[tuple[int, ...], Array] = field(default_factory=dict)


class _Planes:
    """Digit planes of both operands on the target, made in the order in which the launches want them.

    Words are cut one piece ahead in a thread of their own, while the target works; of several cores each
    cuts what it makes planes of, while the others work.
    """

    def __init__(
        self,
        engine: KernelEngine,
        t: Tiling,
        lhs: Words,
        rhs: Words,
        structure: Structure,
        pieces: list[_Piece],
        store: _Store,
    ) -> None:
        self._engine, self._t, self._sides = engine, t, (lhs, rhs)
        self.pieces, self.store = pieces, store
        alike = (t.m, t.block_m) == (t.n, t.block_n)
        self._shared = alike and (structure == "syrk" or (structure == "herk" and lhs.parts == 1))
        names = (("lhs", lhs), ("rhs", rhs))
        self._tilings = tuple(engine.cutting.planes(t, side, words.k_is_fast) for side, words in names)
        self._wanted = iter([self._of(piece) for piece in self.pieces])
        self._keys, made = self._budget()
        self._there = {want.key: words for want in made if (words := self._found(want)) is not None}
        missing = [want for want in made if want.key not in self._there]
        alone = store.cores == 1
        self._words = ahead(partial(_cut, t, self._sides), missing) if alone else None

    def next(self) -> list[tuple[_Made, _Made]]:
        """Pairs of planes for the products of the next launch: real, imaginary and summed parts."""
        sides = [self._of_side(wants) for wants in next(self._wanted)]
        return list(zip(*sides, strict=True))

    def _of(self, piece: _Piece) -> list[list[_Want]]:
        parts = range(self._sides[0].parts)
        sides = (0, 0) if self._shared else (0, 1)
        places = zip(sides, (piece.lhs, piece.rhs), strict=True)
        return [[_Want(side, part, *where) for part in parts] for side, where in places]

    def _budget(self) -> tuple[set[tuple[int, ...]], list[_Want]]:
        """Which planes are kept once made, first come first kept, and all that will be made, in order."""
        keys: set[tuple[int, ...]] = set()
        made, left = [], self.store.budget
        for want in (want for piece in self.pieces for wants in self._of(piece) for want in wants):
            if want.key not in keys:
                made.append(want)
                size = self._tilings[want.side].bytes_out
                if size <= left:
                    left -= size
                    keys.add(want.key)
        return keys, made

    def _of_side(self, wants: list[_Want]) -> list[_Made]:
        parts = [self._get(want) for want in wants]
        made = [_Made(part) for part in parts]
        return made if len(parts) == 1 else [*made, self._sum(wants, parts)]

    def _sum(self, wants: list[_Want], parts: list[Resident]) -> _Made:
        """Digit-wise sums of the parts of a complex operand."""
        key = (*wants[0].key, len(parts))
        if key in self.store.sums or all(want.key in self._keys for want in wants):
            return self.store.sums.get(key, lambda: self._added(key, parts))
        return self._added(key, parts)

    def _added(self, key: tuple[int, ...], parts: list[Resident]) -> _Made:
        t, norms = self._t, self.store.norms
        height = min(TILE, t.k)
        summed, squares = self._engine.keep("sum_planes", parts, (height,))
        if key not in norms:
            block = (t.block_m, t.block_n)[key[0]]
            found = self._engine.fetch(squares).reshape(t.batch, t.k // height, -1, t.slices, block)
            norms[key] = np.sqrt(found.max(axis=(2, 4)).astype(np.float64))
        return _Made(summed, norms[key])

    def _get(self, want: _Want) -> Resident:
        if want.key in self.store.planes or want.key in self._keys:
            return self.store.planes.get(want.key, lambda: self._planes_of(want))
        return self._planes_of(want)

    def _planes_of(self, want: _Want) -> Resident:
        t = self._tilings[want.side]
        planes, *squares = self._engine.keep(t.kernel, (self._cut(want),), t.parameters)
        if squares:
            self.store.squares[want.key] = squares[0]
        return planes

    def _cut(self, want: _Want) -> Array | Resident:
        """Words of one piece: what the target has of them, or the next that were cut."""
        if want.key in self._there:
            return self._there[want.key]
        source = self._source(want)
        if self._words is None:
            make = partial(_cut, self._t, self._sides, want)
        else:
            make = partial(next, self._words)
        if source is None:
            return make()
        words = make()
        return self._engine.sent(source, self._name(want), lambda: words)

    def _found(self, want: _Want) -> Resident | None:
        """Words of one piece that the target has from an earlier call."""
        source = self._source(want)
        return None if source is None else self._engine.known(source, self._name(want))

    def _source(self, want: _Want) -> Array | None:
        """The rows that words are of, all along k: their exponents are those of whole rows."""
        source = self._sides[want.side].source(want.part)
        return None if source is None else source[want.batch, want.rows]

    def _name(self, want: _Want) -> Hashable:
        """What words depend on beside their source."""
        words, t = self._sides[want.side], self._t
        extents = t.batch, (t.m, t.n)[want.side], t.k
        return "words", words.parts, words.slices, words.k_is_fast, want.k.start, extents

    def make_all(self) -> Generator[bool, None, None]:
        """Make all planes before the first launch; False, and nothing made, where not all can be kept."""
        wanted = {want.key: want for piece in self.pieces for wants in self._of(piece) for want in wants}
        if len(self._keys) == len(wanted):
            for want in wanted.values():
                self._get(want)
        yield len(self._keys) == len(wanted)


def _starts(where: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(part.start for part in where)


def _cut(t: Tiling, sides: tuple[Words, Words], want: _Want) -> Array:
    """Words of one piece as the kernel reads them, zeros around: stacked along rows, or along k."""
    words = sides[want.side]
    extent, size = (t.m, t.n)[want.side], word_bytes(words.slices)
    rows, ks = want.rows.stop - want.rows.start, want.k.stop - want.k.start
    count = want.batch.stop - want.batch.start
    shape = (t.batch, extent, t.k) if words.k_is_fast else (t.batch, t.k, extent)
    filled = (count, rows, ks) if words.k_is_fast else (count, ks, rows)
    packed = (np.empty if filled == shape else np.zeros)((*shape, size), np.int8)
    for place, i in enumerate(range(want.batch.start, want.batch.stop)):
        out = packed[place, : filled[1], : filled[2]]
        words.cut(want.part, i, want.rows, want.k, out if words.k_is_fast else out.transpose(1, 0, 2))
    return packed.reshape(t.batch * shape[1], -1)


def _blocks(t: Tiling, piece: _Piece, totals: Sequence[Array]) -> Iterator[Block]:
    """The output blocks of a launch, each (rows, limbs, columns)."""
    limbs, width = t.limbs, t.block_n
    spread = [total.reshape(t.batch, t.m, t.n // width, limbs, width) for total in totals]
    rows = piece.rows.stop - piece.rows.start
    for place, i in enumerate(range(piece.batch.start, piece.batch.stop)):
        for number, columns in enumerate(_pieces(piece.columns.stop - piece.columns.start, width)):
            extent = columns.stop - columns.start
            sums = tuple(total[place, :rows, number, :, :extent] for total in spread)
            yield Block(i, piece.rows, _shifted(columns, piece.columns.start), sums)


def _lower_blocks(t: Tiling, piece: _Piece, totals: Sequence[Array]) -> Iterator[Block]:
    """The output blocks of a launch that gives those on and below the diagonal only."""
    width, blocks = t.block_m, t.m // t.block_m
    spread = [total.reshape(t.batch, -1, width, t.limbs, width) for total in totals]
    parts = _pieces(piece.rows.stop - piece.rows.start, width)
    for place, i in enumerate(range(piece.batch.start, piece.batch.stop)):
        for number, (row, column) in enumerate((r, c) for r in range(blocks) for c in range(r + 1)):
            if row < len(parts):
                height, extent = (part.stop - part.start for part in (parts[row], parts[column]))
                rows, columns = (_shifted(parts[at], piece.rows.start) for at in (row, column))
                sums = tuple(total[place, number, :height, :, :extent] for total in spread)
                yield Block(i, rows, columns, sums)


def _shifted(part: slice, start: int) -> slice:
    return slice(start + part.start, start + part.stop)


def _padded(block: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A stack of matrices in an array of the launch's shape, zeros around; stacked along the rows."""
    packed = np.empty(shape, dtype) if block.shape == shape else np.zeros(shape, dtype)
    packed[tuple(slice(extent) for extent in block.shape)] = block
    return packed.reshape(-1, shape[-1])


def _magnitudes(side: Magnitudes, where: tuple[slice, ...], shape: tuple[int, int, int]) -> Array:
    """Magnitudes (k, rows) as the kernel reads them; the last row and matrix repeated, zeros along k."""
    i, rows, ks = where
    packed = np.zeros(shape, np.uint16)
    for place, index in enumerate(range(i.start, i.stop)):
        block = side.block(index, rows, ks).T
        packed[place, : block.shape[0], : block.shape[1]] = block
        packed[place, : block.shape[0], block.shape[1] :] = block[:, -1:]
    packed[i.stop - i.start :] = packed[i.stop - i.start - 1]
    stacked: Array = packed.view(ml_dtypes.bfloat16).reshape(shape[0] * shape[1], shape[2])
    return stacked
