"""How pair energies of MP2 are cut: blocks of occupied orbitals, the products between them, and their memory.

T, the integrals of a pair of blocks, is all that ever exists of (ia|jb). Functions of plain integers; the
arithmetic is `numtrn.pairs`'s, and the fp32 kernel that keeps T on the chip is cut elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isqrt
from typing import TypeAlias

from numtrn.plan.cores import assign
from numtrn.plan.cost import Prediction
from numtrn.plan.ladder import Cutting
from numtrn.plan.mp2_tiling import predict_pairs, tile_blocks, tile_pairs
from numtrn.plan.tiling import Tiling
from numtrn.plan.words import tile_planes
from numtrn.precision import Scheme
from numtrn.request import Gemm, Mp2, Structure, shape_text

__all__ = [
    "FUSED",
    "BlockPair",
    "Mp2Plan",
    "block_sizes",
    "blocks",
    "device_bytes",
    "epilogue_seconds",
    "host_bytes",
    "is_fused",
    "on_cores",
    "pair_cores",
    "pair_weight",
    "pairs_of_blocks",
    "predict_fused",
    "products",
    "tile_budget",
]

FUSED = "mp2_pairs"
"""Kernel of the fp32 route, from B or from (ia|jb) itself."""

TILE_BYTES = 32 * 2**20
"""Most of T at a time: 2048 x 2048 numbers of float64, what a launch of the sliced kernel gives.

Blocks of B go to the device again for each other block, nocc / block times in all. With four times as much,
64 occupied and 448 virtual orbitals send half of it, 0.6 s less of 5.9 s by prediction; but planes of both
blocks then take 1.9 times B on the device, and with this 1.05 times."""

LEAST_BYTES = 2**20
"""Of T at a time even where B is smaller, so that small molecules are one product."""

ELEMENT_SECONDS = 5e-9
"""Of the epilogue on the host for one T_ab: 4.7 to 5.9 ns for 112 to 448 virtual orbitals on one core of a
processor of 2022 (``benchmarks/mp2_epilogue.py``). A prediction for any other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mp2Plan:
    """What will be done for pair energies: kernel or blocks, precision scheme, memory, predicted times.

    Attributes
    ----------
    request
        What was asked.
    scheme
        How blocks of B become what TensorE multiplies.
    kernel
        `FUSED` where T stays on the chip, else the kernel of the products.
    block
        Occupied orbitals of the first and of the second spin in a block; all of them where T stays on the
        chip.
    products
        Products between blocks, of each shape, and how often it occurs; empty where T stays on the chip.
    device_bytes
        Most on the device at a time, predicted.
    host_bytes
        Most on the host beside B and the pair energies: T of a pair of blocks and the epilogue's tiles.
    target, chip, prediction, numpy_seconds, reason, shapes, cores
        As of a `numtrn.plan.Plan`; the epilogue's time on the host counts as fixed.
    used_cores
        Cores that have something to do.
    """

    request: Mp2
    scheme: Scheme
    kernel: str
    block: tuple[int, int]
    products: tuple[tuple[Gemm, int], ...]
    device_bytes: int
    host_bytes: int
    target: str
    chip: str
    prediction: Prediction
    numpy_seconds: float | None
    reason: str
    shapes: str = "fine"
    cores: int = 1
    used_cores: int = 1

    @property
    def fused(self) -> bool:
        """Whether T stays on the chip."""
        return self.kernel == FUSED

    @property
    def bound(self) -> float:
        """Promised error of T_ab in units of u |B_ia||B_jb|, from which that of the energies follows."""
        return self.scheme.normwise_bound(max(1, self.request.naux))

    @property
    def measure(self) -> str:
        """What the bound of an outcome is in: it is that of all pair energies together."""
        return "Eh"

    @property
    def scales(self) -> str:
        """Empty: what underflows is part of the bound."""
        return ""

    def __str__(self) -> str:
        request = self.request
        spins = "one spin" if request.same else "two spins"
        lines = [
            f"{request.function} {request.dtype} {shape_text(request.shapes)}: kernel",
            f"  reason    {self.reason}",
            f"  pairs     {request.pairs:,} of {spins}, {'x'.join(map(str, request.nvir))} integrals each, "
            f"{request.work:,} multiply-adds",
            f"  scheme    {self.scheme.name}: {self.scheme.description}",
            *self._route(),
            f"  memory    {self.device_bytes / 1e6:,.1f} MB on the device, {self.host_bytes / 1e6:,.1f} MB "
            f"on the host; all of (ia|jb) would be {_all(request) / 1e6:,.1f} MB",
            f"  target    {self.target}, {self.chip}"
            + (f", {self.used_cores} cores" if self.used_cores > 1 else ""),
            f"  predicted {self.prediction} ({self.prediction.source})",
        ]
        if self.numpy_seconds is not None:
            lines.append(f"  NumPy     {self.numpy_seconds * 1e3:.3g} ms predicted from its speed here")
        return "\n".join(lines)

    def _route(self) -> list[str]:
        if self.fused:
            return [f"  kernel    {self.kernel}: (ia|jb) stays on the chip, only sums come back"]
        slices = self.scheme.normwise_slices(self.request.naux)
        digits = [f"  slices    {slices} digits of 8 bits for all data"] if slices else []
        return [
            *digits,
            f"  promise   |dT_ab| <= {self.bound:.3g} {self.scheme.unit_text} |B_ia||B_jb|, norms over Q",
            *self._products(),
        ]

    def _products(self) -> list[str]:
        return [
            f"  products  {count} x ({gemm.m} x {gemm.k} . {gemm.k} x {gemm.n}) {gemm.structure}, sums on "
            "the host"
            for gemm, count in self.products
        ]


def is_fused(request: Mp2, scheme: Scheme) -> bool:
    """Whether the fp32 kernel serves a scheme: one product in fp32 or tf32, of B or of given integrals."""
    return scheme.terms == 1 and scheme.operand_dtype in ("float32", "tfloat32")


def tile_budget(request: Mp2) -> int:
    """Bytes that T may have at a time: `TILE_BYTES`, and no more than B unless that is below `LEAST_BYTES`.

    One pair of orbitals may have more.
    """
    b = min(o * v for o, v in zip(request.nocc, request.nvir, strict=True)) * request.naux
    return min(TILE_BYTES, max(LEAST_BYTES, b * _itemsize(request)))


def block_sizes(request: Mp2) -> tuple[int, int]:
    """Occupied orbitals in a block, the same for both sides where they have as many virtual orbitals.

    Blocks are of equal size, so that few shapes are compiled: the last one begins where it ends with the
    last orbital, and what it shares with the one before is computed twice and counted once.

    >>> block_sizes(Mp2(function="", dtype="float64", nocc=(64, 64), nvir=(448, 448), naux=1536))
    (4, 4)
    >>> block_sizes(Mp2(function="", dtype="float64", nocc=(5, 5), nvir=(19, 19), naux=84))
    (5, 5)
    """
    pair = request.nvir[0] * request.nvir[1] * _itemsize(request)
    edge = max(1, isqrt(tile_budget(request) // max(1, pair)))
    first, second = (_equal(o, edge) for o in request.nocc)
    return first, second


def blocks(nocc: int, size: int) -> list[tuple[int, int, int]]:
    """Blocks as (first orbital, first one that is not in the block before, end).

    >>> blocks(5, 3)
    [(0, 0, 3), (2, 3, 5)]
    """
    ends = [min(end, nocc) for end in range(size, nocc + size, size)] if nocc else []
    return [(end - size, place * size, end) for place, end in enumerate(ends)]


def products(request: Mp2, sizes: tuple[int, int]) -> tuple[tuple[Gemm, int], ...]:
    """Products between blocks, and how often each occurs; of one spin those of I <= J."""
    first, second = (len(blocks(o, size)) for o, size in zip(request.nocc, sizes, strict=True))
    if not request.same:
        return ((_product(request, sizes, "general"), first * second),)
    found = Counter({_product(request, sizes, "syrk"): first})
    if first > 1:
        found[_product(request, sizes, "general")] = first * (first - 1) // 2
    return tuple(found.items())


BlockPair: TypeAlias = tuple[tuple[int, int, int], tuple[int, int, int]]
"""Two blocks, see `blocks`."""


def pairs_of_blocks(request: Mp2, sizes: tuple[int, int]) -> list[BlockPair]:
    """Pairs of blocks of which there are products, in their order; of one spin those of I <= J."""
    first, second = (blocks(o, size) for o, size in zip(request.nocc, sizes, strict=True))
    return [
        (rows, columns)
        for place, rows in enumerate(first)
        for columns in second[place if request.same else 0 :]
    ]


def pair_weight(request: Mp2, rows: tuple[int, int, int], columns: tuple[int, int, int]) -> int:
    """Work of a pair of blocks relative to others: half of a block with itself."""
    return 1 if request.same and rows == columns else 2


def pair_cores(request: Mp2, sizes: tuple[int, int], cores: int) -> int:
    """Cores that have pairs of blocks to do, of so many; 1 where each product is spread by itself instead."""
    pairs = pairs_of_blocks(request, sizes)
    if len(pairs) == 1:
        return 1
    return max(assign([pair_weight(request, *pair) for pair in pairs], cores)) + 1


def device_bytes(tilings: tuple[Tiling, ...]) -> int:
    """Most that one product has on the device: words and planes of both operands, and a launch's result."""
    first = tilings[0]
    if not first.slices:
        return max(t.bytes_in + t.bytes_out for t in tilings)
    _, m, k, n = first.pieces
    sides = [tile_planes(first, side, True) for side in ("lhs", "rhs")]
    kept = m * k * sides[0].bytes_out + n * k * sides[1].bytes_out
    return kept + max(side.bytes_in for side in sides) + first.bytes_out


def host_bytes(request: Mp2, sizes: tuple[int, int]) -> int:
    """T of a pair of blocks, in float64 too where it is float32, and the epilogue's tiles of a pair."""
    pair = request.nvir[0] * request.nvir[1]
    return pair * (sizes[0] * sizes[1] * _itemsize(request) + EPILOGUE_TILES * 8)


def on_cores(request: Mp2, sizes: tuple[int, int], cores: int, times: Sequence[Prediction]) -> Prediction:
    """Predicted for products between blocks, on cores beside each other, and for the host's sums after them.

    Parameters
    ----------
    request, sizes, cores
        What is asked, its blocks, and cores that have pairs to do.
    times
        Of each of `products`.
    """
    shapes = products(request, sizes)
    total = sum((time * count for time, (_, count) in zip(times, shapes, strict=True)), start=NO_TIME)
    if cores > 1:
        pairs = pairs_of_blocks(request, sizes)
        weights = [pair_weight(request, *pair) for pair in pairs]
        of_weight = dict(zip((1, 2) if request.same else (2,), times, strict=False))
        given = list(zip(assign(weights, cores), weights, strict=True))
        each = [
            sum((of_weight[weight] for its, weight in given if its == core), start=NO_TIME)
            for core in range(cores)
        ]
        device, fixed = max(time.device for time in each), max(time.fixed for time in each)
        total = replace(total, device=device, fixed=fixed)
    return replace(total, fixed=total.fixed + epilogue_seconds(request))


NO_TIME = Prediction(device=0.0, link=0.0, fixed=0.0)

EPILOGUE_TILES = 4
"""Tiles (nvir, nvir) of float64 that the epilogue has at a time: e_a + e_b, D, T / D, and T in float64."""


def epilogue_seconds(request: Mp2) -> float:
    """Predicted for the sums of all pairs on the host."""
    return request.pairs * request.nvir[0] * request.nvir[1] * ELEMENT_SECONDS


def predict_fused(request: Mp2, scheme: Scheme, cutting: Cutting) -> tuple[Prediction, int, int] | None:
    """Predicted seconds of the fp32 kernel, bytes on the device, cores; None where B does not fit SBUF."""
    spins = {"same": request.same, "exchange": request.exchange, **cutting.spread}
    try:
        if request.naux:
            tf32 = scheme.operand_dtype == "tfloat32"
            tiling = tile_pairs(request.nocc, request.nvir, request.naux, tf32=tf32, **spins)
        else:
            tiling = tile_blocks(request.nocc, request.nvir, **spins)
    except ValueError:
        return None
    if tiling is None:
        return None
    return predict_pairs(tiling, cutting.chip), tiling.device_bytes, tiling.cores


def _product(request: Mp2, sizes: tuple[int, int], structure: Structure) -> Gemm:
    m, n = (size * v for size, v in zip(sizes, request.nvir, strict=True))
    return Gemm(function="", dtype=request.dtype, m=m, k=request.naux, n=n, structure=structure)


def _equal(nocc: int, most: int) -> int:
    """Size of equal blocks of at most so many.

    >>> _equal(5, 4), _equal(64, 6)
    (3, 6)
    """
    return ceil(nocc / max(1, ceil(nocc / most)))


def _itemsize(request: Mp2) -> int:
    return 4 if request.dtype == "float32" else 8


def _all(request: Mp2) -> int:
    (o1, o2), (v1, v2) = request.nocc, request.nvir
    return o1 * o2 * v1 * v2 * _itemsize(request)
