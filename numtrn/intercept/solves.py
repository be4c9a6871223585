"""Triangular solves and Cholesky as BLAS and LAPACK define them, made into requests.

TRSM, TRTRS, POTRS, GETRS and POTRF, stored by columns, arrays and scalars by address. What LAPACK reports in
``info`` is left to LAPACK: a call is taken only where the answer is 0.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from numtrn.intercept.blas import IllegalArgumentError, Stored, flipped, refused, triangular, unmultiplied
from numtrn.intercept.gate import Caught
from numtrn.intercept.views import conjugated, copy_triangle, view
from numtrn.request import Array, Cholesky, Host, Operands, Solve, Triangle, Triangular

__all__ = ["getrs", "potrf", "potrs", "trsm", "trtrs"]


def trsm(
    host: Host,
    stored: Stored,
    side: str,
    triangle: Triangle,
    trans: str,
    diag: str,
    m: int,
    n: int,
    alpha: int,
    a: int,
    lda: int,
    b: int,
    ldb: int,
) -> Caught:
    """B = alpha op(A)^-1 B, or alpha B op(A)^-1."""
    order = m if side == "L" else n
    factor, uplo = triangular(stored, side, triangle, trans, a, order, lda)
    target = stored.result(b, m, n, ldb)
    if side == "R":
        target = target.T
    request = _request(stored, target, Triangular(uplo=uplo, unit=diag == "U"))
    scale = stored.scalar(alpha)
    if scale == 0:
        return unmultiplied(request)
    operands = Operands(inputs=(factor, target), alpha=scale, host=host)
    return Caught(request, operands, lambda value: np.copyto(target, value))


def trtrs(
    host: Host,
    stored: Stored,
    triangle: Triangle,
    trans: str,
    diag: str,
    n: int,
    columns: int,
    a: int,
    lda: int,
    b: int,
    ldb: int,
    info: int,
) -> Caught:
    """B = op(A)^-1 B, unless the diagonal of A has a zero."""
    factor, uplo = triangular(stored, "L", triangle, trans, a, n, lda)
    target = stored.result(b, n, columns, ldb)
    request = _request(stored, target, Triangular(uplo=uplo, unit=diag == "U"))
    if diag != "U" and not np.all(factor.diagonal()):
        return refused(request, "the diagonal has a zero: LAPACK reports which")
    operands = Operands(inputs=(factor, target), host=host)
    return Caught(request, operands, _into(target, info))


def potrs(
    host: Host,
    stored: Stored,
    triangle: Triangle,
    n: int,
    columns: int,
    a: int,
    lda: int,
    b: int,
    ldb: int,
    info: int,
) -> Caught:
    """B = (U^H U)^-1 B or (L L^H)^-1 B."""
    factor, target = stored.matrix(a, n, n, lda), stored.result(b, n, columns, ldb)
    adjoint = conjugated(factor, True).T
    pair = [(factor, Triangular(uplo=triangle)), (adjoint, Triangular(uplo=flipped(triangle)))]
    if triangle == "upper":
        pair.reverse()
    (first, one), (second, other) = pair
    operands = Operands(inputs=(first, second, target), host=host)
    return Caught(_request(stored, target, one, other), operands, _into(target, info))


def getrs(
    host: Host,
    stored: Stored,
    trans: str,
    n: int,
    columns: int,
    a: int,
    lda: int,
    pivots: int,
    b: int,
    ldb: int,
    info: int,
) -> Caught:
    """B = op(P L U)^-1 B, of which the rows change places before or after both solves."""
    target, rows = stored.result(b, n, columns, ldb), _order(pivots, n)
    lower, lower_uplo = triangular(stored, "L", "lower", trans, a, n, lda)
    upper, upper_uplo = triangular(stored, "L", "upper", trans, a, n, lda)
    factors = Triangular(uplo=lower_uplo, unit=True), Triangular(uplo=upper_uplo)
    if trans == "N":
        request = _request(stored, target, *factors)
        operands = Operands(inputs=(lower, upper, target[rows]), host=host)
        return Caught(request, operands, _into(target, info))
    request = _request(stored, target, *reversed(factors))
    operands = Operands(inputs=(upper, lower, target), host=host)
    return Caught(request, operands, _into(target, info, rows))


def potrf(host: Host, stored: Stored, triangle: Triangle, n: int, a: int, lda: int, info: int) -> Caught:
    """One triangle of A becomes U or L; U of A is the transpose of L of A transposed."""
    target = stored.result(a, n, n, lda)
    lower = target if triangle == "lower" else target.T

    def store(value: Array) -> None:
        copy_triangle(lower, value, "lower")
        _succeeded(info)

    request = Cholesky(function=stored.function, dtype=stored.dtype, n=n)
    return Caught(request, Operands(inputs=(lower,), host=host), store)


def _request(stored: Stored, target: Array, *factors: Triangular) -> Solve:
    n, columns = target.shape
    return Solve(function=stored.function, dtype=stored.dtype, n=n, columns=columns, factors=factors)


def _into(target: Array, info: int, rows: Array | None = None) -> Callable[[Array], None]:
    """Writes a solution, to ``rows`` of the target where given, and that there is nothing to report."""

    def store(value: Array) -> None:
        if rows is None:
            np.copyto(target, value)
        else:
            target[rows] = value
        _succeeded(info)

    return store


def _order(pivots: int, n: int) -> Array:
    """Rows after the interchanges that LAPACK's pivots, counted from 1, stand for."""
    rows, places = np.arange(n), view(pivots, (n,), (4,), "int32") - 1
    if ((places < 0) | (places >= n)).any():
        raise IllegalArgumentError(f"a pivot outside 1 to {n}")
    for row, pivot in enumerate(places):
        rows[[row, pivot]] = rows[[pivot, row]]
    return rows


def _succeeded(info: int) -> None:
    ctypes.c_int32.from_address(info).value = 0
