"""Predicted device times of BLAS level 3 in float32: ``python benchmarks/level3.py [--chip trn2]``.

All matrices are n x n: n right-hand sides for SYMM, TRMM and TRSM, K = n for GEMM, SYRK and SYR2K. Operands
lie on one core's HBM. Each distinct launch is timed once by the clock, without data, and counted as often as
it runs; what the host does (packing, inverses of diagonal blocks, sums of pieces, transfers) is not in it.
One launch goes up to order 4096: with p pieces of the order there are p launches of the routine's own kernel,
on the diagonal, and launches of ``gemm`` for the pieces off it.

Beside them stand the kernels of trnblas 0.5.4 on the same clock, when ``OUTSIDE_TRNBLAS`` names its wheel
(see ``compat/README.md``). None of its code is kept here. All of it is predicted from published figures; no
device has confirmed it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from sliced import busiest
from tabulate import tabulate

from numtrn.interp import importable, modules
from numtrn.interp.clock import Timeline, of_shape, time_kernel
from numtrn.interp.faults import allowing
from numtrn.machine import CHIPS, Chip
from numtrn.plan.tiling import BANK_COLUMNS, TILE, Tiling, tile_gemm
from numtrn.targets.load import load_kernel

SIZES = (1024, 2048, 4096, 8192)
ITEM = 4
MOST = 4096
"""Largest order of one launch of the routines' own kernels."""

JUDGED = 4096
"""Order at which the aims are judged."""

Shape = tuple[int, ...]


# -- Bounds ----------------------------------------------------------------------------------------


def bound_us(routine: str, n: int, chip: Chip) -> float:
    """The least microseconds of a routine of order n: `pe_us`, and for TRSM its chain and its bytes too."""
    if routine == "TRSM":
        return max(pe_us(routine, n, chip), chain_us(n, chip), dma_us(n, chip))
    return pe_us(routine, n, chip)


def pe_us(routine: str, n: int, chip: Chip) -> float:
    """What TensorE needs: 128 x 128 blocks of the left operand, each times n columns of c / f.

    c is 4 cycles for fp32 and f the clock, from "max(N, 64) cycles" of a matmul and a quarter of the rate for
    fp32 (``trainium_inferentia2_arch.rst`` and ``nki.isa`` 2.26; see `Chip`). A triangle of b = n / 128 has
    b (b + 1) / 2 blocks; SYR2K is two products with K = n.
    """
    rows = ceil(n / TILE)
    blocks = rows**2 if routine in ("GEMM", "SYMM") else rows * (rows + 1) // 2
    products = 2 if routine == "SYR2K" else 1
    return products * blocks * max(n, chip.matmul_min_columns) * chip.fp32_passes / chip.tensor_ghz / 1e3


def chain_us(n: int, chip: Chip, columns: int = BANK_COLUMNS) -> float:
    """TRSM's chain of dependences: one strip of columns, block row after block row.

    Of each block row the last update, the subtraction, the product with the inverse and its eviction follow
    each other, with four hand-overs between engines: 2 (w c / f + 0.16) + 2 (w / fv + 0.15) + 4 * 0.2 us,
    w the columns. 0.16 and 0.15 us are latencies of TensorE and VectorE in published profiles
    (``nki_perf_guide.rst``, ``use-neuron-profile.rst``), 0.2 us is assumed (see `Chip.semaphore_ns`).
    """
    matmul = columns * chip.fp32_passes / chip.tensor_ghz + 160
    evicted = columns / chip.vector_ghz + 150
    return ceil(n / TILE) * (2 * matmul + 2 * evicted + 4 * chip.semaphore_ns) / 1e3


def dma_us(n: int, chip: Chip) -> float:
    """TRSM's bytes at the rate that no kernel exceeds: triangle, right-hand sides and result, each once."""
    rows = ceil(n / TILE)
    elements = rows * (rows + 1) // 2 * TILE**2 + 2 * n * n
    return ITEM * elements / chip.dma_hard_bytes_per_ns / 1e3


# -- Launches --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Launch:
    """One distinct launch of ours, and how often it runs."""

    kernel: str
    shapes: tuple[Shape, ...]
    parameters: tuple[int, ...]
    count: int = 1


@dataclass(frozen=True)
class Routine:
    """How a routine becomes launches.

    Attributes
    ----------
    name
        Of BLAS, without the letter of its type.
    kernel
        Its own kernel; the tiling is ``numtrn.plan.<kernel>.tile_<kernel>``.
    tile
        From that function and n to a tiling.
    shapes
        From the tiling to the shapes of its kernel's operands.
    off_diagonal
        Products of whole pieces off the diagonal, from the number p of pieces of the order.
    square
        Whether results are as wide as the pieces, so that a product off the diagonal is too.
    """

    name: str
    kernel: str
    tile: Callable[[Callable[..., Tiling], int], Tiling]
    shapes: Callable[[Tiling], tuple[Shape, ...]]
    off_diagonal: Callable[[int], int]
    square: bool = False


def stacked(tiling: Tiling, block: int) -> Shape:
    """Shape of the stacked blocks of a triangle."""
    blocks = ceil(tiling.m / block)
    return blocks * (blocks + 1) // 2 * block, block


def below(p: int) -> int:
    """Pieces below the diagonal."""
    return p * (p - 1) // 2


def panels(tiling: Tiling) -> tuple[Shape, ...]:
    """Operands of ``rank_k``."""
    batch, parts = tiling.parameters[:2]
    return ((batch * parts * tiling.k, tiling.m),)


def triangle_and_rhs(tiling: Tiling) -> tuple[Shape, ...]:
    """Operands of ``trmm`` and ``symm``."""
    return stacked(tiling, tiling.parameters[0]), (tiling.m, tiling.n)


def triangle_inverses_and_rhs(tiling: Tiling) -> tuple[Shape, ...]:
    """Operands of ``trsm``."""
    return stacked(tiling, tiling.parameters[0]), (tiling.m, TILE), (tiling.m, tiling.n)


ROUTINES = (
    Routine("SYRK", "rank_k", lambda tile, n: tile(1, n, n, 1, ITEM, False), panels, below, square=True),
    Routine(
        "SYR2K", "rank_k", lambda tile, n: tile(1, n, n, 2, ITEM, False), panels, lambda p: 2 * below(p), True
    ),
    Routine(
        "SYMM", "symm", lambda tile, n: tile(n, n, ITEM, False), triangle_and_rhs, lambda p: 2 * below(p)
    ),
    Routine("TRMM", "trmm", lambda tile, n: tile(n, n, ITEM, False), triangle_and_rhs, below),
    Routine(
        "TRSM", "trsm", lambda tile, n: tile(ceil(n / ceil(n / MOST)), n), triangle_inverses_and_rhs, below
    ),
)


def gemm_launches(m: int, k: int, n: int, times: int = 1) -> list[Launch]:
    """Launches of ``gemm`` for so many products."""
    tiling = tile_gemm(1, m, k, n, ITEM)
    shapes = ((tiling.k, tiling.m), (tiling.k, tiling.n))
    return [Launch("gemm", shapes, tiling.parameters, times * tiling.launches)] if times else []


def routine_launches(routine: Routine, tiling: Tiling, n: int) -> list[Launch]:
    """Launches of a routine of order n: its own kernel on the diagonal, ``gemm`` off it."""
    pieces = ceil(n / tiling.m)
    _, _, pieces_k, pieces_n = tiling.pieces
    along = pieces_k if routine.square else pieces_n
    own = Launch(routine.kernel, routine.shapes(tiling), tiling.parameters, pieces * along)
    depth, width = (n, tiling.m) if routine.square else (tiling.m, n)
    return [own, *gemm_launches(tiling.m, depth, width, routine.off_diagonal(pieces))]


def tiling_of(routine: Routine, n: int) -> Tiling | None:
    """The plan's tiling, or None while the kernel is not there."""
    name = f"numtrn.plan.{routine.kernel}"
    if importlib.util.find_spec(name) is None:
        return None
    return routine.tile(getattr(importlib.import_module(name), f"tile_{routine.kernel}"), n)


@cache
def timed(kernel: str, shapes: tuple[Shape, ...], parameters: tuple[int, ...], chip: Chip) -> Timeline:
    """The predicted timeline of one launch of ours, fp32."""
    return on_clock(load_kernel(kernel, modules), shapes, parameters, chip)


def on_clock(kernel: Any, shapes: Iterable[Shape], parameters: Iterable[int], chip: Chip) -> Timeline:
    """The predicted timeline of a kernel with fp32 operands of these shapes."""
    return time_kernel(kernel, (*(of_shape(shape, np.float32) for shape in shapes), *parameters), chip)


# -- trnblas ---------------------------------------------------------------------------------------


PANEL = 128
"""Rows of a panel of its TRSM (``trnblas/nki/dispatch.py: _nki_trsm_left``)."""


@dataclass(frozen=True)
class Theirs:
    """What trnblas does for a routine.

    Attributes
    ----------
    launches
        Kernel launches.
    kernels_ms
        Their predicted time.
    lenient_ms
        The same with transposing loads at the rate of trn2, if the chip has none published.
    link_ms
        Operands and results over the host link: every launch takes its operands from the host and leaves its
        result there.
    host
        What its Python leaves to the host.
    """

    launches: int
    kernels_ms: float
    lenient_ms: float
    link_ms: float
    host: str


HOST = {"GEMM": "-", "SYRK": "(C + C^T) / 2", "TRSM": "{panels} solves of 128 rows, {updates} subtractions"}
"""Routines that it launches kernels for, and what it leaves to the host (``trnblas/level3.py``).

Its SYMM and TRMM fill a square matrix and call ``torch.matmul``; it has no SYR2K.
"""


def trsm_products(n: int) -> list[tuple[int, int, int]]:
    """M, K and N of the launches of its TRSM with n right-hand sides.

    For each panel of 128 rows, ``torch.linalg.solve_triangular`` on the host, then one GEMM of all rows
    left with the panel just solved, whose result the host subtracts (``_nki_trsm_left``).
    """
    return [(n - done, PANEL, n) for done in range(PANEL, n, PANEL)]


def others() -> ModuleType:
    """The module that loads kernels of others."""
    file = Path(__file__).parents[1] / "compat" / "outside_kernels" / "others.py"
    spec = importlib.util.spec_from_file_location("others", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trnblas() -> tuple[Any, str]:
    """Its module of kernels, or None and the reason."""
    loading = others()
    try:
        with importable():
            return loading.trnblas_kernels(), ""
    except loading.AbsentError as reason:
        return None, str(reason)


class Trnblas:
    """Its launches on the clock of one chip."""

    def __init__(self, kernels: Any, chip: Chip) -> None:
        self.kernels = kernels
        self.chip = chip

    def timed_ms(self, kernel: Any, *shapes: Shape) -> float:
        """One launch; its zeroed PSUM tiles are let pass (see ``compat/README.md``)."""
        with allowing("H11"):
            return on_clock(kernel, shapes, (), self.chip).total_ns / 1e6

    def gemm_ms(self, m: int, k: int, n: int) -> float:
        """Its product of extents that it need not pad.

        With its default tile, 128 x 128 x 512: its autotuner tries six on the device, of which this one is
        the fastest on the clock.
        """
        return self.timed_ms(self.kernels._gemm_kernel, (m, k), (k, n))

    def times_ms(self, routine: str, n: int) -> float:
        """All launches of a routine."""
        if routine == "SYRK":
            return self.timed_ms(self.kernels._syrk_kernel, (n, n))
        products = trsm_products(n) if routine == "TRSM" else [(n, n, n)]
        return sum(self.gemm_ms(*product) for product in products)

    def link_ms(self, routine: str, n: int) -> float:
        """Operands to the device and results back."""
        if routine == "SYRK":
            sent, back = n * n, n * n
        else:
            products = trsm_products(n) if routine == "TRSM" else [(n, n, n)]
            sent = sum(m * k + k * columns for m, k, columns in products)
            back = sum(m * columns for m, _, columns in products)
        chip = self.chip
        seconds = sent / chip.link_in_bytes_per_second + back / chip.link_out_bytes_per_second
        return ITEM * seconds * 1e3


def lenient(chip: Chip) -> Chip:
    """The chip with transposing loads at the share of its DMA rate that trn2 has, where none is published."""
    return replace(chip, dma_transpose_share=chip.dma_transpose_share or CHIPS["trn2"].dma_transpose_share)


def theirs(routine: str, n: int, kernels: Sequence[Trnblas]) -> Theirs | None:
    """What trnblas does, on the clock of a chip and on the lenient one; None where it has no kernel."""
    if routine not in HOST or not kernels:
        return None
    updates = len(trsm_products(n))
    times = [each.times_ms(routine, n) for each in kernels]
    return Theirs(
        updates if routine == "TRSM" else 1,
        times[0],
        times[-1],
        kernels[0].link_ms(routine, n),
        HOST[routine].format(panels=updates + 1, updates=updates),
    )


# -- Tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One routine at one order on one chip: milliseconds of one core, None while there is no kernel."""

    chip: Chip
    n: int
    routine: str
    bound_ms: float
    launches: int = 0
    time_ms: float | None = None
    over_gemm: float | None = None
    busiest: str = "no kernel yet"
    theirs: Theirs | None = None

    @property
    def share(self) -> float | None:
        """Share of the bound."""
        return self.bound_ms / self.time_ms if self.time_ms else None

    @property
    def attainable(self) -> float | None:
        """Share of the bound with matmuls as long as the clock has them (`Chip.matmul_stretch`)."""
        return self.share * self.chip.matmul_stretch if self.share else None

    @property
    def speedup(self) -> float | None:
        """Time of trnblas's kernels over ours."""
        return self.theirs.kernels_ms / self.time_ms if self.theirs and self.time_ms else None

    @property
    def least_speedup(self) -> float | None:
        """The same with its transposing loads at the rate of trn2, if that is less."""
        return self.theirs.lenient_ms / self.time_ms if self.theirs and self.time_ms else None

    @property
    def speedup_of_calls(self) -> float | None:
        """The same with the fixed cost of a host call for every launch."""
        if self.theirs is None or not self.time_ms:
            return None
        call = self.chip.launch_seconds * 1e3
        return (self.theirs.lenient_ms + self.theirs.launches * call) / (self.time_ms + self.launches * call)


def rows(chip: Chip, sizes: Iterable[int], kernels: Any) -> Iterator[Row]:
    """All routines at all orders on one chip."""
    outside = [Trnblas(kernels, c) for c in dict.fromkeys((chip, lenient(chip)))] if kernels else []
    for n in sizes:
        gemm = timed_row("GEMM", n, chip, gemm_launches(n, n, n))
        for routine in ("GEMM", *(each.name for each in ROUTINES)):
            show(f"{chip.name} {n} {routine}")
            row = gemm if routine == "GEMM" else own_row(routine, n, chip)
            over = row.time_ms / gemm.time_ms if row.time_ms and gemm.time_ms else None
            yield replace(row, over_gemm=over, theirs=theirs(routine, n, outside))


def own_row(name: str, n: int, chip: Chip) -> Row:
    """One routine with a kernel of its own."""
    routine = next(each for each in ROUTINES if each.name == name)
    tiling = tiling_of(routine, n)
    return timed_row(name, n, chip, routine_launches(routine, tiling, n) if tiling else [])


def timed_row(name: str, n: int, chip: Chip, launches: Sequence[Launch]) -> Row:
    """Launches on the clock; the first of them says which engines are busy."""
    row = Row(chip, n, name, bound_us(name, n, chip) / 1e3)
    if not launches:
        return row
    each = [timed(launch.kernel, launch.shapes, launch.parameters, chip) for launch in launches]
    total = sum(launch.count * one.total_ns for launch, one in zip(launches, each, strict=True))
    return replace(
        row,
        launches=sum(launch.count for launch in launches),
        time_ms=total / 1e6,
        busiest=busiest(each[0]),
    )


def show(text: str) -> None:
    """Progress, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:20}", end="", file=sys.stderr, flush=True)


def percent(value: float | None) -> str:
    """A share."""
    return "-" if value is None else f"{value:.1%}"


def times(value: float | None, digits: int = 2) -> str:
    """A ratio or a time."""
    return "-" if value is None else f"{value:.{digits}f}"


def own_table(found: Sequence[Row]) -> str:
    """Our kernels against their bounds."""
    return tabulate(
        [
            (
                row.chip.name,
                row.n,
                row.routine,
                row.launches or "-",
                times(row.time_ms, 3),
                f"{row.bound_ms:.3f}",
                percent(row.share),
                percent(row.attainable),
                times(row.over_gemm, 3),
                row.busiest,
            )
            for row in found
        ],
        headers=(
            *("chip", "n", "routine", "launches", "ms", "bound ms", "share", "stretched", "of GEMM"),
            "busiest engine besides TensorE",
        ),
        tablefmt="plain",
        disable_numparse=True,
        colalign=("left", "right", "left", *["right"] * 6, "left"),
    )


def their_table(found: Sequence[Row]) -> str:
    """The kernels of trnblas beside ours, where it has any."""
    lines = [
        (
            row.chip.name,
            row.n,
            row.routine,
            times(row.time_ms, 3),
            row.theirs.launches,
            times(row.theirs.kernels_ms, 3),
            times(row.theirs.lenient_ms, 3),
            times(row.theirs.launches * row.chip.launch_seconds * 1e3, 0),
            times(row.theirs.link_ms, 1),
            times(row.speedup),
            times(row.least_speedup),
            times(row.speedup_of_calls),
            row.theirs.host,
        )
        for row in found
        if row.theirs
    ]
    return tabulate(
        lines,
        headers=(
            *("chip", "n", "routine", "ours ms", "launches", "kernels ms", "lenient ms", "fixed ms"),
            *("link ms", "times", "lenient", "calls", "on the host"),
        ),
        tablefmt="plain",
        disable_numparse=True,
        colalign=("left", "right", "left", *["right"] * 9, "left"),
    )


@dataclass(frozen=True)
class Aim:
    """A figure that is aimed at, at order 4096."""

    text: str
    routine: str
    figure: Callable[[Row], float | None]
    limit: float
    at_most: bool = False
    unit: str = "times"

    def verdict(self, row: Row) -> tuple[str, str]:
        """The figure, and whether it is met."""
        figure = self.figure(row)
        if figure is None:
            return "-", "not there"
        met = figure <= self.limit if self.at_most else figure >= self.limit
        shown = f"{figure:.3f}" if self.unit == "times" else f"{figure:.1%} ({row.attainable:.1%} stretched)"
        return shown, "met" if met else "not met"


AIMS = (
    Aim("SYRK at most 0.56 of GEMM", "SYRK", lambda row: row.over_gemm, 0.56, at_most=True),
    Aim("TRSM at least 75 % of its bound", "TRSM", lambda row: row.share, 0.75, unit="%"),
    Aim("SYMM at least 85 % of its bound", "SYMM", lambda row: row.share, 0.85, unit="%"),
    Aim("TRMM at least 85 % of its bound", "TRMM", lambda row: row.share, 0.85, unit="%"),
    Aim("SYRK at least 1.8 times as fast as trnblas's kernel", "SYRK", lambda row: row.least_speedup, 1.8),
    Aim("TRSM at least 3 times as fast as trnblas's kernels", "TRSM", lambda row: row.least_speedup, 3.0),
    Aim(
        "TRSM at least 3 times, with the host call of each launch",
        "TRSM",
        lambda row: row.speedup_of_calls,
        3.0,
    ),
)


def aims_table(found: Sequence[Row]) -> str:
    """The aims, each with its figure on each chip."""
    lines = [
        (f"{aim.text}, n = {row.n}", row.chip.name, *aim.verdict(row))
        for aim in AIMS
        for row in found
        if row.routine == aim.routine and row.n == JUDGED
    ]
    return tabulate(lines, headers=("aim", "chip", "predicted", ""), tablefmt="plain", disable_numparse=True)


NOTES = """\
ms: all launches, each with its fixed cost on the device. bound: what TensorE needs for the blocks that
must be multiplied; for TRSM the largest of that, its chain and its bytes. share: bound over ms.
stretched: the same with matmuls as long as the clock has them, their cycles times {stretch}, so that no
kernel exceeds 100 % there. of GEMM: ms over that of GEMM."""

THEIR_NOTES = """\
kernels ms: trnblas's launches; of the six tiles of its GEMM the fastest here, its default. lenient ms:
the same with loads that transpose at {share:g} of the DMA rate, as on trn2; for trn1 no rate is
published, and the clock's price is too high: trnblas's own times for n = 1024 on trn1, with the host,
are 2.3 ms for GEMM and 5.71 ms for SYRK (`trnsci/trnblas: docs/benchmarks.md` @2264d960, version
0.4.3). fixed ms: {call:g} ms for the host call of each launch. link ms: operands and results over the
host link, where every launch takes and leaves them. times: kernels ms over ours. lenient: lenient ms
over ours, which the aims take. calls: that with the fixed cost of all launches, theirs and ours. What
the host computes has no time here. Its SYMM and TRMM launch no kernel (`torch.matmul` of a filled
matrix), and it has no SYR2K."""

CAUTION = "Predictions from published figures; none has been confirmed by a device of ours."

PAGE = """\
# Predicted device times of BLAS level 3 in float32

**Every number here is a prediction of the clock (`docs/clock.md`) from published figures.
No device has confirmed it.**

    OUTSIDE_TRNBLAS=trnblas-0.5.4-py3-none-any.whl python benchmarks/level3.py --markdown

Matrices of n x n, n right-hand sides, K = n, fp32, on one core's HBM; what the host does is not counted.

{notes}

```
{own}
```

## Beside trnblas 0.5.4 on the same clock

{their_notes}

```
{theirs}
```

## What is aimed at

```
{aims}
```
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chip", choices=tuple(CHIPS), action="append", help="trn1 and trn2 by default")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="multiples of 512")
    parser.add_argument("--markdown", action="store_true", help="the section of docs/performance.md")
    known = parser.parse_args(argv)
    if any(n < BANK_COLUMNS or n % BANK_COLUMNS for n in known.sizes):
        parser.error(f"sizes are multiples of {BANK_COLUMNS}, as trnblas pads to them; got {known.sizes}")
    chips = [CHIPS[name] for name in known.chip or ("trn1", "trn2")]
    kernels, reason = trnblas()
    found = [row for chip in chips for row in rows(chip, known.sizes, kernels)]
    show("\r")
    notes = NOTES.format(stretch=", ".join(f"{chip.matmul_stretch:g} ({chip.name})" for chip in chips))
    their_notes = THEIR_NOTES.format(
        call=chips[0].launch_seconds * 1e3, share=CHIPS["trn2"].dma_transpose_share
    )
    own, beside, aims = own_table(found), their_table(found), aims_table(found)
    if kernels is None:
        beside = f"trnblas is not at hand: {reason}"
    if known.markdown:
        print(PAGE.format(notes=notes, own=own, their_notes=their_notes, theirs=beside, aims=aims), end="")
    else:
        print(own, notes, beside, their_notes, aims, CAUTION, sep="\n\n")


if __name__ == "__main__":
    main()
