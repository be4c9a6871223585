"""Recorded expressions computed tile by tile, so that no array of their size is made.

A tile is a window: for each axis of a node the range (start, stop) that is wanted. A window of a node asks
for windows of what it is made of, down to blocks of the operands of its products, which are multiplied by the
function that the caller gives; the rest is NumPy's, in the order and the dtypes that the user wrote. Which
MP2 expressions have a kernel of their own is the affair of `numtrn.array.fuse`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product
from math import fsum, prod
from string import ascii_letters
from typing import Any, Literal, TypeAlias

import numpy as np

from numtrn.array.record import (
    Elementwise,
    Node,
    Product,
    Reshaped,
    Shape,
    Source,
    Transposed,
    groups,
    nodes,
)
from numtrn.request import Array

__all__ = ["TILE", "Reduction", "Tiling", "choose", "fill", "reduce"]

TILE = 2**21
"""Elements of a tile that are aimed at: 16 MiB of float64, of which an expression holds a few."""

Window: TypeAlias = tuple[tuple[int, int], ...]
Multiply: TypeAlias = Callable[[Product, tuple[Array, ...]], Array]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Reduction:
    """A sum over axes of the product of a few nodes, all of whose axes one of them has.

    Attributes
    ----------
    function
        What the user called.
    terms
        The nodes, each with one letter for each axis.
    output
        Letters that are not summed over.
    dtype
        Of the result.
    how
        The NumPy function for one tile: ``"sum"`` of a single term, or ``"einsum"``.
    """

    function: str
    terms: tuple[tuple[Node, str], ...]
    output: str
    dtype: np.dtype[Any]
    how: Literal["einsum", "sum"] = "einsum"

    @property
    def extents(self) -> dict[str, int]:
        """Size of each letter."""
        sizes: dict[str, int] = {}
        for node, letters in self.terms:
            for letter, extent in zip(letters, node.shape, strict=True):
                sizes[letter] = max(extent, sizes.get(letter, 1))
        return sizes

    @property
    def shape(self) -> Shape:
        """Extents of the result."""
        return tuple(self.extents[letter] for letter in self.output)

    @property
    def subscripts(self) -> str:
        """The same as einsum's."""
        return ",".join(letters for _, letters in self.terms) + "->" + self.output

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes without their letters."""
        return tuple(node for node, _ in self.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How the axes are cut.

    Attributes
    ----------
    blocks
        Extent of a block, for each letter that is cut.
    count
        Tiles.
    """

    blocks: Mapping[str, int]
    count: int


class _UntileableError(Exception):
    """A window of a node is no window of what it is made of."""


# ---- Evaluation ----


def reduce(reduction: Reduction, tiling: Tiling, multiply: Multiply) -> Array:
    """The value of a reduction.

    The sums of single tiles are added in float64 or complex128, with their rounding errors.
    """
    total, shared = _Total(reduction), _shared(reduction.nodes)
    for windows in _tiles(reduction.extents, tiling):
        blocks = _blocks(reduction.terms, windows, multiply, shared)
        total.add(windows, _partial(reduction, blocks))
    return total.value()


def fill(node: Node, multiply: Multiply) -> Array:
    """The value of a node as an array in C order. Its own products are made tile by tile, if it is none."""
    whole = tuple((0, extent) for extent in node.shape)
    if isinstance(node, Product):
        return np.ascontiguousarray(_computed(node, whole, _Tile(multiply, frozenset())))
    letters = ascii_letters[: len(node.shape)]
    as_reduction = Reduction(function="", terms=((node, letters),), output=letters, dtype=node.dtype)
    out: Array = np.empty(node.shape, node.dtype)
    shared = _shared((node,))
    for windows in _tiles(as_reduction.extents, choose(as_reduction)):
        (block,) = _blocks(as_reduction.terms, windows, multiply, shared)
        out[tuple(slice(*windows[letter]) for letter in letters)] = block
    return out


@dataclass(frozen=True, slots=True)
class _Tile:
    """What is at hand while one tile is computed: blocks of nodes that it asks for more than once."""

    multiply: Multiply
    shared: frozenset[int]
    kept: dict[tuple[int, Window], Array] = field(default_factory=dict)


def _shared(roots: Sequence[Node]) -> frozenset[int]:
    """Nodes that more than one place asks for; the others are dropped as soon as they are used."""
    asked = Counter(map(id, roots))
    for node in nodes(*roots):
        match node:
            case Transposed() | Reshaped():
                asked[id(node.of)] += 1
            case Elementwise():
                asked.update(id(x) for x in node.inputs)
    return frozenset(place for place, count in asked.items() if count > 1)


def _blocks(
    terms: Sequence[tuple[Node, str]],
    windows: Mapping[str, tuple[int, int]],
    multiply: Multiply,
    shared: frozenset[int],
) -> list[Array]:
    """The terms in these windows; what they have in common is computed once."""
    tile = _Tile(multiply, shared)
    return [_compute(node, _window(node, letters, windows), tile) for node, letters in terms]


def _partial(reduction: Reduction, blocks: list[Array]) -> Array:
    if reduction.how == "einsum":
        return np.asarray(np.einsum(reduction.subscripts, *blocks))
    ((_, letters),) = reduction.terms
    summed = tuple(axis for axis, letter in enumerate(letters) if letter not in reduction.output)
    return np.asarray(np.sum(blocks[0], axis=summed))


def _compute(node: Node, window: Window, tile: _Tile) -> Array:
    """One window of a node."""
    if id(node) not in tile.shared:
        return _computed(node, window, tile)
    key = (id(node), window)
    if key not in tile.kept:
        tile.kept[key] = _computed(node, window, tile)
    return tile.kept[key]


def _computed(node: Node, window: Window, tile: _Tile) -> Array:
    match node:
        case Source():
            block: Array = node.data[tuple(slice(*part) for part in window)]
            return block
        case Product():
            return tile.multiply(node, _operand_blocks(node, window))
        case Transposed():
            return _compute(node.of, _inner(node, window), tile).transpose(node.axes)
        case Reshaped():
            extents = [stop - start for start, stop in window]
            return _compute(node.of, _inner(node, window), tile).reshape(extents)
        case Elementwise():
            inputs = [
                _compute(x, _fitted(x.shape, window), tile) if isinstance(x, Node) else x for x in node.inputs
            ]
            with np.errstate(**node.errors):
                result: Array = node.ufunc(*inputs)
                return result


def _operand_blocks(node: Product, window: Window) -> tuple[Array, ...]:
    first, second, output = node.terms
    parts = {label: slice(*part) for label, part in zip(output, window, strict=True)}
    return tuple(
        operand.data[tuple(parts.get(label, slice(None)) for label in term)]
        for operand, term in zip(node.operands, (first, second), strict=True)
    )


class _Total:
    """Sums of tiles, added up where they belong."""

    def __init__(self, reduction: Reduction) -> None:
        self.output, self.shape, self.dtype = reduction.output, reduction.shape, reduction.dtype
        self.wide = np.result_type(reduction.dtype, np.float64)
        self.scalars: list[Any] = []
        if self.output:
            self.sums, self.errors = np.zeros(self.shape, self.wide), np.zeros(self.shape, self.wide)

    def add(self, windows: Mapping[str, tuple[int, int]], partial: Array) -> None:
        """Add one tile (TwoSum; Knuth, The Art of Computer Programming, 4.2.2)."""
        if not self.output:
            self.scalars.append(partial[()])
            return
        place = tuple(slice(*windows[letter]) for letter in self.output)
        before, term = self.sums[place].copy(), partial.astype(self.wide, copy=False)
        with np.errstate(invalid="ignore"):
            after = before + term
            kept = after - before
            self.errors[place] += (before - (after - kept)) + (term - kept)
        self.sums[place] = after

    def value(self) -> Array:
        """The total in the dtype of the result."""
        if not self.output:
            return np.asarray(_sum_of(self.scalars)).astype(self.dtype)
        with np.errstate(invalid="ignore"):
            total = self.sums + np.where(np.isfinite(self.errors), self.errors, 0)
        return np.asarray(total).astype(self.dtype)


def _sum_of(scalars: list[Any]) -> complex:
    """Their sum, rounded once."""
    parts = [[float(x.real) for x in scalars], [float(x.imag) for x in scalars]]
    try:
        re, im = (fsum(part) for part in parts)
    except (ValueError, OverflowError):  # inf - inf, or beyond float64
        return complex(np.sum(np.array(scalars, np.complex128))) if np.any(parts[1]) else sum(parts[0])
    return complex(re, im) if any(parts[1]) else re


# ---- Windows ----


def _tiles(extents: Mapping[str, int], tiling: Tiling) -> Iterator[dict[str, tuple[int, int]]]:
    """Windows of all tiles, by letter."""
    ranges = []
    for letter, extent in extents.items():
        block = tiling.blocks.get(letter, extent) or 1
        ranges.append([(start, min(start + block, extent)) for start in range(0, extent, block)])
    for choice in product(*ranges):
        yield dict(zip(extents, choice, strict=True))


def _window(node: Node, letters: str, windows: Mapping[str, tuple[int, int]]) -> Window:
    """Window of a node; an axis of 1 broadcasts."""
    return _fitted(node.shape, tuple(windows[letter] for letter in letters))


def _fitted(shape: Shape, window: Window) -> Window:
    """Window of what broadcasts to a node, from that node's."""
    last = window[len(window) - len(shape) :]
    return tuple((0, 1) if extent == 1 else part for extent, part in zip(shape, last, strict=True))


def _inner(node: Transposed | Reshaped, window: Window) -> Window:
    """Window of what is viewed."""
    if isinstance(node, Transposed):
        return tuple(window[node.axes.index(axis)] for axis in range(len(window)))
    parts: list[tuple[int, int]] = []
    for outer, inner in groups(node.shape, node.of.shape):
        low, high = _flat([window[axis] for axis in outer], [node.shape[axis] for axis in outer])
        parts += _spread(low, high, [node.of.shape[axis] for axis in inner])
    return tuple(parts)


def _flat(window: Sequence[tuple[int, int]], extents: Sequence[int]) -> tuple[int, int]:
    """The range of a window in an axis into which its axes are merged."""
    low, high = 0, 1
    for part, extent in zip(window, extents, strict=True):
        if high - low > 1 and part != (0, extent):
            raise _UntileableError
        low, high = low * extent + part[0], (high - 1) * extent + part[1]
    return low, high


def _spread(low: int, high: int, extents: Sequence[int]) -> list[tuple[int, int]]:
    """The window in axes into which a range of an axis is split."""
    parts: list[tuple[int, int]] = []
    for extent in reversed(extents):
        if low // extent == (high - 1) // extent:
            row = low // extent
            parts.append((low - row * extent, high - row * extent))
            low, high = row, row + 1
        elif low % extent == 0 and high % extent == 0:
            parts.append((0, extent))
            low, high = low // extent, high // extent
        else:
            raise _UntileableError
    return parts[::-1]


# ---- How to cut ----


def choose(reduction: Reduction) -> Tiling:
    """The cut along one or two axes that multiplies least, then that has the fewest tiles.

    Tiles of at most `TILE` elements come before larger ones. Where no cut goes through all views the answer
    is one tile.
    """
    extents = reduction.extents
    best, least = Tiling(blocks={}, count=1), (True, 1 << 200, 0)
    if _size(reduction, extents) <= TILE:
        return best
    granules = _granules(reduction)
    for blocks in _candidates(reduction, granules):
        count = prod(-(-extents[letter] // block) for letter, block in blocks.items())
        tiling = Tiling(blocks=blocks, count=count)
        try:
            large = _size(reduction, {**extents, **blocks}) > TILE
            merit = (large, count * _work(reduction, _sample(extents, blocks)), count)
            if merit < least and granules != [1]:
                for windows in _tiles(extents, tiling):
                    _work(reduction, windows)
        except _UntileableError:
            continue
        if merit < least:
            best, least = tiling, merit
    return best


def _size(reduction: Reduction, extents: Mapping[str, int]) -> int:
    """Elements of the largest term with these extents."""
    return max(prod(extents[letter] for letter in letters) for _, letters in reduction.terms)


def _candidates(reduction: Reduction, granules: Sequence[int]) -> Iterator[dict[str, int]]:
    """Cuts of one axis, and of two into blocks about as long as wide."""
    extents = reduction.extents
    often = {letter: max(letters.count(letter) for _, letters in reduction.terms) for letter in extents}

    def fitting(letter: str, others: Mapping[str, int], shared: int, granule: int) -> int:
        room = TILE / _size(reduction, {**extents, **others, letter: 1})
        return _block(int(max(1.0, room) ** (1 / (often[letter] + shared))), extents[letter], granule)

    for letter in extents:
        for granule in granules:
            yield {letter: fitting(letter, {}, 0, granule)}
    for first, second in permutations(extents, 2):
        for one, other in product(granules, repeat=2):
            block = fitting(first, {second: 1}, often[second], one)
            yield {first: block, second: fitting(second, {first: block}, 0, other)}


def _block(wanted: int, extent: int, granule: int) -> int:
    """A block of about that extent, a multiple of the granule where that divides the axis."""
    if extent % granule:
        granule = 1
    return min(extent, max(1, wanted // granule) * granule)


def _granules(reduction: Reduction) -> list[int]:
    """Extents of what is merged into one axis: blocks of such an axis must hold whole rows."""
    found = {1}
    for node in nodes(*reduction.nodes):
        if isinstance(node, Reshaped):
            for outer, inner in groups(node.shape, node.of.shape):
                for shape, axes in ((node.shape, outer), (node.of.shape, inner)):
                    merged = [shape[axis] for axis in axes if shape[axis] > 1]
                    found |= {prod(merged[k:]) for k in range(1, len(merged))}
    return sorted(found)


def _sample(extents: Mapping[str, int], blocks: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """A tile off the diagonal: the first block of one axis, the last whole one of the other."""
    windows = {letter: (0, extent) for letter, extent in extents.items()}
    for place, (letter, block) in enumerate(blocks.items()):
        start = (extents[letter] // block - 1) * block if place else 0
        windows[letter] = (start, start + block)
    return windows


def _work(reduction: Reduction, windows: Mapping[str, tuple[int, int]]) -> int:
    """Multiply-adds that one tile asks for."""
    found: dict[tuple[int, Window], int] = {}
    for node, letters in reduction.terms:
        _ask(node, _window(node, letters, windows), found)
    return sum(found.values())


def _ask(node: Node, window: Window, found: dict[tuple[int, Window], int]) -> None:
    """Find which windows of nodes a window of a node needs, each once, and their multiply-adds."""
    key = id(node), window
    if key in found:
        return
    found[key] = 0
    match node:
        case Product():
            found[key] = prod(stop - start for start, stop in window) * node.contracted
        case Transposed() | Reshaped():
            _ask(node.of, _inner(node, window), found)
        case Elementwise():
            for x in node.inputs:
                if isinstance(x, Node):
                    _ask(x, _fitted(x.shape, window), found)
        case Source():
            pass
