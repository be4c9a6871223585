"""What every target offers, so that nothing above knows which one is running."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from numtrn.machine import Chip
from numtrn.request import Array

__all__ = ["Target"]


class Target(Protocol):
    """Somewhere kernels run. A target carries data there and back; it decides nothing."""

    name: str
    chip: Chip

    def launch(self, kernel: str, arrays: Sequence[Array], parameters: Sequence[int]) -> Array:
        """Run one kernel on NumPy arrays and give its result.

        Parameters
        ----------
        kernel
            Name of a module in ``kernels/`` and of the kernel in it.
        arrays
            C-contiguous inputs, of a dtype that NKI has.
        parameters
            Compile-time integers, passed after the arrays.

        Raises
        ------
        Exception
            Whatever the target raises; the caller turns it into an error or a counted fallback.
        """
        ...
