"""Choose output blocks and the form by the clock, and ship the choice: ``python benchmarks/tune.py``.

Every block that fits SBUF is timed on a sample launch, without data: a few blocks below each other over
1024 rows of K (two chunks in Karatsuba's form), less the time of a launch of one block. Then the least
square is sought from which planes and products in Karatsuba's form take less time than digits and plain
products. The result is ``numtrn/data/tilings.json``, which `numtrn.plan.tuned` reads. All times are
predicted from published figures, none is measured. ``--check`` computes some of them again and compares.
"""

from __future__ import annotations

import argparse
import json
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import ml_dtypes
from sliced import product

from numtrn.interp import modules
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS, Chip
from numtrn.plan.tiling import EXACT, TILE
from numtrn.plan.tuned import PEAKS, SCHEMA, SLICES, Block, Key, table
from numtrn.plan.words import deepest, fits, plane_count, tile_karatsuba, tile_words
from numtrn.targets.load import load_kernel

FILE = Path(__file__).parents[1] / "numtrn" / "data" / "tilings.json"
BLOCKS = ((512, 512), (256, 512), (128, 512), (512, 256), (256, 256), (128, 256), (128, 128))
"""Rows and columns; the square ones serve symmetric results too."""

KARATSUBA_BLOCKS = ((512, 512), (384, 512), (256, 512), (512, 256), (256, 256), (128, 256))
"""The same for Karatsuba's form, whose accumulators fill SBUF."""

DEPTHS = (8, 4, 2, 1)
SAMPLE_K = 1024
SAMPLE_ROWS = 256
EXTENTS = (512, 768, 1024, 1280, 1536, 2048, 3072, 4096)
FORM_SLICES = (7, 8)
"""Slices for which both forms are compared; data seldom ask for more."""

CHECKED: tuple[Key, ...] = (("sliced_gemm", "trn1", 7, 128), ("karatsuba_gemm", "trn2", 7, 128))
TOLERANCE = 1e-3
"""Relative; the clock is deterministic, so that this leaves room for rounding only."""

T = TypeVar("T")


def main() -> int:
    """Make the table, or check it; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compute a few entries again; 1 when stale")
    known = parser.parse_args()
    if known.check:
        found = list(stale(CHECKED))
        print("\n".join(found) or f"{len(CHECKED)} entries are what the clock predicts now")
        return bool(found)
    blocks: dict[Key, list[Block]] = {}
    for key in watched(list(keys()), "blocks"):
        blocks[key] = ranked(key)
        show(key, blocks[key])
    write(blocks, {})
    table.cache_clear()  # the forms are compared with the blocks just chosen
    forms = {}
    for name, slices in watched([(c, s) for c in CHIPS for s in FORM_SLICES], "forms"):
        forms[name, slices] = least_extent(slices, CHIPS[name])
        print(f"{name} {slices} slices: Karatsuba's form from {forms[name, slices] or 'nowhere'}", flush=True)
    write(blocks, forms)
    print("Predictions from published figures; none has been confirmed by a device of ours.")
    return 0


def keys() -> Iterator[Key]:
    """All entries of the table."""
    for chip in CHIPS:
        for slices in SLICES:
            yield from (("sliced_gemm", chip, slices, peak) for peak in PEAKS)
            yield "karatsuba_gemm", chip, slices, PEAKS[0]


def ranked(key: Key) -> list[Block]:
    """Timed blocks, from fast to slow; of equally fast ones the large, the wide, the deep first."""
    kernel, chip, slices, peak = key
    return sorted(
        (
            Block(rows, columns, depth, sample_ns(kernel, rows, columns, depth, slices, peak, CHIPS[chip]))
            for rows, columns, depth in candidates(kernel, slices, CHIPS[chip])
        ),
        key=lambda b: (b.ns, -b.rows * b.columns, -b.columns, -b.depth),
    )


def candidates(kernel: str, slices: int, chip: Chip) -> Iterator[tuple[int, int, int]]:
    """Blocks, with the two greatest depths that fit SBUF; in Karatsuba's form, with the greatest."""
    if kernel == "sliced_gemm":
        blocks, depths, count = BLOCKS, DEPTHS, 2
    else:
        blocks, depths, count = KARATSUBA_BLOCKS, (deepest(slices, chip), *DEPTHS), 1
    for rows, columns in blocks:
        fitting = [depth for depth in depths if fits(kernel, rows, columns, depth, slices, chip)]
        yield from ((rows, columns, depth) for depth in fitting[:count])


def sample_ns(kernel: str, rows: int, columns: int, depth: int, slices: int, peak: int, chip: Chip) -> float:
    """Predicted nanoseconds of a multiply-add in steady state, rounded to four digits."""
    more = max(1, SAMPLE_ROWS // rows)
    chunks = max(2, SAMPLE_K // (depth * TILE))
    if kernel == "sliced_gemm":
        k, stored, width = SAMPLE_K, SAMPLE_K, slices
        parameters = (depth, EXACT // (TILE * peak * peak), 0)
    else:
        k, stored, width = chunks * depth * TILE, chunks * TILE, plane_count(slices) * depth
        parameters = (depth, 0)

    def total(blocks: int) -> float:
        shapes = ((stored, width * rows * blocks), (stored, width * columns))
        operands = [of_shape(shape, ml_dtypes.bfloat16) for shape in shapes]
        arguments = (*operands, 1, slices, rows, columns, *parameters)
        return time_kernel(load_kernel(kernel, modules), arguments, chip).total_ns

    return float(f"{(total(1 + more) - total(1)) / (more * rows * columns * k):.4g}")


def least_extent(slices: int, chip: Chip) -> int | None:
    """The least square from which Karatsuba's form is faster, both pre-passes counted."""

    def gains(n: int) -> bool:
        forms = (tile_words(1, n, n, n, slices, chip), tile_karatsuba(1, n, n, n, slices, chip))
        plain, karatsuba = (product(tiling.kernel, tiling, chip) for tiling in forms)
        return karatsuba.planes + karatsuba.gemm < plain.planes + plain.gemm

    index = bisect_left(EXTENTS, True, key=gains)
    return EXTENTS[index] if index < len(EXTENTS) else None


def stale(entries: Iterable[Key]) -> Iterator[str]:
    """What the clock says otherwise now."""
    for key in entries:
        listed, found = table().blocks[key], ranked(key)
        shapes = [(b.rows, b.columns, b.depth) for b in found]
        if shapes != [(b.rows, b.columns, b.depth) for b in listed]:
            yield f"{key}: the order is now {shapes}; run `python benchmarks/tune.py`"
        elif any(abs(a.ns - b.ns) > TOLERANCE * b.ns for a, b in zip(listed, found, strict=True)):
            yield f"{key}: the times are now {[b.ns for b in found]}; run `python benchmarks/tune.py`"


def show(key: Key, blocks: list[Block]) -> None:
    """One line for an entry: the fastest, and the slowest."""
    name = "{:14} {:4} {:2d} slices, digits to {}".format(*key)
    first, last = blocks[0], blocks[-1]
    print(
        f"{name}: {first.rows} x {first.columns} depth {first.depth} {first.ns * 1e3:.4f} ps, predicted;"
        f" the slowest of {len(blocks)} +{last.ns / first.ns - 1:.1%}",
        flush=True,
    )


def write(blocks: dict[Key, list[Block]], forms: dict[tuple[str, int], int | None]) -> None:
    """The table as a file, a block on a line."""
    entries: dict[str, Any] = {}
    for (kernel, chip, slices, peak), listed in blocks.items():
        by_slices = entries.setdefault(kernel, {}).setdefault(chip, {})
        by_slices.setdefault(str(slices), {})[str(peak)] = [
            [b.rows, b.columns, b.depth, b.ns] for b in listed
        ]
    least: dict[str, dict[str, int]] = {chip: {} for chip in CHIPS}
    for (chip, slices), extent in forms.items():
        if extent is not None:
            least[chip][str(slices)] = extent
    record = {
        "schema": SCHEMA,
        "made_by": "python benchmarks/tune.py",
        "meaning": "predicted by the clock, never measured",
        "columns": ["rows", "columns", "depth", "ns of a multiply-add"],
        "order": "blocks: kernel, chip, slices, largest digit; karatsuba_from: chip, slices, square extent",
        "karatsuba_from": least,
        "blocks": entries,
    }
    text = json.dumps(record, indent=1)
    FILE.write_text(compact(text) + "\n", encoding="utf-8")


def compact(text: str) -> str:
    """Put every innermost list on one line."""
    lines: list[str] = []
    joining = False
    for line in text.splitlines():
        lines[-1:] = [lines[-1] + line.strip()] if joining else [*lines[-1:], line]
        if line.endswith("["):
            joining = True
        elif joining and line.strip().startswith("]"):
            joining = False
        if joining and line.endswith(","):
            lines[-1] += " "
    return "\n".join(lines)


def watched(items: list[T], name: str) -> Iterable[T]:
    """The items, with a progress bar where tqdm is installed and someone looks."""
    if not sys.stderr.isatty():
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    bar: Iterable[T] = tqdm(items, desc=name)
    return bar


if __name__ == "__main__":
    sys.exit(main())
