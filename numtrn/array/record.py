"""What a numtrn array records instead of computing: a graph of frozen nodes over copies of its operands.

A node knows its shape and dtype and what it is made of; nothing here computes a large array, asks for a
kernel or knows `numtrn.Array`. `numtrn.array.tiles` computes nodes block by block, `numtrn.array.fuse` reads
them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias

import numpy as np

from numtrn.request import Array, Contraction

__all__ = [
    "Elementwise",
    "Node",
    "Product",
    "Reshaped",
    "Shape",
    "Snapshot",
    "Source",
    "Transposed",
    "bits_equal",
    "groups",
    "nodes",
    "products",
    "snapshot",
]

Shape: TypeAlias = tuple[int, ...]


class Snapshot:
    """A private, read-only copy of the contents of operands, shared by all that were recorded of them.

    Attributes
    ----------
    flat
        The elements in the order of memory, 1-d.
    """

    __slots__ = ("__weakref__", "flat")

    def __init__(self, contents: Array) -> None:
        self.flat = contents.copy()
        self.flat.flags.writeable = False


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """An operand as it was when it was recorded.

    Attributes
    ----------
    data
        Its values; a view of a `Snapshot`, or, for what is computed at once, the operand itself.
    kept
        That snapshot.
    """

    data: Array
    kept: Snapshot | None = None

    @property
    def shape(self) -> Shape:
        """Extents."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.data.dtype


@dataclass(frozen=True, eq=False, kw_only=True)  # no slots: it is referred to weakly
class Product:
    """A contraction of two operands.

    Attributes
    ----------
    function
        What the user called, such as ``"numpy.einsum"``.
    subscripts
        Explicit ones; no label twice in a term, none summed in one operand alone, one contracted at least.
    operands
        Both, of the shapes that the subscripts name.
    shape, dtype
        Of the result.
    """

    function: str
    subscripts: str
    operands: tuple[Source, Source]
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def terms(self) -> tuple[str, str, str]:
        """Labels of the operands and of the result."""
        inputs, output = self.subscripts.split("->")
        first, second = inputs.split(",")
        return first, second, output

    @property
    def contracted(self) -> int:
        """Multiply-adds for each element of the result."""
        first, _, output = self.terms
        extents = zip(first, self.operands[0].shape, strict=True)
        return prod(extent for label, extent in extents if label not in output)

    def request(self, operands: tuple[Array, ...]) -> Contraction:
        """The request for these blocks of the operands."""
        return Contraction(
            function=self.function,
            dtype=self.dtype.name,
            subscripts=self.subscripts,
            shapes=tuple(x.shape for x in operands),
            strides=tuple(x.strides for x in operands),
            same=tuple(next(j for j, y in enumerate(operands) if _is_same(x, y)) for x in operands),
        )


@dataclass(frozen=True, eq=False, slots=True)
class Transposed:
    """A node with its axes permuted: axis k of this one is axis ``axes[k]`` of that one."""

    of: Node
    axes: tuple[int, ...]

    @property
    def shape(self) -> Shape:
        """Extents."""
        return tuple(self.of.shape[axis] for axis in self.axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.of.dtype


@dataclass(frozen=True, eq=False, slots=True)
class Reshaped:
    """A node in another shape, in C order."""

    of: Node
    shape: Shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self.of.dtype


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Elementwise:
    """A ufunc of nodes and scalars, which broadcast.

    Attributes
    ----------
    ufunc
        It has one result.
    inputs
        Nodes, and scalars as the user gave them.
    shape, dtype
        Of the result.
    errors
        NumPy's error state (`numpy.geterr`) at the time of recording.
    """

    ufunc: np.ufunc
    inputs: tuple[Any, ...]
    shape: Shape
    dtype: np.dtype[Any]
    errors: Mapping[str, Any] = field(default_factory=dict)


Node: TypeAlias = Source | Product | Transposed | Reshaped | Elementwise


def nodes(*roots: Node) -> Iterator[Node]:
    """Every node that these are made of, themselves included, each once."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        match node:
            case Transposed() | Reshaped():
                waiting.append(node.of)
            case Product():
                waiting.extend(node.operands)
            case Elementwise():
                waiting.extend(x for x in node.inputs if isinstance(x, Node))


def products(*roots: Node) -> list[Product]:
    """The contractions among them."""
    return [node for node in nodes(*roots) if isinstance(node, Product)]


def groups(outer: Shape, inner: Shape) -> Iterator[tuple[range, range]]:
    """The least groups of axes of two shapes of one size that hold the same elements in C order.

    >>> list(groups((6, 4), (2, 3, 4)))
    [(range(0, 1), range(0, 2)), (range(1, 2), range(2, 3))]
    """
    i = j = 0
    while i < len(outer) or j < len(inner):
        first, second = i, j
        i, j = min(i + 1, len(outer)), min(j + 1, len(inner))
        while (left := prod(outer[first:i])) != (right := prod(inner[second:j])):
            if left < right:
                i += 1
            else:
                j += 1
        yield range(first, i), range(second, j)


# ---- Copies of operands ----

_kept: weakref.WeakValueDictionary[tuple[Any, ...], Snapshot] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def snapshot(x: Array) -> Source:
    """The operand as it is now, whatever becomes of it.

    Its elements are copied, once for all views of the same memory for as long as the contents stay the same
    (every bit is compared) and something recorded needs the copy.
    """
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    plain = x.transpose(order)
    if not plain.flags.c_contiguous:  # gaps, or negative strides
        plain = np.ascontiguousarray(plain)
        kept = Snapshot(plain.reshape(-1))
    else:
        kept = _shared(plain.reshape(-1))
    inverse = [order.index(axis) for axis in range(x.ndim)]
    return Source(kept.flat.reshape(plain.shape).transpose(inverse), kept)


def _shared(flat: Array) -> Snapshot:
    """The copy of this memory, an earlier one where that still says the same."""
    key = (flat.__array_interface__["data"][0], flat.size, flat.dtype.str)
    with _lock:
        kept = _kept.get(key)
    if kept is None or not bits_equal(kept.flat, flat):
        kept = Snapshot(flat)
        with _lock:
            _kept[key] = kept
    return kept


def bits_equal(x: Array, y: Array) -> bool:
    """Whether two arrays of float or complex numbers are of one dtype and shape and the same in every bit."""
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if _is_same(x, y):
        return True
    if x.dtype.kind == "c":
        return bits_equal(x.real, y.real) and bits_equal(x.imag, y.imag)
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    return bool(np.array_equal(x.view(unsigned), y.view(unsigned)))


def _is_same(x: Array, y: Array) -> bool:
    """Whether both are one view of one memory."""
    one, other = x.__array_interface__, y.__array_interface__
    return bool(
        one["data"][0] == other["data"][0]
        and x.shape == y.shape
        and x.strides == y.strides
        and x.dtype == y.dtype
    )
