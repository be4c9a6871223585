"""Tiles that a kernel places itself, by ``nl.ndarray(address=(partition, offset))`` (H5).

Two such tiles may share memory; what is written through one is then lost to the other. Here each keeps memory
of its own, and what it lost counts as unwritten. The offset counts bytes of a partition, as in
``nki/library/kernel-utils/allocator.rst`` and in the examples with ``bank_id * 2048`` and "virtual byte
addresses" of ``nki/migration/index.rst``, which also says, in prose, that it counts elements; it says that a
tile of PSUM starts at a bank (all in ``aws-neuron/aws-neuron-sdk`` at 81ce03ae). Memory placed once stays
out of the reach of tiles without an address until the kernel ends.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

from numtrn.interp.core import Core
from numtrn.interp.dtypes import DType
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault, hazard
from numtrn.interp.memory import UNWRITTEN, Storage, Window

__all__ = ["PlacedStorage", "Placements"]

Box = tuple[int, int, int, int]
"""First partition and the one after the last; first byte and the one after the last."""


class PlacedStorage(Storage):
    """An allocation at an address.

    Parameters
    ----------
    core, kind, shape, buffer, name
        As for `Storage`.
    address
        First partition, and bytes from the start of a partition.
    """

    __slots__ = ("first_partition", "lost", "place", "rivals")

    def __init__(
        self, core: Core, kind: DType, shape: tuple[int, ...], buffer: MemoryRegion, name: str, address: Any
    ) -> None:
        self.lost = ""
        self.rivals: list[weakref.ref[PlacedStorage]] = []
        self.place = _checked(
            core, kind, shape, buffer, f"{name or 'tile'}{list(shape)} {kind.name}", address
        )
        self.first_partition = self.place[0]
        super().__init__(core, kind, shape, buffer, name)

    def _take(self) -> None:
        core = self.core
        if core.placed is None:
            core.placed = Placements()
        size, banks = core.placed.add(self)
        core.allocate(self.serial, self.label, size, banks)
        self.taken = True

    @property
    def address(self) -> tuple[int, int]:
        """First partition, and bytes from the start of a partition."""
        return self.place

    @property
    def box(self) -> Box:
        """All of it."""
        first, start = self.place
        return first, first + self.shape[0], start, start + self.row * self.kind.bytes

    def wrote(self, window: Window) -> None:
        """Remember that ``window`` was written, which tiles in the same memory lose."""
        super().wrote(window)
        if self.rivals:
            self._spoil(window)

    def wrote_matmul(self, window: Window) -> None:
        """The same for TensorE."""
        super().wrote_matmul(window)
        if self.rivals:
            self._spoil(window)

    def _spoil(self, window: Window) -> None:
        size, row = window.kind.bytes, self.row * self.kind.bytes
        lane, byte = divmod(window.offset * size, row)
        first, start = self.place
        lanes = 1 + (window.shape[0] - 1) * window.strides[0] * size // row
        free = zip(window.shape[1:], window.strides[1:], strict=True)
        reach = size * (1 + sum((count - 1) * stride for count, stride in free))
        box = (first + lane, first + lane + lanes, start + byte, start + byte + reach)
        for reference in self.rivals:
            rival = reference()
            if rival is not None:
                rival.lose(box, self.label)

    def lose(self, box: Box, label: str) -> None:
        """Count as unwritten what another tile wrote over."""
        part = _common(box, self.box)
        if part is None or (self.mask is None and not self.full):
            return
        first, start = self.place
        rows = slice(part[0] - first, part[1] - first)
        low, high = part[2] - start, part[3] - start
        if self.mask is None:
            self.mask, self.unit, self.missing = np.ones(self.size, np.uint8), self.kind.bytes, 0
        lanes = self.mask.reshape(self.shape[0], -1)[rows, low // self.unit : -(-high // self.unit)]
        self.missing += int(np.count_nonzero(lanes))
        lanes.fill(0)
        self.full, self.lost = self.missing == 0, label
        if self.psum:
            if self.origin is None:
                self.origin = np.full(self.size * self.kind.bytes, self.origin_whole, np.uint8)
            self.origin.reshape(self.shape[0], -1)[rows, low:high] = UNWRITTEN
            self.origin_known.clear()

    def require(self, window: Window) -> None:
        """Refuse to read what another tile wrote over (H5), or what nothing wrote (H6)."""
        if not self.lost or self.full:
            super().require(window)
            return
        assert self.mask is not None
        if not self._window(self.mask, window).all():
            hazard(
                "H5",
                f"a tile is read before another at its address is written; {self.label} is read after"
                f" {self.lost} was written over it",
            )


class Placements:
    """Where a core's tiles with addresses lie, and what memory they took in all."""

    def __init__(self) -> None:
        self._live: list[weakref.ref[PlacedStorage]] = []
        self._taken: dict[MemoryRegion, list[tuple[int, int]]] = {}

    def add(self, storage: PlacedStorage) -> tuple[int, int]:
        """Note a tile; gives the bytes of SBUF and the banks of PSUM that no tile before it took."""
        self._live = [reference for reference in self._live if reference() is not None]
        mine = weakref.ref(storage)
        for reference in self._live:
            other = reference()
            if other is not None and other.buffer is storage.buffer and _common(other.box, storage.box):
                other.rivals.append(mine)
                storage.rivals.append(reference)
        self._live.append(mine)
        unit = storage.core.chip.psum_bank_bytes if storage.psum else 1
        _, _, low, high = storage.box
        spans = self._taken.setdefault(storage.buffer, [])
        before = _length(spans)
        spans.append((low // unit, -(-high // unit)))
        grown = _length(spans) - before
        return (0, grown) if storage.psum else (grown, 0)


def _checked(
    core: Core, kind: DType, shape: tuple[int, ...], buffer: MemoryRegion, label: str, address: Any
) -> tuple[int, int]:
    """The address, which is one that a tile of this size can have (H5, H41)."""
    chip = core.chip
    if buffer not in (MemoryRegion.sbuf, MemoryRegion.psum):
        fault("H5", f"only tiles of SBUF and PSUM have an address; got {address} for {label} in HBM")
    parts = tuple(address) if isinstance(address, (tuple, list)) else ()
    if len(parts) != 2 or any(type(part) is not int or part < 0 for part in parts):
        fault("H41", f"address is (partition, bytes), both ints from 0 on; got {address!r}")
    first, start = parts
    if first + shape[0] > chip.partitions:
        fault("H5", f"a tile ends within {chip.partitions} partitions; {label} starts at {first}")
    psum = buffer is MemoryRegion.psum
    limit = chip.psum_banks * chip.psum_bank_bytes if psum else chip.sbuf_usable_bytes
    end = start + math.prod(shape[1:]) * kind.bytes
    if end > limit:
        fault(
            "H5",
            f"a tile ends within the {limit} bytes of a partition of {chip.name}; {label} at {parts} ends"
            f" at {end}",
        )
    unit = chip.psum_bank_bytes if psum else kind.bytes
    if start % unit:
        what = "a bank" if psum else "an element"
        fault("H5", f"an address is a multiple of {what}, {unit} bytes; {label} is at {parts}")
    return first, start


def _common(one: Box, other: Box) -> Box | None:
    """What two boxes share."""
    first, last = max(one[0], other[0]), min(one[1], other[1])
    low, high = max(one[2], other[2]), min(one[3], other[3])
    return (first, last, low, high) if first < last and low < high else None


def _length(spans: list[tuple[int, int]]) -> int:
    """Length of a union of intervals, which are joined in place."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    spans[:] = joined
    return sum(high - low for low, high in joined)
