"""The official simulator, ``nki.simulate``, as a target. Untried: no real ``nki`` was at hand.

Written from ``aws-neuron/aws-neuron-sdk: nki/guides/nki_simulator.rst``. NumPy arrays go in by default;
``NUMTRN_LAUNCHER=torch`` or ``native`` sends tensors of torch's CPU, which versions since 0.4.0 take.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from numtrn.errors import TargetUnavailableError
from numtrn.machine import Chip
from numtrn.request import Array
from numtrn.targets import detect, versions
from numtrn.targets.base import Counted, Counters, Resident, carried, owned, program_of
from numtrn.targets.launchers import jitted
from numtrn.targets.neuron import VARIABLE, chosen
from numtrn.targets.tensors import from_tensor, to_tensor

__all__ = ["Simulator"]

_environment = threading.Lock()


class Simulator:
    """Runs kernels on ``nki.simulate``, with exact low-precision storage and the chip set explicitly.

    Raises
    ------
    TargetUnavailableError
        Where tensors are asked for and the installed version takes none.
    """

    name = "simulator"
    cores = 1
    twins = True

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.launcher = chosen() if os.environ.get(VARIABLE) else "nki"
        self._counted = Counted()
        installed = detect.package("nki").version or ""
        if self.launcher != "nki" and not versions.of(installed).simulates_torch:
            raise TargetUnavailableError(
                f"nki.simulate takes tensors of torch since 0.4.0; nki {installed} is installed. "
                f"{VARIABLE}=nki gives it NumPy arrays"
            )

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
        """Run one kernel whose results are on the host; see `numtrn.targets.base.Target.keep`."""
        nki = importlib.import_module("nki")
        values = carried(arrays)
        torched = self.launcher != "nki"
        given = [to_tensor(value) for value in values] if torched else values
        with _set(NKI_PRECISE_FP="1", NEURON_PLATFORM_TARGET_OVERRIDE=self.chip.name):
            back = nki.simulate(jitted(kernel, self.chip.lnc))(*given, *(int(value) for value in parameters))
        self._counted.launched(program_of(kernel, values, parameters))
        outputs = back if isinstance(back, tuple) else (back,)
        arrived = [from_tensor(output) if torched else np.asarray(output) for output in outputs]
        return tuple(Resident(output, kernel) for output in arrived)

    def place(self, array: Array) -> Resident:
        """An array, or a copy of one that is not ours; see `numtrn.targets.base.Target.place`."""
        return Resident(owned(array))

    def fetch(self, resident: Resident) -> Array:
        """A kept result, which is an array already."""
        value: Array = resident.value
        return value


@contextmanager
def _set(**variables: str) -> Iterator[None]:
    """Environment variables for one run, and then as they were; one run at a time."""
    with _environment:
        before: dict[str, Any] = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
