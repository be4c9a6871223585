"""The products that precision asks for, made by kernels on one target.

What is multiplied is decided in `numtrn.precision`, how it is cut in `numtrn.plan`; this module knows the
kernels' layouts, ships operands block by block, and keeps on the target what several launches use. Nothing
the caller owns is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from numtrn.errors import KernelError
from numtrn.plan.ladder import Cutting
from numtrn.plan.tiling import EXACT, LOWER_LHS, LOWER_RESULT, TILE, WHOLE, Tiling
from numtrn.plan.words import pair_count, regroup, whole
from numtrn.precision import Block, Magnitudes, Words
from numtrn.precision.fixed import add_words, word_bytes
from numtrn.precision.threads import ahead
from numtrn.request import Array, Structure, k_is_fast
from numtrn.residency import Source, owner_of, place_name
from numtrn.structured import STORED, STRUCTURES, multiply, solve
from numtrn.targets import Resident, Target

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

    Attributes
    ----------
    cutting
        How launches are cut.
    place_name
        What arrays call the target's device.
    launches, bytes
        Kernel launches, and bytes moved to the target and back.
    saved
        Bytes of operands that were not moved, because the target had them.
    copied
        Bytes that the host made of operands of plain products, where a launch could not take them as they
        lie: of another dtype, of an extent that is not the launch's, or with gaps in memory.
    form
        "Karatsuba" where a product of words took that form; its sums are the same integers.
    """

    def __init__(self, target: Target, memories: Sequence[Source] = (), shapes: str = "fine") -> None:
        self._target = target
        self.cutting = Cutting(shapes, target.chip)
        self._memories = memories
        self.place_name = place_name(target.name)
        self.launches = 0
        self.bytes = 0
        self.saved = 0
        self.copied = 0
        self.form = ""

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
        kept = _Packed()
        pack_lhs = partial(self._pack, lhs, (t.batch, t.m, t.k), fast[0], stored)
        pack_rhs = partial(self._pack, rhs.swapaxes(1, 2), (t.batch, t.n, t.k), fast[1], stored)

        def part_of(piece: _Piece) -> Array:
            left, right = kept.get("lhs", piece.lhs, pack_lhs), kept.get("rhs", piece.rhs, pack_rhs)
            part = self.launch(t, (left, right), np.float32).reshape(t.batch, t.m, t.n)
            filled = (along.stop - along.start for along in (piece.batch, piece.rows, piece.columns))
            return part[tuple(slice(extent) for extent in filled)]

        pieces = _sweep(t, batch, m, k, n)
        if len(pieces) == 1:
            return np.require(part_of(pieces[0]), requirements="W")
        # Sums over several pieces of K are formed in float64, so that they add no error worth counting.
        total = np.zeros((batch, m, n), np.float32 if t.pieces[2] == 1 else np.float64)
        for piece in pieces:
            total[piece.batch, piece.rows, piece.columns] += part_of(piece)
        return total.astype(np.float32, copy=False)

    def _pack(
        self, side: Array, shape: tuple[int, int, int], fast: bool, dtype: np.dtype[Any], *block: slice
    ) -> Array | Resident:
        """A block (batch, rows, k) of an operand, in the order in which it lies."""
        if fast:
            return self.taken(side[block], shape, dtype)
        batch, rows, k = shape
        return self.taken(side[block].swapaxes(1, 2), (batch, k, rows), dtype)

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
        least, nonzero, sums, kept = np.inf, np.inf, np.zeros(0), _Packed()

        def pack_lhs(*where: slice) -> Array | Resident:
            return self._magnitudes(lhs, where, (t.batch, t.k, t.m))

        def pack_rhs(*where: slice) -> Array | Resident:
            return self._magnitudes(rhs, where, (t.batch, t.k, t.n))

        for piece in _sweep(t, lhs.batch, lhs.rows, lhs.k, rhs.rows):
            left = kept.get("lhs", piece.lhs, pack_lhs)
            right = kept.get("rhs", piece.rhs, pack_rhs)
            part = self.launch(t, (left, right), np.float32)
            rows = part[:, 0].astype(np.float64)
            sums = rows if piece.k.start == 0 else sums + rows
            nonzero = min(nonzero, float(part[:, 1].min()))
            if piece.k.stop == lhs.k:
                filled = sums.reshape(t.batch, t.m)[: piece.batch.stop - piece.batch.start]
                least = min(least, float(filled.min()))
        return float(least), nonzero

    def _magnitudes(
        self, side: Magnitudes, where: tuple[slice, ...], shape: tuple[int, int, int]
    ) -> Array | Resident:
        make = partial(_magnitudes, side, where, shape)
        if side.source is None:
            return make()
        return self.sent(side.source, ("magnitudes", side.layout, _starts(where), shape), make)

    def words(self, lhs: Words, rhs: Words, structure: Structure = "general") -> Generator[Block, None, None]:
        """The exact product, block by block; see `numtrn.precision.Engine.words`."""
        extents = lhs.batch, lhs.rows, lhs.k, rhs.rows
        t = self.cutting.karatsuba(*extents, lhs.slices, structure) if lhs.parts == 1 else None
        if t is not None:
            planes = self._planes(t, lhs, rhs, structure)
            if planes.make_all() and self._fits(t, planes):
                self.form = "Karatsuba"
                yield from self._multiply((t,), planes)
                return
        tilings = self.cutting.products(*extents, lhs.slices, lhs.parts, structure)
        yield from self._multiply(tilings, self._planes(tilings[0], lhs, rhs, structure))

    def _planes(self, t: Tiling, lhs: Words, rhs: Words, structure: Structure) -> _Planes:
        """Planes for a tiling, of words as its kernels read them."""
        if self.cutting.few:
            lhs, rhs = (side.recut(t.slices) for side in (lhs, rhs))
        return _Planes(self, t, lhs, rhs, structure)

    def _multiply(self, tilings: tuple[Tiling, ...], planes: _Planes) -> Iterator[Block]:
        """Every launch of a product, and its blocks."""
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

    def _fits(self, t: Tiling, planes: _Planes) -> bool:
        """Whether every chunk of the products of digit sums stays within what fp32 adds exactly.

        By Cauchy-Schwarz from the largest sums of squares of columns, for each chunk of k and pair of digits
        (see ``kernels/karatsuba_planes.py``).
        """
        largest: list[dict[int, Array]] = [{}, {}]
        for (side, _, _, _, k), squares in planes.squares.items():
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
        return self._target.place(array)

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """Launch a kernel whose results stay on the target."""
        self._count(arrays)
        return self._target.keep(kernel, arrays, parameters)

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
        part = self.checked(t, self._target.launch(t.kernel, arrays, t.parameters), dtype)
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

    def _count(self, arrays: Sequence[Array | Resident]) -> None:
        self.launches += 1
        self.bytes += sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


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


class _Planes:
    """Digit planes of both operands on the target, made in the order in which the launches want them.

    Words are cut one piece ahead in a thread of their own, while the target works.
    """

    def __init__(self, engine: KernelEngine, t: Tiling, lhs: Words, rhs: Words, structure: Structure) -> None:
        self._engine, self._t, self._sides = engine, t, (lhs, rhs)
        alike = (t.m, t.block_m) == (t.n, t.block_n)
        self._shared = alike and (structure == "syrk" or (structure == "herk" and lhs.parts == 1))
        names = (("lhs", lhs), ("rhs", rhs))
        self._tilings = tuple(engine.cutting.planes(t, side, words.k_is_fast) for side, words in names)
        pieces = _sweep(t, lhs.batch, lhs.rows, lhs.k, rhs.rows)
        self.pieces = [piece for piece in pieces if piece.is_needed(t.part)]
        self._wanted = iter([self._of(piece) for piece in self.pieces])
        self.squares: dict[tuple[int, int, int, int, int], Resident] = {}
        self._kept: dict[tuple[int, ...], Resident] = {}
        self._norms: dict[tuple[int, ...], Array] = {}
        self._keys, made = self._budget()
        self._there = {want.key: words for want in made if (words := self._found(want)) is not None}
        missing = [want for want in made if want.key not in self._there]
        self._words = ahead(partial(_cut, t, self._sides), missing)

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
        made, left = [], KEEP_BYTES
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
        key, t = (*wants[0].key, len(parts)), self._t
        if key in self._kept:
            return _Made(self._kept[key], self._norms[key])
        height = min(TILE, t.k)
        summed, squares = self._engine.keep("sum_planes", parts, (height,))
        if key not in self._norms:
            block = (t.block_m, t.block_n)[wants[0].side]
            found = self._engine.fetch(squares).reshape(t.batch, t.k // height, -1, t.slices, block)
            self._norms[key] = np.sqrt(found.max(axis=(2, 4)).astype(np.float64))
        if all(want.key in self._keys for want in wants):
            self._kept[key] = summed
        return _Made(summed, self._norms[key])

    def _get(self, want: _Want) -> Resident:
        if want.key in self._kept:
            return self._kept[want.key]
        t = self._tilings[want.side]
        planes, *squares = self._engine.keep(t.kernel, (self._cut(want),), t.parameters)
        if squares:
            self.squares[want.key] = squares[0]
        if want.key in self._keys:
            self._kept[want.key] = planes
        return planes

    def _cut(self, want: _Want) -> Array | Resident:
        """Words of one piece: what the target has of them, or the next that were cut."""
        if want.key in self._there:
            return self._there[want.key]
        words, source = next(self._words), self._sides[want.side].source(want.part)
        return words if source is None else self._engine.sent(source, self._name(want), lambda: words)

    def _found(self, want: _Want) -> Resident | None:
        """Words of one piece that the target has from an earlier call."""
        source = self._sides[want.side].source(want.part)
        return None if source is None else self._engine.known(source, self._name(want))

    def _name(self, want: _Want) -> Hashable:
        """What words depend on beside their source."""
        words, t = self._sides[want.side], self._t
        extents = t.batch, (t.m, t.n)[want.side], t.k
        return "words", words.parts, words.slices, words.k_is_fast, _starts((want.batch, want.rows, want.k)), extents

    def make_all(self) -> bool:
        """Make all planes before the first launch; False, and nothing made, where not all can be kept."""
        wanted = {want.key: want for piece in self.pieces for wants in self._of(piece) for want in wants}
        if len(self._keys) < len(wanted):
            return False
        for want in wanted.values():
            self._get(want)
        return True


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
