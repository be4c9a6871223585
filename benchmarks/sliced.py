"""Predicted device times of float64 products, from words to words: ``python benchmarks/sliced.py``.

Operands lie on one core's HBM as int64 words, A and B row by row; results are carried words. Every distinct
launch is timed once by the clock, without data, and counted as often as it runs: planes of each piece of an
operand once, then the products. No transfer to or from the host is in it, and where K needs several
launches the host adds their words. All of it is predicted from published figures; no device has confirmed it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import ml_dtypes
import numpy as np

from numtrn.engine import group_of
from numtrn.interp import modules
from numtrn.interp.clock import Timeline, of_shape, time_kernel
from numtrn.machine import CHIPS, Chip
from numtrn.plan.tiling import TILE, Tiling
from numtrn.plan.words import (
    plane_count,
    regroup,
    tile_karatsuba,
    tile_planes,
    tile_products,
    tile_words,
)
from numtrn.request import Array
from numtrn.targets.load import load_kernel

SLICES = 7
SIZES = (512, 1024, 2048, 4096, 8192)
HEADER = (
    f"{'chip':5}{'n':>6} {'form':10} {'products':>8} {'planes ms':>10} {'GEMM ms':>9} {'TFLOPS':>7}"
    f" {'T_pe ms':>9} {'share':>6}  busiest engine besides TensorE"
)


@dataclass(frozen=True)
class Row:
    """One form at one size: times of one core in milliseconds."""

    form: str
    products: int
    planes: float
    gemm: float
    flops: float
    bound: float
    busiest: str


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chip", choices=tuple(CHIPS), action="append")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument(
        "--unstretched", action="store_true", help="matmuls take their cycles only (Chip.matmul_stretch = 1)"
    )
    known = parser.parse_args()
    print(HEADER)
    for name in known.chip or CHIPS:
        chip = replace(CHIPS[name], matmul_stretch=1.0) if known.unstretched else CHIPS[name]
        for n in known.sizes:
            for row in rows(n, chip):
                total = row.planes + row.gemm
                print(
                    f"{name:5}{n:6d} {row.form:10} {row.products:8d} {row.planes:10.3f} {row.gemm:9.3f}"
                    f" {row.flops / total / 1e9:7.2f} {row.bound:9.3f} {row.bound / total:6.1%}"
                    f"  {row.busiest}",
                    flush=True,
                )
    print("TFLOPS: 2 n^3 for a product, 8 n^3 for zgemm (3M), n^2 (n + 1) for syrk; over planes and GEMM.")
    print(
        "zgemm g: matmuls in a bank of the product of digit sums, as random digits allow; engine share of it."
    )
    print("Predictions from published figures; none has been confirmed by a device of ours.")


def rows(n: int, chip: Chip) -> Iterator[Row]:
    """The forms at one size."""
    plain = product("plain", tile_words(1, n, n, n, SLICES, chip), chip)
    yield replace(plain, flops=2.0 * n**3)
    karatsuba = product("karatsuba", tile_karatsuba(1, n, n, n, SLICES, chip), chip)
    yield replace(karatsuba, flops=2.0 * n**3)
    yield zgemm(n, chip)
    yield syrk("syrk", tile_words(1, n, n, n, SLICES, chip, structure="syrk"), n, chip)
    yield syrk("syrk kar.", tile_karatsuba(1, n, n, n, SLICES, chip, structure="syrk"), n, chip)


def product(form: str, tiling: Tiling, chip: Chip) -> Row:
    """A product: the planes of all pieces of A, turned, and of B, then all launches."""
    _, pieces_m, pieces_k, pieces_n = tiling.pieces
    left, right = planes(tiling, "lhs", True, chip), planes(tiling, "rhs", False, chip)
    made = pieces_k * (pieces_m * left.total_ns + pieces_n * right.total_ns)
    one = timed(tiling.kernel, operands(tiling), tiling.parameters, chip)
    return Row(
        form,
        products_of(tiling),
        made / 1e6,
        tiling.launches * one.total_ns / 1e6,
        0.0,
        tiling.launches * tiling.pe_columns / chip.tensor_ghz / 1e6,
        busiest(one),
    )


def zgemm(n: int, chip: Chip) -> Row:
    """A complex product: planes of four parts, sums for both operands, two products and that of the sums."""
    tilings = tile_products(1, n, n, n, SLICES, 2, chip)
    single, _, summed = tilings
    left, right = digit_sums(single, single.m, 0), digit_sums(single, single.n, 1)
    group = group_of(single, left, right)
    tilings = (single, single, regroup(summed, group))
    parts = [product("", tiling, chip) for tiling in tilings]
    _, pieces_m, pieces_k, pieces_n = single.pieces
    added = sum(
        pieces_k * pieces * timed("sum_planes", (shape, shape), (min(TILE, single.k),), chip).total_ns
        for shape, pieces in zip(operands(single), (pieces_m, pieces_n), strict=True)
    )
    return Row(
        f"zgemm g={group}",
        sum(part.products for part in parts),
        2 * parts[0].planes + added / 1e6,
        sum(part.gemm for part in parts),
        8.0 * n**3,
        sum(part.bound for part in parts),
        parts[-1].busiest,
    )


@cache
def digit_sums(tiling: Tiling, extent: int, seed: int) -> Array:
    """Largest norms of columns of sums of random digits, tile by tile of K, as `group_of` takes them."""
    rng = np.random.default_rng(seed)
    height = min(TILE, tiling.k)
    found = np.empty((1, tiling.k // height, SLICES))
    for k in range(tiling.k // height):
        digits = rng.integers(-128, 128, (2, height, SLICES, extent), np.int16).sum(axis=0, dtype=np.int32)
        found[0, k] = np.sqrt((digits**2).sum(axis=0).max(axis=1))
    return found


def syrk(form: str, tiling: Tiling, n: int, chip: Chip) -> Row:
    """A A^T, lower triangle: one set of planes, launches of triangles on the diagonal, of squares below."""
    _, pieces, pieces_k, _ = tiling.pieces
    below = pieces * (pieces - 1) // 2
    made = pieces * pieces_k * planes(tiling, "lhs", True, chip).total_ns
    diagonal = timed(tiling.kernel, operands(tiling), tiling.parameters, chip)
    total, columns = pieces * diagonal.total_ns, pieces * tiling.pe_columns
    if below:
        square = timed(tiling.kernel, operands(tiling), (*tiling.parameters[:-1], 0), chip)
        blocks = tiling.m // tiling.block_m
        total += below * square.total_ns
        columns += below * tiling.pe_columns * 2 * blocks // (blocks + 1)
    return Row(
        form,
        products_of(tiling),
        made / 1e6,
        pieces_k * total / 1e6,
        float(n) * n * (n + 1),
        pieces_k * columns / chip.tensor_ghz / 1e6,
        busiest(diagonal),
    )


def products_of(tiling: Tiling) -> int:
    """Plane products of the form."""
    s = tiling.slices
    return plane_count(s) if tiling.kernel == "karatsuba_gemm" else s * (s + 1) // 2


def operands(tiling: Tiling) -> tuple[tuple[int, int], ...]:
    """Shapes of the planes that a launch takes."""
    rows_of, width = tiling.batch * tiling.k, tiling.slices
    if tiling.kernel == "karatsuba_gemm":
        depth = tiling.parameters[4]
        rows_of, width = rows_of // depth, plane_count(tiling.slices) * depth
    return (rows_of, width * tiling.m), (rows_of, width * tiling.n)


def planes(tiling: Tiling, side: str, transpose: bool, chip: Chip) -> Timeline:
    """The pre-pass of one operand of one launch."""
    pre = tile_planes(tiling, side, transpose)
    return timed(pre.kernel, ((pre.rows, pre.columns),), pre.parameters, chip)


@cache
def timed(
    kernel: str, shapes: tuple[tuple[int, int], ...], parameters: tuple[int, ...], chip: Chip
) -> Timeline:
    """The predicted timeline of one launch."""
    dtype = np.int8 if kernel in ("digit_planes", "karatsuba_planes") else ml_dtypes.bfloat16
    arguments = (*(of_shape(shape, dtype) for shape in shapes), *parameters)
    return time_kernel(load_kernel(kernel, modules), arguments, chip)


def busiest(timeline: Timeline) -> str:
    """The engine that is busy for the largest part of a launch, TensorE aside, and TensorE."""
    shares = {name: busy / timeline.total_ns for name, busy in timeline.busy_ns.items()}
    tensor = shares.pop("tensor")
    name = max(shares, key=lambda engine: shares[engine])
    return f"{name} {shares[name]:.0%} (tensor {tensor:.0%})"


if __name__ == "__main__":
    main()
