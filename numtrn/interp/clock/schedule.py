"""When each instruction runs: a simulation of engines, DMA queues and DMA engines in order of time.

Every engine and every DMA queue takes its instructions in program order; an instruction starts when its
queue, what it waits for and what it shares with other engines allow it. Among the heads of the queues the
one that can start first is placed next, so that shared resources see requests in order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from numtrn.interp.clock.dependence import LANES, LOAD, Work, work_of
from numtrn.interp.clock.prices import ClockError, Cost, Transfer, price
from numtrn.interp.clock.report import Timeline, summarise
from numtrn.interp.core import Instruction
from numtrn.machine import Chip

__all__ = ["schedule", "schedule_pair"]

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
    clock = _Clock.of(log, sizes, chip)
    clock.run(tick)
    return clock.timeline(log, clock.span)


def schedule_pair(
    logs: Sequence[Sequence[Instruction]],
    sizes: Sequence[Mapping[int, tuple[int, int]]],
    chip: Chip,
    tick: Tick | None = None,
) -> Timeline:
    """Put the logs of two cores on two cores of a chip, which wait for each other where they meet.

    Parameters
    ----------
    logs, sizes
        Of a `numtrn.interp.Run` of ``kernel[2]`` and of its ``others``.
    chip
        The chip whose figures count.
    tick
        Called with the number of instructions placed since the last call.

    Returns
    -------
    Timeline
        Of the first core, the second one's in ``others``; both end when the later one does.

    Raises
    ------
    ClockError
        If an instruction has no cost rule, or the cores do not meet equally often.
    """
    clocks = [_Clock.of(log, size, chip) for log, size in zip(logs, sizes, strict=True)]
    meetings = [[at for at, item in enumerate(log) if item.name in MEETINGS] for log in logs]
    if len(meetings[0]) != len(meetings[1]):
        raise ClockError(
            f"both cores meet equally often; core 0 has {len(meetings[0])} of {', '.join(MEETINGS)}, core 1"
            f" {len(meetings[1])}"
        )
    for clock, other, places in zip(clocks, reversed(clocks), meetings, strict=True):
        clock.meetings = {index: number for number, index in enumerate(places)}
        clock.partner = other
    while any(clock.left for clock in clocks):
        placed = sum(clock.advance(tick) for clock in clocks)
        if not placed and not any(clock.left and clock.step(tick, waiting=True) for clock in clocks):
            raise ClockError("the cores wait for each other in vain; report this as an error of the clock")
    span = max(clock.span for clock in clocks)
    first, second = (clock.timeline(log, span) for clock, log in zip(clocks, logs, strict=True))
    return replace(first, others=(second,))


MEETINGS = ("core_barrier", "sendrecv")
"""Instructions at which two cores wait for each other."""


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
    meetings: dict[int, int] = field(default_factory=dict)
    arrived: dict[int, float] = field(default_factory=dict)
    partner: _Clock | None = None

    def __post_init__(self) -> None:
        count = len(self.works)
        self.engine_free = [0.0] * self.chip.dma_engines
        self.begin = np.zeros(count)
        self.busy = np.zeros(count)
        self.cause = np.full(count, -1, np.int64)
        self.done = np.zeros(count)
        self.end: list[float] = [-1.0] * count
        self.left = count
        self.queues: list[list[int]] = [[] for _ in LANES]
        for index in range(count - 1, -1, -1):
            self.queues[self.works[index].lane].append(index)
        self.heads: list[tuple[float, int] | None] = [None] * len(LANES)

    @classmethod
    def of(cls, log: Sequence[Instruction], sizes: Mapping[int, tuple[int, int]], chip: Chip) -> _Clock:
        """A clock before its first instruction."""
        prices = _Prices(chip)
        return cls(chip, [prices.of(instruction) for instruction in log], work_of(log, sizes, chip))

    @property
    def span(self) -> float:
        """When the last result is there."""
        return float(self.done.max()) if self.done.size else 0.0

    def timeline(self, log: Sequence[Instruction], span: float) -> Timeline:
        """The result, which ends at ``span``."""
        times = (self.begin, self.busy, self.done, self.cause)
        return summarise(self.chip, log, self.works, self.costs, *times, span)

    def run(self, tick: Tick | None) -> None:
        """Place all instructions."""
        while self.left:
            self.step(tick)

    def advance(self, tick: Tick | None) -> int:
        """Place instructions until one must wait for the other core; gives their number."""
        before = self.left
        while self.left and self.step(tick):
            pass
        return before - self.left

    def step(self, tick: Tick | None, waiting: bool = False) -> bool:
        """Place the instruction that can start first; False if that is one that waits for the other core.

        With ``waiting``, such instructions are passed over: the other core cannot come there before.
        """
        best, start, why = -1, 0.0, -1
        blocked = False
        for lane, queue in enumerate(self.queues):
            if not queue:
                continue
            head = self.heads[lane]
            if head is None:
                head = self.heads[lane] = self._ready(queue[-1], lane)
                if head is None:
                    continue
            begin, cause = self._start(queue[-1], lane, head)
            alone = False
            if self.meetings and queue[-1] in self.meetings:
                together = self._together(queue[-1], begin)
                alone, begin = together is None, begin if together is None else together
                if alone and waiting:
                    continue
            if best < 0 or begin < start:
                best, start, why, blocked = lane, begin, cause, alone
        if best < 0 or blocked:
            return False
        index = self.queues[best].pop()
        self.heads[best] = None
        self._place(index, best, start, why)
        self.left -= 1
        if tick is not None and (len(self.works) - self.left) & 1023 == 0:
            tick(1024)
        return True

    def _together(self, index: int, begin: float) -> float | None:
        """When both cores are where they meet; None if the other one is not known to come yet."""
        number = self.meetings[index]
        self.arrived[number] = begin
        assert self.partner is not None
        other = self.partner.arrived.get(number)
        return None if other is None else max(begin, other)

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
