"""Products of BLAS level 3 as BLAS defines them, made into requests; CBLAS and Fortran differ in flags only.

What is stored, transposed, on the right or in the upper triangle becomes views and a few words of the
request; nothing is computed here, but that complex conjugates are copies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from numtrn.intercept.gate import Caught
from numtrn.intercept.views import conjugated, copy_triangle, matrix, scalar_at
from numtrn.request import Array, Gemm, Operands, Request, Routine, Triangle, k_is_fast

__all__ = ["IllegalArgumentError", "Stored", "flipped", "gemm", "observed", "symm", "syr2k", "syrk", "trmm"]


class IllegalArgumentError(Exception):
    """A call that the routine itself refuses, so that no memory may be looked at."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How and where the matrices of one call are stored: by rows or by columns, and of which dtype."""

    function: str
    dtype: str
    by_rows: bool = False

    @property
    def is_complex(self) -> bool:
        """Whether elements are complex."""
        return np.dtype(self.dtype).kind == "c"

    def matrix(self, address: int, rows: int, columns: int, leading: int, trans: str = "N") -> Array:
        """A matrix as it reads in the product: of ``rows`` and ``columns`` after "N", "T" or "C"."""
        if trans == "N":
            return self._at(address, rows, columns, leading)
        return conjugated(self._at(address, columns, rows, leading).T, trans == "C")

    def result(self, address: int, rows: int, columns: int, leading: int) -> Array:
        """A matrix to be written."""
        return self._at(address, rows, columns, leading, writeable=True)

    def _at(self, address: int, rows: int, columns: int, leading: int, *, writeable: bool = False) -> Array:
        if leading < max(1, columns if self.by_rows else rows):
            raise IllegalArgumentError(f"a leading dimension of {leading} for {rows} x {columns} elements")
        return matrix(address, rows, columns, leading, self.dtype, by_rows=self.by_rows, writeable=writeable)

    def scalar(self, address: int) -> complex:
        """A factor."""
        return scalar_at(address, self.dtype)

    def scaled(
        self, request: Gemm, inputs: tuple[Array, ...], target: Array, alpha: complex, beta: complex
    ) -> Caught:
        """The call alpha AB + beta C; C is an operand only where it is read."""
        request = replace(request, reads_c=beta != 0)
        if request.structure == "general":
            request = replace(request, k_is_fast=k_is_fast(*inputs))
        if alpha == 0:  # BLAS does not look at A and B then, whatever NaN they hold
            return unmultiplied(request)
        operands = Operands(
            inputs=tuple(operand[None] for operand in inputs),
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


def flipped(triangle: Triangle) -> Triangle:
    """The triangle of a matrix that the given one of its transpose is."""
    return "upper" if triangle == "lower" else "lower"


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
    return stored.scaled(
        Gemm(function=stored.function, dtype=stored.dtype, m=m, k=k, n=n),
        (stored.matrix(a, m, k, lda, trans_a), stored.matrix(b, k, n, ldb, trans_b)),
        stored.result(c, m, n, ldc),
        stored.scalar(alpha),
        stored.scalar(beta),
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
    *,
    hermitian: bool = False,
) -> Caught:
    """One triangle of C = alpha op(A) op(A)^T + beta C, or of the Hermitian one; arguments as for `gemm`."""
    request = Gemm(
        function=stored.function,
        dtype=stored.dtype,
        m=n,
        k=k,
        n=n,
        structure="herk" if hermitian else "syrk",
        triangle=triangle,
    )
    wrong = _wrong_trans(stored, trans, hermitian)
    if wrong:
        return refused(request, wrong)
    first = stored.matrix(a, n, k, lda, trans if stored.is_complex or trans == "N" else "T")
    second = conjugated(first, hermitian).T
    factors = stored.scalar(alpha), stored.scalar(beta)
    if hermitian:
        factors = factors[0].real, factors[1].real
    return stored.scaled(request, (first, second), stored.result(c, n, n, ldc), *factors)


def syr2k(
    stored: Stored,
    triangle: Triangle,
    trans: str,
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
    *,
    hermitian: bool = False,
) -> Caught:
    """One triangle of C = alpha op(A) op(B)^T + alpha op(B) op(A)^T + beta C, or of the Hermitian one."""
    request = Gemm(
        function=stored.function,
        dtype=stored.dtype,
        m=n,
        k=2 * k,
        n=n,
        structure="her2k" if hermitian else "syr2k",
        triangle=triangle,
    )
    wrong = _wrong_trans(stored, trans, hermitian)
    if wrong:
        return refused(request, wrong)
    op = trans if stored.is_complex or trans == "N" else "T"
    inputs = stored.matrix(a, n, k, lda, op), stored.matrix(b, n, k, ldb, op)
    factor = stored.scalar(beta)
    target = stored.result(c, n, n, ldc)
    return stored.scaled(request, inputs, target, stored.scalar(alpha), factor.real if hermitian else factor)


def symm(
    stored: Stored,
    side: str,
    triangle: Triangle,
    m: int,
    n: int,
    alpha: int,
    a: int,
    lda: int,
    b: int,
    ldb: int,
    beta: int,
    c: int,
    ldc: int,
    *,
    hermitian: bool = False,
) -> Caught:
    """C = alpha A B + beta C, or alpha B A + beta C, with A symmetric or Hermitian."""
    order = m if side == "L" else n
    symmetric = stored.matrix(a, order, order, lda)
    other, target = stored.matrix(b, m, n, ldb), stored.result(c, m, n, ldc)
    if side == "R":  # C^T = A^T B^T + C^T, and a Hermitian A^T is the conjugate of A
        symmetric, other, target = conjugated(symmetric, hermitian), other.T, target.T
    request = Gemm(
        function=stored.function,
        dtype=stored.dtype,
        m=order,
        k=order,
        n=n if side == "L" else m,
        structure="hemm" if hermitian else "symm",
        stored=triangle,
    )
    return stored.scaled(request, (symmetric, other), target, stored.scalar(alpha), stored.scalar(beta))


def trmm(
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
    """B = alpha op(A) B, or alpha B op(A), with A triangular."""
    order = m if side == "L" else n
    factor, uplo = triangular(stored, side, triangle, trans, a, order, lda)
    target = stored.result(b, m, n, ldb)
    if side == "R":
        target = target.T
    request = Gemm(
        function=stored.function,
        dtype=stored.dtype,
        m=order,
        k=order,
        n=target.shape[1],
        structure="trmm",
        stored=uplo,
        unit=diag == "U",
    )
    return stored.scaled(request, (factor, target), target, stored.scalar(alpha), 0)


def triangular(
    stored: Stored, side: str, triangle: Triangle, trans: str, a: int, n: int, lda: int
) -> tuple[Array, Triangle]:
    """A triangular matrix as it stands on the left, and which triangle of it is read.

    On the right, B op(A) is the transpose of op(A)^T B^T.
    """
    factor = stored.matrix(a, n, n, lda)
    if (side == "L") != (trans == "N"):
        factor, triangle = factor.T, flipped(triangle)
    return conjugated(factor, trans == "C"), triangle


def _wrong_trans(stored: Stored, trans: str, hermitian: bool) -> str:
    """Why BLAS will not have this ``trans``; empty when it will."""
    unknown = "T" if hermitian else "C"
    if not stored.is_complex or trans != unknown:
        return ""
    kind = "Hermitian" if hermitian else "complex symmetric"
    return f"a {kind} update does not know trans={unknown!r}: BLAS says so itself"


def unmultiplied(request: Request) -> Caught:
    """A call whose alpha is zero."""
    return refused(request, "alpha is 0: nothing to multiply")


def refused(request: Request, reason: str) -> Caught:
    """A call that is only noted, for what is special in it."""
    return observed(request.function, request.dtype, request.shapes, request.work, reason)


def observed(
    function: str,
    dtype: str,
    shapes: tuple[tuple[int, ...], ...],
    work: float,
    reason: str,
) -> Caught:
    """A call that is only noted, with the reason."""
    request = Routine(
        function=function,
        dtype=dtype,
        shapes=shapes,
        work=int(work),
        reason=reason,
        contraction=True,
    )
    return Caught(request, Operands(inputs=()), _never)


def _never(_: Array) -> None:
    raise AssertionError("a result came for a request that only says why there is none")
