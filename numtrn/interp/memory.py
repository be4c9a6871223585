"""Allocations: their bits, which of them were written, and what their PSUM locations hold.

A tensor (``tensor.py``) is a window on a ``Storage``. Reading an element that nothing wrote is refused
(H6); the bookkeeping is a flag for storages written completely and a lazy mask for the others.
Tiles take their memory from an arena (``arena.py``), which also keeps float32 images for TensorE.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from numtrn.interp.arena import Arena
from numtrn.interp.core import Core
from numtrn.interp.dtypes import Array, DType
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import hazard

__all__ = ["Storage", "Window"]

UNWRITTEN, OTHER, MATMUL, READ = 0, 1, 2, 3
"""A PSUM location holds nothing, another engine's result, a matmul result, or one read since."""

U8 = np.dtype(np.uint8)


class Window(Protocol):
    """What a storage needs to know of a tensor that looks at it."""

    kind: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    size: int

    @property
    def array(self) -> Array:
        """The elements, as their carrier."""

    @property
    def geometry(self) -> tuple[object, ...]:
        """Which elements of a storage it looks at, and how."""


class Writable(Protocol):
    """What a storage needs to know of a kernel argument (``arguments.py``)."""

    @property
    def where(self) -> str:
        """``file:line`` of the first write, or empty."""

    def write(self) -> None:
        """Prepare for the first write, or refuse it."""


class Storage:
    """One allocation.

    Parameters
    ----------
    core
        The core that runs the kernel.
    kind
        Element type.
    shape
        Sizes; the first is the partitions if on chip.
    buffer
        Memory.
    name
        The kernel's name for it, or empty.
    data
        Contents of a constant or a kernel argument, one-dimensional; ``argument`` says whether the latter
        may be written.
    """

    first_partition = 0  # of tiles that a kernel placed itself, another one (``placed.py``)

    __slots__ = (
        "__weakref__",
        "arena",
        "argument",
        "buffer",
        "core",
        "full",
        "inferred",
        "kind",
        "mask",
        "missing",
        "name",
        "origin",
        "origin_known",
        "origin_whole",
        "psum",
        "raw",
        "readonly",
        "row",
        "serial",
        "shape",
        "size",
        "start",
        "taken",
        "unit",
    )

    def __init__(
        self,
        core: Core,
        kind: DType,
        shape: tuple[int, ...],
        buffer: MemoryRegion,
        name: str = "",
        data: Array | None = None,
    ) -> None:
        self.taken = False
        self.core = core
        self.kind = kind
        self.shape = shape
        self.size = math.prod(shape)
        self.row = self.size // shape[0]
        self.buffer = buffer
        self.psum = buffer is MemoryRegion.psum
        self.name = name
        self.serial = core.next_serial()
        self.arena: Arena | None = None
        self.start = 0  # in the arena
        self._take()
        self.readonly = data is not None
        self.argument: Writable | None = None
        self.raw = self._memory() if data is None else data
        self.full = data is not None
        self.mask: Array | None = None
        self.unit = kind.bytes
        self.missing = 0
        self.origin: Array | None = None
        self.origin_known: dict[object, tuple[int, int, int]] = {}
        self.origin_whole = UNWRITTEN  # what every location holds, if there is no mask of origins
        self.inferred = False

    def _memory(self) -> Array:
        """New memory, or that of the other core if in shared HBM; none on a dry core."""
        launch = self.core.launch
        if launch is not None and self.buffer is MemoryRegion.shared_hbm:
            return launch.shared(self.core.rank, self.size, self.kind.carrier, self.label, self.core.dry)
        if self.core.dry:
            return np.empty(0, self.kind.carrier)
        watch = self.core.watches.get(self.serial)  # of tiles that the kernel did not place itself
        if watch is not None:
            arena = self.core.arena(self.psum, self.kind.carrier)
            start = arena.take(self.size)
            if start is not None:
                self.arena, self.start = arena, start
                watch.place = (arena, start, self.size)
                return arena.memory[start : start + self.size]
        return np.empty(self.size, self.kind.carrier)

    def written(self) -> tuple[bool, int, Array | None]:
        """Whether all is written, bytes of a mask entry, and the mask."""
        return self.full, self.unit, None if self.mask is None else self.mask.copy()

    def learn(self, other: tuple[bool, int, Array | None]) -> None:
        """Count as written what the other core wrote here."""
        full, unit, mask = other
        if full or self.full:
            self.full, self.mask = True, None
        elif mask is not None:
            if self.mask is None:
                self.mask, self.unit = mask, unit
            else:
                fine = min(unit, self.unit)
                one = np.repeat(self.mask, self.unit // fine)
                self.mask, self.unit = one | np.repeat(mask, unit // fine), fine
            self.missing = int(self.mask.size - np.count_nonzero(self.mask))
            if self.missing == 0:
                self.full, self.mask = True, None

    def _take(self) -> None:
        if self.buffer is MemoryRegion.sbuf:
            self.core.allocate(self.serial, self.label, self.row * self.kind.bytes, 0)
            self.core.watch(self, self.serial)
            self.taken = True
        elif self.psum:
            banks = -(-self.row * self.kind.bytes // self.core.chip.psum_bank_bytes)
            self.core.allocate(self.serial, self.label, 0, banks)
            self.core.watch(self, self.serial)
            self.taken = True

    @property
    def address(self) -> tuple[int, int] | None:
        """Partition and byte of a tile that a kernel placed itself."""
        return None

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.name or 'tile'}{list(self.shape)} {self.kind.name}"

    # -- written or not ----------------------------------------------------------------------------

    def _window(self, base: Array, window: Window) -> Array:
        """The part of a mask, one entry a unit, that belongs to ``window``."""
        size = window.kind.bytes
        if size < self.unit:
            fine = self.unit // size
            assert self.mask is not None
            self.mask = base = np.repeat(self.mask, fine)
            self.missing *= fine
            self.unit = size
        ratio = size // self.unit
        strides = tuple(stride * ratio for stride in window.strides)
        if ratio == 1:
            return np.ndarray(window.shape, U8, base, window.offset, strides)
        return np.ndarray((*window.shape, ratio), U8, base, window.offset * ratio, (*strides, 1))

    def wrote(self, window: Window) -> None:
        """Remember that ``window`` was written, by an engine other than TensorE if in PSUM."""
        if not self.full:
            self._mark(window)
        if self.arena is not None and self.arena.images:
            self.arena.forget(self.start, self.size)
        if self.psum:
            self.set_origin(window, OTHER)

    def wrote_matmul(self, window: Window) -> None:
        """Remember that TensorE wrote ``window``."""
        if not self.full:
            self._mark(window)
        self.set_origin(window, MATMUL)

    def _mark(self, window: Window) -> None:
        if window.size == self.size and window.kind.bytes == self.kind.bytes:
            self.full, self.mask = True, None
            return
        if self.mask is None:
            self.mask = np.zeros(self.size, U8)
            self.missing = self.size
        part = self._window(self.mask, window)
        self.missing -= part.size - int(np.count_nonzero(part))
        part.fill(1)
        if self.missing == 0:
            self.full, self.mask = True, None

    def require(self, window: Window) -> None:
        """Refuse to read elements that were never written (H6)."""
        if self.full:
            return
        where: Any = (0,) * len(window.shape)
        if self.mask is not None:
            part = self._window(self.mask, window)
            if part.all():
                return
            where = tuple(int(i) for i in np.argwhere(part == 0)[0][: len(window.shape)])
        hazard(
            "H6",
            f"an element must be written before it is read; {self.label} is not, at {where} of the operand",
        )
        self.fill_unwritten(window)

    def fill_unwritten(self, window: Window) -> None:
        """Give elements that nothing wrote what the official simulator has there: NaN, or 4 in integers."""
        sentinel = np.float32(np.nan if window.kind.is_float else 4)
        missing: Any = ...
        if self.mask is not None:
            part = self._window(self.mask, window)
            missing = part.reshape(*window.shape, -1).min(axis=-1) == 0
        window.array[missing] = window.kind.narrow(np.full(1, sentinel, np.float32))
        if self.arena is not None and self.arena.images:
            self.arena.forget(self.start, self.size)

    # -- PSUM locations ----------------------------------------------------------------------------

    def _origins(self, window: Window) -> Array:
        """What each byte of ``window`` holds, one more dimension for the bytes of an element."""
        scale = self.kind.bytes
        if self.origin is None:
            self.origin = np.full(self.size * scale, self.origin_whole, U8)
        size = window.kind.bytes
        steps = [stride * size for stride in window.strides]
        return np.ndarray((*window.shape, size), U8, self.origin, window.offset * size, (*steps, 1))

    def set_origin(self, window: Window, value: int) -> None:
        """Set what the locations of ``window`` hold."""
        key = window.geometry
        known = self.origin_known.get(key)
        if known is not None and known[2] == value:
            return
        start, stop = self._span(window)
        if window.size == self.size and window.kind.bytes == self.kind.bytes:
            self.origin, self.origin_whole = None, value  # no need of a mask
            self.origin_known.clear()
        else:
            self._origins(window).fill(value)
            others = self.origin_known.items()
            self.origin_known = {k: v for k, v in others if v[1] <= start or v[0] >= stop}
        self.origin_known[key] = start, stop, value

    def _span(self, window: Window) -> tuple[int, int]:
        """Bytes of a partition between which all of ``window`` lies."""
        size = window.kind.bytes
        row = self.row * self.kind.bytes
        start = window.offset * size % row
        reach = 0
        for extent, stride in zip(window.shape[1:], window.strides[1:], strict=True):
            if stride < 0:
                return 0, row
            reach += (extent - 1) * stride
        return start, start + (reach + 1) * size

    def origins(self, window: Window) -> tuple[int, int]:
        """Least and greatest of what the locations of ``window`` hold."""
        known = self.origin_known.get(window.geometry)
        if known is not None:
            return known[2], known[2]
        part = self._origins(window)
        return int(part.min()), int(part.max())

    def zero_unbegun(self, window: Window) -> None:
        """Make locations zero that nothing wrote, so that a matmul can add to all of ``window``."""
        window.array[self._origins(window).min(axis=-1) == UNWRITTEN] = 0

    def noticed(self, window: Window) -> None:
        """Remember that matmul results were read; only asked where accumulation is inferred."""
        part = self._origins(window)
        part[part == MATMUL] = READ
        self.origin_known.clear()
