"""Whether a product is cut smaller so that several cores share it, and over how many of them it is spread.

Only the batch, M and N are cut further, never K, so that every sum is the same for any number of cores. On
hardware the least predicted time decides, which counts a fixed cost for each launch and all that the cores
send over one link; where times mean nothing every core asked for gets what it can of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import ceil

from numtrn.plan.cores import parts_of, shares
from numtrn.plan.tiling import Tiling
from numtrn.request import MIRRORED, Structure

__all__ = ["counts", "cover", "over", "spread"]

ENOUGH = 8
"""Result blocks for each core from which cutting smaller is of no use."""

Tilings = tuple[Tiling, ...]


def cover(t: Tiling, batch: int, m: int, k: int, n: int) -> Tiling:
    """A launch repeated over a product."""
    return replace(t, pieces=(ceil(batch / t.batch), ceil(m / t.m), ceil(k / t.k), ceil(n / t.n)))


def spread(
    cut: Callable[[int, int, int], Tilings],
    extents: tuple[int, int, int, int],
    cores: int,
    seconds: Callable[[Tilings], float] | None,
    structure: Structure = "general",
) -> Tilings:
    """Tilings of a product, of one shape, for at most so many cores.

    Parameters
    ----------
    cut
        Tilings that suit extents of batch, M and N, for one core.
    extents
        Batch, M, K and N.
    cores
        Most cores.
    seconds
        Predicts; None where times decide nothing.
    structure
        Of a triangular operand nothing is cut smaller, of a symmetric result M and N alike.
    """
    batch, m, _, n = extents
    plain = cut(batch, m, n)
    if cores == 1:
        return plain
    found = []
    for ways in _ways(plain[0], structure, cores):
        smaller = (ceil(extent / pieces) for extent, pieces in zip((batch, m, n), ways, strict=True))
        tilings = plain if ways == (1, 1, 1) else tuple(cover(t, *extents) for t in cut(*smaller))
        if not _same_sums(tilings[0], plain[0]):
            continue
        found.append(over(tilings, cores, seconds))
    return _best(found, seconds)


def _ways(t: Tiling, structure: Structure, cores: int) -> Iterator[tuple[int, int, int]]:
    """Numbers of pieces along batch, M and N to try; the launch itself first."""
    yield 1, 1, 1
    if structure == "trmm" or len(parts_of(t)) >= ENOUGH * cores:
        return
    tried = (1, *counts(cores))
    most = 4 * cores if structure in MIRRORED else cores  # half of the blocks are not made
    for i in tried:
        for rows in tried:
            for columns in (rows,) if structure in MIRRORED else tried:
                if 1 < i * rows * columns <= most:
                    yield i, rows, columns


def _same_sums(t: Tiling, other: Tiling) -> bool:
    """Whether launches add up the same: as many digits, whose sums are exact, or the same pieces along K."""
    return t.slices == other.slices and (bool(t.slices) or (t.k, t.pieces[2]) == (other.k, other.pieces[2]))


def counts(cores: int) -> list[int]:
    """Numbers of cores to try: powers of two, and all.

    >>> counts(8), counts(3)
    ([2, 4, 8], [2, 3])
    """
    return [*(2**e for e in range(1, (cores - 1).bit_length())), cores]


def over(tilings: Tilings, cores: int, seconds: Callable[[Tilings], float] | None) -> Tilings:
    """The same launches over at most so many cores; arguments as of `spread`."""
    if cores == 1:
        return tilings
    most = [len(shares(replace(tilings[0], cores=count))) for count in (1, *counts(cores))]
    found = [tuple(replace(t, cores=used) for t in tilings) for used in sorted(set(most))]
    return _best(found, seconds)


def _best(found: list[Tilings], seconds: Callable[[Tilings], float] | None) -> Tilings:
    if seconds:
        return min(found, key=lambda tilings: (seconds(tilings), tilings[0].cores))
    return min(found, key=_heaviest)


def _heaviest(tilings: Tilings) -> tuple[int, int, int]:
    """Work of the core that has most, the number of result blocks, and bytes that they read."""
    of_cores = shares(tilings[0])
    most = max(sum(part.work for part in share.parts) for share in of_cores)
    parts = sum(len(share.parts) for share in of_cores)
    return most, parts, parts * tilings[0].bytes_in
