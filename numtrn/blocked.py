"""Triangular solves and Cholesky by blocks: the diagonal by host or solving kernel, updates by kernels.

Recursive halves (S. Toledo, SIAM J. Matrix Anal. Appl. 18, 1065 (1997), for LU): X1 = T11^-1 B1,
B2 - T21 X1, X2 = T22^-1 of that; and L11 of A11, L21 = A21 L11^-H, L22 of A22 - L21 L21^H. Where to cut is
`numtrn.plan.blocked`'s. Operands are only read; results are fresh.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from numtrn.engine import KernelEngine
from numtrn.operands import as_scaled, as_triangular
from numtrn.plan.blocked import BlockedPlan, direct_bound, halves
from numtrn.precision import Declined, gemm
from numtrn.request import Array, Cholesky, Host, Operands, Solve, Structure

__all__ = ["Blocked", "run_blocked"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocked:
    """A solution X (n, columns), or a factor L with zeros above its diagonal, and how it was come by."""

    value: Array
    slices: int | None
    bound: float
    underflow: float
    note: str


def run_blocked(plan: BlockedPlan, operands: Operands, engine: KernelEngine) -> Blocked:
    """Solve or factorise.

    Raises
    ------
    Declined
        When operands or result are not finite, A is not positive definite, or the data let no update be a
        kernel's: LAPACK then says or does what is right.
    """
    assert operands.host is not None
    work = _Work(plan=plan, host=operands.host, engine=engine)
    with np.errstate(all="ignore"):  # the caller's settings are for LAPACK, which knows none
        if isinstance(plan.request, Cholesky):
            value = _factorised(work, operands.inputs[0])
        else:
            value = _solved(work, plan.request, operands)
        if not np.isfinite(value).all():
            raise Declined("the result is not finite; LAPACK computes it")
    if not work.by_kernels:
        raise Declined(f"no update for a kernel: {work.declined}")
    return Blocked(
        value=value,
        slices=work.slices,
        bound=plan.promised(work.numpy_terms),
        underflow=work.underflow * plan.request.n,
        note=work.note(),
    )


@dataclass(slots=True)
class _Work:
    """Does what the recursions ask for, and keeps the account.

    ``numpy_terms`` is the longest sum that NumPy made, ``underflow`` what a term of a kernel's sums may lose:
    the sums of a row meet disjoint parts of it, so that there are no more terms than the order.
    """

    plan: BlockedPlan
    host: Host
    engine: KernelEngine
    slices: int | None = None
    by_kernels: int = 0
    by_numpy: int = 0
    numpy_terms: int = 0
    underflow: float = 0.0
    declined: str = ""
    on_host: list[int] = field(default_factory=list)

    def product(self, a: Array, b: Array, structure: Structure = "general") -> Array:
        """AB by kernels, or by NumPy where the data make that the better place."""
        try:
            computed = gemm(
                self.plan.scheme_of(a.shape[1]), a[None], b[None], self.engine, structure=structure
            )
        except Declined as declined:
            self.by_numpy += 1
            self.numpy_terms = max(self.numpy_terms, a.shape[1])
            self.declined = declined.reason
            product: Array = np.matmul(a, b)
            return product
        self.by_kernels += 1
        self.underflow = max(self.underflow, computed.underflow / a.shape[1])
        if computed.slices is not None:
            self.slices = max(self.slices or 0, computed.slices)
        value: Array = computed.value[0]
        return value

    def by_kernel(self, factor: Array, columns: Array) -> bool:
        """Solve a block whole, in place, if the data allow it."""
        solution = self.engine.solve(factor, columns, direct_bound(len(factor)))
        if solution is None or not np.isfinite(solution).all():
            return False
        columns[...] = solution
        self.by_kernels += 1
        return True

    def note(self) -> str:
        """What the account says beside the plan's reason."""
        parts = []
        if self.on_host:
            parts.append(f"{len(self.on_host)} blocks of up to {max(self.on_host)} on the host")
        if self.by_numpy:
            parts.append(
                f"{self.by_numpy} of {self.by_numpy + self.by_kernels} updates by NumPy: {self.declined}"
            )
        return "; ".join(parts)


# ---- Solving ----


def _solved(work: _Work, request: Solve, operands: Operands) -> Array:
    *matrices, columns = operands.inputs
    x = as_scaled(operands.alpha, columns)
    if not np.isfinite(x).all():
        raise Declined("the right-hand sides hold NaN or Inf; LAPACK propagates them")
    for matrix, factor in zip(matrices, request.factors, strict=True):
        triangle = as_triangular(matrix, factor)
        if not np.isfinite(triangle).all():
            raise Declined("the triangular matrix holds NaN or Inf; LAPACK propagates them")
        turn = slice(None, None, -1 if factor.uplo == "upper" else 1)  # reversed, an upper triangle is lower
        x = np.ascontiguousarray(x[turn])
        _solve(work, triangle[turn, turn], x, factor.unit)
        x = x[turn]
    return x


def _solve(work: _Work, factor: Array, columns: Array, unit: bool = False) -> None:
    """Overwrite C-contiguous columns with factor^-1 columns."""
    n, plan = factor.shape[0], work.plan
    if n <= plan.direct and work.by_kernel(factor, columns):
        return
    if n <= plan.block:
        work.on_host.append(n)
        work.host.solve(factor, columns, unit=unit)
        return
    half = halves(n, max(plan.block, plan.direct) if n > plan.direct else plan.block)
    _solve(work, factor[:half, :half], columns[:half], unit)
    columns[half:] -= work.product(factor[half:, :half], columns[:half])
    _solve(work, factor[half:, half:], columns[half:], unit)


# ---- Factorising ----


def _factorised(work: _Work, matrix: Array) -> Array:
    a = np.tril(matrix)
    if a.dtype.kind == "c":  # the imaginary part of a diagonal is not read
        np.fill_diagonal(a, a.diagonal().real)
    if not np.isfinite(a).all():
        raise Declined("the matrix holds NaN or Inf; LAPACK propagates them")
    _factorise(work, a, 0)
    return a


def _factorise(work: _Work, a: Array, before: int) -> None:
    """Overwrite the lower triangle of a, whose first row is row ``before`` of the whole, with its factor."""
    n = a.shape[0]
    if n <= work.plan.block:
        work.on_host.append(n)
        lower, info = work.host.cholesky(a)
        if info:
            raise Declined(f"minor {before + info} is not positive definite; LAPACK reports it")
        a[...] = lower
        return
    half = halves(n, work.plan.block)
    first, below, rest = a[:half, :half], a[half:, :half], a[half:, half:]
    _factorise(work, first, before)
    solution = np.ascontiguousarray(below.conj().T)
    _solve(work, first, solution)
    below[...] = solution.conj().T
    rest -= np.tril(work.product(below, below.conj().T, "herk" if a.dtype.kind == "c" else "syrk"))
    if a.dtype.kind == "c":
        np.fill_diagonal(rest, rest.diagonal().real)
    _factorise(work, rest, before + half)
