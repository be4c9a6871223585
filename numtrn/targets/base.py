"""What every target offers, so that nothing above knows which one is running."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from numtrn.errors import KernelError
from numtrn.machine import Chip
from numtrn.request import Array

__all__ = [
    "Counted",
    "Counters",
    "Program",
    "Resident",
    "Target",
    "carried",
    "memory_of",
    "owned",
    "program_of",
    "seen",
]


@dataclass(frozen=True, slots=True, eq=False)
class Resident:
    """A kernel's result that stays on the target for later launches.

    Attributes
    ----------
    value
        What the target launches with: a device tensor, or an array where the target has no memory of its own.
    kernel
        Whose result it is; empty for what was placed.
    hbm
        Which memory it is in: `numtrn.machine.Chip.hbm_of` its core.
    """

    value: Any
    kernel: str = ""
    hbm: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """What a target did, as it counted itself.

    Attributes
    ----------
    programs
        Different programs that it launched: kernel, shapes, dtypes, parameters. Each is compiled at its first
        launch, or found in the SDK's cache.
    launches
        Kernel launches that ended well, or were given to the device without an error so far.
    placed, fetched
        Bytes sent to the target and brought back.
    device_seconds
        Time on the device, where the driver counts it: of all processes. None elsewhere.
    """

    programs: int = 0
    launches: int = 0
    placed: int = 0
    fetched: int = 0
    device_seconds: float | None = None

    def since(self, before: Counters) -> Counters:
        """What came after an earlier state."""
        times = (self.device_seconds, before.device_seconds)
        return Counters(
            programs=self.programs - before.programs,
            launches=self.launches - before.launches,
            placed=self.placed - before.placed,
            fetched=self.fetched - before.fetched,
            device_seconds=None if None in times else times[0] - times[1],  # type: ignore[operator]
        )

    def __str__(self) -> str:
        spent = "" if self.device_seconds is None else f", {self.device_seconds:.3f} s on the device"
        return (
            f"{self.launches} launches of {self.programs} programs, {self.placed / 1e6:,.1f} MB placed, "
            f"{self.fetched / 1e6:,.1f} MB fetched{spent}"
        )


class Counted:
    """Counts for a target; several threads may launch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._programs: set[Hashable] = set()
        self._launches = self._placed = self._fetched = 0

    def launched(self, program: Hashable) -> None:
        """A launch of a program."""
        with self._lock:
            self._programs.add(program)
            self._launches += 1

    def moved(self, placed: int = 0, fetched: int = 0) -> None:
        """Bytes to the target and back."""
        with self._lock:
            self._placed += placed
            self._fetched += fetched

    def now(self, device_seconds: float | None = None) -> Counters:
        """All of it."""
        with self._lock:
            return Counters(
                programs=len(self._programs),
                launches=self._launches,
                placed=self._placed,
                fetched=self._fetched,
                device_seconds=device_seconds,
            )


class Target(Protocol):
    """Somewhere kernels run. A target carries data there and back; it decides nothing.

    Attributes
    ----------
    cores
        Cores that this process drives there. Where there are several, `launch`, `keep` and `place` take
        ``core=``, the number of one of them, and may be called by as many threads at once, each for a core of
        its own. What a launch reads of the target must be in that core's memory.
    twins
        Whether one operand given twice is launched by the program of two different ones.
    """

    name: str
    chip: Chip
    cores: int
    twins: bool

    @property
    def counters(self) -> Counters:
        """What it did so far."""
        ...

    def launch(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> Array:
        """Run one kernel and give its result as a NumPy array.

        Parameters
        ----------
        kernel
            Name of a module in ``kernels/`` and of the kernel in it.
        arrays
            C-contiguous inputs, of a dtype that NKI has, or what this target keeps.
        parameters
            Compile-time integers, passed after the arrays.

        Raises
        ------
        KernelError
            One of its subclasses, where the compiler's or the runtime's words tell the cause.
        Exception
            Whatever else the target raises; the caller turns it into an error or a counted fallback.
        """
        ...

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """The same, and leave the results on the target; of kernels with one result or several.

        Launches may be asynchronous: what goes wrong on the device then shows in `fetch`.
        """
        ...

    def place(self, array: Array) -> Resident:
        """Send an array to the target, where launches find it, whatever becomes of the array meanwhile.

        A read-only array is somebody else's memory, and is copied (`owned`). One that can be written to is
        handed over: whoever gives it neither writes to it afterwards nor lets others do so.
        """
        ...

    def fetch(self, resident: Resident) -> Array:
        """What was left on the target, as a NumPy array; waits for it."""
        ...


def owned(array: Array) -> Array:
    """What a target without memory of its own keeps of a placed array; see `Target.place`."""
    return array if array.flags.writeable else np.array(array)


def carried(arrays: Sequence[Array | Resident]) -> list[Any]:
    """Arguments of a launch as the target's own."""
    return [array.value if isinstance(array, Resident) else array for array in arrays]


def seen(chip: Chip) -> Chip:
    """A chip of hardware as launches see it: what a core reads, it has to itself.

    Two cores of trn2 and trn3 share a stack of HBM, but a tensor is of one device, and no document says that
    a launch on another may read it (``aws-neuron/aws-neuron-sdk:
    neuron-runtime/explore/direct-hbm-tensor-alloc.rst``: all inputs on the same device).
    """
    return replace(chip, cores_per_hbm=1)


def memory_of(target: Target, core: int, kernel: str = "", arrays: Sequence[Array | Resident] = ()) -> int:
    """The memory of a core, which must have all that a launch there reads of the target.

    Raises
    ------
    KernelError
        For a core that the target does not drive, and for an operand in another memory.
    """
    if not 0 <= core < target.cores:
        raise KernelError(f"a core is a number from 0 to {target.cores - 1}; got {core}; ask for more cores=")
    hbm = target.chip.hbm_of(core)
    for resident in (array for array in arrays if isinstance(array, Resident)):
        if resident.hbm != hbm:
            raise KernelError(
                f"kernel {kernel} on core {core} reads what is in HBM {hbm}; got an operand in HBM "
                f"{resident.hbm}; place it there too"
            )
    return hbm


class Program(NamedTuple):
    """What is compiled once.

    Attributes
    ----------
    kernel, parameters
        Name, and compile-time integers.
    operands
        Shape and dtype name of each.
    """

    kernel: str
    parameters: tuple[int, ...]
    operands: tuple[tuple[tuple[int, ...], str], ...]

    def __str__(self) -> str:
        arrays = ", ".join(f"{dtype}[{','.join(map(str, shape))}]" for shape, dtype in self.operands)
        return f"{self.kernel}({arrays}; {', '.join(map(str, self.parameters))})"


def program_of(kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> Program:
    """The program of a launch, as the SDK's cache knows it: kernel, shapes, dtypes, compile-time values.

    ``aws-neuron/aws-neuron-sdk: nki/get-started/nki-language-guide.rst``.
    """
    operands = tuple((tuple(value.shape), _dtype_name(value)) for value in carried(arrays))
    return Program(kernel, tuple(parameters), operands)


def _dtype_name(value: Any) -> str:
    dtype = value.dtype
    return dtype.name if isinstance(dtype, np.dtype) else str(dtype).removeprefix("torch.")
