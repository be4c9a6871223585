"""Compare a kernel's result with NumPy's within the promised bounds (``verify=True``).

Real and imaginary parts are compared each by itself. float32 is computed by NumPy in float64, and float64 of
moderate size in extended precision where the machine has it, so that nothing but the kernel's own promise is
allowed; otherwise NumPy's own bound comes on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from numtrn.errors import VerificationError
from numtrn.launch import Outcome
from numtrn.operands import as_asked, as_gemm, as_scaled, as_triangular, outer_alpha, with_real_diagonal
from numtrn.pairs import by_numpy
from numtrn.plan import AnyPlan, BlockedPlan, ContractionPlan, Mp2Plan, Plan
from numtrn.request import Array, Cholesky, Operands

__all__ = ["verify"]

AFFORDABLE = 2**25
"""Multiply-adds up to which float64 is computed in extended precision, which NumPy does without BLAS."""

EXTENDED = np.finfo(np.longdouble).nmant >= 63
"""Whether ``longdouble`` has at least eleven bits more than float64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """Real or imaginary part of a product: NumPy's value, and how far the kernel's may be from it."""

    value: Array
    allowed: Array


def verify(plan: AnyPlan, operands: Operands, outcome: Outcome) -> None:
    """Compute the call with NumPy too and compare componentwise; of a solve or a factor, the residual.

    NumPy's own product of K terms in a type of unit roundoff u errs by at most (K + 1) u |A||B| (N. Higham,
    Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.5); alpha, and the sum with
    beta C, round the result three times more.

    Raises
    ------
    VerificationError
        With the number of violations, the first one, where it is, and what was allowed there.
    """
    with np.errstate(all="ignore"):
        if isinstance(plan, BlockedPlan):
            _check_residual(plan, operands, outcome)
            return
        if isinstance(plan, ContractionPlan):
            _check_contraction(plan, operands, outcome)
            return
        if isinstance(plan, Mp2Plan):
            _check_pairs(plan, operands, outcome)
            return
        a, b = as_gemm(plan, operands)
        real, imaginary = _reference(plan, outcome, a, b)
        _compare(plan, operands, outcome, real, imaginary)


def _reference(plan: Plan, outcome: Outcome, a: Array, b: Array) -> tuple[_Part, _Part | None]:
    """Parts of AB, computed in the widest type that is affordable."""
    single = a.dtype in (np.float32, np.complex64)
    extended = EXTENDED and plan.gemm.work <= AFFORDABLE
    wide: Any = np.float64 if single else np.longdouble if extended else np.float64
    unit = float(np.finfo(wide).eps) / 2

    def part(*products: tuple[int, Array, Array]) -> _Part:
        value: Any = 0
        size: Any = 0.0
        for sign, left, right in products:
            value = value + sign * np.matmul(left.astype(wide), right.astype(wide))
            size = size + np.matmul(_size(left), _size(right))
        terms = len(products) * plan.gemm.k
        # The last rounding of the kernel's result is part of its bound; the sizes' own is not.
        allowed = (outcome.bound * plan.scheme.unit + (terms + 2) * unit) * size * (1 + terms * 2.0**-52)
        least = np.finfo(a.dtype).smallest_subnormal
        return _Part(value=value, allowed=allowed + outcome.underflow * _scales(a, b) + terms * float(least))

    if a.dtype.kind != "c":
        return part((1, a, b)), None
    real = part((1, a.real, b.real), (-1, a.imag, b.imag))
    return real, part((1, a.real, b.imag), (1, a.imag, b.real))


def _compare(plan: Plan, operands: Operands, outcome: Outcome, real: _Part, imaginary: _Part | None) -> None:
    """Look for elements of alpha AB + beta C, or of the einsum, that are further off than allowed."""
    unit = float(np.finfo(plan.gemm.dtype).eps) / 2
    product = real.value if imaginary is None else real.value + 1j * imaginary.value
    reference = as_asked(plan, product, operands)
    alpha = outer_alpha(plan, operands)
    plain = Operands(inputs=())
    if plan.folding is not None or (alpha == 1 and not plan.gemm.reads_c):
        values = [(outcome.value.real, reference.real, as_asked(plan, real.allowed, plain))]
        if imaginary is not None:
            values.append((outcome.value.imag, reference.imag, as_asked(plan, imaginary.allowed, plain)))
    else:  # a complex alpha or beta mixes the parts
        both = real.allowed if imaginary is None else real.allowed + imaginary.allowed
        allowed = abs(alpha) * as_asked(plan, both + 3 * unit * np.abs(product), plain)
        if operands.c is not None:
            allowed = allowed + 3 * unit * abs(operands.beta) * np.abs(operands.c)
        vanished = 4 * float(np.finfo(plan.gemm.dtype).smallest_subnormal)  # of products with alpha and beta
        values = [(outcome.value, reference, allowed + vanished)]
    for value, wide, promised in values:
        expected = wide.astype(value.dtype)  # which overflows where the result does
        allowed = promised + unit * np.abs(expected)
        wrong = (np.abs(value - expected) > allowed) | (np.isnan(value) != np.isnan(expected))
        if plan.gemm.triangle is not None:
            wrong = np.tril(wrong) if plan.gemm.triangle == "lower" else np.triu(wrong)
        if wrong.any():
            raise VerificationError(_violation(plan, value, expected, allowed, wrong))


def _check_residual(plan: BlockedPlan, operands: Operands, outcome: Outcome) -> None:
    """Look for elements of alpha B - T X, or of A - L L^H, that are larger than promised.

    Of two factors, |B - T1 T2 X| is at most what T1 leaves of B, and |T1| times what T2 leaves of T1^-1 B.
    """
    complex_, request = np.dtype(plan.request.dtype).kind == "c", plan.request
    extended = EXTENDED and request.work <= AFFORDABLE
    wide: Any = np.result_type(
        np.longdouble if extended else np.float64, np.complex64 if complex_ else np.float32
    )
    made = outcome.value.astype(wide)
    vanished = _Vanished(plan, outcome)
    if isinstance(request, Cholesky):
        given = with_real_diagonal(np.tril(operands.inputs[0]).astype(wide))
        sizes, lost = np.abs(made) @ np.abs(made).T, vanished.of(made, made.T).T
        made = np.tril(made @ made.conj().T)
    else:
        *matrices, columns = operands.inputs
        given = as_scaled(operands.alpha, columns).astype(wide)
        sizes, lost = np.abs(made), np.zeros(made.shape)
        for matrix, factor in zip(reversed(matrices), reversed(request.factors), strict=True):
            read = as_triangular(matrix, factor).astype(wide)
            lost = vanished.of(read, made) + np.abs(read) @ lost
            made, sizes = read @ made, np.abs(read) @ sizes
    unit = float(np.finfo(wide).eps)
    allowed = (outcome.bound * plan.scheme.unit + 2 * request.n * unit) * sizes + lost
    wrong = ~(np.abs(given - made) <= allowed)
    if wrong.any():
        raise VerificationError(_violation(plan, made, given, allowed, wrong))


def _check_contraction(plan: ContractionPlan, operands: Operands, outcome: Outcome) -> None:
    """Look for elements of a contraction of several operands that are further off than allowed.

    The reference takes the same order; sizes, and what may vanish in the dtype, go along with the values. Of
    complex numbers both parts are within the bound of |re| + |im|.
    """
    complex_ = np.dtype(plan.request.dtype).kind == "c"
    single = plan.request.dtype in ("float32", "complex64")
    extended = EXTENDED and not single and plan.work <= AFFORDABLE
    real: Any = np.longdouble if extended else np.float64
    wide: Any = np.result_type(real, np.complex64 if complex_ else np.float32)
    least = float(np.finfo(plan.request.dtype).smallest_subnormal)
    terms: list[tuple[Array, Array, Array]] = [
        (array.astype(wide), _size(array), np.zeros(array.shape)) for array in operands.inputs
    ]
    rounded = 0.0
    for stage in plan.stages:
        taken = [terms[place] for place in stage.places]
        for place in sorted(stage.places, reverse=True):
            del terms[place]
        summed = stage.request.work // max(1, prod(stage.request.result_shape))
        rounded += 3 * (summed + len(taken))

        def made(arrays: Sequence[Array], subscripts: str = stage.request.subscripts) -> Array:
            return np.einsum(subscripts, *arrays, optimize=True)  # type: ignore[no-any-return]

        values, sizes, losses = (list(kind) for kind in zip(*taken, strict=True))
        lost: Any = summed * least + sum(
            made([losses[j] if j == i else sizes[j] + losses[j] for j in range(len(taken))])
            for i in range(len(taken))
        )
        terms.append((made(values), made(sizes), lost))
    value, size, lost = terms[0]
    unit = float(np.finfo(real).eps)
    allowed = (outcome.bound * plan.scheme.unit + rounded * unit) * size + lost + outcome.underflow
    expected = value.astype(plan.request.dtype)
    allowed = allowed + np.abs(expected) * plan.scheme.own_unit
    wrong = (
        np.abs(outcome.value - expected) > 1.5 * allowed
        if complex_
        else np.abs(outcome.value - expected) > allowed
    )
    wrong |= np.isnan(outcome.value) != np.isnan(expected)
    if wrong.any():
        raise VerificationError(_violation(plan, outcome.value, expected, allowed, wrong))


def _check_pairs(plan: Mp2Plan, operands: Operands, outcome: Outcome) -> None:
    """Look for pair sums that are further from NumPy's than both bounds allow."""
    extended = EXTENDED and plan.request.work <= AFFORDABLE
    expected = by_numpy(plan.request, operands, np.longdouble if extended else np.float64)
    rounding = float(np.finfo(np.float64).eps) * np.abs(expected.value)
    allowed = outcome.errors + expected.errors + rounding
    wrong = ~(np.abs(outcome.value - expected.value) <= allowed)
    wrong &= ~(np.isnan(outcome.value) & np.isnan(expected.value)) & (outcome.value != expected.value)
    assert outcome.errors is not None
    wrong &= ~np.isinf(outcome.errors)  # nothing was promised of these
    if wrong.any():
        raise VerificationError(_violation(plan, outcome.value, expected.value, allowed, wrong))


@dataclass(frozen=True, slots=True)
class _Vanished:
    """What underflow may leave of T X, beside the promise: in the engine's type, and in the dtype."""

    plan: BlockedPlan
    outcome: Outcome

    def of(self, matrix: Array, columns: Array) -> Array:
        """(n, columns), for an element of T X; a sum, a product or an X may each lose half of the least."""
        n = self.plan.request.n
        least = 2 * n * float(np.finfo(self.plan.request.dtype).smallest_subnormal)
        scaled = self.outcome.underflow * _scales(matrix[np.newaxis], columns[np.newaxis])[0]
        allowed: Array = scaled + least * (1 + _size(matrix).sum(axis=1, keepdims=True))
        return allowed


def _violation(plan: AnyPlan, value: Array, expected: Array, allowed: Array, wrong: Array) -> str:
    where = tuple(int(index) for index in np.argwhere(wrong)[0])
    return (
        f"{plan.request.function}: {int(wrong.sum())} of {wrong.size} elements of kernel {plan.kernel} "
        f"({plan.scheme.name}) on {plan.target} are further from NumPy's than promised; the first at "
        f"{where}: {value[where]!r}, NumPy {expected[where]!r}, allowed {float(allowed[where]):.3g}. "
        "Run `python -m "
        "numtrn doctor`, and keep to target='interpreter' or to NumPy meanwhile"
    )


def _scales(a: Array, b: Array) -> Array:
    """Largest |A_i| times largest |B_j|, (batch, m, n)."""
    rows, columns = _size(a).max(axis=2, initial=0.0), _size(b).max(axis=1, initial=0.0)
    scales: Array = rows[:, :, np.newaxis] * columns[:, np.newaxis, :]
    return scales


def _size(x: Array) -> Array:
    """|x|, for complex numbers |re| + |im|, in float64."""
    size: Array = np.abs(x.real).astype(np.float64)
    return size + np.abs(x.imag) if x.dtype.kind == "c" else size
