"""Pair sums of MP2: integrals of blocks of occupied orbitals by kernels, sums on the host; or all in one.

In float64 T of a pair of blocks is a product of digits and its sums are made here from it, so that nothing of
the size of (ia|jb) exists. In fp32 a kernel makes integrals and sums (`numtrn.fused`), and T stays on the
chip. Where to cut is `numtrn.plan.mp2`'s, how far off it may be `numtrn.pair_bounds`'s.

Sums are the host's because its arithmetic is known. 64 occupied and 448 virtual orbitals send 6.7 GB of words
back, 1.3 s by the published rate of the link, and take the host about 2 s. On the device a term in pairs of
fp32 numbers is some 150 instructions of VectorE (a product without FMA 17, a quotient 60 and more), 0.5 s at
its clock. That is faster by prediction, but its bound would rest on how VectorE rounds, which is not
published and which no probe could try for all operands: a proven bound is what this route is for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from numtrn.engine import KernelEngine
from numtrn.fused import block_sums, pair_sums
from numtrn.pair_bounds import Precision, Spin, least_denominators, pair_errors, scales
from numtrn.plan.cores import assign
from numtrn.plan.mp2 import BlockPair, Mp2Plan, block_sizes, pair_cores, pair_weight, pairs_of_blocks
from numtrn.precision import Declined, gemm
from numtrn.precision.schemes import FLOAT32_UNIT, FLOAT64_UNIT
from numtrn.precision.threads import merged
from numtrn.request import Array, Mp2, Operands, Structure

__all__ = ["PairSums", "by_numpy", "given_sums", "run_pairs", "spins_of"]

FLOAT32_MORE = 32
"""Roundings of a term in the fp32 kernel: the root of a denominator, products. Sums are of one partition, of
all columns of the rows that it holds."""

PARTITIONS = 128

FLOAT32_ENERGIES = 3
"""Roundings of an energy there: of itself, of its sum with another, and of both sums."""

FEWEST_UNITS = 16
"""Least distance of occupied and virtual energies, in fp32 units of the largest, that the kernel takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairSums:
    """Sums for each pair of occupied orbitals, and how far off they may be.

    Attributes
    ----------
    value
        (2, o1, o2) float64: direct and exchange; see `numtrn.request.Mp2`.
    errors
        (o1, o2): bound for d, and for x alike.
    slices
        Digit planes of the products, or None.
    note
        What the data made of the plan.
    """

    value: Array
    errors: Array
    slices: int | None = None
    note: str = ""

    @property
    def bound(self) -> float:
        """Bound of the sum of all d and x."""
        shares = 2 if self.value[1].any() else 1
        return float(shares * self.errors.sum())

    @property
    def underflow(self) -> float:
        """None apart: what underflows is part of the bound."""
        return 0.0


def spins_of(request: Mp2, operands: Operands) -> tuple[Spin, Spin]:
    """The operands by spin; twice the same where there is one."""
    inputs = operands.inputs
    first = Spin(*inputs[:3])
    if request.same:
        return first, first
    return first, (Spin(inputs[0], *inputs[3:5]) if not request.naux else Spin(*inputs[3:6]))


def run_pairs(plan: Mp2Plan, operands: Operands, engine: KernelEngine) -> PairSums:
    """Sums of a plan.

    Raises
    ------
    Declined
        When energies are not finite, when a denominator cannot be told from zero in fp32, when a product may
        overflow, or when NumPy is to raise what `np.errstate` or a filter of warnings asks for.
    """
    request = plan.request
    first, second = spins_of(request, operands)
    energies = (first.e_occ, first.e_vir, second.e_occ, second.e_vir)
    if not all(np.isfinite(e).all() for e in energies):
        raise Declined("orbital energies hold NaN or Inf; NumPy propagates them")
    if plan.fused:
        return _fused(plan, first, second, engine)
    lanes = pair_cores(request, plan.block, engine.cutting.cores)
    try:
        with engine.lanes(lanes) as engines:
            works = [_Work(plan=plan, engine=each) for each in engines]
            products = [work.product for work in works]
            sums, relative = _by_blocks(request, first, second, plan.block, products)
    except (FloatingPointError, RuntimeWarning) as raised:  # by errstate or a filter of warnings: the user's
        raise Declined(f"NumPy raises {type(raised).__name__}: {raised}") from raised
    note = "; ".join(dict.fromkeys(note for work in works for note in work.notes if note))
    slices = next((work.slices for work in works if work.slices is not None), None)
    return _judged(request, sums, relative, first, second, slices=slices, note=note)


def by_numpy(request: Mp2, operands: Operands, wide: Any = np.float64) -> PairSums:
    """The same by NumPy alone, in the same blocks.

    Parameters
    ----------
    request, operands
        What is asked. Products are made in the dtype of the request, unless ``wide`` is wider.
    wide
        Type of the epilogue; ``np.longdouble`` makes products without BLAS.
    """
    first, second = spins_of(request, operands)
    if not request.naux:
        return given_sums(request, first, second, first.b.__getitem__, wide)
    dtype = np.result_type(request.dtype, wide) if wide is not np.float64 else np.dtype(request.dtype)
    unit = float(np.finfo(dtype).eps) / 2

    def product(a: Array, b: Array, _: Structure) -> _Tile:
        made = np.matmul(a.astype(dtype, copy=False), b.astype(dtype, copy=False))
        return _Tile(made, (request.naux + 1) * unit)

    sums, relative = _by_blocks(request, first, second, block_sizes(request), [product], wide)
    return _judged(request, sums, relative, first, second, unit=float(np.finfo(wide).eps) / 2)


def given_sums(
    request: Mp2, first: Spin, second: Spin, slab: Callable[[int], Array], wide: Any = np.float64
) -> PairSums:
    """Sums of given integrals by NumPy, of one slab (ia|jb), (v1, o2, v2), after the other.

    Parameters
    ----------
    request, first, second
        What is asked; of the spins the energies.
    slab
        Gives that of an orbital i. The next one is asked for when the last one is done with.
    wide
        Type of the epilogue.
    """
    sums, scale = np.zeros((2, *request.nocc), wide), np.zeros(request.nocc)
    for i in range(request.nocc[0]):
        part = slab(i)
        scale[i] = _slab_norms(part)
        others = np.arange(i if request.same else 0, request.nocc[1])
        _epilogue(sums, part[np.newaxis], request, first, second, (i, [i]), (0, others))
        del part
    _mirror(request, sums)
    precision = Precision(relative=0.0, vanished=0.0, unit=float(np.finfo(wide).eps) / 2)
    value = sums.astype(np.float64)
    errors = pair_errors(value[0], first, second, precision, scale)
    return PairSums(value=value, errors=errors)


def _slab_norms(slab: Array) -> Array:
    """Norm of T for each j, (o2,), of a slab (v1, o2, v2)."""
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(slab), initial=0.0)) or 1.0
        scaled = (t.astype(np.float64) / largest for t in slab.swapaxes(0, 1))
        return np.array([largest * float(np.linalg.norm(t)) for t in scaled])


# ---- In fp32, all in one kernel ----


def _fused(plan: Mp2Plan, first: Spin, second: Spin, engine: KernelEngine) -> PairSums:
    """By the kernel that keeps T on the chip."""
    request = plan.request
    gap, signed = least_denominators(first, second)
    largest = max(np.max(np.abs(e)) for e in (first.e_occ, first.e_vir, second.e_occ, second.e_vir))
    if not signed or gap.min() < FEWEST_UNITS * FLOAT32_UNIT * largest:
        raise Declined("occupied and virtual orbitals meet in energy: a denominator may vanish in fp32")
    if gap.min() < ENERGIES[0] or largest > ENERGIES[1]:
        raise Declined(
            f"denominators of {gap.min():.2g} Eh or energies of {largest:.2g} Eh are where fp32's range ends"
        )
    tf32 = plan.scheme.operand_dtype == "tfloat32"
    if not request.naux:
        _declined_range(first.b)
        t = first.b.astype(np.float32, copy=False)
        other = None if request.same else _energies(second)
        value = block_sums(engine, t, _energies(first), other, exchange=request.exchange)
        scale = np.array([_slab_norms(slab) for slab in first.b])
    else:
        sides = [(_single(spin.b), *_energies(spin)) for spin in (first, second)[: 1 if request.same else 2]]
        value = pair_sums(engine, sides, same=request.same, exchange=request.exchange, tf32=tf32)
        scale = scales(first, second)
    if not np.isfinite(value).all():
        raise Declined("sums are not finite in fp32; NumPy computes them")
    precision = Precision(
        relative=plan.bound * plan.scheme.unit if request.naux else 0.0,
        vanished=max(1, request.naux) * float(np.finfo(np.float32).tiny),
        unit=FLOAT32_UNIT,
        energies=FLOAT32_ENERGIES,
        more=FLOAT32_MORE + request.nvir[0] * ceil(request.nvir[1] / PARTITIONS),
        least=float(np.finfo(np.float32).tiny),  # subnormal numbers may be flushed
    )
    errors = pair_errors(value[0], first, second, precision, scale)
    return PairSums(value=value, errors=errors)


def _energies(spin: Spin) -> tuple[Array, Array]:
    return spin.e_occ, spin.e_vir


def _single(b: Array) -> Array:
    """B in float32, within whose range squares of integrals and their sums stay."""
    _declined_range(b)
    return b.astype(np.float32, copy=False)


ENERGIES = 2.0**-60, 2.0**60
"""Least denominator and largest energy, in Eh, that the kernel takes: far from where fp32 ends."""

RANGE = 2.0**-20, 2.0**14
"""Of the largest |B|, or |T|, that the kernel takes: its squares of integrals are not scaled."""


def _declined_range(b: Array) -> None:
    largest = max(float(np.max(np.abs(part), initial=0.0)) for part in b)
    least, most = RANGE
    if not (largest == 0.0 or least <= largest <= most):
        raise Declined(
            f"the largest element is {largest:.2g}; squares of integrals are made in fp32, unscaled, from "
            f"{least:.2g} to {most:.2g}"
        )


# ---- By products between blocks ----


class _Tile(NamedTuple):
    """T of a pair of blocks, (m, n), and c of `numtrn.pair_bounds`."""

    value: Array
    relative: float


Product = Callable[[Array, Array, Structure], _Tile]


@dataclass(slots=True)
class _Work:
    """Makes products between blocks, and keeps the account."""

    plan: Mp2Plan
    engine: KernelEngine
    slices: int | None = None
    notes: dict[str, None] = field(default_factory=dict)

    def product(self, a: Array, b: Array, structure: Structure) -> _Tile:
        """AB by kernels."""
        scheme = self.plan.scheme
        a, b = a.astype(scheme.dtype, copy=False), b.astype(scheme.dtype, copy=False)
        made = gemm(scheme, a[np.newaxis], b[np.newaxis], self.engine, structure, normwise=True)
        self.slices = made.slices
        self.notes.setdefault(made.note)
        return _Tile(made.value[0], made.bound * scheme.unit + made.underflow)


def _by_blocks(
    request: Mp2,
    first: Spin,
    second: Spin,
    sizes: tuple[int, int],
    products: Sequence[Product],
    wide: Any = np.float64,
) -> tuple[Array, Array]:
    """Sums (2, o1, o2), and c of each pair; by as many threads as there are ways to make a product."""
    sums = np.zeros((2, *request.nocc), wide)
    relative = np.zeros(request.nocc)
    pairs = pairs_of_blocks(request, sizes)
    cores = assign([pair_weight(request, *pair) for pair in pairs], len(products))
    works = [
        _do_pairs(
            request,
            first,
            second,
            [pair for pair, its in zip(pairs, cores, strict=True) if its == core],
            product,
            sums,
            relative,
        )
        for core, product in enumerate(products)
    ]
    with closing(merged(works)) as done:
        for _ in done:
            pass
    _mirror(request, sums)
    if request.same:
        relative = np.maximum(relative, relative.T)
    return sums, relative


def _do_pairs(
    request: Mp2,
    first: Spin,
    second: Spin,
    pairs: list[BlockPair],
    product: Product,
    sums: Array,
    relative: Array,
) -> Generator[None, None, None]:
    """Sums of some pairs of blocks, each written to its place."""
    for rows, columns in pairs:
        a, b = _matrix(first.b, rows), _matrix(second.b, columns)
        same = request.same and rows == columns
        tile = product(a, b.T, "syrk" if same else "general")
        (start, new, end), (start2, new2, end2) = rows, columns
        shape = (end - start, request.nvir[0], end2 - start2, request.nvir[1])
        relative[new:end, new2:end2] = tile.relative
        some, others = range(new, end), np.arange(new2, end2)
        _epilogue(sums, tile.value.reshape(shape), request, first, second, (start, some), (start2, others))
        del tile  # before the next one is made
        yield


def _matrix(b: Array, block: tuple[int, int, int]) -> Array:
    """B of a block as (orbital pairs ia, naux); a view where strides allow."""
    part = b[block[0] : block[2]]
    return part.reshape(-1, b.shape[2])


def _epilogue(
    sums: Array,
    tile: Array,
    request: Mp2,
    first: Spin,
    second: Spin,
    rows: tuple[int, Any],
    columns: tuple[int, Array],
) -> None:
    """Write the sums of the pairs of a tile (i, a, j, b): first orbital of it, and orbitals to do."""
    dtype = sums.dtype.type
    e_first, e_second = first.e_vir.astype(dtype), second.e_vir.astype(dtype)
    virtual = e_first[:, np.newaxis] + e_second
    quotient = np.empty_like(virtual)
    for i in rows[1]:
        for j in columns[1][columns[1] >= i] if request.same else columns[1]:
            t = tile[i - rows[0], :, j - columns[0]].astype(dtype, copy=False)
            occupied = dtype(first.e_occ[i]) + dtype(second.e_occ[j])
            np.subtract(occupied, virtual, out=quotient)
            np.divide(t, quotient, out=quotient)
            # Along rows first, so that errors grow with nvir and not with its square.
            sums[0, i, j] = np.einsum("ab,ab->a", t, quotient).sum()
            if request.exchange:
                sums[1, i, j] = np.einsum("ab,ba->a", quotient, t).sum()


def _mirror(request: Mp2, sums: Array) -> None:
    """Fill in i > j of one spin."""
    if request.same:
        below = np.tril_indices(request.nocc[0], -1)
        for matrix in sums:
            matrix[below] = matrix.T[below]


def _judged(
    request: Mp2,
    sums: Array,
    relative: Array,
    first: Spin,
    second: Spin,
    *,
    slices: int | None = None,
    note: str = "",
    unit: float = FLOAT64_UNIT,
) -> PairSums:
    """Sums with the bound of their errors."""
    info = np.finfo(request.dtype)
    # fp32 may flush what is subnormal, NumPy's float64 does not.
    vanished = float(info.tiny if request.dtype == "float32" else info.smallest_subnormal)
    precision = Precision(relative=relative, vanished=request.naux * vanished, unit=unit)
    value = sums.astype(np.float64)
    scale = scales(first, second)
    errors = pair_errors(value[0], first, second, precision, scale)
    return PairSums(value=value, errors=errors, slices=slices, note=note)
