"""Accuracy and predicted times of the float32 triangular solve: ``python benchmarks/trsm.py``.

The first table has the largest |B - L X| / |L||X| in units of 2^-24, for 50 normal right-hand sides: of
SciPy's ``strsm``, of a solve by plain inverses of 128 rows, and of the kernel on the interpreter, with
inverses of 128, 64 and 32 rows, beside each the bound that `numtrn.precision.inverses` proves for it.
Residuals are summed in double-double arithmetic. The second table has the times of one core that the clock
predicts from published figures; no device has confirmed them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lu
from scipy.spatial.distance import cdist

from numtrn import interp
from numtrn.interp import modules
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.machine import CHIPS, Chip
from numtrn.plan.trsm import tile_trsm
from numtrn.precision.inverses import EDGES, Inverses, diagonal_inverses
from numtrn.targets.load import load_kernel

Array = NDArray[Any]
Rng = np.random.Generator
U = 2.0**-24
COLUMNS = 50
TILE = 128


def wishart(rng: Rng, n: int) -> Array:
    g = rng.standard_normal((n, 2 * n))
    return np.linalg.cholesky(g @ g.T)


def pivoted(rng: Rng, n: int) -> Array:
    return lu(rng.standard_normal((n, n)))[1]


def normal(rng: Rng, n: int) -> Array:
    return np.tril(rng.standard_normal((n, n)))


def by_rows(family: Callable[[Rng, int], Array]) -> Callable[[Rng, int], Array]:
    return lambda rng, n: family(rng, n) * 2.0 ** np.linspace(-20, 20, n)[:, None]


def by_columns(family: Callable[[Rng, int], Array]) -> Callable[[Rng, int], Array]:
    return lambda rng, n: family(rng, n) * 2.0 ** np.linspace(-20, 20, n)


def kahan(rng: Rng, n: int) -> Array:
    sine, cosine = np.sin(1.2), np.cos(1.2)
    return ((np.eye(n) - np.triu(np.full((n, n), cosine), 1)) * sine ** np.arange(n)[:, None]).T


def radial(dimensions: int) -> Callable[[Rng, int], Array]:
    def family(rng: Rng, n: int) -> Array:
        points = rng.random((n, dimensions))
        return np.linalg.cholesky(np.exp(-12.5 * cdist(points, points) ** 2) + 1e-8 * np.eye(n))

    return family


FAMILIES: dict[str, Callable[[Rng, int], Array]] = {
    "Cholesky, Wishart": wishart,
    "LU, pivoted": pivoted,
    "LU, rows graded": by_rows(pivoted),
    "LU, columns graded": by_columns(pivoted),
    "Cholesky, RBF in 2-D": radial(2),
    "Cholesky, RBF in 3-D": radial(3),
    "Kahan": kahan,
    "normal, rows graded": by_rows(normal),
    "normal, columns graded": by_columns(normal),
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, nargs="*", default=(100, 300, 1000))
    parser.add_argument("--sizes", type=int, nargs="*", default=(512, 1024, 2048, 4096))
    parser.add_argument("--chip", choices=tuple(CHIPS), action="append")
    known = parser.parse_args()
    if known.orders:
        edges = "".join(f"{edge:9d}{'bound':>10}" for edge in EDGES)
        print(f"{'family':24}{'n':>5}{'strsm':>8}{'plain':>9}{edges}{'ratio':>7}{'spread':>9}")
    for name, family in FAMILIES.items():
        for n in known.orders:
            print(f"{name:24}{n:5d}{accuracy(family, n)}", flush=True)
    if known.orders:
        print("ratio: kernel with 128 rows to strsm; spread: `Inverses.spread` with 128 rows.")
    if known.sizes:
        print(
            f"\n{'chip':5}{'M = N':>6}{'edge':>5}{'us':>10}{'T_pe':>9}{'T_chain':>9}{'T_dma':>8}{'share':>7}"
            f"{'TensorE':>9}  share of T_low without the executable's start and end"
        )
    for chip in known.chip or CHIPS:
        for n in known.sizes:
            for edge in EDGES:
                print(f"{chip:5}{clocked(n, edge, CHIPS[chip])}", flush=True)
    if known.sizes:
        print("Predictions from published figures; none has been confirmed by a device of ours.")


def accuracy(family: Callable[[Rng, int], Array], n: int) -> str:
    """A row of the first table."""
    rng = np.random.default_rng(n)
    lower = np.tril(family(rng, n)).astype(np.float32)
    rhs = rng.standard_normal((n, COLUMNS)).astype(np.float32)
    inverses = [diagonal_inverses(lower, tile_trsm(n, COLUMNS).m, edge=edge) for edge in EDGES]
    with np.errstate(all="ignore"):
        host = error(lower, blas.strsm(1, lower, rhs, lower=1), rhs)
        plain = error(lower, plainly(lower, rhs), rhs)
        errors = [error(lower, solved(lower, rhs, found), rhs) for found in inverses]
        ratio = errors[0] / host
    pairs = "".join(f"{size:9.3g}{found.bound:10.4g}" for size, found in zip(errors, inverses, strict=True))
    return f"{host:8.2f}{plain:9.3g}{pairs}{ratio:7.2g}{inverses[0].spread:9.3g}"


def plainly(lower: Array, rhs: Array) -> Array:
    """X by plain inverses, in float32."""
    x = np.zeros_like(rhs)
    for i in range(0, len(lower), TILE):
        rows = slice(i, i + TILE)
        total = np.zeros_like(rhs[rows])
        for j in range(0, i, TILE):
            total += lower[rows, j : j + TILE] @ x[j : j + TILE]
        tile = lower[rows, rows]
        x[rows] = diagonal_inverses(tile).inverses_t.T[: len(tile), : len(tile)] @ (rhs[rows] - total)
    return x


def solved(lower: Array, rhs: Array, inverses: Inverses) -> Array:
    """X by the kernel on the interpreter."""
    n, columns = rhs.shape
    tiling = tile_trsm(n, columns, inverses.edge)
    padded, right = np.eye(tiling.m, dtype=np.float32), np.zeros((tiling.m, tiling.n), np.float32)
    padded[:n, :n], right[:n, :columns] = lower, rhs
    edge = tiling.block_m
    blocks = [
        padded[i : i + edge, j : j + edge].T
        for i in range(0, tiling.m, edge)
        for j in range(0, i + edge, edge)
    ]
    arrays = np.concatenate(blocks), inverses.inverses_t, right
    run = interp.simulate(load_kernel("trsm", modules), (*arrays, *tiling.parameters), chip=CHIPS["trn2"])
    return run.outputs[:n, :columns]


def error(lower: Array, x: Array, rhs: Array) -> float:
    """Largest componentwise backward error in units of u; NaN where X is not finite."""
    if not np.isfinite(x).all():
        return np.nan
    wide, found = lower.astype(np.float64), x.astype(np.float64)
    high, low = -rhs.astype(np.float64), np.zeros(rhs.shape)
    for k in range(len(lower)):  # products of two float32 are exact
        product = wide[:, k, None] * found[k]
        total = high + product
        part = total - high
        low += (high - (total - part)) + (product - part)
        high = total
    residual, size = np.abs(high + low), np.abs(wide) @ np.abs(found)
    return float(np.max(np.where(residual > 0, residual / size, 0.0))) / U


def clocked(n: int, edge: int, chip: Chip) -> str:
    """A row of the second table, M = N = n."""
    tiling = tile_trsm(n, n, edge)
    blocks, rows = tiling.m // tiling.block_m, min(TILE, tiling.m)
    shapes = (
        (blocks * (blocks + 1) // 2 * tiling.block_m, tiling.block_m),
        (tiling.m, rows),
        (tiling.m, tiling.n),
    )
    arrays = (of_shape(shape, np.float32) for shape in shapes)
    found = time_kernel(load_kernel("trsm", modules), (*arrays, *tiling.parameters), chip)
    tiles, width = tiling.m // rows, min(512, tiling.n)
    tensor = tiles * (tiles + 1) // 2 * tiling.n * chip.fp32_passes / chip.tensor_ghz / 1e3
    link = width * chip.fp32_passes / chip.tensor_ghz / 1e3 + width / chip.vector_ghz / 1e3
    chain = tiles * (2 * link + 2 * (0.16 + 0.15) + 4 * chip.semaphore_ns / 1e3)
    moved = 4 * (tiles * (tiles + 1) // 2 * rows**2 + tiling.m * rows + 2 * tiling.m * tiling.n)
    dma = moved / chip.dma_hard_bytes_per_ns / 1e3
    low, total = max(tensor, chain, dma), found.total_ns / 1e3
    inner = total - (chip.start_ns + chip.end_ns) / 1e3
    return (
        f"{n:6d}{edge:5d}{total:10.1f}{tensor:9.1f}{chain:9.1f}{dma:8.1f}{low / total:7.1%}"
        f"{found.busy_ns['tensor'] / found.total_ns:9.1%}  {low / inner:.1%}"
    )


if __name__ == "__main__":
    main()
