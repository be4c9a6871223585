"""Carry out a plan: fold the operands, have precision and the engine compute the product, unfold it.

Precision decides what is multiplied (`numtrn.precision`), the engine makes it (`numtrn.engine`). Results are
computed aside: nothing the caller owns is written here.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from numtrn.engine import KernelEngine
from numtrn.plan import Plan
from numtrn.precision import gemm
from numtrn.request import Array, Contraction, Operands
from numtrn.targets import Target

__all__ = ["Outcome", "as_asked", "as_gemm", "launch", "like"]


SILENT = ("numpy.einsum", "scipy.linalg.blas.")
"""How the names begin of functions that never warn of NaN and Inf."""


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
    form
        "Karatsuba" where products of digits were saved so, else empty.
    bound
        Promised componentwise error in units of u |A||B|.
    underflow
        Added to it: this times the largest |A| of the row and |B| of the column; see
        `numtrn.precision.records.Product`.
    note
        What the data made of the plan; may be empty.
    """

    value: Array
    launches: int
    bytes: int
    slices: int | None
    form: str
    bound: float
    underflow: float
    note: str


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
    a, b = as_gemm(plan, operands)
    silent = plan.request.function.startswith(SILENT)
    with np.errstate(all="ignore") if silent else nullcontext():
        computed = gemm(plan.scheme, a, b, engine, "syrk" if plan.gemm.triangle else "general")
    with np.errstate(all="ignore"):  # the caller's settings are for NumPy's own arithmetic
        value = as_asked(plan, computed.value, operands)
    return Outcome(
        value=value,
        launches=engine.launches,
        bytes=engine.bytes,
        slices=computed.slices,
        form=engine.form,
        bound=computed.bound,
        underflow=computed.underflow,
        note=computed.note,
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
