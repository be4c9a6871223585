"""Carry out a plan: fold and cut the operands, launch the kernels, put the pieces together.

Precision decides what is multiplied (`numtrn.precision`); this module knows the kernels' layouts. Results
are computed aside: nothing the caller owns is written here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from numtrn.errors import KernelError
from numtrn.plan import Plan, Tiling
from numtrn.plan.tiling import tile_gemm, tile_sliced
from numtrn.precision import Digits, gemm
from numtrn.request import Array, Contraction, Operands
from numtrn.targets import Target

__all__ = ["Outcome", "as_asked", "as_gemm", "launch", "like"]

KEEP_BYTES = 512 * 2**20
"""Packed operand pieces that several launches use are kept up to this size, and packed again beyond it."""

DEPTH = 64
"""Rows of the contraction cut into digits at a time, so that their planes are packed from cache."""

UPPER = 1 if sys.byteorder == "little" else 0
"""Which 16 bits of 32 are the upper ones in memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A computed call.

    Attributes
    ----------
    value
        The result: C (batch, m, n) with alpha and beta applied, or an einsum's result with its axes in
        the order of the output term. A fresh array, or a view of one.
    launches, bytes
        Kernel launches, and bytes moved there and back.
    slices
        Digit planes used, or None.
    bound
        Promised componentwise error in units of u |A||B|.
    underflow
        Added to it: this times the largest |A| of the row and |B| of the column; see
        `numtrn.precision.records.Product`.
    """

    value: Array
    launches: int
    bytes: int
    slices: int | None
    bound: float
    underflow: float


def launch(plan: Plan, operands: Operands, target: Target) -> Outcome:
    """Run a plan on its operands.

    Parameters
    ----------
    plan
        From `numtrn.plan.make_plan`.
    operands
        Arrays of the plan's request; read only.
    target
        Where the kernels run.

    Raises
    ------
    numtrn.precision.Declined
        When the data make NumPy the better place.
    KernelError
        When a kernel's result is not of the shape and dtype promised.
    Exception
        Whatever the target raises.
    """
    engine = KernelEngine(target)
    with np.errstate(all="ignore"):  # the caller's settings are for NumPy's own arithmetic
        a, b = as_gemm(plan, operands)
        computed = gemm(plan.scheme, a, b, engine)
        value = as_asked(plan, computed.value, operands)
    return Outcome(
        value=value,
        launches=engine.launches,
        bytes=engine.bytes,
        slices=computed.slices,
        bound=computed.bound,
        underflow=computed.underflow,
    )


def as_gemm(plan: Plan, operands: Operands) -> tuple[Array, Array]:
    """The operands as A (batch, m, k) and B (batch, k, n) of the plan's dtype; views where strides allow."""
    folding = plan.folding
    first, second = (operand.astype(plan.gemm.dtype, copy=False) for operand in operands.inputs)
    if folding is None:
        return first, second
    a = _regroup(first, folding.first, (folding.batch, folding.left, folding.contracted))
    b = _regroup(second, folding.second, (folding.batch, folding.contracted, folding.right))
    return a, b


def as_asked(plan: Plan, product: Array, operands: Operands) -> Array:
    """A product (batch, m, n) as the request wants it: alpha AB + beta C, or an einsum's axes.

    C is not read when beta is zero.
    """
    folding = plan.folding
    if folding is not None:
        assert isinstance(plan.request, Contraction)
        labels = folding.batch + folding.left + folding.right
        extents = plan.request.extents
        spread = product.reshape([extents[label] for label in labels])
        return spread.transpose([labels.index(label) for label in folding.output])
    if operands.alpha != 1:
        product = like(operands.alpha, product.dtype) * product
    if plan.gemm.reads_c:
        assert operands.c is not None
        # A factor of one is not multiplied: 1 * (inf + 0j) is inf + nan j.
        factor = None if operands.beta == 1 else like(operands.beta, product.dtype)
        product = product + (operands.c if factor is None else factor * operands.c)
    return product


def like(factor: complex, dtype: np.dtype[Any]) -> Any:
    """A factor as a scalar of the dtype, so that it promotes nothing."""
    return dtype.type(factor if dtype.kind == "c" else complex(factor).real)


def _regroup(operand: Array, term: str, groups: tuple[str, str, str]) -> Array:
    axes = [term.index(label) for group in groups for label in group]
    shape = dict(zip(term, operand.shape, strict=True))
    folded = [prod(shape[label] for label in group) for group in groups]
    return operand.transpose(axes).reshape(folded)


class KernelEngine:
    """The products that `numtrn.precision` asks for, made by kernels on one target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.launches = 0
        self.bytes = 0

    def product(self, lhs: Array, rhs: Array, operand_dtype: str) -> NDArray[np.float32]:
        """C[i] = lhs[i] @ rhs[i] with fp32 accumulation; see `numtrn.precision.Engine.product`."""
        batch, m, k = lhs.shape
        n = rhs.shape[2]
        stored = np.dtype(ml_dtypes.bfloat16 if operand_dtype == "bfloat16" else np.float32)
        tiling = tile_gemm(batch, m, k, n, stored.itemsize, tf32=operand_dtype == "tfloat32")
        t = tiling

        def pack_lhs(i: slice, rows: slice, ks: slice) -> Array:
            return _padded(lhs[i, rows, ks].transpose(0, 2, 1), (t.batch, t.k, t.m), stored)

        def pack_rhs(i: slice, columns: slice, ks: slice) -> Array:
            return _padded(rhs[i, ks, columns], (t.batch, t.k, t.n), stored)

        # Sums over several pieces of K are formed in float64, so that they add no error worth counting.
        total = np.zeros((batch, m, n), np.float32 if t.pieces[2] == 1 else np.float64)
        for piece, part in self._sweep(tiling, pack_lhs, pack_rhs, (batch, m, k, n), np.float32):
            i, rows, columns = piece
            block = total[i, rows, columns]
            block += part.reshape(t.batch, t.m, t.n)[tuple(slice(extent) for extent in block.shape)]
        return total.astype(np.float32, copy=False)

    def diagonals(self, lhs: Digits, rhs: Digits) -> NDArray[Any]:
        """Exact sums of plane products by diagonal; see `numtrn.precision.Engine.diagonals`."""
        extents = lhs.batch, lhs.rows, lhs.k, rhs.rows
        batch, m, k, n = extents
        s = lhs.slices
        t = tile_sliced(batch, m, k, n, s, max(lhs.peak, rhs.peak), self._target.chip)

        def pack_lhs(i: slice, rows: slice, ks: slice) -> Array:
            return _planes(lhs, i, rows, ks, (t.batch, t.k, t.m, t.block_m))

        def pack_rhs(i: slice, columns: slice, ks: slice) -> Array:
            return _planes(rhs, i, columns, ks, (t.batch, t.k, t.n, t.block_n))

        # One launch's sums fit int32 (`tile_sliced` sees to it); those of several pieces of K need not.
        once = t.pieces[2] == 1
        total = np.empty((s, batch, m, n), np.int32) if once else np.zeros((s, batch, m, n), np.int64)
        for (i, rows, columns), part in self._sweep(t, pack_lhs, pack_rhs, extents, np.int32):
            spread = part.reshape(t.batch, t.m, t.n // t.block_n, s, t.block_n)
            for number, where in enumerate(_pieces(columns.stop - columns.start, t.block_n)):
                place = slice(columns.start + where.start, columns.start + where.stop)
                block = total[:, i, rows, place]
                planes = spread[:, :, number].transpose(2, 0, 1, 3)
                sums = planes[tuple(slice(extent) for extent in block.shape)]
                np.copyto(block, sums) if once else np.add(block, sums, out=block)
        return total

    def _sweep(
        self,
        tiling: Tiling,
        pack_lhs: Callable[[slice, slice, slice], Array],
        pack_rhs: Callable[[slice, slice, slice], Array],
        extents: tuple[int, int, int, int],
        result: type,
    ) -> Iterator[tuple[tuple[slice, slice, slice], Array]]:
        """Launch every piece; gives where in C it belongs, and its result as the kernel stores it."""
        batch, m, k, n = extents
        columns_out = tiling.n * max(1, tiling.slices)
        shape = (tiling.batch * tiling.m, columns_out)
        kept = _Kept(KEEP_BYTES)
        for i, columns in product(_pieces(batch, tiling.batch), _pieces(n, tiling.n)):
            for rows, ks in product(_pieces(m, tiling.m), _pieces(k, tiling.k)):
                lhs = kept.get(("lhs", i.start, rows.start, ks.start), pack_lhs, i, rows, ks)
                rhs = kept.get(("rhs", i.start, columns.start, ks.start), pack_rhs, i, columns, ks)
                part = self._target.launch(tiling.kernel, (lhs, rhs), tiling.parameters)
                if part.shape != shape or part.dtype != result:
                    raise KernelError(
                        f"kernel {tiling.kernel} must give {shape} {np.dtype(result).name}; target "
                        f"{self._target.name} gave {part.shape} {part.dtype.name}"
                    )
                self.launches += 1
                self.bytes += lhs.nbytes + rhs.nbytes + part.nbytes
                yield (i, rows, columns), part


class _Kept:
    """Packed pieces by key, within a budget in bytes; what does not fit is packed again when needed."""

    def __init__(self, budget: int) -> None:
        self._left = budget
        self._pieces: dict[tuple[str, int, int, int], Array] = {}

    def get(self, key: tuple[str, int, int, int], pack: Callable[..., Array], *where: slice) -> Array:
        if key in self._pieces:
            return self._pieces[key]
        piece = pack(*where)
        if piece.nbytes <= self._left:
            self._left -= piece.nbytes
            self._pieces[key] = piece
        return piece


def _pieces(extent: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, extent)) for start in range(0, extent, size)]


def _padded(block: Array, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Array:
    """A stack of matrices in an array of the launch's shape, zeros around; stacked along the rows."""
    packed = np.empty(shape, dtype) if block.shape == shape else np.zeros(shape, dtype)
    packed[tuple(slice(extent) for extent in block.shape)] = block
    return packed.reshape(shape[0] * shape[1], shape[2])


def _planes(digits: Digits, i: slice, rows: slice, ks: slice, launch: tuple[int, int, int, int]) -> Array:
    """Digit planes as the sliced kernel reads them: [batch * K, blocks * slices * block] bf16."""
    batch, k, extent, block = launch
    packed = np.zeros((batch, k, extent // block, digits.slices, block), np.uint16)
    for position, index in enumerate(range(i.start, i.stop)):
        for number, part in enumerate(_pieces(rows.stop - rows.start, block)):
            where = slice(rows.start + part.start, rows.start + part.stop)
            for depth in _pieces(ks.stop - ks.start, DEPTH):
                of_k = slice(ks.start + depth.start, ks.start + depth.stop)
                planes = np.ascontiguousarray(digits.block(index, where, of_k), np.float32)
                # Small integers: the lower half of their fp32 pattern is zero, the upper half is bf16.
                upper = planes.view(np.uint16)[:, :, UPPER::2]
                packed[position, depth, number, :, : upper.shape[2]] = upper
    stacked: Array = packed.view(ml_dtypes.bfloat16).reshape(batch * k, -1)
    return stacked
