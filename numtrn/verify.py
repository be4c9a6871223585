"""Compare a kernel's result with NumPy's within the promised bounds of both (``verify=True``)."""

from __future__ import annotations

import numpy as np

from numtrn.errors import VerificationError
from numtrn.launch import Outcome, fold_operands, unfold
from numtrn.plan import Plan
from numtrn.request import Array, Operands

__all__ = ["verify"]


def verify(plan: Plan, operands: Operands, outcome: Outcome) -> None:
    """Compute the call with NumPy too and compare componentwise.

    The difference may be the kernel's promise plus NumPy's own classical bound, (K + 1) u |A||B|
    (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.5), plus a rounding
    for each of alpha and beta.

    Raises
    ------
    VerificationError
        With the largest violation, where it is, and the bound.
    """
    if plan.folding is None:
        a, b = operands.inputs
    else:
        a, b = fold_operands(plan.folding, operands, plan.gemm.dtype)
    with np.errstate(all="ignore"):
        reference, size = np.matmul(a, b), np.matmul(_size(a), _size(b))
    dtype = np.dtype(plan.gemm.dtype)
    unit = float(np.finfo(dtype).eps) / 2
    # u of the scheme is the operand type's; a complex product has four real ones, each within its bound.
    terms = 2.0 if dtype.kind == "c" else 1.0
    allowed = terms * (outcome.bound * plan.scheme.unit + (plan.gemm.k + 1) * unit) * size
    if plan.folding is None:
        alpha, beta = abs(operands.alpha), abs(operands.beta)
        reference, allowed = (
            _real_like(operands.alpha, dtype) * reference,
            alpha * allowed + 3 * unit * alpha * size,
        )
        if plan.gemm.reads_c:
            assert operands.c is not None
            reference = reference + _real_like(operands.beta, dtype) * operands.c
            allowed = allowed + 3 * unit * beta * np.abs(operands.c)
    else:
        reference, allowed = unfold(plan.folding, reference, plan), unfold(plan.folding, allowed, plan)
    underflow = 2 * plan.gemm.k * float(np.finfo(dtype).tiny) * unit
    _compare(plan, outcome.value, reference, allowed + underflow)


def _compare(plan: Plan, value: Array, reference: Array, allowed: Array) -> None:
    with np.errstate(all="ignore"):
        excess = np.abs(value - reference) - allowed
    wrong = excess > 0
    wrong |= np.isnan(value) != np.isnan(reference)
    if plan.gemm.triangle is not None:
        keep = np.tril if plan.gemm.triangle == "lower" else np.triu
        wrong = keep(wrong)
    if wrong.any():
        where = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise VerificationError(
            f"{plan.request.function}: {int(wrong.sum())} of {wrong.size} elements of kernel {plan.kernel} "
            f"({plan.scheme.name}) on {plan.target} differ from NumPy by more than the promised bounds; the "
            f"first at {where}: {value[where]!r}, NumPy {reference[where]!r}, allowed {allowed[where]:.3g}. "
            "Run `python -m numtrn doctor`, and keep to target='interpreter' or NumPy meanwhile"
        )


def _size(x: Array) -> Array:
    """|x|, for complex numbers |re| + |im|, in float64."""
    if x.dtype.kind == "c":
        return np.abs(x.real).astype(np.float64) + np.abs(x.imag)
    return np.abs(x).astype(np.float64)


def _real_like(factor: complex, dtype: np.dtype[np.generic]) -> complex:
    return factor if dtype.kind == "c" else complex(factor).real
