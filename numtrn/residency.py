"""What targets hold of operands, so that they are moved once.

A `Memory` is host memory that only numtrn arrays reach; launches leave on the target what they made of its
pieces, for the next one. Memory that others may write to is `Borrowed` for a call, where a block asks for
that, and known again by a fingerprint of its contents. A `Held` is a result that only the target has until
somebody asks for it. Moving itself is the engine's; what an array is made of, `numtrn.array`'s.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from numtrn.digest import contents

__all__ = [
    "BUDGET",
    "Borrowed",
    "Held",
    "Matrix",
    "Memory",
    "Norms",
    "Piece",
    "Shelf",
    "Source",
    "norms_of",
    "owner_of",
    "place_name",
    "release",
]

BUDGET = 4 * 2**30
"""Bytes of operands that stay on one target between calls; beyond them the least recently used go."""


def place_name(target: str, hbm: int = 0) -> str:
    """A memory of a target, as arrays call the first one: ``"interpreter:0"``."""
    return f"{target}:{hbm}"


class Piece(NamedTuple):
    """What a target holds of an operand, and the bytes that were moved for it."""

    resident: Any
    bytes: int


class Shelf:
    """Pieces of operands on one target, the least recently used first.

    Parameters
    ----------
    budget
        Most bytes of all pieces; None: `BUDGET`.
    """

    def __init__(self, budget: int | None = None) -> None:
        self._lock = threading.RLock()  # a collector may drop a memory while this thread is in here
        self._pieces: OrderedDict[tuple[int, Hashable], Piece] = OrderedDict()
        self._budget = budget
        self.bytes = 0

    def get(self, owner: int, key: Hashable) -> Piece | None:
        """A piece, which becomes the most recently used."""
        with self._lock:
            found = self._pieces.get((owner, key))
            if found is not None:
                self._pieces.move_to_end((owner, key))
            return found

    def keep(self, owner: int, key: Hashable, piece: Piece) -> None:
        """Add a piece, at the cost of others where the budget asks for it."""
        budget = BUDGET if self._budget is None else self._budget
        with self._lock:
            if piece.bytes > budget or (owner, key) in self._pieces:
                return
            self._pieces[owner, key] = piece
            self.bytes += piece.bytes
            while self._pieces and self.bytes > budget:
                self._forget(next(iter(self._pieces)))

    def drop(self, owner: int) -> None:
        """Forget all pieces of one memory."""
        with self._lock:
            for found in list(self._pieces):  # a collector may drop other ones meanwhile
                if found[0] == owner:
                    self._forget(found)

    def _forget(self, key: tuple[int, Hashable]) -> None:
        found = self._pieces.pop(key, None)
        size = 0 if found is None else found.bytes
        self.bytes -= size  # read last: a collector may have dropped others, and counted them, until now

    def empty(self) -> int:
        """Forget everything; gives the bytes of it."""
        with self._lock:
            gone, self._pieces = self._pieces, OrderedDict()  # of which nobody else counts any more
            freed, self.bytes = self.bytes, 0
            gone.clear()
            return freed

    def holds(self, owner: int) -> bool:
        """Whether there is a piece of a memory."""
        with self._lock:
            return any(found[0] == owner for found in list(self._pieces))


_shelves: dict[str, Shelf] = {}
_numbers = count()


def _drop(owner: int) -> None:
    for shelf in list(_shelves.values()):
        shelf.drop(owner)


def release(target: str) -> int:
    """Forget what a target's memories hold of operands, all of which the host has too; gives the bytes."""
    mine = [shelf for place, shelf in list(_shelves.items()) if place.partition(":")[0] == target]
    return sum(shelf.empty() for shelf in mine)


class Memory:
    """Host memory of one numtrn array and its views.

    Parameters
    ----------
    host
        All of it, as one array.
    owned
        Whether nobody else can write to it. Of other memory nothing is remembered.

    Attributes
    ----------
    owned
        The same, as it is now.
    """

    __slots__ = ("__weakref__", "_host", "_known", "_lock", "_version", "owned")

    def __init__(self, host: NDArray[Any], *, owned: bool) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._known: _Known | None = None  # most memories are never an operand
        self._version = 0
        self.owned = owned

    @property
    def places(self) -> tuple[str, ...]:
        """Devices that hold pieces of it."""
        known = self._known
        if known is None:
            return ()
        return tuple(place for place, shelf in sorted(_shelves.items()) if shelf.holds(known.number))

    def changed(self) -> None:
        """It is about to be written: what targets hold is forgotten."""
        with self._lock:
            self._version += 1
        if self._known is not None:
            _drop(self._known.number)

    def shared(self) -> None:
        """It goes out to others, who may write to it at any time."""
        self.owned = False
        self.changed()

    def covers(self, piece: NDArray[Any]) -> bool:
        """Whether a view lies in it."""
        return np.may_share_memory(self._host, piece)

    def get(self, place: str, piece: NDArray[Any], made: Hashable) -> Piece | None:
        """What the target holds of a view, made in that way; None if it does not."""
        shelf, known = _shelves.get(place), self._looked_up()
        return None if shelf is None else shelf.get(known.number, self._key(piece, made))

    def keep(self, place: str, piece: NDArray[Any], made: Hashable, resident: Any, size: int) -> None:
        """Remember what the target holds of a view; of memory that others reach, nothing."""
        if self.owned:
            shelf = _shelves.setdefault(place, Shelf())
            shelf.keep(self._looked_up().number, self._key(piece, made), Piece(resident, size))

    def _key(self, piece: NDArray[Any], made: Hashable) -> Hashable:
        return self._version, *_where(piece, self._looked_up().bounds[0]), made

    def _looked_up(self) -> _Known:
        with self._lock:
            if self._known is None:
                self._known = _Known(next(_numbers), _bounds(self._host))
                weakref.finalize(self, _drop, self._known.number).atexit = False
            return self._known


class Borrowed:
    """Memory of somebody else's array for one call, whose pieces are known again by their contents.

    Parameters
    ----------
    host
        The array, which nobody writes to meanwhile.
    shelf
        Where pieces are kept.
    """

    owned = True

    def __init__(self, host: NDArray[Any], shelf: Shelf) -> None:
        self._host = host
        self._shelf = shelf
        self._bounds = _bounds(host)
        self._known: dict[Hashable, Hashable] = {}

    @cached_property
    def _contents(self) -> bytes | None:
        return contents(self._host)

    def covers(self, piece: NDArray[Any]) -> bool:
        """Whether all of a view lies in it; another operand may begin in it and go on beyond."""
        first, end = _bounds(piece)
        return self._bounds[0] <= first and end <= self._bounds[1]

    def get(self, place: str, piece: NDArray[Any], made: Hashable) -> Piece | None:
        """What the target holds of such a view of the same contents, whoever had them; None if nothing."""
        what = self._what(piece)
        return None if what is None else self._shelf.get(0, (place, what, made))

    def keep(self, place: str, piece: NDArray[Any], made: Hashable, resident: Any, size: int) -> None:
        """Remember what the target holds of a view; nothing of memory with gaps, which has no fingerprint."""
        what = self._what(piece)
        if what is not None:
            self._shelf.keep(0, (place, what, made), Piece(resident, size))

    def _what(self, piece: NDArray[Any]) -> Hashable:
        """What a view holds, as shelves know it; None where nothing tells."""
        where = _where(piece, self._bounds[0])
        if where not in self._known:
            self._known[where] = self._fingerprint(piece, where)
        return self._known[where]

    def _fingerprint(self, piece: NDArray[Any], where: tuple[Hashable, ...]) -> Hashable:
        """The contents of a piece without gaps, else all contents and where it lies among them."""
        own = contents(piece)
        if own is not None:
            return own, *where[1:]
        return self._contents and (self._contents, *self._host.shape, *self._host.strides, *where)


class Source(Protocol):
    """Memory of which a target may hold pieces."""

    owned: bool

    def covers(self, piece: NDArray[Any]) -> bool:
        """Whether a view lies in it."""
        ...

    def get(self, place: str, piece: NDArray[Any], made: Hashable) -> Piece | None:
        """What the target holds of a view, made in that way."""
        ...

    def keep(self, place: str, piece: NDArray[Any], made: Hashable, resident: Any, size: int) -> None:
        """Remember what the target holds of a view."""
        ...


class _Known(NamedTuple):
    """By what shelves know a memory, and its first byte and the one after its last."""

    number: int
    bounds: tuple[int, int]


def _start(piece: NDArray[Any]) -> int:
    """Address of a view's first element."""
    address: int = piece.__array_interface__["data"][0]
    return address


def _where(piece: NDArray[Any], base: int) -> tuple[Hashable, ...]:
    """Which elements of some memory a view is, and in which order."""
    strides = tuple(s if n > 1 else 0 for n, s in zip(piece.shape, piece.strides, strict=True))
    return _start(piece) - base, piece.shape, strides, piece.dtype.str


def _bounds(host: NDArray[Any]) -> tuple[int, int]:
    """First and one past the last byte of an array."""
    home: Any = np.lib.array_utils if hasattr(np.lib, "array_utils") else np  # since NumPy 2; before
    low, high = home.byte_bounds(host)
    return int(low), int(high)


def owner_of(memories: Iterable[Source], piece: NDArray[Any]) -> Source | None:
    """The memory that a view lies in, if pieces of it may stay on the target."""
    return next((one for one in memories if one.owned and one.covers(piece)), None)


# ---- Results on the target ----


@dataclass(frozen=True, slots=True)
class Norms:
    """Upper bounds of the 2-norms of the rows (batch, m) and columns (batch, n) of matrices, in float64."""

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]

    @property
    def all(self) -> NDArray[np.float64]:
        """Of the Frobenius norm of each matrix, (batch,)."""
        by_rows, by_columns = (np.sqrt((x * x).sum(axis=1)) for x in (self.rows, self.columns))
        smaller: NDArray[np.float64] = np.minimum(by_rows, by_columns)
        return smaller

    @property
    def turned(self) -> Norms:
        """Of the transposes."""
        return Norms(self.columns, self.rows)

    def times(self, other: Norms, k: int) -> Norms:
        """Of computed fp32 products A B of K terms.

        They are at most |A||B| (1 + (K + 1) 2^-23), componentwise, and ||A_i|^T |B|| <= ||A_i|| ||B||_F.
        """
        grown = 1 + (k + 1) * 2.0**-23
        rows = self.rows * other.all[:, np.newaxis] * grown
        return Norms(rows, other.columns * self.all[:, np.newaxis] * grown)

    def most(self, other: Norms) -> float:
        """Of the elements and partial sums of the products, by Cauchy-Schwarz."""
        return float((self.rows.max(axis=1, initial=0.0) * other.columns.max(axis=1, initial=0.0)).max())


def norms_of(matrices: NDArray[np.float32]) -> Norms:
    """Bounds for (batch, m, n) float32; not finite where there are NaN, Inf, or very large elements."""
    with np.errstate(all="ignore"):
        rows = np.einsum("bij,bij->bi", matrices, matrices).astype(np.float64)
        columns = np.einsum("bij,bij->bj", matrices, matrices).astype(np.float64)
    # fp32 sums of n squares are off by n 2^-24 at most; squares of elements below 2^-62 may vanish.
    _, m, n = matrices.shape
    return Norms(
        np.sqrt(rows * (1 + n * 2.0**-22)) + np.sqrt(n) * 2.0**-62,
        np.sqrt(columns * (1 + m * 2.0**-22)) + np.sqrt(m) * 2.0**-62,
    )


@dataclass(eq=False, kw_only=True)
class Held:
    """A float32 result (batch, m, n) that lies on a target, in C order within zeros or undefined padding.

    Attributes
    ----------
    resident
        What the target launches with.
    place
        Which target that is: ``"interpreter:0"``.
    shape, padded
        Extents, and those that it lies in.
    norms
        Bounds of its rows and columns.
    fetch
        Brings all of it to the host.
    moved
        Told the bytes that were brought.
    """

    resident: Any
    place: str
    shape: tuple[int, int, int]
    padded: tuple[int, int, int]
    norms: Norms
    fetch: Callable[[], NDArray[Any]]
    moved: Callable[[int], object] = lambda count: None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._host: NDArray[Any] | None = None

    @cached_property
    def nbytes(self) -> int:
        """Bytes on the target."""
        return 4 * prod(self.padded)

    @property
    def is_here(self) -> bool:
        """Whether the host has it too."""
        return self._host is not None

    def remain(self, memory: Memory) -> None:
        """Go on being what the target has of the values, once they are in a memory of the host's."""
        made = ("matrix", self.padded, np.dtype(np.float32).str)
        memory.keep(self.place, self.host(), made, self.resident, self.nbytes)

    def host(self) -> NDArray[Any]:
        """The values (batch, m, n), brought to the host by the first call; the same memory each time."""
        with self._lock:
            if self._host is None:
                brought = self.fetch()
                self.moved(brought.nbytes)
                inside = brought.reshape(self.padded)[tuple(slice(extent) for extent in self.shape)]
                self._host = np.array(inside, order="C")  # ours, and writable
            return self._host


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """An operand of a float32 product: (batch, rows, columns) of host memory, or of what a target holds.

    Attributes
    ----------
    host
        A view; None where the target holds it.
    held
        What the target holds.
    turned
        Whether the operand is the transpose of each matrix held.
    """

    host: NDArray[Any] | None = None
    held: Held | None = None
    turned: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batch, rows, columns)."""
        if self.host is not None:
            batch, rows, columns = self.host.shape
            return batch, rows, columns
        assert self.held is not None
        batch, rows, columns = self.held.shape
        return (batch, columns, rows) if self.turned else (batch, rows, columns)

    @property
    def strides(self) -> tuple[int, int, int]:
        """Bytes from one element to the next along each axis."""
        if self.host is not None:
            return self.host.strides  # type: ignore[return-value]
        _, rows, columns = self.shape
        fast = (4 * rows * columns, 4 * columns, 4)
        return (fast[0], 4, 4 * rows) if self.turned else fast

    @property
    def stand_in(self) -> NDArray[Any]:
        """An array of its shape and strides whose elements are not there."""
        return np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), self.shape, self.strides)

    def values(self) -> NDArray[Any]:
        """The values on the host, brought there if need be."""
        if self.host is not None:
            return self.host
        assert self.held is not None
        found = self.held.host()
        return found.swapaxes(1, 2) if self.turned else found

    def norms(self) -> Norms:
        """Bounds of its rows and columns."""
        if self.host is not None:
            return norms_of(self.host)
        assert self.held is not None
        return self.held.norms.turned if self.turned else self.held.norms
