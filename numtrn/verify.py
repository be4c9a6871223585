"""Compare a kernel's result with NumPy's within the promised bounds of both (``verify=True``)."""

from __future__ import annotations

import numpy as np

from numtrn.errors import VerificationError
from numtrn.launch import Outcome, as_asked, as_gemm
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
    a, b = as_gemm(plan, operands)
    with np.errstate(all="ignore"):
        reference = as_asked(plan, np.matmul(a, b), operands)
        size = np.matmul(_size(a), _size(b))
    if plan.folding is not None:
        size = as_asked(plan, size, operands)
    dtype = np.dtype(plan.gemm.dtype)
    unit = float(np.finfo(dtype).eps) / 2
    # A complex component is a sum over 2 K products; `_size` of both factors covers either component.
    terms = 2 if dtype.kind == "c" else 1
    per_size = outcome.bound * plan.scheme.unit + (terms * plan.gemm.k + 1) * unit + 3 * unit
    allowed = terms * abs(operands.alpha) * per_size * size
    if plan.gemm.reads_c:
        assert operands.c is not None
        allowed = allowed + 3 * unit * abs(operands.beta) * np.abs(operands.c)
    underflow = 2 * (abs(operands.alpha) + 1) * plan.gemm.k * float(np.finfo(dtype).tiny) * unit
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
    size: Array = np.abs(x.real).astype(np.float64)
    return size + np.abs(x.imag) if x.dtype.kind == "c" else size
