"""Neuron hardware as a target, by one of its launchers. Untried: no device was at hand.

Written from the documentation, and tested against doubles that hold to it. The launcher is chosen here, its
work counted, and what it raises told apart (`numtrn.targets.failures`); what cannot work again is remembered
(`numtrn.targets.health`).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any

from numtrn.errors import DeviceLostError, KernelCompileError, KernelError, TargetUnavailableError
from numtrn.machine import Chip
from numtrn.request import Array
from numtrn.targets import detect, health, launchers
from numtrn.targets.base import Counted, Counters, Resident, carried, memory_of, owned, program_of, seen
from numtrn.targets.failures import translated

__all__ = ["VARIABLE", "Neuron", "chosen", "problem"]

VARIABLE = "NUMTRN_LAUNCHER"

RECENT = 16
"""Launches whose results are asked for what went wrong, when the device says only that it is lost."""


def chosen() -> str:
    """The launcher asked for, else the preferred one that is usable, else the last.

    Raises
    ------
    ValueError
        For a name in ``NUMTRN_LAUNCHER`` that is none.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked:
        if asked not in launchers.LAUNCHERS:
            names = ", ".join(repr(name) for name in launchers.LAUNCHERS)
            raise ValueError(f"{VARIABLE}= takes one of {names}; got {asked!r}")
        return asked
    usable = (name for name in launchers.LAUNCHERS if not launchers.problem(name))
    return next(usable, list(launchers.LAUNCHERS)[-1])


def problem() -> str:
    """Why kernels cannot be launched on hardware, the hardware apart; or an empty string."""
    return launchers.problem(chosen())


class Neuron:
    """Runs kernels on NeuronCores that the runtime gives this process: the first, or as many as asked for.

    Parameters
    ----------
    chip
        That of the device.
    cores
        How many at most. None: one, as no document says that several may be launched on at once.

    Attributes
    ----------
    launcher
        Its name, one of `numtrn.targets.launchers.LAUNCHERS`.
    cores
        Those that are there, by the driver's files and the environment: nothing is started. One where the
        launcher reaches no other.
    """

    name = "neuron"

    def __init__(self, chip: Chip, cores: int | None = None) -> None:
        self.chip = seen(chip)
        self.launcher = chosen()
        self.twins = launchers.LAUNCHERS[self.launcher].twins
        several = launchers.LAUNCHERS[self.launcher].several and (cores or 1) > 1
        self.cores = min(cores or 1, detect.visible_cores() or cores or 1) if several else 1
        self._started: launchers.Launcher | None = None
        self._starting = threading.Lock()
        self._counted = Counted()
        self._recent: deque[tuple[str, weakref.ref[Any]]] = deque(maxlen=RECENT)

    @property
    def counters(self) -> Counters:
        """What it did, and the time that the driver counted on all cores, for whichever process."""
        found = detect.work()
        return self._counted.now(found.seconds if found is not None else None)

    def launch(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int], core: int = 0
    ) -> Array:
        """Run one kernel; see `numtrn.targets.base.Target.launch`."""
        (result,) = self.keep(kernel, arrays, parameters, core)
        return self.fetch(result)

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int], core: int = 0
    ) -> tuple[Resident, ...]:
        """Run one kernel; see `numtrn.targets.base.Target.keep`."""
        hbm = memory_of(self, core, kernel, arrays)
        program = self._program(kernel, arrays, parameters)
        launcher = self._launcher(kernel)
        try:
            values = [
                one.value if isinstance(one, Resident) else self._sent(launcher, one, core) for one in arrays
            ]
            outputs = launcher.run(kernel, values, [int(value) for value in parameters], core)
        except Exception as raw:
            self._failed(raw, kernel, program)
            raise
        self._counted.launched(program)
        if not launcher.resident:  # all of it crossed
            placed = sum(one.value.nbytes for one in arrays if isinstance(one, Resident))
            self._counted.moved(placed=placed, fetched=sum(output.nbytes for output in outputs))
        else:
            self._recent.append((kernel, weakref.ref(outputs[0])))
        return tuple(Resident(output, kernel, hbm) for output in outputs)

    def place(self, array: Array, core: int = 0) -> Resident:
        """Send an array to the device, where the launcher can; see `numtrn.targets.base.Target.place`."""
        hbm = memory_of(self, core)
        launcher = self._launcher("")
        if not launcher.resident:
            return Resident(owned(launcher.send(array, core)), hbm=hbm)
        try:
            return Resident(self._sent(launcher, array, core), hbm=hbm)
        except Exception as raw:
            self._failed(raw, "")
            raise

    def fetch(self, resident: Resident) -> Array:
        """A kept result; see `numtrn.targets.base.Target.fetch`."""
        launcher = self._launcher(resident.kernel)
        try:
            array = launcher.bring(resident.value)
        except Exception as raw:
            self._failed(raw, resident.kernel)
            raise
        if launcher.resident:
            self._counted.moved(fetched=array.nbytes)
        return array

    def _sent(self, launcher: launchers.Launcher, array: Array, core: int) -> object:
        sent = launcher.send(array, core)
        self._counted.moved(placed=array.nbytes)
        return sent

    def _program(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> Hashable:
        """What a launch is compiled as, unless that or the device has failed for good."""
        gone = health.standing(self.name)
        values = carried(arrays)
        program: Hashable = program_of(kernel, values, parameters)
        if not self.twins:
            program = program, tuple(next(j for j, y in enumerate(values) if y is x) for x in values)
        known = gone or health.refused(self.name, program)
        if known is not None:
            raise type(known)(f"{known} (not tried again in this process)") from known
        return program

    def _launcher(self, kernel: str) -> launchers.Launcher:
        with self._starting:
            return self._started or self._start(kernel)

    def _start(self, kernel: str) -> launchers.Launcher:
        gone = health.standing(self.name)
        if gone is not None:
            raise type(gone)(f"{gone} (not tried again in this process)") from gone
        found = launchers.problem(self.launcher)
        if found:
            raise TargetUnavailableError(f"target='neuron' cannot be used: {found}")
        try:
            self._started = launchers.LAUNCHERS[self.launcher]()
        except Exception as raw:
            self._failed(raw, kernel)
            raise
        return self._started

    def _failed(self, raw: Exception, kernel: str, program: Hashable | None = None) -> None:
        """Raise numtrn's exception for what a launch raised, and remember it; return where it is unknown."""
        failure = translated(raw, kernel)
        if failure is None:
            if program is not None:
                health.strike(self.name, program, KernelError(f"{type(raw).__name__}: {raw}"))
            return
        if isinstance(failure, DeviceLostError) and health.standing(self.name) is None:
            failure = self._first_cause() or failure
        health.note(self.name, failure, program if isinstance(failure, KernelCompileError) else None)
        if failure is not raw:
            raise failure from raw

    def _first_cause(self) -> KernelError | None:
        """What the earliest failed launch says, where a lost device says no more than that."""
        recent = list(self._recent)
        self._recent.clear()
        for kernel, reference in recent:
            value = reference()
            try:
                if value is not None and self._started is not None:
                    self._started.bring(value)
            except Exception as raw:
                return translated(raw, kernel)
        return None
