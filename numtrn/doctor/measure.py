"""Times of a device: its fixed cost of a launch, its link both ways, and kernels of a few shapes.

Predictions stand beside what was measured and are never called a measurement. Times of the interpreter and
of the simulator are not a device's: they are shown as what they are, and no figures are made of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import ml_dtypes
import numpy as np

from numtrn.interp import modules
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS, Chip
from numtrn.plan.cost import predict
from numtrn.plan.tiling import Tiling, tile_gemm
from numtrn.plan.words import tile_words
from numtrn.profile import Figures, plausible, way
from numtrn.request import Array
from numtrn.targets import Target
from numtrn.targets.load import load_kernel

__all__ = ["KernelTime", "Measured", "lines", "measure"]

LAUNCHES = 50
"""Of the smallest kernel."""

REPEATS = 5
"""Launches of each other kernel, after one that compiles it."""

EXTENTS = (512, 1024, 2048)
"""Square products whose kernels are timed on a device."""

SMALL = (128,)
"""The same elsewhere."""

PLACED = (2**20, 2**22, 2**24, 2**26)
"""Bytes sent and brought back by a launcher that keeps operands on the device."""

CROSSING = ((2048, 128), (8192, 128), (16384, 128), (128, 1024), (128, 1536), (128, 2048))
"""K and the other extents of launches that cross with all their operands and results."""

DIGITS = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelTime:
    """One kernel of one shape.

    Attributes
    ----------
    kernel, shape
        The kernel; m, k, n of its launch.
    planned, clock
        Predicted seconds on the device: by the formulas of plans with published figures, and by the clock.
    seconds
        Of the launch, the median of the samples, without fixed cost and link as measured; None where what
        is left is not positive. On the interpreter and the simulator: wall time.
    driver
        Seconds that the driver counted for one launch; None where it does not count.
    samples
        Seconds from launch to the last byte of the result, in order.
    """

    kernel: str
    shape: tuple[int, int, int]
    planned: float
    clock: float
    seconds: float | None
    driver: float | None
    samples: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """All that was timed on one target.

    Attributes
    ----------
    target, chip, launcher
        Names; the launcher is empty but on a device.
    figures
        For the machine's profile; all None where the target is no device.
    launch
        Seconds of the smallest kernel, in order.
    link
        What was sent and brought: bytes in, bytes out, seconds.
    kernels
        Each of its shapes.
    """

    target: str
    chip: str
    launcher: str
    figures: Figures
    launch: tuple[float, ...]
    link: tuple[tuple[int, int, float], ...]
    kernels: tuple[KernelTime, ...]

    @property
    def of_device(self) -> bool:
        """Whether times are a device's."""
        return self.target == "neuron"


def measure(target: Target) -> Measured:
    """Time a target.

    Raises
    ------
    Exception
        Whatever the target raises.
    """
    chip = CHIPS[target.chip.name].of_cores(target.chip.lnc)
    of_device = target.name == "neuron"
    smallest = _Launches(target, tile_gemm(1, 128, 128, 128, 4, False))
    launch = smallest.samples(LAUNCHES if of_device else 3)
    figures, link = Figures(), NO_CROSSINGS
    if of_device:
        fixed = max(0.0, median(launch) - chip.kernel_seconds)
        figures = Figures(launch_seconds=plausible("launch_seconds", fixed))
        link, rates = _by_placing(target) if smallest.stays else _by_crossing(target, chip)
        figures = replace(
            figures,
            link_in_bytes_per_second=plausible("link_in_bytes_per_second", rates[0]),
            link_out_bytes_per_second=plausible("link_out_bytes_per_second", rates[1]),
        )
    kernels = tuple(
        _timed(target, tile, chip, figures, of_device)
        for extent in (EXTENTS if of_device else SMALL)
        for tile in (_plain(extent, chip), _sliced(extent, chip))
    )
    if of_device:
        figures = replace(figures, kernel_factors=_factors(kernels, chip))
    return Measured(
        target=target.name,
        chip=chip.name,
        launcher=way(str(getattr(target, "launcher", "")), chip.lnc) if of_device else "",
        figures=figures,
        launch=launch,
        link=link,
        kernels=kernels,
    )


def _plain(extent: int, chip: Chip) -> Tiling:
    return tile_gemm(1, extent, extent, extent, 4, False)


def _sliced(extent: int, chip: Chip) -> Tiling:
    return tile_words(1, extent, extent, extent, DIGITS, chip)


# ---- Launches ----


class _Launches:
    """A tiling's operands on the target, and launches of it.

    Attributes
    ----------
    stays
        Whether operands were sent when they were placed, and not with each launch.
    sent, brought
        Bytes that cross with a launch.
    """

    def __init__(self, target: Target, tiling: Tiling) -> None:
        self._target, self._tiling = target, tiling
        arrays = _operands(tiling)
        before = target.counters.placed
        self._placed = [target.place(array) for array in arrays]
        size = sum(array.nbytes for array in arrays)
        self.stays = target.counters.placed - before >= size
        self.sent = 0 if self.stays else size
        self.brought = self.once().nbytes  # compiles

    def once(self) -> Array:
        """Launch, and wait for the result."""
        first, *_ = self._target.keep(self._tiling.kernel, self._placed, self._tiling.parameters)
        return self._target.fetch(first)

    def samples(self, count: int) -> tuple[float, ...]:
        """Seconds of so many launches."""
        return tuple(_seconds(self.once) for _ in range(count))


def _operands(tiling: Tiling) -> tuple[Array, Array]:
    """Small integers of the shapes and the dtype of a launch."""
    rng = np.random.default_rng(0)
    planes, dtype = (tiling.slices, ml_dtypes.bfloat16) if tiling.slices else (1, np.float32)
    rows = tiling.batch * tiling.k
    left, right = (
        rng.integers(-8, 9, (rows, extent * planes)).astype(dtype) for extent in (tiling.m, tiling.n)
    )
    return left, right


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# ---- Link ----

Crossings = tuple[tuple[int, int, float], ...]
Rates = tuple[float | None, float | None]
NO_CROSSINGS: Crossings = ()


def _by_placing(target: Target) -> tuple[Crossings, Rates]:
    """Arrays of growing sizes there and back, and back again.

    Sending may be asynchronous, so that only bringing back what was sent tells when it was there; bringing
    it once more tells what that takes.
    """
    found: list[tuple[int, int, float]] = []
    ways, backs = [], []
    for size in PLACED:
        array = np.ones(size // 4, np.float32).reshape(128, -1)
        both, back = (min(times) for times in zip(*_round_trips(target, array), strict=True))
        found += [(size, size, both), (0, size, back)]
        ways.append(both - back)
        backs.append(back)
    return tuple(found), (_rate(PLACED, ways), _rate(PLACED, backs))


def _round_trips(target: Target, array: Array) -> Iterator[tuple[float, float]]:
    """Seconds there and back, and back again."""
    for _ in range(REPEATS):
        start = time.perf_counter()
        placed = target.place(array)
        target.fetch(placed)
        both = time.perf_counter() - start
        yield both, _seconds(partial(target.fetch, placed))


def _rate(sizes: Sequence[int], seconds: Sequence[float]) -> float | None:
    """Bytes a second, of the slope; None where there is no rising one."""
    slope = float(np.polyfit(sizes, seconds, 1)[0])
    return 1 / slope if slope > 0 else None


def _by_crossing(target: Target, chip: Chip) -> tuple[Crossings, Rates]:
    """Launches whose operands, then results grow, less what their kernels are predicted to take."""
    found, left = [], []
    for k, extent in CROSSING:
        tiling = tile_gemm(1, extent, k, extent, 4, False)
        made = _Launches(target, tiling)
        seconds = min(made.samples(REPEATS))
        found.append((made.sent, made.brought, seconds))
        left.append(seconds - _planned(tiling, chip))
    weights = np.array([(1.0, sent, brought) for sent, brought, _ in found])
    scale = weights.max(axis=0)
    (_, into, out), *_ = np.linalg.lstsq(weights / scale, np.array(left), rcond=None)
    slopes = into / scale[1], out / scale[2]
    rates = [1 / float(slope) if slope > 0 else None for slope in slopes]
    return tuple(found), (rates[0], rates[1])


# ---- Kernels ----


def _timed(target: Target, tiling: Tiling, chip: Chip, figures: Figures, of_device: bool) -> KernelTime:
    made = _Launches(target, tiling)
    before = target.counters.device_seconds
    samples = made.samples(REPEATS if of_device else 1)
    after = target.counters.device_seconds
    seconds: float | None = median(samples)
    if of_device:
        seconds = _on_device(median(samples), made, figures)
    return KernelTime(
        kernel=tiling.kernel,
        shape=(tiling.m, tiling.k, tiling.n),
        planned=_planned(tiling, chip),
        clock=_clock(tiling, chip),
        seconds=seconds,
        driver=None if before is None or after is None else (after - before) / len(samples),
        samples=samples,
    )


def _on_device(total: float, made: _Launches, figures: Figures) -> float | None:
    """What is left of a launch without fixed cost and link; None where that cannot be told."""
    parts = (
        (made.sent, figures.link_in_bytes_per_second),
        (made.brought, figures.link_out_bytes_per_second),
    )
    if figures.launch_seconds is None or any(size and not rate for size, rate in parts):
        return None
    left = total - figures.launch_seconds - sum(size / rate for size, rate in parts if rate)
    return left if left > 0 else None


def _planned(tiling: Tiling, chip: Chip) -> float:
    """Predicted seconds of one launch on the device, by the formulas of plans."""
    passes = 1 if tiling.slices else chip.fp32_passes
    return predict(tiling, passes, chip, (True, True), stays=True).device / tiling.launches


def _clock(tiling: Tiling, chip: Chip) -> float:
    """The same by the clock."""
    operands = [of_shape(array.shape, array.dtype) for array in _operands(tiling)]
    kernel: Any = load_kernel(tiling.kernel, modules)
    return time_kernel(kernel[chip.lnc], (*operands, *tiling.parameters), chip).total_ns * 1e-9


def _factors(kernels: Sequence[KernelTime], chip: Chip) -> dict[str, float]:
    """What published times of each kernel are to be multiplied by: of its largest shape that tells."""
    found: dict[str, float] = {}
    for one in kernels:
        work = one.planned - chip.kernel_seconds
        if one.seconds is None or work < chip.kernel_seconds:
            continue  # mostly fixed cost
        factor = plausible("kernel_factors", (one.seconds - chip.kernel_seconds) / work)
        if factor is not None:
            found[one.kernel] = factor
    return found


# ---- Text ----


def lines(measured: Measured) -> list[str]:
    """Predicted beside measured, as text."""
    from tabulate import tabulate  # here, because only a probe needs it

    chip, found = CHIPS[measured.chip], measured.figures
    if not measured.of_device:
        text = [
            f"times of the {measured.target} are not a device's: they are shown as they are, and nothing of"
            " them is kept",
        ]
        rows = [_row(one) for one in measured.kernels]
        name = f"{measured.target}'s wall time"
        return [
            *text,
            *tabulate(rows, headers=["", "predicted, plan", "predicted, clock", name]).splitlines(),
        ]
    figures = [
        ("fixed cost of a launch", chip.launch_seconds, found.launch_seconds, _ms),
        ("link to the device", chip.link_in_bytes_per_second, found.link_in_bytes_per_second, _gigabytes),
        ("link to the host", chip.link_out_bytes_per_second, found.link_out_bytes_per_second, _gigabytes),
    ]
    rows = [(name, text(was), "", *_beside(now, was, text)) for name, was, now, text in figures]
    rows += [(*_row(one)[:3], *_beside(one.seconds, one.planned, _ms)) for one in measured.kernels]
    headers = ["", "predicted, plan", "predicted, clock", "measured", "measured / plan"]
    return tabulate(rows, headers=headers).splitlines()


def _row(one: KernelTime) -> tuple[str, ...]:
    m, k, n = one.shape
    wall = "-" if one.seconds is None else _ms(one.seconds)
    return f"{one.kernel} {m}x{k}x{n}", _ms(one.planned), _ms(one.clock), wall


def _beside(now: float | None, was: float, text: Callable[[float], str]) -> tuple[str, str]:
    return ("not told", "-") if now is None else (text(now), f"{now / was:.2f}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _gigabytes(rate: float) -> str:
    return f"{rate * 1e-9:.3g} GB/s"
