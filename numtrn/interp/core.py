"""The running core: its chip, what is live in its memories, its counters, and the log if one is kept.

One ``Core`` belongs to one run and dies with it, so nothing has to be reset after an exception. The
running core is found through a context variable: threads and nested calls do not see each other's.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from numtrn.interp.arena import Arena
from numtrn.interp.dtypes import Array
from numtrn.interp.faults import fault, hazard
from numtrn.interp.matmuls import Matmuls
from numtrn.machine import Chip

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Core", "Instruction", "Operand", "running", "since"]

ENGINES = ("tensor", "vector", "scalar", "gpsimd", "dma")


class Launch(Protocol):
    """What a core needs to know of the other one (``cores.py``)."""

    @property
    def size(self) -> int:
        """Number of cores."""

    def meet(self, rank: int, key: tuple[object, ...], payload: Any) -> Any:
        """Wait for the other core at the same point and return what it brought."""

    def shared(self, rank: int, size: int, carrier: Any, where: str, dry: bool) -> Array:
        """The memory of this core's next allocation in shared HBM."""

    def note(self, rank: int, writes: Sequence[Any], reads: Sequence[Any]) -> None:
        """Remember what an instruction touches."""

    def accesses(self, rank: int, raw: Array) -> Any:
        """What a core did to a tensor since the last barrier, which is forgotten."""


class Described(Protocol):
    """What the log needs to know of a tensor."""

    @property
    def region(self) -> Operand:
        """The tensor as a record."""


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor operand of one instruction.

    Attributes
    ----------
    storage
        Serial number of the allocation, in order of allocation within a run.
    buffer
        ``"sbuf"``, ``"psum"``, ``"private_hbm"`` or ``"shared_hbm"``.
    shape, strides, offset
        The access, in elements of ``dtype`` from the start of the allocation.
    dtype
        Name of the element type.
    bytes
        Bytes accessed.
    """

    storage: int
    buffer: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, in program order.

    Attributes
    ----------
    engine
        ``"tensor"``, ``"vector"``, ``"scalar"``, ``"gpsimd"`` or ``"dma"``.
    name
        Name in ``nki.isa``.
    writes, reads
        Tensor operands; an operand that is read and written stands in both.
    options
        Other arguments that matter for time, such as ``accumulate``.
    """

    engine: str
    name: str
    writes: tuple[Operand, ...]
    reads: tuple[Operand, ...]
    options: tuple[tuple[str, object], ...] = ()


class Watch(weakref.ref[Any]):
    """A reference to a tile that does not keep it, the tile's number, and its place in an arena."""

    __slots__ = ("place", "serial")
    serial: int
    place: tuple[Arena, int, int] | None


@dataclass
class Registers:
    """Accumulator registers of one engine: partial results of the lanes from ``start``."""

    start: int
    values: Array


@dataclass
class Core:
    """State of one run on one core.

    A ``dry`` core allocates and computes no data; ``sizes`` holds, if a log is kept, the SBUF bytes of a
    partition and the PSUM banks of each allocation. ``arenas`` are by whether it is PSUM, and carrier.
    ``passed`` holds the geometries of operands that no rule objects to, so that each is judged once; None
    where hazards are let pass, since those are to be told again.
    """

    chip: Chip
    log: list[Instruction] | None = None
    dry: bool = False
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    engines: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENGINES, 0))
    live: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    watches: dict[int, Watch] = field(default_factory=dict)
    ended: list[Watch] = field(default_factory=list)
    placed: Any = None
    sbuf_bytes: int = 0
    psum_banks: int = 0
    peak_sbuf_bytes: int = 0
    peak_psum_banks: int = 0
    serial: int = 0
    vector_registers: Registers | None = None
    scalar_registers: Registers | None = None
    matmuls: Matmuls = field(default_factory=Matmuls)
    passed: set[object] | None = field(default_factory=set)
    arenas: dict[tuple[bool, Any], Arena] = field(default_factory=dict)
    version: tuple[int, int] = (0, 6)
    rank: int = 0
    launch: Launch | None = None
    ordered: int = 0
    random: dict[str, Any] = field(default_factory=dict)

    def issue(
        self,
        engine: str,
        name: str,
        writes: Sequence[Described],
        reads: Sequence[Described],
        **options: Any,
    ) -> None:
        """Count an instruction, and log it if a log is kept."""
        self.engines[engine] += 1
        if self.launch is not None and name != "core_barrier":
            self.launch.note(self.rank, writes, reads)
        if self.log is not None:
            self.log.append(
                Instruction(
                    engine,
                    name,
                    tuple(tensor.region for tensor in writes),
                    tuple(tensor.region for tensor in reads),
                    tuple(options.items()),
                )
            )

    def next_serial(self) -> int:
        """Number the next allocation."""
        self.serial += 1
        return self.serial

    def allocate(self, serial: int, label: str, sbuf_bytes: int, psum_banks: int) -> None:
        """Take SBUF bytes of every partition, or PSUM banks, for one tile (H4)."""
        if self.matmuls.products:
            self.matmuls.finish()
        if self.ended:
            self._release()
        if self.sbuf_bytes + sbuf_bytes > self.chip.sbuf_usable_bytes:
            self._full(
                "SBUF", 0, sbuf_bytes, self.sbuf_bytes, self.chip.sbuf_usable_bytes, "bytes a partition"
            )
        if self.psum_banks + psum_banks > self.chip.psum_banks:
            self._full("PSUM", 1, psum_banks, self.psum_banks, self.chip.psum_banks, "banks")
        self.live[serial] = (label, sbuf_bytes, psum_banks)
        if self.log is not None:
            self.sizes[serial] = (sbuf_bytes, psum_banks)
        self.sbuf_bytes += sbuf_bytes
        self.psum_banks += psum_banks
        self.peak_sbuf_bytes = max(self.peak_sbuf_bytes, self.sbuf_bytes)
        self.peak_psum_banks = max(self.peak_psum_banks, self.psum_banks)

    def arena(self, psum: bool, carrier: np.dtype[Any]) -> Arena:
        """The host memory of tiles of SBUF or PSUM of one element type."""
        found = self.arenas.get((psum, carrier))
        if found is None:
            chip = self.chip
            lane = chip.psum_banks * chip.psum_bank_bytes if psum else chip.sbuf_partition_bytes
            found = self.arenas[psum, carrier] = Arena(carrier, chip.partitions * lane // carrier.itemsize)
        return found

    def watch(self, storage: object, serial: int) -> Watch:
        """Give back what a tile took once its last reference is gone.

        Only a built-in method runs at that moment: Python code there would swallow a Ctrl-C.
        """
        watch = Watch(storage, self.ended.append)
        watch.serial, watch.place = serial, None
        self.watches[serial] = watch
        return watch

    def _release(self) -> None:
        while self.ended:
            watch = self.ended.pop()
            del self.watches[watch.serial]
            _, sbuf_bytes, psum_banks = self.live.pop(watch.serial)
            self.sbuf_bytes -= sbuf_bytes
            self.psum_banks -= psum_banks
            if watch.place is not None:
                arena, start, size = watch.place
                arena.give(start, size)

    def _full(self, memory: str, column: int, want: int, have: int, limit: int, unit: str) -> None:
        sizes = sorted(((tile[1:][column], tile[0]) for tile in self.live.values()), reverse=True)
        listed = ", ".join(f"{label} {size}" for size, label in sizes[:4] if size)
        hazard(
            "H4",
            f"live tiles must fit {memory}: {limit} {unit} on {self.chip.name}; {have} live and {want} more"
            f" asked for; largest live: {listed or 'none'}",
        )


RUNNING: ContextVar[Core | None] = ContextVar("numtrn_interp_core", default=None)


def running() -> Core:
    """The core of the kernel that is running here."""
    core = RUNNING.get()
    if core is None:
        fault(
            "context", "NKI functions only work inside a kernel run by numtrn.interp.simulate; none runs here"
        )
    return core


def since(version: tuple[int, int], name: str) -> None:
    """Refuse a name in a run of an NKI version that does not have it yet (H39)."""
    have = running().version
    if have < version:
        fault("H39", f"{name} is new in NKI 0.{version[1]}; this run is 0.{have[1]}")
