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

    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    def launch(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> Array:
        """Run one kernel; see `numtrn.targets.base.Target.launch`."""
        return np.asarray(_kernel(kernel)(*carried(arrays), *parameters))

    def keep(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> Resident:
        """Run one kernel whose result goes to the host and back; see `numtrn.targets.base.Target.keep`."""
        return Resident(self.launch(kernel, arrays, parameters))
