"""Predicted device times of fp32 MP2 pair energies: ``python benchmarks/mp2.py [--case small]``.

For each case and chip the launches of ``kernels/mp2_pairs.py`` on the clock, each distinct one timed once,
without data, and counted as often as it runs; beside them the same work unfused: T by the kernels ``rank_k``
and ``gemm``, written to HBM, and then read back by the same epilogue (``mp2_pairs`` with integrals given), or
by one that takes 5 VectorE cycles an element. B is on the device in both. The bound is what TensorE needs
with tiles of rows not shared: pairs ceil(v/128) ceil(x/128) v 4 / f. All of it is predicted from published
figures; no device has confirmed it.

``--plot file.png`` draws the engines over time, fused above unfused, of the small case on one chip.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import sliced
from tabulate import tabulate

from numtrn.interp import modules
from numtrn.interp.clock import Timeline, of_shape, time_kernel
from numtrn.interp.clock.picture import merged
from numtrn.machine import CHIPS, Chip
from numtrn.options import Options
from numtrn.plan import Mp2Plan, make_plan
from numtrn.plan.decide import make_tilings
from numtrn.plan.mp2 import epilogue_seconds
from numtrn.plan.mp2_tiling import PairTiling, predict_pairs, tile_blocks, tile_pairs
from numtrn.plan.rank_k import tile_rank_k
from numtrn.plan.tiling import TILE, tile_gemm
from numtrn.request import Mp2
from numtrn.targets.load import load_kernel

CASES = {"small": (16, 112, 384), "medium": (64, 448, 1536)}
"""Occupied and virtual orbitals and auxiliary functions."""

AIMS = {("small", "trn1"): 0.15, ("small", "trn2"): 0.16, ("medium", "trn1"): 75.0, ("medium", "trn2"): 88.0}
"""Milliseconds that are aimed at."""

EPILOGUE = 5
"""VectorE cycles an element of an elementwise epilogue at its best: T r 1, 2 T - T^T 2, product 2."""

ENGINES = ("tensor", "vector", "scalar", "dma")
LANES = ("tensor", "vector", "scalar", "gpsimd", "load", "store")

Timed = list[tuple[int, Timeline]]


@cache
def kernel(name: str) -> Any:
    """A kernel for the clock."""
    return load_kernel(name, modules)


def launches(t: PairTiling, naux: int, chip: Chip) -> Timed:
    """Every distinct launch of pair sums, with integrals given if ``naux`` is 0, and how often it runs."""
    found = []
    first, second = t.spins
    for launch in t.launches:
        table = TILE, first.v + launch.oi + second.tiles(launch.oj)
        moving = (naux, launch.oi * first.width) if naux else (launch.oi * launch.oj * second.v, first.v)
        stationary = (naux, launch.oj * second.width) if naux and not launch.triangle else moving
        arrays = [of_shape(shape, np.float32) for shape in (moving, stationary, table)]
        found.append((launch.count, time_kernel(kernel("mp2_pairs"), (*arrays, *launch.parameters), chip)))
    return found


def integrals(o: int, v: int, x: int, chip: Chip) -> Timed:
    """Launches that write T of all pairs to HBM: ``rank_k`` on the diagonal, ``gemm`` below it."""
    n = o * v
    t = tile_rank_k(1, n, x, 1, 4)
    found = [
        (t.pieces[1], time_kernel(kernel("rank_k"), (of_shape((t.k, t.n), np.float32), *t.parameters), chip))
    ]
    below = t.pieces[1] * (t.pieces[1] - 1) // 2
    if below:
        g = tile_gemm(1, t.n, t.k, t.n, 4)
        arrays = of_shape((g.k, g.m), np.float32), of_shape((g.k, g.n), np.float32)
        found.append((below, time_kernel(kernel("gemm"), (*arrays, *g.parameters), chip)))
    return found


def total_ms(timed: Timed) -> float:
    """All launches, each with its fixed cost on the device."""
    return sum(count * timeline.total_ns for count, timeline in timed) / 1e6


def busy(timed: Timed, engine: str) -> float:
    """Share of the time in which an engine works."""
    return sum(count * timeline.busy_ns[engine] for count, timeline in timed) / total_ms(timed) / 1e6


def bound_ms(o: int, v: int, x: int, chip: Chip) -> float:
    """What TensorE needs for T of all pairs i <= j."""
    pairs = o * (o + 1) // 2
    return pairs * ceil(v / TILE) * ceil(x / TILE) * v * chip.fp32_passes / chip.tensor_ghz / 1e6


def epilogue_ms(o: int, v: int, chip: Chip) -> float:
    """An elementwise epilogue that reads T from HBM: the larger of its VectorE cycles and its bytes."""
    pairs = o * (o + 1) // 2
    vector = pairs * ceil(v / TILE) * v * EPILOGUE / chip.vector_ghz
    return max(vector, pairs * v * v * 4 / chip.dma_bytes_per_ns) / 1e6 + chip.kernel_seconds * 1e3


@dataclass(frozen=True)
class Row:
    """One case on one chip, times in milliseconds."""

    case: str
    chip: Chip
    tiling: PairTiling
    fused: Timed
    written: Timed
    read: Timed

    def line(self) -> tuple[str, ...]:
        """Of the first table."""
        time = total_ms(self.fused)
        bound = bound_ms(*CASES[self.case], self.chip)
        aim = AIMS.get((self.case, self.chip.name))
        shares = [f"{busy(self.fused, engine):.1%}" for engine in ENGINES]
        kept = "-" if aim is None else f"{aim:g} {'met' if time <= aim else 'not met'}"
        return (
            *(self.case, self.chip.name, str(self.tiling.count), f"{time:.3f}", kept),
            *(f"{bound:.3f}", f"{bound / time:.1%}", *shares),
        )

    def unfused(self) -> tuple[str, ...]:
        """Of the second table."""
        o, v, _ = CASES[self.case]
        fused, written, read = total_ms(self.fused), total_ms(self.written), total_ms(self.read)
        five = epilogue_ms(o, v, self.chip)
        prediction = predict_pairs(self.tiling, self.chip)
        least = written + min(read, five)
        return (
            *(self.case, self.chip.name, f"{fused:.3f}", f"{written:.3f}", f"{read:.3f}", f"{five:.3f}"),
            *(f"{least / fused:.2f}", f"{prediction.link * 1e3:.2f}", f"{prediction.fixed * 1e3:.0f}"),
        )


def rows(cases: Iterable[str], chips: Iterable[Chip]) -> list[Row]:
    """All cases on all chips."""
    found = []
    for case in cases:
        o, v, x = CASES[case]
        t = tile_pairs((o, o), (v, v), x, same=True, exchange=True)
        given = tile_blocks((o, o), (v, v), same=True, exchange=True)
        assert t is not None
        assert given is not None
        for chip in chips:
            fused, read = launches(t, x, chip), launches(given, 0, chip)
            found.append(Row(case, chip, t, fused, integrals(o, v, x, chip), read))
    return found


@dataclass(frozen=True)
class Exact:
    """float64-accurate energies of a case on a chip, in milliseconds: products of digits, block by block."""

    case: str
    chip: Chip
    slices: int
    planes: float
    products: float
    link: float
    host: float

    @property
    def bound(self) -> float:
        """What TensorE needs for all products of digits of all pairs."""
        digit_products = self.slices * (self.slices + 1) // 2
        return bound_ms(*CASES[self.case], self.chip) / self.chip.fp32_passes * digit_products

    def line(self) -> list[str]:
        """Of its table."""
        device = self.planes + self.products
        figures = (device, self.planes, self.bound, self.link, self.host)
        share = f"{self.bound / device:.1%}"
        return [self.case, self.chip.name, str(self.slices), *(f"{ms:,.1f}" for ms in figures), share]


def exact(case: str, chip: Chip) -> Exact:
    """Every launch of the plan's products on the clock, as benchmarks/sliced.py times them."""
    o, v, x = CASES[case]
    request = Mp2(function="", dtype="float64", nocc=(o, o), nvir=(v, v), naux=x)
    plan = make_plan(request, Options(min_work=0, chip=chip.name), "interpreter")
    assert isinstance(plan, Mp2Plan)
    slices = plan.scheme.normwise_slices(x)
    assert slices is not None
    made = multiplied = 0.0
    for gemm, count in plan.products:
        (tiling,) = make_tilings(gemm, plan.scheme, chip, slices)
        if gemm.structure == "syrk":
            row = sliced.syrk("", tiling, gemm.n, chip)
            made += count * row.planes
        else:
            row = sliced.product("", tiling, chip)
            _, left, k, right = tiling.pieces
            side = sliced.planes(tiling, "lhs", True, chip).total_ns / 1e6
            made += count * k * (left + right) * side
        multiplied += count * row.gemm
    return Exact(
        case, chip, slices, made, multiplied, plan.prediction.link * 1e3, epilogue_seconds(request) * 1e3
    )


def plot(chip: Chip, path: Path) -> None:
    """The small case, fused above unfused, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    (row,) = rows(["small"], [chip])
    figure = Figure(figsize=(12, 6), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    o, v, x = CASES["small"]
    parts = [
        ("fused", row.fused),
        ("T written by rank_k, then read by the same epilogue", row.written + row.read),
    ]
    for axes, (name, timed) in zip(panels, parts, strict=True):
        start = 0.0
        for _, timeline in timed:
            draw(axes, timeline, start)
            start += timeline.total_ns / 1e3
        axes.set(ylim=(len(LANES) - 0.4, -0.6), yticks=range(len(LANES)), yticklabels=LANES)
        axes.set_title(f"{name}: {start:,.0f} us predicted on {chip.name}", fontsize=10)
    panels[1].set(xlabel="us", xlim=(0, start))
    figure.suptitle(
        f"MP2 pair energies, fp32, o = {o}, v = {v}, x = {x}; predicted, no device has confirmed it"
    )
    FigureCanvasAgg(figure).print_png(str(path))


def draw(axes: Any, timeline: Timeline, start: float) -> None:
    """The engines of one launch, which begins at ``start`` microseconds."""
    for lane in range(len(LANES)):
        chosen = timeline.lanes == lane
        begin = start + (timeline.start_ns + timeline.begin_ns[chosen]) / 1e3
        bars = merged(begin, timeline.duration_ns[chosen] / 1e3, 0.05)
        axes.broken_barh(bars, (lane - 0.4, 0.8), color=f"C{lane}")
    end = start + timeline.total_ns / 1e3
    axes.axvspan(start, start + timeline.start_ns / 1e3, color="0.93")
    axes.axvspan(end - timeline.end_ns / 1e3, end, color="0.93")


NOTES = """\
launches: of the fused kernel. ms: all of them, each with its fixed cost on the device. bound: what TensorE
needs where every orbital has tiles of rows of its own; more than 100 % of it can be reached where orbitals
share them. tensor ... dma: share of the time in which each works.
T written: rank_k and gemm. read: mp2_pairs with integrals given. k = 5: an epilogue of 5 VectorE cycles an
element. times: unfused, with the faster epilogue, over fused. link: B and energies to the device, sums of
partitions back. calls: 1 ms each.
float64: products of digits in blocks of orbitals, and their planes. bound: TensorE's for all products of
digits of the pairs. link: words of B for each block, words of T back. host: the epilogue, 5 ns an element.
Predictions from published figures; none has been confirmed by a device of ours."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print both tables, or draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--case", choices=tuple(CASES), action="append", help="both by default")
    parser.add_argument("--chip", choices=tuple(CHIPS), action="append", help="all by default")
    parser.add_argument("--plot", type=Path, help="draw the small case on the first chip, and nothing else")
    known = parser.parse_args(argv)
    chips = [CHIPS[name] for name in known.chip or CHIPS]
    if known.plot:
        plot(chips[0], known.plot)
        return
    found = rows(known.case or CASES, chips)
    heads = ("case", "chip", "launches", "ms", "aim", "bound ms", "share", *ENGINES)
    print(tabulate([row.line() for row in found], heads, tablefmt="plain", disable_numparse=True))
    print()
    heads = ("case", "chip", "fused ms", "T written", "read", "k = 5", "times", "link ms", "calls ms")
    print(tabulate([row.unfused() for row in found], heads, tablefmt="plain", disable_numparse=True))
    print()
    heads = ("case", "chip", "digits", "float64 ms", "planes", "bound ms", "link ms", "host ms", "share")
    lines = [exact(case, chip).line() for case in known.case or CASES for chip in chips]
    print(tabulate(lines, heads, tablefmt="plain", disable_numparse=True))
    print()
    print(NOTES)


if __name__ == "__main__":
    main()
