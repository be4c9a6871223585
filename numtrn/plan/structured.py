"""How a plain product with a structure is cut: a kernel of its own on the diagonal, plain products beside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from numtrn.machine import CHIPS
from numtrn.plan.ladder import Cutting
from numtrn.plan.tiling import Tiling
from numtrn.request import Structure

__all__ = ["tile_structured"]

FINE = Cutting("fine", CHIPS["trn2"])
"""Kernels of plain operands are cut alike for every chip."""


def tile_structured(
    structure: Structure,
    batch: int,
    m: int,
    k: int,
    n: int,
    itemsize: int,
    tf32: bool = False,
    k_is_fast: tuple[bool, bool] = (False, False),
    cut: Cutting = FINE,
) -> tuple[Tiling, ...]:
    """Tilings of all launches of a real product (batch, m, k) by (batch, k, n) in an engine type.

    First of the launches on the diagonal of the structured matrix, then, where there are several of them, of
    the plain products of the rows of each with what lies left of it, and of a symmetric matrix right of it.
    """
    match structure:
        case "syrk" | "herk":
            diagonal = cut.rank_k(batch, m, k, 1, itemsize, tf32, k_is_fast[0])
        case "syr2k" | "her2k":
            k_is_fast = (True, True)  # as the pairs of operands are put side by side
            diagonal = cut.rank_k(batch, m, k // 2, 2, itemsize, tf32, True)
        case "symm" | "hemm":
            diagonal = cut.symm(m, n, itemsize, tf32)
        case "trmm":
            diagonal = cut.trmm(m, n, itemsize, tf32)
        case "general":
            return (cut.gemm(batch, m, k, n, itemsize, tf32, k_is_fast),)
    pieces_batch, rows, pieces_k, columns = diagonal.pieces
    if diagonal.kernel == "rank_k":
        first = replace(diagonal, pieces=(pieces_batch, rows, pieces_k, 1))
        return first, *(
            cut.gemm(batch, high, k, start, itemsize, tf32, k_is_fast) for start, high in _rows(m, diagonal.m)
        )
    first = replace(diagonal, pieces=(batch, rows, 1, columns))
    sides = [(high, start) for start, high in _rows(m, diagonal.m)]
    if structure in ("symm", "hemm"):
        sides += [(diagonal.m, m - start) for start in range(diagonal.m, m, diagonal.m)]
    products = (cut.gemm(1, high, width, n, itemsize, tf32, k_is_fast) for high, width in sides)
    return first, *(replace(t, pieces=(batch * t.pieces[0], *t.pieces[1:])) for t in products)


def _rows(extent: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and height of each piece but the first."""
    for start in range(size, extent, size):
        yield start, min(size, extent - start)
