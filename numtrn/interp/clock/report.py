"""What a schedule amounts to: one frozen record, all of it a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numtrn.interp.clock.dependence import LANES, LOAD, Work
from numtrn.interp.clock.prices import Cost, Transfer
from numtrn.interp.core import Instruction
from numtrn.machine import Chip

__all__ = ["ENGINES", "Timeline", "summarise"]

ENGINES = ("tensor", "vector", "scalar", "gpsimd", "dma")


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """A predicted run of one kernel on one core. Times in nanoseconds.

    Attributes
    ----------
    chip
        Name of the chip.
    total_ns
        From the start of the executable to its end.
    start_ns, end_ns
        Parts of it before the first and after the last instruction.
    busy_ns
        For each engine, how long it worked; for ``"dma"``, how long a transfer was under way.
    instructions
        For each engine, how many.
    bytes_moved, hbm_bytes
        Bytes that DMA moved, and those that passed HBM.
    bounds_ns
        For each engine, the least time its work takes: issue cycles without fitted factors, and for DMA the
        bytes at the rate no kernel can exceed.
    critical
        For each engine, time on the chain of instructions that determined the end; ``"waiting"`` is latency,
        start-up and hand-over between them.
    critical_path
        That chain, as indices into the log, first to last.
    names, lanes
        Of each instruction: its name, and its index in ``LANES``.
    begin_ns, duration_ns
        Of each instruction, the begin counted from the first one's earliest.
    others
        The second core's timeline, if two ran the kernel; the figures above are the first one's, but the
        total, which ends with the later one.
    """

    chip: str
    total_ns: float
    start_ns: float
    end_ns: float
    busy_ns: Mapping[str, float]
    instructions: Mapping[str, int]
    bytes_moved: int
    hbm_bytes: int
    bounds_ns: Mapping[str, float]
    critical: Mapping[str, float]
    critical_path: tuple[int, ...]
    names: tuple[str, ...]
    lanes: NDArray[np.int8]
    begin_ns: NDArray[np.float64]
    duration_ns: NDArray[np.float64]
    others: tuple[Timeline, ...] = ()

    @property
    def utilisation(self) -> Mapping[str, float]:
        """Share of the total in which each engine worked."""
        return {engine: busy / self.total_ns for engine, busy in self.busy_ns.items()}

    @property
    def low_ns(self) -> float:
        """T_low: no schedule of these instructions is faster."""
        return max(self.bounds_ns.values())

    @property
    def bound(self) -> str:
        """The engine whose work is T_low."""
        return max(self.bounds_ns, key=lambda engine: self.bounds_ns[engine])

    @property
    def share_of_bound(self) -> float:
        """T_low relative to the total."""
        return self.low_ns / self.total_ns

    @property
    def bytes_per_ns(self) -> float:
        """Bytes moved by DMA in a nanosecond (GB/s) while a transfer was under way."""
        return self.bytes_moved / self.busy_ns["dma"] if self.busy_ns["dma"] else 0.0

    def __str__(self) -> str:
        if self.others:
            cores = (replace(self, others=()), *self.others)
            return "\n".join(f"core {rank}\n{core}" for rank, core in enumerate(cores))
        rows = [
            f"{engine:8} {self.instructions[engine]:>9,} {self.busy_ns[engine] / 1e3:>12,.1f}"
            f" {self.utilisation[engine]:>7.1%} {self.bounds_ns[engine] / 1e3:>12,.1f}"
            f" {self.critical[engine] / 1e3:>12,.1f}"
            for engine in ENGINES
        ]
        head = f"{'engine':8} {'number':>9} {'busy us':>12} {'share':>7} {'bound us':>12} {'critical us':>12}"
        return "\n".join(
            [
                head,
                *rows,
                f"{'waiting':8} {'':>9} {'':>12} {'':>7} {'':>12} {self.critical['waiting'] / 1e3:>12,.1f}",
                f"total {self.total_ns / 1e3:,.1f} us, of which {self.start_ns / 1e3:g} before and"
                f" {self.end_ns / 1e3:g} after the kernel's own work;"
                f" bound {self.low_ns / 1e3:,.1f} us ({self.bound}), {self.share_of_bound:.1%} of it reached",
                f"DMA moved {self.bytes_moved / 1e6:,.1f} MB at {self.bytes_per_ns:.0f} GB/s while active",
                "predicted from published figures; no device has confirmed it",
            ]
        )


def summarise(
    chip: Chip,
    log: Sequence[Instruction],
    works: Sequence[Work],
    costs: Sequence[Cost | Transfer],
    begin: NDArray[np.float64],
    duration: NDArray[np.float64],
    done: NDArray[np.float64],
    cause: NDArray[np.int64],
    span: float,
) -> Timeline:
    """The record of a schedule that ends at ``span``."""
    lanes = np.array([work.lane for work in works], np.int8)
    moved = sum(cost.bytes for cost in costs if isinstance(cost, Transfer))
    bounds = dict.fromkeys(ENGINES, 0.0)
    for cost, work in zip(costs, works, strict=True):
        if isinstance(cost, Cost):
            bounds[LANES[work.lane]] += cost.least
    bounds["dma"] = moved / chip.dma_hard_bytes_per_ns
    busy = {LANES[lane]: float(duration[lanes == lane].sum()) for lane in range(LOAD)}
    busy["dma"] = _union(begin[lanes >= LOAD], duration[lanes >= LOAD])
    path = _chain(done, cause)
    return Timeline(
        chip=chip.name,
        total_ns=chip.start_ns + span + chip.end_ns,
        start_ns=chip.start_ns,
        end_ns=chip.end_ns,
        busy_ns=MappingProxyType(busy),
        instructions=MappingProxyType(
            {engine: sum(item.engine == engine for item in log) for engine in ENGINES}
        ),
        bytes_moved=moved,
        hbm_bytes=sum(cost.hbm for cost in costs if isinstance(cost, Transfer)),
        bounds_ns=MappingProxyType(bounds),
        critical=MappingProxyType(_on_path(path, lanes, begin, duration, span)),
        critical_path=path,
        names=tuple(item.name for item in log),
        lanes=lanes,
        begin_ns=begin,
        duration_ns=duration,
    )


def _union(begin: NDArray[np.float64], duration: NDArray[np.float64]) -> float:
    """Length of the union of intervals."""
    if not begin.size:
        return 0.0
    order = np.argsort(begin, kind="stable")
    starts, ends = begin[order], np.maximum.accumulate((begin + duration)[order])
    gaps = np.maximum(starts[1:] - ends[:-1], 0.0).sum()
    return float(ends[-1] - starts[0] - gaps)


def _chain(done: NDArray[np.float64], cause: NDArray[np.int64]) -> tuple[int, ...]:
    """The last instruction to end, what it waited for, and so on, in order of time."""
    if not done.size:
        return ()
    path = [int(done.argmax())]
    while cause[path[-1]] >= 0:
        path.append(int(cause[path[-1]]))
    return tuple(reversed(path))


def _on_path(
    path: tuple[int, ...],
    lanes: NDArray[np.int8],
    begin: NDArray[np.float64],
    duration: NDArray[np.float64],
    span: float,
) -> dict[str, Any]:
    """Time of the path on each engine: of each link, what passes before the next one begins."""
    critical = dict.fromkeys((*ENGINES, "waiting"), 0.0)
    for at, index in enumerate(path):
        until = float(begin[path[at + 1]]) if at + 1 < len(path) else span
        worked = min(float(duration[index]), max(0.0, until - float(begin[index])))
        critical[ENGINES[min(int(lanes[index]), LOAD)]] += worked
    critical["waiting"] = max(0.0, span - sum(critical.values()))
    return critical
