"""Tensors as kernels see them: windows on a storage, made by slicing and by other views.

A view never moves data. Whether an instruction may use it is decided in ``rules.py``; here only what a
view itself must satisfy is checked. Views whose meaning changed between NKI 0.3.0 and 0.6.0 are refused
(H39), except the methods added in 0.5.0, which are marked so.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from numtrn.interp.absent import absent
from numtrn.interp.core import Operand
from numtrn.interp.dtypes import Array, DType, lookup
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault
from numtrn.interp.memory import Storage

__all__ = ["DynamicSlice", "NKIObject", "NkiTensor", "ds"]


class NKIObject:
    """Base class of kernel-side records."""


class DynamicSlice:
    """``nl.ds(start, size)``: a slice by start and size."""

    __slots__ = ("size", "start")

    def __init__(self, start: int, size: int) -> None:
        self.start = start
        self.size = size


def ds(start: int, size: int) -> DynamicSlice:
    """A slice by start and size."""
    return DynamicSlice(start, size)


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a dense array, in elements."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


class NkiTensor(NKIObject):
    """A window on a storage.

    Attributes
    ----------
    shape, strides, offset
        The access, in elements of ``dtype`` from the start of the storage.
    dtype
        Name of the element type.
    buffer
        Memory it lives in.
    """

    __slots__ = (
        "_array",
        "base",
        "kind",
        "lawful",
        "offset",
        "overlaps",
        "row",
        "shape",
        "size",
        "storage",
        "strides",
    )

    def __init__(
        self,
        storage: Storage,
        kind: DType,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        offset: int,
        row: int,
        overlaps: bool = False,
        base: bool = False,
    ) -> None:
        self.storage = storage
        self.kind = kind
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.row = row  # elements of a partition
        self.size = math.prod(shape)
        self.overlaps = overlaps
        self.base = base  # the whole storage, as allocated or reshaped
        self.lawful = 0  # what rules.py found out about it
        self._array: Array | None = None

    @classmethod
    def of(cls, storage: Storage) -> NkiTensor:
        """All of a storage."""
        return cls(storage, storage.kind, storage.shape, row_major(storage.shape), 0, storage.row, base=True)

    # -- attributes --------------------------------------------------------------------------------

    @property
    def dtype(self) -> str:
        """Name of the element type."""
        return self.kind.name

    @property
    def buffer(self) -> MemoryRegion:
        """Memory it lives in."""
        return self.storage.buffer

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """Name given at allocation."""
        return self.storage.name

    @property
    def on_chip(self) -> bool:
        """Whether it is in SBUF or PSUM."""
        return self.storage.taken

    @property
    def array(self) -> Array:
        """The elements, as their carrier, in place."""
        if self._array is None:
            storage, kind, strides = self.storage, self.kind, self.strides
            if storage.core.dry:
                self._array = absent(self.shape, kind.carrier, strides, self.offset)
            else:
                size = kind.bytes
                if len(strides) == 2:
                    steps: tuple[int, ...] = (strides[0] * size, strides[1] * size)
                else:
                    steps = tuple(stride * size for stride in strides)
                self._array = np.ndarray(self.shape, kind.carrier, storage.raw, self.offset * size, steps)
        return self._array

    @property
    def region(self) -> Operand:
        """What the log keeps of it."""
        return Operand(
            self.storage.serial,
            self.storage.buffer.value,
            self.shape,
            self.strides,
            self.offset,
            self.kind.name,
            self.size * self.kind.bytes,
        )

    def __repr__(self) -> str:
        return f"{self.name or 'tensor'}{list(self.shape)} {self.dtype} in {self.buffer.value}"

    # -- indexing ----------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> NkiTensor:
        if type(key) is tuple and len(key) == 2 and len(self.shape) == 2:
            plain = self._block(*key)
            if plain is not None:
                return plain
        if type(key) is not tuple:
            key = (key,)
        ndim = len(self.shape)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = key[:at] + (slice(None),) * (ndim - len(key) + 1) + key[at + 1 :]
        if len(key) > ndim:
            fault("H31", f"at most {ndim} indices for {self}; got {len(key)}")
        shape: list[int] = []
        strides: list[int] = []
        offset = self.offset
        for axis, item in enumerate(key):
            length = self.shape[axis]
            stride = self.strides[axis]
            if type(item) is slice:
                start, stop, step = item.start, item.stop, item.step
                if start is None and stop is None and step is None:
                    shape.append(length)
                    strides.append(stride)
                    continue
                start = 0 if start is None else start if start >= 0 else start + length
                stop = length if stop is None else stop if stop >= 0 else stop + length
                step = 1 if step is None else step
                if not 0 <= start < stop <= length or step < 1:
                    self._outside(axis, item)
                shape.append(-((start - stop) // step))
                strides.append(stride * step)
                offset += start * stride
            elif type(item) is DynamicSlice:
                if not 0 <= item.start < item.start + item.size <= length:
                    self._outside(axis, slice(item.start, item.start + item.size))
                shape.append(item.size)
                strides.append(stride)
                offset += item.start * stride
            else:
                offset += self._integer(axis, item) * stride
        if len(key) < ndim:
            shape.extend(self.shape[len(key) :])
            strides.extend(self.strides[len(key) :])
        if not shape:
            fault("H39", f"an index must leave a dimension; {self} was indexed with {len(key)} integers")
        return NkiTensor(
            self.storage, self.kind, tuple(shape), tuple(strides), offset, self.row, self.overlaps
        )

    def _block(self, rows: Any, columns: Any) -> NkiTensor | None:
        """The usual case, ``t[a:b, c:d]`` inside a matrix, without the generality; None for all others."""
        if type(rows) is not slice or type(columns) is not slice:
            return None
        a, b, c, d = rows.start, rows.stop, columns.start, columns.stop
        if type(a) is type(b) is type(c) is type(d) is int and rows.step is columns.step is None:
            height, width = self.shape
            if 0 <= a < b <= height and 0 <= c < d <= width:
                strides = self.strides
                offset = self.offset + a * strides[0] + c * strides[1]
                shape = (b - a, d - c)
                return NkiTensor(self.storage, self.kind, shape, strides, offset, self.row, self.overlaps)
        return None

    def _outside(self, axis: int, item: slice) -> NoReturn:
        fault(
            "H31",
            f"a slice must satisfy 0 <= start < stop <= size and step >= 1; got"
            f" {item.start}:{item.stop}:{item.step} on dimension {axis} of {self}",
        )

    def _integer(self, axis: int, item: Any) -> int:
        if isinstance(item, bool) or not isinstance(item, (int, np.integer)):
            fault("H41", f"an index must be an int, a slice, nl.ds or Ellipsis; got {item!r}")
        if self.on_chip and (axis == 0 or len(self.shape) < 3):
            fault(
                "H39",
                "an integer index on the partition dimension, or on a 2-D tile, keeps or drops the dimension"
                f" depending on the NKI version; use a slice; got {item} on dimension {axis} of {self}",
            )
        index = int(item)
        length = self.shape[axis]
        if index < 0:
            index += length
        if not 0 <= index < length:
            fault("H31", f"an index must be inside the dimension; got {item} on dimension {axis} of {self}")
        return index

    def __setitem__(self, key: Any, value: Any) -> None:
        fault("H39", "tensors are written by instructions (dst=...), not by assignment")

    def __iter__(self) -> NoReturn:
        fault("H39", f"a tensor cannot be iterated over; got {self}")

    # -- views -------------------------------------------------------------------------------------

    def reshape(self, shape: tuple[int, ...]) -> NkiTensor:
        """The same elements in another shape; never a copy."""
        shape = tuple(shape)
        if math.prod(shape) != self.size or min(shape, default=0) < 1:
            fault("H17", f"reshape must keep the {self.size} elements; got {list(shape)} from {self}")
        if self.on_chip and shape[0] != self.shape[0]:
            fault("H2", f"reshape on chip must keep the partition dimension; got {list(shape)} from {self}")
        strides = regroup(self.shape, self.strides, shape)
        if strides is None:
            fault(
                "H39",
                f"reshape must not need a copy; got {list(shape)} from {self} with strides {self.strides}",
            )
        return self._view(shape, strides, base=self.base)

    def view(self, dtype: str) -> NkiTensor:
        """The same bits as another type; the last dimension is rescaled."""
        kind = lookup(dtype)
        old, new = self.kind.bytes, kind.bytes
        if old != new and self.strides[-1] != 1:
            fault("H39", f"view needs a contiguous last dimension; got {self} with strides {self.strides}")
        sizes = (self.shape[-1], self.offset, self.row, *self.strides[:-1])
        if any(number * old % new for number in sizes):
            fault("H39", f"view needs sizes that are multiples of {new} bytes; got {self} as {dtype}")
        last, offset, row, *outer = (number * old // new for number in sizes)
        shape = (*self.shape[:-1], last)
        return NkiTensor(self.storage, kind, shape, (*outer, self.strides[-1]), offset, row, self.overlaps)

    reinterpret_cast = view

    def ap(
        self,
        pattern: Any,
        offset: int | None = 0,
        scalar_offset: Any = None,
        vector_offset: Any = None,
        indirect_dim: int = 0,
        dtype: str | None = None,
    ) -> NkiTensor:
        """An explicit access pattern ``[[stride, count], ...]`` on a whole tensor."""
        if scalar_offset is not None or vector_offset is not None or indirect_dim != 0:
            fault("unsupported", "this interpreter does not have indirect access patterns yet")
        if dtype is not None:
            fault("unsupported", "this interpreter does not have ap(dtype=) yet; use view(dtype)")
        if not self.base:
            fault("H39", f"ap on a view means different things in different NKI versions; got a view, {self}")
        strides = tuple(int(pair[0]) for pair in pattern)
        shape = tuple(int(pair[1]) for pair in pattern)
        start = 0 if offset is None else int(offset)
        if not shape or min(shape) < 1 or min(strides) < 0:
            fault("H30", f"ap needs counts >= 1 and strides >= 0; got {pattern}")
        last = start + sum((count - 1) * stride for stride, count in zip(strides, shape, strict=True))
        if not 0 <= start <= last < self.storage.size:
            fault(
                "H31",
                f"ap must stay inside the tensor's {self.storage.size} elements; got {start} to {last}",
            )
        if self.on_chip:
            self._ap_on_chip(strides, shape, start)
        overlaps = _repeats(strides, shape)
        return NkiTensor(self.storage, self.kind, shape, strides, start, self.row, overlaps)

    def _ap_on_chip(self, strides: tuple[int, ...], shape: tuple[int, ...], start: int) -> None:
        if strides[0] != self.row and not (shape[0] == 1 and len(shape) > 1):
            fault(
                "H2",
                f"the first stride of ap on chip must be the tensor's free size {self.row}; got {strides[0]}",
            )
        free = sum((count - 1) * stride for stride, count in zip(strides[1:], shape[1:], strict=True))
        if start % self.row + free >= self.row:
            fault(
                "H31",
                f"ap must stay inside a partition of {self.row} elements; got {start % self.row}+{free}",
            )

    def get_pattern(self) -> list[list[int]]:
        """``[[stride, count], ...]``."""
        return [[stride, count] for stride, count in zip(self.strides, self.shape, strict=True)]

    def is_contiguous(self) -> bool:
        """Whether the elements are dense; on chip, within a partition."""
        first = 1 if self.on_chip else 0
        dense = row_major(self.shape)
        return all(self.shape[k] == 1 or self.strides[k] == dense[k] for k in range(first, self.ndim))

    def is_indirect(self) -> bool:
        """Whether it uses indirect addressing: never, here."""
        return False

    def slice(self, dim: int, start: int, end: int, step: int = 1) -> NkiTensor:
        """One dimension sliced (0.5.0)."""
        return self[(slice(None),) * dim + (slice(start, end, step),)]

    def select(self, dim: int, index: int) -> NkiTensor:
        """One element of a dimension, which goes away (0.5.0)."""
        self._free(dim, "select")
        start = self._integer(dim, index) * self.strides[dim]
        view = self._view(_without(self.shape, dim), _without(self.strides, dim))
        view.offset += start
        return view

    def permute(self, dims: tuple[int, ...]) -> NkiTensor:
        """Dimensions in another order (0.5.0)."""
        if sorted(dims) != list(range(self.ndim)) or (self.on_chip and dims[0] != 0):
            fault("H2", f"permute needs a permutation that keeps the partitions first on chip; got {dims}")
        return self._view(tuple(self.shape[d] for d in dims), tuple(self.strides[d] for d in dims))

    def broadcast(self, dim: int, size: int) -> NkiTensor:
        """A dimension of size one repeated (0.5.0)."""
        self._free(dim, "broadcast")
        if self.shape[dim] != 1:
            fault("H17", f"broadcast needs a dimension of size 1; dimension {dim} of {self} is not")
        shape = (*self.shape[:dim], size, *self.shape[dim + 1 :])
        view = self._view(shape, (*self.strides[:dim], 0, *self.strides[dim + 1 :]))
        view.overlaps = self.overlaps or size > 1
        return view

    def expand_dim(self, dim: int) -> NkiTensor:
        """A new dimension of size one (0.5.0)."""
        if self.on_chip and dim == 0:
            fault("H2", "expand_dim on chip must not put a dimension before the partitions")
        stride = self.strides[dim] * self.shape[dim] if dim < self.ndim else 1
        return self._view(
            (*self.shape[:dim], 1, *self.shape[dim:]), (*self.strides[:dim], stride, *self.strides[dim:])
        )

    def squeeze_dim(self, dim: int) -> NkiTensor:
        """A dimension of size one removed (0.5.0)."""
        self._free(dim, "squeeze_dim")
        if self.shape[dim] != 1:
            fault("H17", f"squeeze_dim needs a dimension of size 1; dimension {dim} of {self} is not")
        return self._view(_without(self.shape, dim), _without(self.strides, dim))

    def reshape_dim(self, dim: int, shape: tuple[int, ...]) -> NkiTensor:
        """One dimension split (0.5.0)."""
        known = math.prod(size for size in shape if size != -1)
        sizes = tuple(self.shape[dim] // known if size == -1 else size for size in shape)
        return self.reshape((*self.shape[:dim], *sizes, *self.shape[dim + 1 :]))

    def flatten_dims(self, start_dim: int, end_dim: int) -> NkiTensor:
        """Neighbouring dimensions merged, the last one included (0.5.0)."""
        merged = math.prod(self.shape[start_dim : end_dim + 1])
        return self.reshape((*self.shape[:start_dim], merged, *self.shape[end_dim + 1 :]))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        fault("unsupported", f"this interpreter does not have NkiTensor.{name} yet, or NKI does not")

    def _free(self, dim: int, method: str) -> None:
        if not (1 if self.on_chip else 0) <= dim < self.ndim:
            fault("H2", f"{method} needs a free dimension; got {dim} of {self}")

    def _view(self, shape: tuple[int, ...], strides: tuple[int, ...], base: bool = False) -> NkiTensor:
        return NkiTensor(self.storage, self.kind, shape, strides, self.offset, self.row, self.overlaps, base)


def _without(sizes: tuple[int, ...], dim: int) -> tuple[int, ...]:
    return sizes[:dim] + sizes[dim + 1 :]


def _repeats(strides: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether two indices may mean the same element; may say yes wrongly for exotic patterns."""
    reach = 0
    for stride, count in sorted(zip(strides, shape, strict=True)):
        if count > 1:
            if stride <= reach:
                return True
            reach += stride * (count - 1)
    return False


def regroup(shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides of the same elements in shape ``new``, or None if that needs a copy."""
    merged = merge(shape, strides)
    result: list[int] = []
    at = len(merged) - 1
    room, stride = merged[at] if merged else (1, 1)
    for size in reversed(new):
        while room == 1 and at > 0 and size > 1:
            at -= 1
            room, stride = merged[at]
        if room % size:
            return None
        result.append(stride)
        stride *= size
        room //= size
    return tuple(reversed(result))


def merge(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """``(size, stride)`` with dimensions that follow one another without a gap joined."""
    merged: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return merged
