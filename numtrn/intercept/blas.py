"""GEMM and SYRK as BLAS defines them, made into requests; CBLAS and Fortran differ in spelling the flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numtrn.intercept.gate import Caught
from numtrn.intercept.views import conjugated, copy_triangle, matrix, scalar_at
from numtrn.request import Array, Gemm, Operands, Routine, Triangle

__all__ = ["Stored", "gemm", "observed", "syrk"]


@dataclass(frozen=True, slots=True)
class Stored:
    """How and where the matrices of one call are stored: by rows or by columns, and of which dtype."""

    function: str
    dtype: str
    by_rows: bool

    def operand(self, address: int, rows: int, columns: int, leading: int, trans: str) -> Array:
        """An operand as it reads in the product: of ``rows`` and ``columns`` after "N", "T" or "C"."""
        if trans == "N":
            return matrix(address, rows, columns, leading, self.dtype, by_rows=self.by_rows)
        stored = matrix(address, columns, rows, leading, self.dtype, by_rows=self.by_rows)
        return conjugated(stored.T, trans == "C")

    def result(self, address: int, rows: int, columns: int, leading: int) -> Array:
        """C, to be written."""
        return matrix(address, rows, columns, leading, self.dtype, by_rows=self.by_rows, writeable=True)

    def scaled(
        self, request: Gemm, first: Array, second: Array, target: Array, alpha: complex, beta: complex
    ) -> Caught:
        """The call alpha AB + beta C; C is an operand only where it is read."""
        if alpha == 0:  # BLAS does not look at A and B then, whatever NaN they hold
            reason = "alpha is 0: nothing to multiply"
            return observed(request.function, request.dtype, request.shapes, request.work, reason)
        operands = Operands(
            inputs=(first[None], second[None]),
            c=target[None] if request.reads_c else None,
            alpha=alpha,
            beta=beta,
        )
        triangle = request.triangle

        def store(value: Array) -> None:
            if triangle is None:
                np.copyto(target[None], value)
            else:
                copy_triangle(target, value[0], triangle)

        return Caught(request, operands, store)


def gemm(
    stored: Stored,
    trans_a: str,
    trans_b: str,
    m: int,
    n: int,
    k: int,
    alpha: int,
    a: int,
    lda: int,
    b: int,
    ldb: int,
    beta: int,
    c: int,
    ldc: int,
) -> Caught:
    """C = alpha op(A) op(B) + beta C; arguments as in BLAS, arrays and scalars by address."""
    factor = scalar_at(beta, stored.dtype)
    return stored.scaled(
        Gemm(function=stored.function, dtype=stored.dtype, m=m, k=k, n=n, reads_c=factor != 0),
        stored.operand(a, m, k, lda, trans_a),
        stored.operand(b, k, n, ldb, trans_b),
        stored.result(c, m, n, ldc),
        scalar_at(alpha, stored.dtype),
        factor,
    )


def syrk(
    stored: Stored,
    triangle: Triangle,
    trans: str,
    n: int,
    k: int,
    alpha: int,
    a: int,
    lda: int,
    beta: int,
    c: int,
    ldc: int,
) -> Caught:
    """One triangle of C = alpha op(A) op(A)^T + beta C; arguments as for `gemm`."""
    factor = scalar_at(beta, stored.dtype)
    if trans == "C" and np.dtype(stored.dtype).kind == "c":
        reason = "complex SYRK does not know trans='C': BLAS says so itself"
        return observed(stored.function, stored.dtype, ((n, k),), n * (n + 1) // 2 * k, reason)
    # For real types "C" is another word for "T".
    operand = stored.operand(a, n, k, lda, "N" if trans == "N" else "T")
    request = Gemm(
        function=stored.function,
        dtype=stored.dtype,
        m=n,
        k=k,
        n=n,
        reads_c=factor != 0,
        triangle=triangle,
    )
    target = stored.result(c, n, n, ldc)
    return stored.scaled(request, operand, operand.T, target, scalar_at(alpha, stored.dtype), factor)


def observed(
    function: str,
    dtype: str,
    shapes: tuple[tuple[int, ...], ...],
    work: float,
    reason: str,
    *,
    contraction: bool = True,
) -> Caught:
    """A call that is only noted, with the reason."""
    request = Routine(
        function=function,
        dtype=dtype,
        shapes=shapes,
        work=int(work),
        reason=reason,
        contraction=contraction,
    )
    return Caught(request, Operands(inputs=()), _never)


def _never(_: Array) -> None:
    raise AssertionError("a result came for a request that only says why there is none")
