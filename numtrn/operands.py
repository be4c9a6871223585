"""Operands of a request as one product AB, and a product as the request wants it.

Which matrices a structure makes known beyond what is stored, and how an einsum's labels fold, becomes plain
matrices here, and alpha, beta and C are applied. Nothing the caller owns is written.
"""

from __future__ import annotations

from math import frexp, inf, ldexp, prod
from typing import Any

import numpy as np

from numtrn.plan import Plan
from numtrn.plan.contraction import Reading
from numtrn.precision import Declined
from numtrn.request import Array, Contraction, Gemm, Operands, Triangular

__all__ = ["as_asked", "as_gemm", "as_scaled", "as_triangular", "outer_alpha", "with_real_diagonal"]


def as_gemm(plan: Plan, operands: Operands) -> tuple[Array, Array]:
    """The operands as A (batch, m, k) and B (batch, k, n) of the plan's dtype; views where strides allow."""
    folding, gemm = plan.folding, plan.gemm
    if folding is not None:
        left, right = folding.readings
        a = _read(operands.inputs[left.place], left, gemm.dtype)
        b = _read(operands.inputs[right.place], right, gemm.dtype)
        return (
            _regroup(a, left.term, (folding.batch, folding.left, folding.contracted)),
            _regroup(b, right.term, (folding.batch, folding.contracted, folding.right)),
        )
    first, second = (operand.astype(gemm.dtype, copy=False) for operand in operands.inputs)
    match gemm.structure:
        case "syr2k":
            return _beside(first, second), _beside(second, first).swapaxes(1, 2)
        case "her2k":
            factor = like(operands.alpha / binade(operands.alpha), first.dtype)
            lhs = _beside(factor * first, factor.conj() * second)
            return lhs, _beside(second, first).conj().swapaxes(1, 2)
        case "symm" | "hemm":
            return _mirrored(first, gemm), second
        case "trmm":
            assert gemm.stored is not None
            factor = as_triangular(first, Triangular(uplo=gemm.stored, unit=gemm.unit))
            return (factor[:, ::-1, ::-1], second[:, ::-1]) if _reversed(gemm) else (factor, second)
        case _ if gemm.batch < len(first):  # one B for all
            return first.reshape(1, gemm.m, gemm.k), second[:1]
        case _:
            return first, second


def as_asked(plan: Plan, product: Array, operands: Operands) -> Array:
    """A product (batch, m, n) as the request wants it: alpha AB + beta C, or an einsum's axes.

    C is not read when beta is zero. The diagonal of a Hermitian result is real, whatever that of C says.
    """
    folding, gemm = plan.folding, plan.gemm
    if folding is not None:
        assert isinstance(plan.request, Contraction)
        labels = folding.batch + folding.left + folding.right
        extents = plan.request.extents
        spread = product.reshape([extents[label] for label in labels])
        return spread.transpose([labels.index(label) for label in folding.output])
    if gemm != plan.request and isinstance(plan.request, Gemm):
        product = product.reshape(plan.request.batch, plan.request.m, gemm.n)
    if _reversed(gemm):
        product = product[:, ::-1]
    alpha = outer_alpha(plan, operands)
    if alpha != 1:
        product = like(alpha, product.dtype if np.iscomplexobj(alpha) else product.real.dtype) * product
    if gemm.reads_c and operands.c is not None:
        # A factor of one is not multiplied: 1 * (inf + 0j) is inf + nan j.
        factor = None if operands.beta == 1 else like(operands.beta, product.dtype)
        c = with_real_diagonal(operands.c.copy()) if gemm.hermitian else operands.c
        product = product + (c if factor is None else factor * c)
    return with_real_diagonal(product) if gemm.hermitian else product


def outer_alpha(plan: Plan, operands: Operands) -> complex:
    """What the product is multiplied by: alpha, but of HER2K a power of two, the rest being in A."""
    return binade(operands.alpha) if plan.gemm.structure == "her2k" else operands.alpha


def binade(factor: complex) -> float:
    """The power of two that leaves of a factor a size of about one, so that it makes nothing vanish."""
    size = max(abs(complex(factor).real), abs(complex(factor).imag))
    return ldexp(1.0, frexp(size)[1] - 1) if 0 < size < inf else 1.0


def as_scaled(alpha: complex, columns: Array) -> Array:
    """The right-hand sides alpha B, a fresh array in C order."""
    scaled = np.array(columns, order="C")
    if alpha != 1:
        scaled *= like(alpha, scaled.dtype)
    return scaled


def as_triangular(matrix: Array, factor: Triangular) -> Array:
    """The triangle (..., n, n) that is read of a factor, zeros beside it, a unit diagonal written out."""
    triangle: Array = (np.tril if factor.uplo == "lower" else np.triu)(matrix)
    if factor.unit:
        np.einsum("...ii->...i", triangle)[...] = 1
    return triangle


def like(factor: complex, dtype: np.dtype[Any]) -> Any:
    """A factor as a scalar of the dtype, so that it promotes nothing."""
    return dtype.type(factor if dtype.kind == "c" else complex(factor).real)


def _reversed(gemm: Gemm) -> bool:
    """Whether rows and columns change places so that a triangular A is lower."""
    return gemm.structure == "trmm" and gemm.stored == "upper"


def _beside(first: Array, second: Array) -> Array:
    """Two matrices side by side along the last axis."""
    return np.concatenate((first, second), axis=2)


def _mirrored(matrix: Array, gemm: Gemm) -> Array:
    """A symmetric or Hermitian matrix in full, of the triangle that is read."""
    lower = gemm.stored == "lower"
    triangle, beside = (
        (np.tril(matrix), np.tril(matrix, -1)) if lower else (np.triu(matrix), np.triu(matrix, 1))
    )
    if gemm.structure == "hemm":
        triangle, beside = with_real_diagonal(triangle), beside.conj()
    whole: Array = triangle + beside.swapaxes(1, 2)
    return whole


def with_real_diagonal(matrix: Array) -> Array:
    """A Hermitian matrix (..., n, n), made so in place where it is complex: that part is not read."""
    if matrix.dtype.kind == "c":
        np.einsum("...ii->...i", matrix).imag = 0
    return matrix


def _read(operand: Array, reading: Reading, dtype: str) -> Array:
    """An operand of an einsum with the axes of its reading's term: diagonals taken, its own labels summed.

    Raises
    ------
    Declined
        Where its own sums are not finite, though it is.
    """
    kept = operand[tuple(0 if label in reading.ones else slice(None) for label in reading.written)]
    written = "".join(label for label in reading.written if label not in reading.ones)
    whole = reading.summed + reading.term
    if len(written) > len(whole):
        kept = np.einsum(f"{written}->{whole}", kept)  # diagonals alone, a view
    elif written != whole:
        kept = kept.transpose([written.index(label) for label in whole])
    if not reading.summed:
        return kept.astype(dtype, copy=False)
    value: Array = kept.sum(axis=tuple(range(len(reading.summed))), dtype=dtype)
    if not np.isfinite(value).all() and np.isfinite(operand).all():
        raise Declined(f"the sum over {', '.join(reading.summed)} of an operand overflows")
    return value


def _regroup(operand: Array, term: str, groups: tuple[str, str, str]) -> Array:
    axes = [term.index(label) for group in groups for label in group]
    shape = dict(zip(term, operand.shape, strict=True))
    folded = [prod(shape[label] for label in group) for group in groups]
    return operand.transpose(axes).reshape(folded)
