"""Neuron hardware as a target, by ``nki`` standalone with NumPy arrays. Untried: no device was at hand.

Written from ``aws-neuron/aws-neuron-sdk: nki/api/nki/__init__.py``: a jitted kernel called with NumPy
arrays is compiled and executed on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from numtrn.machine import Chip
from numtrn.request import Array
from numtrn.targets.base import Resident, carried
from numtrn.targets.load import load_kernel
from numtrn.targets.simulator import nki_modules

__all__ = ["Neuron"]


@cache
def _kernel(name: str) -> Callable[..., Any]:
    return load_kernel(name, nki_modules())


class Neuron:
    """Runs kernels on the first Neuron core that the runtime gives this process."""

    name = "neuron"
    cores = 1

    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    def launch(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> Array:
        """Run one kernel; see `numtrn.targets.base.Target.launch`."""
        (result,) = self.keep(kernel, arrays, parameters)
        return self.fetch(result)

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """Run one kernel whose results go to the host and back; see `numtrn.targets.base.Target.keep`."""
        given = _kernel(kernel)(*carried(arrays), *parameters)
        outputs = given if isinstance(given, tuple) else (given,)
        return tuple(Resident(np.asarray(output)) for output in outputs)

    def place(self, array: Array) -> Resident:
        """An array, which this target takes as it is; see `numtrn.targets.base.Target.place`."""
        return Resident(array)

    def fetch(self, resident: Resident) -> Array:
        """A kept result, which is an array already."""
        value: Array = resident.value
        return value
