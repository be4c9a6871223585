"""The embedded interpreter as a target: NKI in NumPy, on this machine's processor.

Its wall times are an interpreter's; they say nothing about a device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from numtrn import interp
from numtrn.machine import Chip
from numtrn.request import Array
from numtrn.targets.base import Counted, Counters, Resident, carried, program_of
from numtrn.targets.load import load_kernel

__all__ = ["Interpreter"]


@cache
def _kernel(name: str) -> Callable[..., Any]:
    return load_kernel(name, interp.modules)


class Interpreter:
    """Runs kernels on `numtrn.interp` with the capacities and rules of one chip."""

    name = "interpreter"

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self._counted = Counted()

    @property
    def counters(self) -> Counters:
        """What it ran; nothing moves, as it has no memory of its own."""
        return self._counted.now()

    def launch(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> Array:
        """Run one kernel; see `numtrn.targets.base.Target.launch`."""
        (result,) = self.keep(kernel, arrays, parameters)
        return self.fetch(result)

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """Run one kernel and keep its results; see `numtrn.targets.base.Target.keep`."""
        values = carried(arrays)
        run = interp.simulate(_kernel(kernel), (*values, *parameters), chip=self.chip)
        self._counted.launched(program_of(kernel, values, parameters))
        outputs = run.outputs if isinstance(run.outputs, tuple) else (run.outputs,)
        return tuple(Resident(output, kernel) for output in outputs)

    def place(self, array: Array) -> Resident:
        """An array, which this target takes as it is; see `numtrn.targets.base.Target.place`."""
        return Resident(array)

    def fetch(self, resident: Resident) -> Array:
        """A kept result, which is an array already."""
        value: Array = resident.value
        return value
