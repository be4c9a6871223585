"""What each instruction waits for: the results it reads, the readers it overwrites, the space it takes.

Accesses are compared as boxes of rows and bytes of their storage, which may find an overlap where strided
accesses interleave but never misses one. Memory is reused in order of death: a tile that is written first
takes the space of those that were last used longest ago, in PSUM a bank, in SBUF as many bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from numtrn.interp.clock.prices import ClockError
from numtrn.interp.core import Instruction, Operand
from numtrn.machine import Chip

__all__ = ["LANES", "Work", "lane_of", "work_of"]

LANES = ("tensor", "vector", "scalar", "gpsimd", "load", "store")
"""What works in order: four engines, and the DMA queues of copies into the core and out of it."""

LOAD, STORE = 4, 5
Box = tuple[int, int, int, int]


@dataclass(slots=True)
class Work:
    """An instruction's place in the schedule.

    Attributes
    ----------
    lane
        Index in ``LANES``.
    waits
        Instructions whose end it waits for, on other lanes or of the same engine's pipeline.
    banks
        PSUM banks that it touches.
    """

    lane: int
    waits: tuple[int, ...]
    banks: tuple[int, ...]


@dataclass(slots=True)
class _Place:
    """Accesses to one storage, or to 128 rows of it in HBM."""

    writes: dict[Box, int] = field(default_factory=dict)
    reads: dict[tuple[Box, int], int] = field(default_factory=dict)


@dataclass(slots=True)
class _Tile:
    """An allocation on chip: its space, the tiles it follows, its last accesses by lane."""

    bytes: int
    count: int
    follows: tuple[int, ...] = ()
    last: dict[int, int] = field(default_factory=dict)
    banks: tuple[int, ...] = ()


def lane_of(instruction: Instruction) -> int:
    """Index in ``LANES``."""
    if instruction.engine == "dma":
        return LOAD if instruction.writes[0].buffer == "sbuf" else STORE
    if instruction.engine not in LANES[:LOAD]:
        raise ClockError(
            f"the clock has no engine {instruction.engine!r} for {instruction.name}; it has"
            f" {', '.join(LANES[:LOAD])} and dma; see LANES in numtrn/interp/clock/dependence.py"
        )
    return LANES.index(instruction.engine)


def work_of(log: Sequence[Instruction], sizes: Mapping[int, tuple[int, int]], chip: Chip) -> list[Work]:
    """Lane and dependences of every instruction."""
    return _Analysis(log, sizes, chip).run()


class _Analysis:
    def __init__(self, log: Sequence[Instruction], sizes: Mapping[int, tuple[int, int]], chip: Chip) -> None:
        self.log = log
        self.lanes = [lane_of(instruction) for instruction in log]
        self.sizes = sizes
        self.last_use, self.changing, self.mixed = _lives(log)
        self.places: dict[tuple[int, int], _Place] = {}
        self.tiles: dict[int, _Tile] = {}
        self.dead: tuple[deque[_Tile], deque[_Tile]] = (deque(), deque())
        self.free = [chip.sbuf_usable_bytes, chip.psum_banks]
        self.banks = deque((bank,) for bank in range(chip.psum_banks))

    def run(self) -> list[Work]:
        return [self._work(index, instruction) for index, instruction in enumerate(self.log)]

    def _work(self, index: int, instruction: Instruction) -> Work:
        lane = self.lanes[index]
        waits: set[int] = set()
        banks: tuple[int, ...] = ()
        for operand in instruction.reads:
            tile = self._tile(operand)
            if operand.storage in self.changing:
                self._read(index, lane, operand, waits)
            if tile is not None:
                banks += tile.banks
        for operand in instruction.writes:
            tile = self._tile(operand)
            if operand.storage in self.changing:
                self._write(index, lane, operand, waits)
            if tile is not None:
                waits.update(tile.follows)
                banks += tile.banks
        self._touch(index, lane, instruction)
        waits.discard(index)
        return Work(lane, tuple(waits), banks)

    def _read(self, index: int, lane: int, operand: Operand, waits: set[int]) -> None:
        box, blocks = _box(operand, operand.storage in self.mixed)
        in_order = lane == 0  # TensorE reads what TensorE cannot write
        for block in blocks:
            place = self._place(operand.storage, block)
            for other, writer in place.writes.items():
                if _overlap(box, other) and not (in_order and self.lanes[writer] == 0):
                    waits.add(writer)
            place.reads[box, lane if lane < LOAD else -index] = index

    def _write(self, index: int, lane: int, operand: Operand, waits: set[int]) -> None:
        box, blocks = _box(operand, operand.storage in self.mixed)
        for block in blocks:
            place = self._place(operand.storage, block)
            for other, writer in tuple(place.writes.items()):
                if _overlap(box, other):
                    if self.lanes[writer] != lane or lane >= LOAD:
                        waits.add(writer)
                    if _inside(other, box):
                        del place.writes[other]
            for key, reader in tuple(place.reads.items()):
                if _overlap(box, key[0]):
                    if self.lanes[reader] != lane or lane >= LOAD:
                        waits.add(reader)
                    if _inside(key[0], box):
                        del place.reads[key]
            place.writes[box] = index

    def _place(self, storage: int, block: int) -> _Place:
        place = self.places.get((storage, block))
        if place is None:
            place = self.places[storage, block] = _Place()
        return place

    # -- space -------------------------------------------------------------------------------------

    def _tile(self, operand: Operand) -> _Tile | None:
        tile = self.tiles.get(operand.storage)
        if tile is None and operand.storage in self.sizes:
            size, count = self.sizes[operand.storage]
            tile = self.tiles[operand.storage] = _Tile(size, count)
            tile.follows = self._take(0, size) + self._take(1, count)
            tile.banks = tuple(bank for _ in range(count) if self.banks for bank in self.banks.popleft())
        return tile

    def _take(self, memory: int, amount: int) -> tuple[int, ...]:
        """Space from the tiles that died first, and their last accesses."""
        waits: list[int] = []
        while amount and self.free[memory] < amount and self.dead[memory]:
            victim = self.dead[memory].popleft()
            self.free[memory] += victim.count if memory else victim.bytes
            waits.extend(victim.last.values())
        self.free[memory] -= amount
        return tuple(waits)

    def _touch(self, index: int, lane: int, instruction: Instruction) -> None:
        """Note accesses; a tile dies with its last one."""
        for operand in {item.storage: item for item in (*instruction.reads, *instruction.writes)}.values():
            tile = self.tiles.get(operand.storage)
            if tile is None:
                continue
            tile.last[lane if lane < LOAD else -index] = index
            if self.last_use[operand.storage] == index:
                self.dead[1 if tile.count else 0].append(tile)
                self.banks.extend((bank,) for bank in tile.banks)


def _lives(log: Sequence[Instruction]) -> tuple[dict[int, int], set[int], set[int]]:
    """Last instruction that uses each storage; storages written; storages seen as rows of several widths."""
    last: dict[int, int] = {}
    written: set[int] = set()
    widths: dict[int, int] = {}
    mixed: set[int] = set()
    for index, instruction in enumerate(log):
        for operand in instruction.writes:
            written.add(operand.storage)
        for operand in (*instruction.writes, *instruction.reads):
            last[operand.storage] = index
            width = _row_bytes(operand)
            if widths.setdefault(operand.storage, width) != width or not width:
                mixed.add(operand.storage)
    return last, written, mixed


def _row_bytes(operand: Operand) -> int:
    """Bytes of a row of the storage, if the access is rows of one; else 0."""
    strides, shape = operand.strides, operand.shape
    row = strides[0]
    if len(shape) == 2:
        width = 1 + (shape[1] - 1) * strides[1]
    else:
        width = 1 + sum((n - 1) * s for n, s in zip(shape[1:], strides[1:], strict=True))
    if row < 1 or operand.offset % row + width > row:
        return 0
    return row * _item(operand)


def _item(operand: Operand) -> int:
    """Bytes of an element."""
    return operand.bytes // prod(operand.shape)


ONE = range(1)


def _box(operand: Operand, flat: bool) -> tuple[Box, range]:
    """Rows and bytes that an access lies in, and the blocks of 128 rows to look into."""
    size = _item(operand)
    if flat:
        reach = 1 + sum((n - 1) * s for n, s in zip(operand.shape, operand.strides, strict=True))
        return (0, 1, operand.offset * size, (operand.offset + reach) * size), ONE
    strides, shape = operand.strides, operand.shape
    first, column = divmod(operand.offset, strides[0])
    if len(shape) == 2:
        width = 1 + (shape[1] - 1) * strides[1]
    else:
        width = 1 + sum((n - 1) * s for n, s in zip(shape[1:], strides[1:], strict=True))
    last = first + shape[0]
    blocks = ONE if operand.buffer in ("sbuf", "psum") else range(first // 128, (last + 127) // 128)
    return (first, last, column * size, (column + width) * size), blocks


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def _inside(one: Box, other: Box) -> bool:
    return other[0] <= one[0] and one[1] <= other[1] and other[2] <= one[2] and one[3] <= other[3]
