"""The official simulator, ``nki.simulate``, as a target. Untried: no real ``nki`` was at hand.

Written from ``aws-neuron/aws-neuron-sdk: nki/guides/nki_simulator.rst``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from numtrn.machine import Chip
from numtrn.request import Array
from numtrn.targets.base import Resident, carried
from numtrn.targets.load import load_kernel

__all__ = ["Simulator", "nki_modules"]


def nki_modules() -> dict[str, Any]:
    """The real ``nki`` modules, as kernels import them."""
    names = ("nki", "nki.isa", "nki.language")
    return {name: importlib.import_module(name) for name in names}


@cache
def _kernel(name: str) -> Callable[..., Any]:
    return load_kernel(name, nki_modules())


class Simulator:
    """Runs kernels on ``nki.simulate``, with exact low-precision storage and the chip set explicitly."""

    name = "simulator"
    cores = 1

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        os.environ["NKI_PRECISE_FP"] = "1"
        os.environ["NEURON_PLATFORM_TARGET_OVERRIDE"] = chip.name

    def launch(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> Array:
        """Run one kernel; see `numtrn.targets.base.Target.launch`."""
        (result,) = self.keep(kernel, arrays, parameters)
        return self.fetch(result)

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """Run one kernel whose results go to the host and back; see `numtrn.targets.base.Target.keep`."""
        nki = importlib.import_module("nki")
        given = nki.simulate(_kernel(kernel))(*carried(arrays), *parameters)
        outputs = given if isinstance(given, tuple) else (given,)
        return tuple(Resident(np.asarray(output)) for output in outputs)

    def place(self, array: Array) -> Resident:
        """An array, which this target takes as it is; see `numtrn.targets.base.Target.place`."""
        return Resident(array)

    def fetch(self, resident: Resident) -> Array:
        """A kept result, which is an array already."""
        value: Array = resident.value
        return value
