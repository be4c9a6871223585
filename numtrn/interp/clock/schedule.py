"""When each instruction runs: a simulation of engines, DMA queues and DMA engines in order of time.

Every engine and every DMA queue takes its instructions in program order; an instruction starts when its
queue, what it waits for and what it shares with other engines allow it. Among the heads of the queues the
one that can start first is placed next, so that shared resources see requests in order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from numtrn.interp.clock.dependence import LANES, LOAD, Work, work_of
from numtrn.interp.clock.prices import Cost, Transfer, price
from numtrn.interp.clock.report import Timeline, summarise
from numtrn.interp.core import Instruction
from numtrn.machine import Chip

__all__ = ["schedule"]

TENSOR, VECTOR, SCALAR, GPSIMD = range(4)
Tick = Callable[[int], None]


def schedule(
    log: Sequence[Instruction],
    sizes: Mapping[int, tuple[int, int]],
    chip: Chip,
    tick: Tick | None = None,
) -> Timeline:
    """Put a log on the engines of a chip.

    Parameters
    ----------
    log, sizes
        Of a `numtrn.interp.Run` with ``keep_log=True``.
    chip
        The chip whose figures count.
    tick
        Called with the number of instructions placed since the last call.

    Returns
    -------
    Timeline
        A prediction.

    Raises
    ------
    ClockError
        If an instruction has no cost rule.
    """
    prices = _Prices(chip)
    costs = [prices.of(instruction) for instruction in log]
    works = work_of(log, sizes, chip)
    clock = _Clock(chip, costs, works)
    clock.run(tick)
    return summarise(chip, log, works, costs, clock.begin, clock.busy, clock.done, clock.cause)


class _Prices:
    """Costs of instructions, each distinct kind priced once."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.known: dict[object, Cost | Transfer] = {}

    def of(self, instruction: Instruction) -> Cost | Transfer:
        key = self._key(instruction)
        cost = self.known.get(key)
        if cost is None:
            cost = self.known[key] = price(instruction, self.chip)
        return cost

    def _key(self, instruction: Instruction) -> object:
        dma = instruction.engine == "dma"
        operands = [
            (o.buffer, o.shape, o.strides, o.dtype, o.offset // (o.strides[0] or 1) if dma else 0)
            for o in (*instruction.writes, *instruction.reads)
            if not dma or o.buffer == "sbuf"
        ]
        if dma:
            operands += [
                (o.buffer, o.shape, o.strides, o.dtype, 0)
                for o in (*instruction.writes, *instruction.reads)
                if o.buffer != "sbuf"
            ]
        return (instruction.engine, instruction.name, instruction.options, *operands)


@dataclass
class _Clock:
    """State of the simulation; times in nanoseconds from the start of the kernel's first instruction."""

    chip: Chip
    costs: list[Cost | Transfer]
    works: list[Work]
    lane_free: list[float] = field(default_factory=lambda: [0.0] * len(LANES))
    lane_last: list[int] = field(default_factory=lambda: [-1] * len(LANES))
    engine_free: list[float] = field(default_factory=list)
    moved: float = 0.0
    table: str = ""
    burst: float = 0.0
    tensor_end: float = -1e18
    shared: dict[object, tuple[float, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.works)
        self.engine_free = [0.0] * self.chip.dma_engines
        self.begin = np.zeros(count)
        self.busy = np.zeros(count)
        self.cause = np.full(count, -1, np.int64)
        self.done = np.zeros(count)
        self.end: list[float] = [-1.0] * count

    def run(self, tick: Tick | None) -> None:
        """Place all instructions."""
        queues: list[list[int]] = [[] for _ in LANES]
        for index in range(len(self.works) - 1, -1, -1):
            queues[self.works[index].lane].append(index)
        heads: list[tuple[float, int] | None] = [None] * len(LANES)
        for count in range(len(self.works)):
            best, start, why = -1, 0.0, -1
            for lane, queue in enumerate(queues):
                if not queue:
                    continue
                head = heads[lane]
                if head is None:
                    head = heads[lane] = self._ready(queue[-1], lane)
                    if head is None:
                        continue
                begin, cause = self._start(queue[-1], lane, head)
                if best < 0 or begin < start:
                    best, start, why = lane, begin, cause
            index = queues[best].pop()
            heads[best] = None
            self._place(index, best, start, why)
            if tick is not None and count & 1023 == 1023:
                tick(1024)

    def _ready(self, index: int, lane: int) -> tuple[float, int] | None:
        """When everything it waits for has ended, and which was last; None if not all are placed."""
        latest, last = 0.0, -1
        for other in self.works[index].waits:
            end = self.end[other]
            if end < 0:
                return None
            source = self.works[other].lane
            if source != lane and source < LOAD and lane < LOAD:
                end += self.chip.semaphore_ns
            if end > latest:
                latest, last = end, other
        return latest, last

    def _start(self, index: int, lane: int, head: tuple[float, int]) -> tuple[float, int]:
        start, cause = head
        if self.lane_free[lane] >= start:
            start, cause = self.lane_free[lane], self.lane_last[lane]
        if lane in (VECTOR, SCALAR, GPSIMD):
            for key in self._shares(index, lane):
                until, holder = self.shared.get(key, (0.0, -1))
                if until > start:
                    start, cause = until, holder
        return start, cause

    def _shares(self, index: int, lane: int) -> tuple[object, ...]:
        """What it must have alone (A2, A3): ports of SBUF and PSUM on trn1, a bank or a bus from trn2 on."""
        cost, banks = self.costs[index], self.works[index].banks
        if self.chip.generation < 3:
            keys: tuple[object, ...] = ("sbuf",) if lane != SCALAR else ()
            return (*keys, "psum") if banks and lane != GPSIMD else keys
        if lane == GPSIMD or (lane == VECTOR and isinstance(cost, Cost) and cost.borrows):
            return ("bus", *banks)
        return banks

    def _place(self, index: int, lane: int, start: float, cause: int) -> None:
        cost = self.costs[index]
        if isinstance(cost, Transfer):
            busy, end = self._transfer(index, lane, start, cost)
        else:
            busy = cost.busy + self._extra(lane, start, cost)
            end = start + busy + cost.latency
            self.lane_free[lane] = start + busy
            if lane in (VECTOR, SCALAR, GPSIMD):
                for key in self._shares(index, lane):
                    self.shared[key] = (start + busy, index)
        self.lane_last[lane] = index
        self.begin[index] = start
        self.busy[index] = busy
        self.cause[index] = cause
        self.done[index] = self.end[index] = end

    def _extra(self, lane: int, start: float, cost: Cost) -> float:
        """Loading a function table; the slow first part of a burst of matmuls."""
        if lane == SCALAR and cost.table and cost.table != self.table:
            self.table = cost.table
            return self.chip.table_load_ns
        if lane == TENSOR and self.chip.ramp_ns:
            if start - self.tensor_end >= self.chip.ramp_ns:
                self.burst = start
            slow = self.burst + self.chip.ramp_ns - start
            extra = min(cost.busy, max(0.0, slow / 2))
            self.tensor_end = start + cost.busy + extra
            return extra
        return 0.0

    def _transfer(self, index: int, lane: int, start: float, cost: Transfer) -> tuple[float, float]:
        """Queue, start-up, then the DMA engines that the rows were dealt to; the core's rate is a ceiling."""
        chip = self.chip
        waited = any(self.works[other].lane < LOAD for other in self.works[index].waits)
        first = start + (
            chip.dma_start_wait_ns if waited and start > self.lane_free[lane] else chip.dma_start_ns
        )
        self.lane_free[lane] = start + chip.dma_issue_ns
        self.moved = max(self.moved, first) + cost.bytes / chip.dma_bytes_per_ns
        end = self.moved
        free = self.engine_free
        for engine in range(cost.first, cost.first + cost.engines):
            busy_from = free[engine]
            free[engine] = (first if first > busy_from else busy_from) + cost.engine_ns
            if free[engine] > end:
                end = free[engine]
        return end - start, end + chip.dma_finish_ns
