"""The clock: when each instruction of a kernel would run on a chip, from published cost figures.

Everything here is a prediction; no device has confirmed it. Costs of single instructions are in
``costs.py`` and ``prices.py``, what waits for what in ``dependence.py``, the simulation in ``schedule.py``,
its result in ``report.py``, and two ways to look at it in ``trace.py`` and ``picture.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from numtrn.interp.clock.prices import ClockError
from numtrn.interp.clock.report import Timeline
from numtrn.interp.clock.schedule import schedule, schedule_pair
from numtrn.interp.run import simulate
from numtrn.machine import Chip

__all__ = ["ClockError", "Timeline", "of_shape", "schedule", "schedule_pair", "time_kernel"]


def of_shape(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An argument that has a shape and a dtype, and one zero for data."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def time_kernel(
    kernel: Callable[..., Any],
    arguments: Sequence[Any],
    chip: Chip,
    tick: Callable[[int], None] | None = None,
) -> Timeline:
    """Predict the time of a kernel without computing anything.

    Parameters
    ----------
    kernel
        As for `numtrn.interp.simulate`; ``kernel[2]`` has two timelines, which meet at ``core_barrier`` and
        ``sendrecv``.
    arguments
        Its arguments; arrays lend their shape and dtype only, see `of_shape`.
    chip
        The chip.
    tick
        Told of progress, of instructions issued and then of instructions placed; see `schedule`.

    Returns
    -------
    Timeline
        A prediction.
    """
    run = simulate(kernel, arguments, chip=chip, keep_log=True, dry=True, tick=tick)
    assert run.log is not None
    if run.others:
        runs = (run, *run.others)
        return schedule_pair([one.log or () for one in runs], [one.sizes for one in runs], chip, tick)
    return schedule(run.log, run.sizes, chip, tick)
