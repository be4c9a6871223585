"""The embedded interpreter as a target: NKI in NumPy, on this machine's processor.

Its wall times are an interpreter's; they say nothing about a device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Any

from numtrn import interp
from numtrn.machine import Chip
from numtrn.request import Array
from numtrn.targets.base import Counted, Counters, Resident, carried, memory_of, owned, program_of
from numtrn.targets.load import load_kernel

__all__ = ["Interpreter"]


@cache
def _kernel(name: str, lnc: int = 1) -> Any:
    kernel: Any = load_kernel(name, interp.modules)
    return kernel[lnc]


class Interpreter:
    """Runs kernels on `numtrn.interp` with the capacities and rules of one chip, on one core or on several.

    Cores are run by the threads that launch on them, and of a logical core of two the two by threads of their
    own. What lies in the memory of one pair of cores is refused to the others, as on a device.

    Attributes
    ----------
    launched
        Launches on each core.
    """

    name = "interpreter"
    twins = True

    def __init__(self, chip: Chip, cores: int = 1) -> None:
        self.chip = chip
        self.cores = cores
        self.launched: Counter[int] = Counter()
        self._counting = Lock()
        self._counted = Counted()

    @property
    def counters(self) -> Counters:
        """What it ran; nothing moves, as it has no memory of its own."""
        return self._counted.now()

    def launch(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int], core: int = 0
    ) -> Array:
        """Run one kernel; see `numtrn.targets.base.Target.launch`."""
        (result,) = self.keep(kernel, arrays, parameters, *([core] if core else []))
        return self.fetch(result)

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int], core: int = 0
    ) -> tuple[Resident, ...]:
        """Run one kernel and keep its results; see `numtrn.targets.base.Target.keep`."""
        hbm = memory_of(self, core, kernel, arrays)
        values = carried(arrays)
        run = interp.simulate(_kernel(kernel, self.chip.lnc), (*values, *parameters), chip=self.chip)
        self._counted.launched(program_of(kernel, values, parameters))
        with self._counting:
            self.launched[core] += 1
        outputs = run.outputs if isinstance(run.outputs, tuple) else (run.outputs,)
        return tuple(Resident(output, kernel, hbm) for output in outputs)

    def place(self, array: Array, core: int = 0) -> Resident:
        """An array, or a copy of one that is not ours; see `numtrn.targets.base.Target.place`."""
        return Resident(owned(array), hbm=memory_of(self, core))

    def fetch(self, resident: Resident) -> Array:
        """A kept result, which is an array already."""
        value: Array = resident.value
        return value
