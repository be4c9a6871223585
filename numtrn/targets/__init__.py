"""Where kernels run: the embedded interpreter, the official simulator, or Neuron hardware.

One small interface (`numtrn.targets.base.Target`), the same kernels. Only this package loads kernels, and
only ``simulator.py`` and ``neuron.py`` import the real ``nki``.
"""

from __future__ import annotations

import os

from numtrn.errors import TargetUnavailableError
from numtrn.machine import CHIPS, Chip
from numtrn.targets import detect
from numtrn.targets.base import Resident, Target

__all__ = ["Resident", "Target", "availability", "select"]

SIMULATOR_VARIABLE = "NKI_SIMULATOR"


def availability() -> dict[str, str]:
    """Why each target cannot be used on this machine; an empty string where it can."""
    problem = detect.nki_problem()
    devices = "" if detect.neuron_devices() else "no Neuron device (/dev/neuron*) on this machine"
    return {
        "neuron": "; ".join(filter(None, (devices, problem))),
        "simulator": problem,
        "interpreter": "",
    }


def select(target: str, chip: str, cores: int | None = None) -> Target:
    """The target that a block uses.

    ``"auto"`` takes Neuron hardware where it can be used, else the official simulator where the real
    ``nki`` is installed and ``NKI_SIMULATOR=1`` asks for it, else the embedded interpreter.
    The interpreter has as many cores as are asked for, else one; any other target those that it sees.

    Raises
    ------
    TargetUnavailableError
        When the target asked for cannot be used here; the message says what is missing.
    """
    problems = availability()
    if target == "auto":
        asked = os.environ.get(SIMULATOR_VARIABLE) == "1"
        usable = {"neuron": not problems["neuron"], "simulator": asked and not problems["simulator"]}
        target = next((name for name, good in usable.items() if good), "interpreter")
    if problems[target]:
        raise TargetUnavailableError(
            f"target={target!r} cannot be used: {problems[target]}. "
            "target='interpreter' runs the same kernels anywhere"
        )
    return _make(target, CHIPS[chip], cores)


def _make(target: str, chip: Chip, cores: int | None) -> Target:
    if target == "neuron":
        from numtrn.targets.neuron import Neuron

        return Neuron(chip)
    if target == "simulator":
        from numtrn.targets.simulator import Simulator

        return Simulator(chip)
    from numtrn.targets.interpreter import Interpreter

    return Interpreter(chip, cores or 1)
