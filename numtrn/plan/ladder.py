"""The few launch shapes of a target that compiles: a product is cut and padded into them, whatever its own.

Compiling takes minutes, and a program is one shape. So there are two policies: "fine", where every product
has the shape that suits it best, and "few", where launches have the shapes listed here. Of several that would
do, the one with the least predicted time is taken. A product of digits may take more digits than asked for;
its words always have k outermost, so that one program makes the planes of both operands of a square launch.

What a launch of a shape holds is for the modules that know the kernels (`numtrn.plan.words` and so on): every
shape listed is one that they leave as it is. Functions of plain integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import ceil
from typing import Any, NamedTuple

from numtrn.machine import CHIPS, Chip
from numtrn.plan.cost import predict, predict_words
from numtrn.plan.rank_k import tile_rank_k
from numtrn.plan.spread import cover as _cover
from numtrn.plan.spread import over, spread
from numtrn.plan.symm import tile_symm
from numtrn.plan.tiling import Tiling, tile_gemm
from numtrn.plan.trmm import tile_trmm
from numtrn.plan.trsm import TRSM_LIMIT, tile_trsm
from numtrn.plan.words import (
    LONG,
    PEAK,
    Planes,
    prefers_karatsuba,
    regroup,
    tile_karatsuba,
    tile_least,
    tile_planes,
    tile_products,
    tile_words,
    whole,
)
from numtrn.request import MIRRORED, Structure

__all__ = ["DIGITS", "EXTENTS", "GUARDS", "KARATSUBA", "Cutting", "Rung", "rounded"]


class Rung(NamedTuple):
    """One launch shape of a product of digits."""

    batch: int
    m: int
    k: int
    n: int
    slices: int


DIGITS = (
    Rung(1, 32, 128, 2048, 16),
    Rung(1, 128, 512, 1536, 16),
    Rung(1, 512, 512, 512, 16),
    Rung(16, 128, 128, 128, 16),
    Rung(1, 1024, 2048, 1024, 16),
    Rung(1, 512, 3072, 1024, 16),
    Rung(1, 256, 256, 256, 8),
    Rung(1, 1024, 1024, 1024, 8),
    Rung(1, 2048, 2048, 2048, 8),
    Rung(1, 2048, 2560, 2048, 8),
)
"""For ``sliced_gemm``. Sixteen digits are the most that any data ask for. At sizes where a launch's fixed
cost and the link are what is paid for, they cost little more than eight (``benchmarks/programs.py``)."""

KARATSUBA = (Rung(1, 2048, 2048, 2048, 8), Rung(1, 2048, 3072, 2048, 8))
"""For ``karatsuba_gemm``, where sizes and data allow it."""

LOWER_FROM = 1024
"""Edge of a launch from which a symmetric result has a program of its own, that leaves out half of it."""

GUARDS = ((256, 512, 2048), (2048, 128, 8192), (2048, 2048, 8192))
"""M, K and N for ``least_product``, one pair a launch."""

EXTENTS = (128, 512, 1024, 2048, 4096)
"""To which the extents of kernels of plain operands are rounded up."""

BATCHES = (1, 16)
"""Pairs in a launch of those."""


def rounded(extent: int) -> int:
    """The least of `EXTENTS` that holds an extent; beyond the largest a multiple of that.

    >>> rounded(93), rounded(600), rounded(5000)
    (128, 1024, 8192)
    """
    most = EXTENTS[-1]
    return next((size for size in EXTENTS if extent <= size), ceil(extent / most) * most)


@dataclass(frozen=True, slots=True)
class Cutting:
    """How products are cut into launches, on one chip.

    Attributes
    ----------
    shapes
        One of `numtrn.options.SHAPES`.
    chip
        The chip, by whose published figures shapes are chosen.
    cores
        Most cores that a product is spread over.
    timed
        Whether predicted times decide over how many.
    profile
        The chip with the figures of this machine's profile, for predictions; None: the published ones.
    """

    shapes: str
    chip: Chip
    cores: int = 1
    timed: bool = False
    profile: Chip | None = None

    @property
    def figures(self) -> Chip:
        """The chip for predictions."""
        return self.profile or self.chip

    @property
    def few(self) -> bool:
        """Whether launches have the shapes of the ladder."""
        return self.shapes == "few"

    @property
    def spread(self) -> dict[str, Any]:
        """What tilings of pairs are told of cores."""
        return {"cores": self.cores, "chip": self.chip if self.timed else None}

    def products(
        self, batch: int, m: int, k: int, n: int, slices: int, parts: int, structure: Structure = "general"
    ) -> tuple[Tiling, ...]:
        """As `numtrn.plan.words.tile_products`; of the ladder with as many digits as asked for, or more."""
        found = self._words if self.cores == 1 else partial(_spread_words, self)
        return found(batch, m, k, n, slices, parts, structure)

    def karatsuba(
        self, batch: int, m: int, k: int, n: int, slices: int, structure: Structure = "general"
    ) -> Tiling | None:
        """Launches in Karatsuba's form, or None where they would not be faster."""
        if not prefers_karatsuba(batch, m, k, n, slices, self.chip, structure):
            return None
        words = self._words if self.cores == 1 else partial(_spread_words, self)
        return next(iter(words(batch, m, k, n, slices, 0, structure)), None)

    def _words(
        self, batch: int, m: int, k: int, n: int, slices: int, parts: int, structure: Structure
    ) -> tuple[Tiling, ...]:
        """Products of words for one core; with no parts the one in Karatsuba's form, if there is any."""
        if self.few:
            if parts:
                return _products(batch, m, k, n, slices, parts, self.chip.name, structure)
            found = _karatsuba(batch, m, k, n, slices, self.chip.name, structure)
            return () if found is None else (found,)
        if parts:
            return tile_products(batch, m, k, n, slices, parts, self.chip, structure)
        return (tile_karatsuba(batch, m, k, n, slices, self.chip, structure),)

    def planes(self, tiling: Tiling, side: str, k_is_fast: bool) -> Planes:
        """The pre-pass of one operand; of the ladder without a transpose, as the host has cut words so."""
        return tile_planes(tiling, side, k_is_fast and not self.few)

    def least(self, batch: int, m: int, k: int, n: int) -> Tiling:
        """As `numtrn.plan.words.tile_least`, over several cores, cut no smaller: bounds depend on it."""
        if not self.few:
            t = tile_least(batch, m, k, n)
        else:
            covers = (_cover(tile_least(1, *shape), batch, m, k, n) for shape in GUARDS)
            t = min(covers, key=lambda t: predict(t, 1, self.chip).total)

        def seconds(tilings: tuple[Tiling, ...]) -> float:
            return predict(tilings[0], 1, self.chip).total

        (found,) = over((t,), self.cores, seconds if self.timed else None)
        return found

    def gemm(
        self,
        batch: int,
        m: int,
        k: int,
        n: int,
        itemsize: int,
        tf32: bool = False,
        k_is_fast: tuple[bool, bool] = (False, False),
    ) -> Tiling:
        """As `numtrn.plan.tiling.tile_gemm`."""
        gemm = self._gemm if self.cores == 1 else partial(_spread_gemm, self)
        return gemm(batch, m, k, n, itemsize, tf32, k_is_fast)

    def _gemm(
        self, batch: int, m: int, k: int, n: int, itemsize: int, tf32: bool, k_is_fast: tuple[bool, bool]
    ) -> Tiling:
        """For one core."""
        if not self.few:
            return tile_gemm(batch, m, k, n, itemsize, tf32, k_is_fast)
        t = tile_gemm(1, rounded(m), rounded(k), rounded(n), itemsize, tf32, k_is_fast)
        full = tile_gemm(_batch(batch), t.m, t.k, t.n, itemsize, tf32, k_is_fast)
        return _cover(full if full.batch == _batch(batch) else t, batch, m, k, n)

    def rank_k(
        self, batch: int, n: int, k: int, parts: int, itemsize: int, tf32: bool, k_is_fast: bool
    ) -> Tiling:
        """As `numtrn.plan.rank_k.tile_rank_k`."""
        if not self.few:
            return tile_rank_k(batch, n, k, parts, itemsize, tf32, k_is_fast)
        t = tile_rank_k(1, rounded(n), rounded(k), parts, itemsize, tf32, k_is_fast)
        return _cover(t, batch, n, k, t.n)

    def symm(self, m: int, n: int, itemsize: int = 4, tf32: bool = False) -> Tiling:
        """As `numtrn.plan.symm.tile_symm`."""
        return self._sided(tile_symm, m, n, itemsize, tf32)

    def trmm(self, m: int, n: int, itemsize: int = 4, tf32: bool = False) -> Tiling:
        """As `numtrn.plan.trmm.tile_trmm`."""
        return self._sided(tile_trmm, m, n, itemsize, tf32)

    def _sided(
        self, tile: Callable[[int, int, int, bool], Tiling], m: int, n: int, itemsize: int, tf32: bool
    ) -> Tiling:
        if not self.few:
            return tile(m, n, itemsize, tf32)
        t = tile(rounded(m), rounded(n), itemsize, tf32)
        return replace(t, pieces=(t.pieces[0], ceil(m / t.m), t.pieces[2], ceil(n / t.n)))

    def trsm(self, m: int, n: int, edge: int = 128) -> Tiling:
        """As `numtrn.plan.trsm.tile_trsm`."""
        if not self.few:
            return tile_trsm(m, n, edge)
        t = tile_trsm(rounded(m) if m <= TRSM_LIMIT else m, rounded(n), edge)
        return replace(t, pieces=(1, 1, 1, ceil(n / t.n)))


def _batch(batch: int) -> int:
    return next((size for size in reversed(BATCHES) if 2 * batch > size), 1)


@lru_cache(maxsize=4096)
def _spread_gemm(
    cutting: Cutting,
    batch: int,
    m: int,
    k: int,
    n: int,
    itemsize: int,
    tf32: bool,
    k_is_fast: tuple[bool, bool],
) -> Tiling:
    passes = cutting.chip.fp32_passes if itemsize == 4 and not tf32 else 1

    def cut(batch: int, m: int, n: int) -> tuple[Tiling, ...]:
        return (cutting._gemm(batch, m, k, n, itemsize, tf32, k_is_fast),)

    def seconds(tilings: tuple[Tiling, ...]) -> float:
        return predict(tilings[0], passes, cutting.chip).total

    (found,) = spread(cut, (batch, m, k, n), cutting.cores, seconds if cutting.timed else None)
    return found


@lru_cache(maxsize=4096)
def _spread_words(
    cutting: Cutting, batch: int, m: int, k: int, n: int, slices: int, parts: int, structure: Structure
) -> tuple[Tiling, ...]:
    def cut(batch: int, m: int, n: int) -> tuple[Tiling, ...]:
        return cutting._words(batch, m, k, n, slices, parts, structure)

    def seconds(tilings: tuple[Tiling, ...]) -> float:
        return predict_words(tilings, cutting.chip).total

    if not cut(batch, m, n):
        return ()
    return spread(cut, (batch, m, k, n), cutting.cores, seconds if cutting.timed else None, structure)


# ---- Products of digits ----


@lru_cache(maxsize=4096)
def _products(
    batch: int, m: int, k: int, n: int, slices: int, parts: int, chip: str, structure: Structure
) -> tuple[Tiling, ...]:
    found = [
        _parts_of(_cover(t, batch, m, k, n), parts)
        for rung in DIGITS
        if rung.slices >= slices and (t := _launch(rung, parts * PEAK, chip, structure)) is not None
    ]
    return min(found, key=lambda tilings: predict_words(tilings, CHIPS[chip]).total)


def _parts_of(tiling: Tiling, parts: int) -> tuple[Tiling, ...]:
    """Of complex operands the product of digit sums too, with as many matmuls in a bank as always fit."""
    if parts == 1:
        return (tiling,)
    single = regroup(tiling, 8)
    return single, single, regroup(tiling, 2)


@lru_cache(maxsize=1024)
def _launch(rung: Rung, peak: int, chip: str, structure: Structure) -> Tiling | None:
    """The launch of a rung; None where the chip, or larger digits, ask for a smaller one."""
    batch, m, k, n, slices = rung

    def cut(wanted: Structure) -> Tiling | None:
        t = tile_words(batch, m, k, n, slices, CHIPS[chip], peak, wanted)
        kept = (t.batch, t.m, t.k, t.n, *t.pieces) == (*rung[:4], 1, 1, 1, 1)
        return t if kept and whole(t).instructions <= LONG else None

    square = cut("syrk") if m == n else None  # whose blocks are square, so that both operands are cut alike
    if structure in MIRRORED and m >= LOWER_FROM and square is not None:
        return square
    return cut("general") if square is None else whole(square)


@lru_cache(maxsize=1024)
def _karatsuba(
    batch: int, m: int, k: int, n: int, slices: int, chip: str, structure: Structure
) -> Tiling | None:
    found = [
        _cover(t, batch, m, k, n)
        for rung in KARATSUBA
        if rung.slices >= slices
        for t in [tile_karatsuba(*rung, CHIPS[chip], "syrk")]
        if (t.batch, t.m, t.k, t.n, *t.pieces) == (*rung[:4], 1, 1, 1, 1)
    ]
    if not found:
        return None
    t = min(found, key=lambda t: predict_words((t,), CHIPS[chip]).total)
    return t if structure in MIRRORED else whole(t)
