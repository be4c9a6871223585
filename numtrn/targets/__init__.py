"""Where kernels run: the embedded interpreter, the official simulator, or Neuron hardware.

One small interface (`numtrn.targets.base.Target`), the same kernels. Only this package loads kernels, and
only ``launchers.py``, ``simulator.py`` and ``tensors.py`` import the real ``nki`` or torch, when used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable

from numtrn.errors import KernelFallbackWarning, TargetUnavailableError
from numtrn.machine import CHIPS, Chip
from numtrn.targets import detect
from numtrn.targets.base import Counters, Resident, Target

__all__ = ["Counters", "Resident", "Target", "availability", "select"]

SIMULATOR_VARIABLE = "NKI_SIMULATOR"


def availability() -> dict[str, str]:
    """Why each target cannot be used on this machine; an empty string where it can.

    Raises
    ------
    ValueError
        For an unknown launcher in ``NUMTRN_LAUNCHER``.
    """
    return {name: why() for name, why in _PROBLEMS.items()}


def _neuron_problem() -> str:
    from numtrn.targets import neuron  # here, because most blocks need none of it

    devices = "" if detect.neuron_devices() else "no Neuron device (/dev/neuron*) on this machine"
    return "; ".join(filter(None, (devices, neuron.problem())))


_PROBLEMS: dict[str, Callable[[], str]] = {
    "neuron": _neuron_problem,
    "simulator": lambda: detect.nki_problem(),
    "interpreter": lambda: "",
}
"""Why each cannot be used; asked one by one, as looking at packages takes milliseconds."""


def select(target: str, chip: str, cores: int | None = None) -> Target:
    """The target that a block uses. On hardware its chip is the device's, where the driver tells it.

    ``"auto"`` takes Neuron hardware where it can be used, else the official simulator where the real
    ``nki`` is installed and ``NKI_SIMULATOR=1`` asks for it, else the embedded interpreter; with a
    `KernelFallbackWarning` where there is a device that cannot be used.
    With ``NEURON_LOGICAL_NC_CONFIG=2`` launches are of two physical cores each, on any target.
    The interpreter has as many cores as are asked for, else one; hardware one, unless more are asked for and
    seen; the simulator one.

    Raises
    ------
    TargetUnavailableError
        When the target asked for cannot be used here; the message says what is missing.
    """
    if target == "auto":
        target = _automatic()
    problem = _PROBLEMS[target]()
    if problem:
        raise TargetUnavailableError(
            f"target={target!r} cannot be used: {problem}. "
            "target='interpreter' runs the same kernels anywhere"
        )
    problem = "" if target == "neuron" else detect.lnc_problem(chip)  # the device's chip is another matter
    if problem:
        raise TargetUnavailableError(f"target={target!r} cannot be used: {problem}")
    return _make(target, CHIPS[chip].of_cores(detect.launch_cores()), cores)


def _automatic() -> str:
    """What ``"auto"`` takes; a device that cannot be used is never passed over in silence."""
    problem = _neuron_problem() if detect.neuron_devices() else "no device"
    if not problem:
        return "neuron"
    if os.environ.get(SIMULATOR_VARIABLE) == "1" and not detect.nki_problem():
        return "simulator"
    if detect.neuron_devices():
        warnings.warn(
            f"this machine has a Neuron device, which cannot be used: {problem}. Kernels run on the "
            "interpreter, slowly; target='interpreter' asks for that without this warning",
            KernelFallbackWarning,
            stacklevel=4,
        )
    return "interpreter"


def _make(target: str, chip: Chip, cores: int | None) -> Target:
    if target == "neuron":
        from numtrn.targets.neuron import Neuron

        return Neuron(CHIPS[detect.device_chip() or chip.name].of_cores(chip.lnc), cores)
    if target == "simulator":
        from numtrn.targets.simulator import Simulator

        return Simulator(chip)
    from numtrn.targets.interpreter import Interpreter

    return Interpreter(chip, cores or 1)
