"""Whether an einsum is one (batched) GEMM, and how its labels fold into it.

Decided from subscripts and extents alone. Only two operands, no label twice in one operand; the rest is
refused with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from numtrn.request import Contraction, Gemm

__all__ = ["Folding", "fold"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Folding:
    """The GEMM that an einsum is.

    Attributes
    ----------
    gemm
        The batched product.
    batch, left, contracted, right
        Labels folded into each of its indices, in order.
    first, second, output
        The terms of the einsum.
    """

    gemm: Gemm
    batch: str
    left: str
    contracted: str
    right: str
    first: str
    second: str
    output: str


def fold(request: Contraction) -> Folding | str:
    """The GEMM that this einsum is, or why it is none."""
    inputs, output = request.subscripts.split("->")
    terms = inputs.split(",")
    if len(terms) != 2:
        return f"{len(terms)} operands: only einsum of two operands has a kernel yet"
    first, second = terms
    for term in terms:
        if len(set(term)) != len(term):  # 'ii,ij->j'
            return f"a label twice in {term!r} (a diagonal) has no kernel yet"
    shared = set(first) & set(second)
    alone = [label for label in first + second if label not in output and label not in shared]
    if alone:  # 'ijk,kl->il'
        return f"label {alone[0]!r} is summed in one operand alone, which has no kernel yet"
    contracted = "".join(label for label in first if label in shared and label not in output)
    if not contracted:  # 'i,j->ij', 'ij,ij->ij'
        return "no label is contracted: an elementwise product, bound by memory"
    extents = request.extents
    for term, shape in zip(terms, request.shapes, strict=True):
        for label, size in zip(term, shape, strict=True):
            if size != extents[label]:  # 'ij,jk->ik' with j of 1 and 5
                return f"label {label!r} broadcasts from 1 to {extents[label]}, which has no kernel yet"
    batch = "".join(label for label in output if label in shared)
    left = "".join(label for label in first if label not in shared)
    right = "".join(label for label in second if label not in shared)

    def extent(labels: str) -> int:
        return prod(extents[label] for label in labels)

    symmetric = request.same == (0, 0) and _is_mirrored(first, second, batch + contracted)
    gemm = Gemm(
        function=request.function,
        dtype=request.dtype,
        batch=extent(batch),
        m=extent(left),
        k=extent(contracted),
        n=extent(right),
        structure="syrk" if symmetric else "general",
    )
    return Folding(
        gemm=gemm,
        batch=batch,
        left=left,
        contracted=contracted,
        right=right,
        first=first,
        second=second,
        output=output,
    )


def _is_mirrored(first: str, second: str, shared: str) -> bool:
    """Whether the product of an array with itself is symmetric: common labels are in the same places.

    >>> _is_mirrored("Qia", "Qjb", "Q"), _is_mirrored("ij", "jk", "j")
    (True, False)
    """
    return all(first.index(label) == second.index(label) for label in shared)
