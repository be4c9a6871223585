"""``python -m numtrn timeline gemm MxKxN``: what a kernel's engines would do, and when. No data is computed.

Every figure printed here is a prediction from published costs; see ``docs/clock.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from numtrn.errors import NumtrnError
from numtrn.interp import modules
from numtrn.interp.clock import Timeline, of_shape, time_kernel
from numtrn.machine import CHIPS, Chip
from numtrn.plan.tiling import Tiling, tile_gemm
from numtrn.plan.words import tile_planes, tile_words
from numtrn.targets.load import load_kernel

__all__ = ["main", "timeline_of"]

DTYPES: dict[str, Any] = {
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
    "float32": np.dtype(np.float32),
    "tfloat32": np.dtype(np.float32),
}
SLICES = 7
"""Digits of float64 as the command shows it."""


def main(argv: Sequence[str]) -> int:
    """Run the command; gives its exit status."""
    known = _parser().parse_args(argv)
    chip = CHIPS[known.chip]
    tiling = _tiling(known.shape, known.dtype, chip)
    title = f"{tiling.kernel} {tiling.m}x{tiling.k}x{tiling.n} {known.dtype} on {chip.name}"
    try:
        with _progress() as tick:
            timeline = timeline_of(tiling, known.dtype, chip, tick)
        print(f"{title}, one launch on one core")
        print(timeline)
        if tiling.slices:
            print(_cutting(tiling, chip))
        if tiling.launches > 1:
            print(
                f"{tiling.launches} launches of this shape cover the product, one after another:"
                f" {tiling.launches * timeline.total_ns / 1e6:,.2f} ms predicted on the device"
            )
        _files(timeline, known, title)
    except NumtrnError as error:
        print(f"numtrn timeline: {error}", file=sys.stderr)
        return 1
    return 0


def timeline_of(
    tiling: Tiling, dtype: str, chip: Chip, tick: Callable[[int], None] | None = None
) -> Timeline:
    """The predicted timeline of one launch of a tiling."""
    kernel = load_kernel(tiling.kernel, modules)
    rows, width_m, width_n = tiling.batch * tiling.k, tiling.m, tiling.n
    if tiling.slices:
        width_m, width_n = width_m * tiling.slices, width_n * tiling.slices
    kind = DTYPES.get(dtype, DTYPES["bfloat16"])
    operands = (of_shape((rows, width_m), kind), of_shape((rows, width_n), kind))
    return time_kernel(kernel, (*operands, *tiling.parameters), chip, tick)


def _cutting(tiling: Tiling, chip: Chip) -> str:
    """What the digit planes of both operands of a launch take, in words."""
    times = []
    for side, transpose in (("lhs", True), ("rhs", False)):
        planes = tile_planes(tiling, side, transpose)
        words = of_shape((planes.rows, planes.columns), np.int8)
        kernel = load_kernel(planes.kernel, modules)
        times.append(time_kernel(kernel, (words, *planes.parameters), chip).total_ns / 1e6)
    left, right = times
    return f"its digit planes are made before: {left:,.2f} ms for A, {right:,.2f} ms for B (C order)"


def _tiling(shape: tuple[int, int, int], dtype: str, chip: Chip) -> Tiling:
    m, k, n = shape
    if dtype == "float64":
        return tile_words(1, m, k, n, SLICES, chip)
    return tile_gemm(1, m, k, n, DTYPES[dtype].itemsize, dtype == "tfloat32")


def _files(timeline: Timeline, known: argparse.Namespace, title: str) -> None:
    if known.trace:
        from numtrn.interp.clock.trace import write_trace

        write_trace(timeline, known.trace)
        print(f"trace written to {known.trace}; open it in ui.perfetto.dev or chrome://tracing")
    if known.png:
        from numtrn.interp.clock.picture import write_picture

        write_picture(timeline, known.png, title)
        print(f"picture written to {known.png}")


@contextmanager
def _progress() -> Iterator[Callable[[int], None] | None]:
    """A progress bar of both halves, simulating and scheduling, where tqdm is installed and someone looks."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield None
        return
    with tqdm(desc="simulated and scheduled", unit=" instructions", delay=1.0, leave=False) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance


def _shape(text: str) -> tuple[int, int, int]:
    try:
        m, k, n = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes MxKxN, such as 2048x2048x2048; got {text!r}") from None
    if min(m, k, n) < 1 or prod((m, k, n)) > 2**48:
        raise argparse.ArgumentTypeError(
            f"takes positive extents of a product that fits a core; got {text!r}"
        )
    return m, k, n


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m numtrn timeline", description="Predicted timeline of a kernel on one NeuronCore"
    )
    parser.add_argument("kernel", choices=("gemm",))
    parser.add_argument("shape", type=_shape, metavar="MxKxN")
    parser.add_argument("--dtype", choices=(*DTYPES, "float64"), default="bfloat16")
    parser.add_argument("--chip", choices=tuple(CHIPS), default="trn2")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write a picture (needs matplotlib)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write a Chrome/Perfetto trace")
    return parser
