"""Whether sums that TensorE forms of digits stay within what fp32 adds exactly, judged from norms of columns.

What the norms are is the kernels' (``kernels/karatsuba_planes.py``, ``kernels/sum_planes.py``).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from numtrn.plan.tiling import EXACT, LOWER_LHS, TILE, Tiling
from numtrn.plan.words import pair_count
from numtrn.request import Array

__all__ = ["CERTAIN", "CERTAIN_SUMS", "GROUPS", "chunks_fit", "group_of"]

CERTAIN = 1 + 2.0**-10
"""Covers the rounding of sums of squares on the device."""

CERTAIN_SUMS = 1 + 2.0**-6
"""Covers the rounding of squares in ``kernels/sum_planes.py``, in any direction."""

GROUPS = (8, 6, 4)
"""Matmuls in a bank of the product of digit sums: few, as each is a program of its own. Two always fit."""


def chunks_fit(t: Tiling, squares: Iterable[tuple[int, int, Array]]) -> bool:
    """Whether every chunk of the products of digit sums in Karatsuba's form stays exact.

    By Cauchy-Schwarz from the largest sums of squares of columns, for each chunk of k and pair of digits
    (see ``kernels/karatsuba_planes.py``).

    Parameters
    ----------
    squares
        Of each plane: its side (of A A^T there is one), where along k it starts, and the sums.
    """
    largest: list[dict[int, Array]] = [{}, {}]
    chunks = t.k // (TILE * t.parameters[-2])
    for side, k, found in squares:
        worst = found.reshape(t.batch, chunks, -1, pair_count(t.slices)).max(axis=(0, 2))
        before = largest[side].get(k)
        largest[side][k] = worst if before is None else np.maximum(before, worst)
    left, right = largest[0], largest[1] or largest[0]
    return all(bool((np.sqrt(left[k] * right[k]) * CERTAIN <= EXACT).all()) for k in left)


def group_of(t: Tiling, left: Array, right: Array) -> int:
    """Matmuls that may share a bank in the product of digit sums: the most whose sums stay exact.

    By Cauchy-Schwarz the magnitudes that a matmul adds are at most the product of the norms of its columns,
    of which the largest are given for each operand, (batch, tiles of K, digits). They are added as
    ``kernels/sliced_gemm.py`` adds: for each chunk and diagonal, digit by digit, tile by tile.
    """
    diagonals = [
        np.concatenate([left[:, chunk, p] * right[:, chunk, q - p] for p in range(q + 1)], axis=1)
        for chunk in _chunks(t, left.shape[1])
        for q in range(t.slices)
    ]
    for group in GROUPS:
        sums = (np.add.reduceat(terms, range(0, terms.shape[1], group), axis=1) for terms in diagonals)
        if max(float(part.max()) for part in sums) * CERTAIN_SUMS <= EXACT:
            return group
    return 2


def _chunks(t: Tiling, tiles: int) -> list[slice]:
    """Tiles of K that are multiplied together for some block; above a triangle's diagonal there are none."""
    depth, step = t.parameters[4], max(1, t.block_m // TILE)
    ends = range(step, tiles + 1, step) if t.part == LOWER_LHS else ()
    found = {(k, min(k + depth, end)) for end in (*ends, tiles) for k in range(0, end, depth)}
    return [slice(*chunk) for chunk in sorted(found)]
