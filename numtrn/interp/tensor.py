"""Tensors as kernels see them: windows on a storage, made by slicing and by other views.

A view never moves data. Whether an instruction may use it is decided in ``rules.py``; here only what a
view itself must satisfy is checked. Views whose meaning changed between NKI 0.3.0 and 0.6.0 are refused
(H39), except the methods added in 0.5.0, which are marked so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from numtrn.interp.absent import absent
from numtrn.interp.arena import Matrix
from numtrn.interp.core import Operand
from numtrn.interp.dtypes import Array, DType, lookup
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault, hazard, missing
from numtrn.interp.memory import Storage
from numtrn.interp.registers import NKIObject, VirtualRegister

__all__ = ["ASSIGN", "INDIRECT", "DynamicSlice", "IndirectTensor", "NkiTensor", "ds"]

ASSIGN: list[Callable[[NkiTensor, NkiTensor], Any]] = []
"""What ``t[...] = value`` does when it is let pass; entered by ``language.py``."""


INDIRECT: list[bool] = []
"""Not empty once a kernel of this process made an `IndirectTensor`; until then nobody looks for them."""


class DynamicSlice:
    """``nl.ds(start, size)``: a slice by start, which may be a register, and size."""

    __slots__ = ("size", "start")

    def __init__(self, start: int | VirtualRegister, size: int) -> None:
        self.start = start
        self.size = size


def ds(start: int | VirtualRegister, size: int) -> DynamicSlice:
    """A slice by start, which may be a register, and size."""
    return DynamicSlice(start, size)


@dataclass(frozen=True, slots=True)
class _Dynamic:
    """A dimension whose place is in a register: elements of an index, what the view keeps, its range."""

    register: VirtualRegister
    scale: int
    size: int
    limit: int


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
        "_geometry",
        "_matrix",
        "_views",
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
        self.size = shape[0] * shape[1] if len(shape) == 2 else math.prod(shape)
        self.overlaps = overlaps
        self.base = base  # the whole storage, as allocated or reshaped
        self.lawful = False  # rules.py found nothing against it
        self._array: Array | None = None
        self._geometry: tuple[object, ...] | None = None
        self._matrix: Matrix | None = None
        self._views: dict[tuple[int, ...], NkiTensor] | None = None

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
    def address(self) -> tuple[int, int] | None:
        """Partition and byte where the kernel placed it; None if it left that to the compiler."""
        return self.storage.address

    @property
    def on_chip(self) -> bool:
        """Whether it is in SBUF or PSUM."""
        return self.storage.taken

    @property
    def array(self) -> Array:
        """The elements, as their carrier, in place."""
        storage = self.storage
        core = storage.core
        if core.matmuls.products:
            core.matmuls.finish()
        found = self._array
        if found is None:
            kind, strides = self.kind, self.strides
            if core.dry:
                found = absent(self.shape, kind.carrier, strides, self.offset)
            else:
                size = kind.bytes
                if len(strides) == 2:
                    steps: tuple[int, ...] = (strides[0] * size, strides[1] * size)
                else:
                    steps = tuple([stride * size for stride in strides])
                found = np.ndarray(self.shape, kind.carrier, storage.raw, self.offset * size, steps)
            self._array = found
        return found

    @property
    def geometry(self) -> tuple[object, ...]:
        """All that a rule on access can ask of it: equal for tensors that differ only in storage."""
        found = self._geometry
        if found is None:
            psum = self.storage.psum
            found = (self.offset, self.shape, self.strides, self.kind, self.row, self.overlaps, psum)
            self._geometry = found
        return found

    @property
    def matrix(self) -> Matrix | None:
        """Where it is in an arena, if it is a matrix in the type of its storage with contiguous rows."""
        found = self._matrix
        if found is None:
            storage, shape, kind = self.storage, self.shape, self.kind
            flat = len(shape) == 2 or (len(shape) == 3 and shape[1] == 1)
            if not flat or self.strides[-1] != 1 or storage.arena is None or kind is not storage.kind:
                return None
            start = storage.start + self.offset
            found = Matrix(storage.arena, kind.widen, start, self.strides[0], shape[0], shape[-1])
            self._matrix = found
        return found

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
            rows, columns = key
            if type(rows) is type(columns) is slice and rows.step is columns.step is None:
                a, b, c, d = rows.start, rows.stop, columns.start, columns.stop
                if type(a) is type(b) is type(c) is type(d) is int:
                    views = self._views
                    if views is None:
                        views = self._views = {}
                    plain = views.get((a, b, c, d))
                    if plain is None:
                        plain = self._block(a, b, c, d, views)
                    if plain is not None:
                        return plain
        if type(key) is not tuple:
            key = (key,)
        ndim = len(self.shape)
        for at, item in enumerate(key):
            if item is Ellipsis:  # by identity: a register is not compared
                key = key[:at] + (slice(None),) * (ndim - len(key) + 1) + key[at + 1 :]
                break
        if len(key) > ndim:
            fault("H31", f"at most {ndim} indices for {self}; got {len(key)}")
        shape: list[int] = []
        strides: list[int] = []
        offset = self.offset
        dynamic: _Dynamic | None = None
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
            elif type(item) is VirtualRegister or (
                type(item) is DynamicSlice and type(item.start) is VirtualRegister
            ):
                dynamic = self._dynamic(axis, item, dynamic)
                if dynamic.size:
                    shape.append(dynamic.size)
                    strides.append(stride)
            elif type(item) is DynamicSlice:
                if not 0 <= item.start < item.start + item.size <= length:
                    self._outside(axis, slice(item.start, item.start + item.size))
                shape.append(item.size)
                strides.append(stride)
                offset += item.start * stride
            else:
                offset += self._integer(axis, item) * stride
                if axis == 0 and self.on_chip and self.storage.core.version >= (0, 5):
                    shape.append(1)
                    strides.append(stride)
        if len(key) < ndim:
            shape.extend(self.shape[len(key) :])
            strides.extend(self.strides[len(key) :])
        if not shape:
            fault("H39", f"an index must leave a dimension; {self} was indexed with {len(key)} integers")
        if len(shape) == 1 and self.on_chip:
            shape.append(1)
            strides.append(1)
        view = NkiTensor(
            self.storage, self.kind, tuple(shape), tuple(strides), offset, self.row, self.overlaps
        )
        if dynamic is not None:
            return IndirectTensor(view, dynamic.scale, scalar=dynamic.register, limit=dynamic.limit)
        return view

    def _dynamic(self, axis: int, item: Any, before: _Dynamic | None) -> _Dynamic:
        """An index or a slice whose place is in a register (``nki/get-started/nki-language-guide.rst``)."""
        self._new("a register in an index", (0, 4))
        if before is not None:
            fault("H31", f"one dimension is indexed by a register; dimension {axis} of {self} is another")
        sliced = type(item) is DynamicSlice
        size = int(item.size) if sliced else 1
        if not 1 <= size <= self.shape[axis]:
            fault("H31", f"nl.ds has a size of 1 to {self.shape[axis]} here; got {size} of {self}")
        register = item.start if sliced else item
        if not sliced and self.on_chip:
            self._ambiguous(axis, item)
        kept = size if sliced or (axis == 0 and self.on_chip) else 0
        return _Dynamic(register, self.strides[axis], kept, self.shape[axis] - size + 1)

    def _block(
        self, a: int, b: int, c: int, d: int, views: dict[tuple[int, ...], NkiTensor]
    ) -> NkiTensor | None:
        """The usual case, ``t[a:b, c:d]`` inside a matrix, made once; None where it is not inside."""
        height, width = self.shape
        if not (0 <= a < b <= height and 0 <= c < d <= width):
            return None
        strides = self.strides
        down, across = strides
        offset = self.offset + a * down + c * across
        view = NkiTensor(self.storage, self.kind, (b - a, d - c), strides, offset, self.row, self.overlaps)
        views[a, b, c, d] = view
        return view

    def _outside(self, axis: int, item: slice) -> NoReturn:
        fault(
            "H31",
            f"a slice must satisfy 0 <= start < stop <= size and step >= 1; got"
            f" {item.start}:{item.stop}:{item.step} on dimension {axis} of {self}",
        )

    def _integer(self, axis: int, item: Any) -> int:
        if isinstance(item, bool) or not isinstance(item, (int, np.integer)):
            fault("H41", f"an index must be an int, a slice, nl.ds or Ellipsis; got {item!r}")
        if self.on_chip:
            self._ambiguous(axis, item)
        index = int(item)
        length = self.shape[axis]
        if index < 0:
            index += length
        if not 0 <= index < length:
            fault("H31", f"an index must be inside the dimension; got {item} on dimension {axis} of {self}")
        return index

    def _ambiguous(self, axis: int, item: Any) -> None:
        if axis == 0 or len(self.shape) < 3:
            hazard(
                "H39",
                "an integer index on the partition dimension, or on a 2-D tile, keeps or drops the dimension"
                f" depending on the NKI version; use a slice; got {item} on dimension {axis} of {self}",
            )

    def __setitem__(self, key: Any, value: Any) -> None:
        hazard("H39", "tensors are written by instructions (dst=...), not by assignment")
        ASSIGN[0](self[key], value)

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
        offset: int | None = None,
        scalar_offset: Any = None,
        vector_offset: Any = None,
        indirect_dim: int = 0,
        dtype: str | None = None,
    ) -> NkiTensor:
        """An explicit access pattern ``[[stride, count], ...]``, with a dynamic offset if one is given."""
        source = self
        if not self.base:
            hazard("H39", f"ap on a view means different things in NKI versions; got a view, {self}")
            self._new("ap on a view")
        if dtype is not None:
            self._new("ap(dtype=)")
            source = self._retyped(lookup(dtype))
        strides = tuple(int(pair[0]) for pair in pattern)
        shape = tuple(int(pair[1]) for pair in pattern)
        start = (0 if self.base else source.offset) + (0 if offset is None else int(offset))
        if not shape or min(shape) < 1 or min(strides) < 0:
            fault("H30", f"ap needs counts >= 1 and strides >= 0; got {pattern}")
        if vector_offset is not None:
            if source is not self or scalar_offset is not None:
                fault("H31", "vector_offset goes without scalar_offset and dtype")
            return self._vector(shape, strides, start, vector_offset, indirect_dim)
        source._inside(strides, shape, start)
        if scalar_offset is None:
            if indirect_dim != 0:
                fault("H41", f"indirect_dim goes with a dynamic offset; got {indirect_dim}")
            return source._pattern(strides, shape, start)
        scale = self._scale(indirect_dim, source.kind)
        return IndirectTensor(source._pattern(strides, shape, start), scale, scalar=scalar_offset)

    def _scale(self, dim: int, kind: DType) -> int:
        """Elements of ``kind`` that an index of a dimension counts for."""
        if not 0 <= dim < self.ndim:
            fault("H31", f"indirect_dim must be a dimension; got {dim} of {self}")
        size = self.strides[dim] * self.kind.bytes
        if size % kind.bytes:
            fault("H39", f"an index of dimension {dim} of {self} is no multiple of {kind.bytes} bytes")
        return size // kind.bytes

    def _retyped(self, kind: DType) -> NkiTensor:
        """The whole access as another type of whatever size, for patterns in elements of that type."""
        old, new = self.kind.bytes, kind.bytes
        if self.row * old % new or self.offset * old % new:
            fault("H39", f"ap(dtype=) needs a partition that is a multiple of {new} bytes; got {self}")
        row, offset = self.row * old // new, self.offset * old // new
        return NkiTensor(self.storage, kind, self.shape, self.strides, offset, row, self.overlaps, self.base)

    def _inside(self, strides: tuple[int, ...], shape: tuple[int, ...], start: int) -> None:
        last = start + sum((count - 1) * stride for stride, count in zip(strides, shape, strict=True))
        size = self.storage.size * self.storage.kind.bytes // self.kind.bytes
        if not 0 <= start <= last < size:
            fault("H31", f"ap must stay inside the tensor's {size} elements; got {start} to {last}")
        if self.on_chip:
            self._ap_on_chip(strides, shape, start)

    def _pattern(self, strides: tuple[int, ...], shape: tuple[int, ...], start: int) -> NkiTensor:
        overlaps = _repeats(strides, shape)
        return NkiTensor(self.storage, self.kind, shape, strides, start, self.row, overlaps)

    def _vector(
        self,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        start: int,
        vector: NkiTensor,
        dim: int,
    ) -> NkiTensor:
        """One index for each row of HBM; the leading stride of the pattern is ignored (APS)."""
        if dim != 0 or self.on_chip:
            fault("H31", f"vector_offset needs HBM and indirect_dim=0; got {dim} of {self}")
        window = self._pattern((0, *strides[1:]), shape, start)
        window.overlaps = _repeats(strides[1:], shape[1:])
        return IndirectTensor(window, self.strides[0], vector=vector, limit=self.shape[0])

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
        """Whether it uses indirect addressing."""
        return type(self) is IndirectTensor

    def _new(self, name: str, version: tuple[int, int] = (0, 5)) -> None:
        have = self.storage.core.version
        if have < version:
            fault("H39", f"{name} is new in NKI 0.{version[1]}; this run is 0.{have[1]}")

    def slice(self, dim: int, start: int, end: int, step: int = 1) -> NkiTensor:
        """One dimension sliced (0.5.0)."""
        self._new("NkiTensor.slice")
        return self[(slice(None),) * dim + (slice(start, end, step),)]

    def select(self, dim: int, index: Any) -> NkiTensor:
        """One element of a dimension, which goes away; the index may be a tensor of one element (0.5.0)."""
        self._new("NkiTensor.select")
        self._free(dim, "select")
        view = self._view(_without(self.shape, dim), _without(self.strides, dim))
        if isinstance(index, (NkiTensor, VirtualRegister)):
            return IndirectTensor(view, self.strides[dim], scalar=index, limit=self.shape[dim])
        view.offset += self._integer(dim, index) * self.strides[dim]
        return view

    def vector_select(self, dim: int, vector_offset: NkiTensor) -> NkiTensor:
        """One row of HBM for each entry of an index tile (0.5.0)."""
        self._new("NkiTensor.vector_select")
        if dim != 0 or self.on_chip:
            fault("H31", f"vector_select needs dimension 0 of a tensor in HBM; got {dim} of {self}")
        window = self._view((vector_offset.shape[0], *self.shape[1:]), (0, *self.strides[1:]))
        return IndirectTensor(window, self.strides[0], vector=vector_offset, limit=self.shape[0])

    def rearrange(
        self,
        src_pattern: Sequence[Any],
        dst_pattern: Sequence[Any],
        fixed_sizes: Mapping[str, int] | None = None,
    ) -> NkiTensor:
        """Dimensions split, reordered and merged by name (0.5.0)."""
        self._new("NkiTensor.rearrange")
        groups = [(item,) if isinstance(item, str) else tuple(item) for item in src_pattern]
        wanted = [(item,) if isinstance(item, str) else tuple(item) for item in dst_pattern]
        names = [name for group in groups for name in group]
        order = [name for group in wanted for name in group]
        if len(groups) != self.ndim or sorted(names) != sorted(order) or len(set(names)) != len(names):
            fault(
                "H41",
                f"rearrange needs the names of all dimensions on both sides; got {src_pattern} to"
                f" {dst_pattern} for {self}",
            )
        sizes = self._sizes(groups, fixed_sizes or {})
        split = self.reshape(tuple(sizes[name] for name in names))
        moved = split.permute(tuple(names.index(name) for name in order))
        return moved.reshape(tuple(math.prod(sizes[name] for name in group) for group in wanted))

    def _sizes(self, groups: list[tuple[str, ...]], fixed: Mapping[str, int]) -> dict[str, int]:
        """Size of every name; one of each group may be left to follow from the others."""
        sizes = dict(fixed)
        for group, length in zip(groups, self.shape, strict=True):
            open_names = [name for name in group if name not in fixed]
            known = math.prod(fixed[name] for name in group if name in fixed)
            if len(open_names) > 1 or length % known or (not open_names and known != length):
                fault("H17", f"rearrange cannot split {length} into {group} with {dict(fixed)}")
            sizes |= dict.fromkeys(open_names, length // known)
        return sizes

    def indirect(self, index: NkiTensor, num_elem: int | None = None) -> NkiTensor:
        """Refuse: tensor indirection, which only gen4 has, is not here.

        Its documents leave open what the index means (``aws-neuron/aws-neuron-sdk`` at 81ce03ae): offset i is
        ``index[i % 16, i // 16]``, yet ``index.size`` offsets are used, which that reaches for 16 partitions
        only (``nki/api/nki/language/__init__.py``); no dtype is given, and ``trainium3_arch.rst`` says that
        ``nki.isa`` has no support for it.
        """
        chip = self.storage.core.chip
        if chip.generation < 4:
            fault("H29", f"NkiTensor.indirect needs gen4; {chip.name} is gen{chip.generation}")
        fault(
            "unsupported",
            "this interpreter does not have NkiTensor.indirect, whose documents disagree;"
            " use nisa.nc_n_gather",
        )

    def permute(self, dims: tuple[int, ...]) -> NkiTensor:
        """Dimensions in another order (0.5.0)."""
        self._new("NkiTensor.permute")
        if sorted(dims) != list(range(self.ndim)) or (self.on_chip and dims[0] != 0):
            fault("H2", f"permute needs a permutation that keeps the partitions first on chip; got {dims}")
        return self._view(tuple(self.shape[d] for d in dims), tuple(self.strides[d] for d in dims))

    def broadcast(self, dim: int, size: int) -> NkiTensor:
        """A dimension of size one repeated (0.5.0)."""
        self._new("NkiTensor.broadcast")
        self._free(dim, "broadcast")
        if self.shape[dim] != 1:
            fault("H17", f"broadcast needs a dimension of size 1; dimension {dim} of {self} is not")
        shape = (*self.shape[:dim], size, *self.shape[dim + 1 :])
        view = self._view(shape, (*self.strides[:dim], 0, *self.strides[dim + 1 :]))
        view.overlaps = self.overlaps or size > 1
        return view

    def expand_dim(self, dim: int) -> NkiTensor:
        """A new dimension of size one (0.5.0)."""
        self._new("NkiTensor.expand_dim")
        if self.on_chip and dim == 0:
            fault("H2", "expand_dim on chip must not put a dimension before the partitions")
        stride = self.strides[dim] * self.shape[dim] if dim < self.ndim else 1
        return self._view(
            (*self.shape[:dim], 1, *self.shape[dim:]), (*self.strides[:dim], stride, *self.strides[dim:])
        )

    def squeeze_dim(self, dim: int) -> NkiTensor:
        """A dimension of size one removed (0.5.0)."""
        self._new("NkiTensor.squeeze_dim")
        self._free(dim, "squeeze_dim")
        if self.shape[dim] != 1:
            fault("H17", f"squeeze_dim needs a dimension of size 1; dimension {dim} of {self} is not")
        return self._view(_without(self.shape, dim), _without(self.strides, dim))

    def reshape_dim(self, dim: int, shape: tuple[int, ...]) -> NkiTensor:
        """One dimension split (0.5.0)."""
        self._new("NkiTensor.reshape_dim")
        known = math.prod(size for size in shape if size != -1)
        sizes = tuple(self.shape[dim] // known if size == -1 else size for size in shape)
        return self.reshape((*self.shape[:dim], *sizes, *self.shape[dim + 1 :]))

    def flatten_dims(self, start_dim: int, end_dim: int) -> NkiTensor:
        """Neighbouring dimensions merged, the last one included (0.5.0)."""
        self._new("NkiTensor.flatten_dims")
        merged = math.prod(self.shape[start_dim : end_dim + 1])
        return self.reshape((*self.shape[:start_dim], merged, *self.shape[end_dim + 1 :]))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        missing(f"NkiTensor.{name}")

    def _free(self, dim: int, method: str) -> None:
        if not (1 if self.on_chip else 0) <= dim < self.ndim:
            fault("H2", f"{method} needs a free dimension; got {dim} of {self}")

    def _view(self, shape: tuple[int, ...], strides: tuple[int, ...], base: bool = False) -> NkiTensor:
        return NkiTensor(self.storage, self.kind, shape, strides, self.offset, self.row, self.overlaps, base)


class IndirectTensor(NkiTensor):
    """A window whose place depends on values that are read when an instruction uses it.

    Attributes
    ----------
    scale
        Elements that an index counts for.
    scalar
        Register or tile of one element, or None.
    vector
        Tile of indices, one for each row, or None.
    limit
        Indices must be less, if not None.
    """

    __slots__ = ("limit", "scalar", "scale", "vector")

    def __init__(
        self,
        window: NkiTensor,
        scale: int,
        scalar: Any = None,
        vector: NkiTensor | None = None,
        limit: int | None = None,
    ) -> None:
        if type(window) is IndirectTensor:
            fault("H31", f"an indirect view cannot be made indirect again; got {window}")
        super().__init__(
            window.storage,
            window.kind,
            window.shape,
            window.strides,
            window.offset,
            window.row,
            window.overlaps,
        )
        if not INDIRECT:
            INDIRECT.append(True)
        self.scale = scale
        self.scalar = scalar
        self.vector = vector
        self.limit = limit

    def _around(self, window: NkiTensor) -> IndirectTensor:
        if self.vector is not None and window.shape[:1] != self.shape[:1]:
            fault("H31", f"the indexed dimension of {self} cannot be changed")
        return IndirectTensor(window, self.scale, self.scalar, self.vector, self.limit)

    def __getitem__(self, key: Any) -> NkiTensor:
        return self._around(super().__getitem__(key))

    def _view(self, shape: tuple[int, ...], strides: tuple[int, ...], base: bool = False) -> NkiTensor:
        return self._around(super()._view(shape, strides))

    def view(self, dtype: str) -> NkiTensor:
        """Refuse."""
        fault("H39", f"an indirect view keeps its dtype; got {dtype} for {self}")

    reinterpret_cast = view

    def located(self) -> NkiTensor:
        """The window at the place that the scalar says now; refuse one outside (H31)."""
        found = self.place()
        if found is None:
            fault("H31", f"a dynamic index must stay inside the tensor; got {self.index()} for {self}")
        return found

    def place(self) -> NkiTensor | None:
        """The window at the place that the scalar says now, or None if that is outside."""
        if self.vector is not None:
            fault("H31", f"only DMAs take an index for each row; got {self}")
        return self._at(self.index(), self.shape, self.strides)

    def index(self) -> int:
        """What the scalar says now."""
        scalar = self.scalar
        if isinstance(scalar, VirtualRegister):
            return scalar.read()
        return int(index_values(scalar, 1)[0])

    def _at(self, index: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> NkiTensor | None:
        start = self.offset + index * self.scale
        reach = sum((count - 1) * stride for stride, count in zip(strides, shape, strict=True))
        free = reach - (shape[0] - 1) * strides[0]
        size = self.storage.size * self.storage.kind.bytes // self.kind.bytes
        if index < 0 or start + reach >= size or (self.limit is not None and index >= self.limit):
            return None
        if self.on_chip and start % self.row + free >= self.row:
            return None
        return NkiTensor(self.storage, self.kind, shape, strides, start, self.row, self.overlaps)

    def rows(self) -> list[tuple[int, NkiTensor | None]]:
        """Index and window of every row, None for one outside (ISA: dma_copy, dma_transpose)."""
        assert self.vector is not None
        shape, strides = (1, *self.shape[1:]), (self.scale, *self.strides[1:])
        values = index_values(self.vector, self.shape[0]).tolist()
        return [(value, self._at(value, shape, strides)) for value in values]


def index_values(tile: NkiTensor, count: int) -> Array:
    """The first ``count`` integers of an index tile in SBUF, down the partitions first."""
    if type(tile) is not NkiTensor or tile.buffer is not MemoryRegion.sbuf or tile.kind.family != "int":
        fault("H41", f"a dynamic index is a register or an integer tile in SBUF; got {tile!r}")
    if tile.size < count:
        fault("H17", f"{count} indices are needed; got {tile}")
    tile.storage.require(tile)
    values: Array = tile.array.reshape(tile.shape[0], -1).T.reshape(-1)[:count].astype(np.int64)
    return values


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
