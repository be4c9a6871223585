"""What every target offers, so that nothing above knows which one is running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numtrn.machine import Chip
from numtrn.request import Array

__all__ = ["Resident", "Target", "carried"]


@dataclass(frozen=True, slots=True, eq=False)
class Resident:
    """A kernel's result that stays on the target for later launches.

    Attributes
    ----------
    value
        What the target launches with: a device tensor, or an array where the target has no memory of its own.
    hbm
        Which memory it is in: `numtrn.machine.Chip.hbm_of` its core.
    """

    value: Any
    hbm: int = 0


class Target(Protocol):
    """Somewhere kernels run. A target carries data there and back; it decides nothing.

    Attributes
    ----------
    cores
        Cores that this process drives there. Where there are several, `launch`, `keep` and `place` take
        ``core=``, the number of one of them, and may be called by as many threads at once, each for a core of
        its own. What a launch reads of the target must be in that core's memory.
    """

    name: str
    chip: Chip
    cores: int

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
        Exception
            Whatever the target raises; the caller turns it into an error or a counted fallback.
        """
        ...

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """The same, and leave the results on the target; of kernels with one result or several."""
        ...

    def place(self, array: Array) -> Resident:
        """Send an array to the target, where launches find it."""
        ...

    def fetch(self, resident: Resident) -> Array:
        """What was left on the target, as a NumPy array."""
        ...


def carried(arrays: Sequence[Array | Resident]) -> list[Any]:
    """Arguments of a launch as the target's own."""
    return [array.value if isinstance(array, Resident) else array for array in arrays]
