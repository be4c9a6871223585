"""Allocations: their bits, which of them were written, and what their PSUM locations hold.

A tensor (``tensor.py``) is a window on a ``Storage``. Reading an element that nothing wrote is refused
(H6); the bookkeeping is a flag for storages written completely and a lazy mask for the others.
A float32 image of narrow floating tiles is kept for TensorE, which reads the same tile many times.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from numtrn.interp.core import Core
from numtrn.interp.dtypes import F32, Array, DType
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
        Contents of a kernel argument, one-dimensional; such a storage cannot be written.
    """

    __slots__ = (
        "buffer",
        "core",
        "full",
        "image",
        "inferred",
        "kind",
        "mask",
        "missing",
        "name",
        "origin",
        "origin_key",
        "origin_value",
        "psum",
        "raw",
        "readonly",
        "row",
        "serial",
        "shape",
        "size",
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
        self._take()
        self.readonly = data is not None
        self.raw = self._memory() if data is None else data
        self.full = data is not None
        self.mask: Array | None = None
        self.unit = kind.bytes
        self.missing = 0
        self.image: Array | None = None
        self.origin: Array | None = None
        self.origin_key: object = None
        self.origin_value = UNWRITTEN
        self.inferred = False

    def _memory(self) -> Array:
        """New memory, or that of the other core if in shared HBM; none on a dry core."""
        if self.core.dry:
            return np.empty(0, self.kind.carrier)
        launch = self.core.launch
        if launch is not None and self.buffer is MemoryRegion.shared_hbm:
            return launch.shared(self.core.rank, self.size, self.kind.carrier, self.label)
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
            self.taken = True
        elif self.psum:
            banks = -(-self.row * self.kind.bytes // self.core.chip.psum_bank_bytes)
            self.core.allocate(self.serial, self.label, 0, banks)
            self.taken = True

    def __del__(self) -> None:
        if self.taken:
            self.core.release(self.serial)

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
        if self.image is not None:
            self._refresh(window)
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
        self.image = None

    # -- images ------------------------------------------------------------------------------------

    def _refresh(self, window: Window) -> None:
        if window.kind is not self.kind or window.size == self.size:
            self.image = None
        else:
            self.image_of(window)[...] = self.kind.widen(window.array)

    def image_of(self, window: Window) -> Array:
        """``window`` in float32, kept until it is written; only for windows of the storage's own type."""
        if self.core.dry:
            return window.array
        if self.image is None:
            self.image = self.kind.widen(self.raw)
        strides = tuple(4 * stride for stride in window.strides)
        return np.ndarray(window.shape, F32, self.image, 4 * window.offset, strides)

    # -- PSUM locations ----------------------------------------------------------------------------

    def _origins(self, window: Window) -> Array:
        """What each byte of ``window`` holds, one more dimension for the bytes of an element."""
        scale = self.kind.bytes
        if self.origin is None:
            self.origin = np.zeros(self.size * scale, U8)
        size = window.kind.bytes
        steps = [stride * size for stride in window.strides]
        return np.ndarray((*window.shape, size), U8, self.origin, window.offset * size, (*steps, 1))

    def set_origin(self, window: Window, value: int) -> None:
        """Set what the locations of ``window`` hold."""
        key = (window.offset, window.shape, window.strides, window.kind.bytes)
        if self.origin_value != value or self.origin_key != key:
            self._origins(window).fill(value)
            self.origin_key, self.origin_value = key, value

    def origins(self, window: Window) -> tuple[int, int]:
        """Least and greatest of what the locations of ``window`` hold."""
        key = (window.offset, window.shape, window.strides, window.kind.bytes)
        if self.origin_key == key:
            return self.origin_value, self.origin_value
        part = self._origins(window)
        return int(part.min()), int(part.max())

    def zero_unbegun(self, window: Window) -> None:
        """Make locations zero that nothing wrote, so that a matmul can add to all of ``window``."""
        window.array[self._origins(window).min(axis=-1) == UNWRITTEN] = 0

    def noticed(self, window: Window) -> None:
        """Remember that matmul results were read; only asked where accumulation is inferred."""
        part = self._origins(window)
        part[part == MATMUL] = READ
        self.origin_key = None
