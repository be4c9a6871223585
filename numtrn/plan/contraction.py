"""How two operands of an einsum become one (batched) GEMM: which labels fold into which of its indices.

Decided from subscripts, extents and strides alone. Labels are ordered within an index so that operands are
read as they lie in memory; where no order does that, the copy on the host is counted. The order in which more
operands are contracted is `numtrn.plan.path`'s affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from math import prod

import numpy as np

from numtrn.request import Contraction, Gemm

__all__ = ["Folding", "Reading", "fold", "kind_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How one operand becomes a matrix, or a stack of matrices.

    Attributes
    ----------
    place
        Of the operand among those of the request.
    written
        Its term.
    ones
        Labels of extent 1 here and more elsewhere, which are left out.
    summed
        Labels that occur nowhere else: the host sums over them first.
    term
        Labels that are left: a diagonal is taken of those that occur twice.
    copied
        Bytes that the host copies because no order of the labels is that of the memory.
    """

    place: int
    written: str
    ones: str
    summed: str
    term: str
    copied: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Folding:
    """The GEMM that an einsum of two operands is.

    Attributes
    ----------
    gemm
        The batched product.
    batch, left, contracted, right
        Labels folded into each of its indices, in order.
    readings
        Of A and of B; the second operand is A where the result then lies as it was asked for.
    output
        The term of the result.
    summed_terms
        Terms of the longest sum that the host makes of an operand before the product; 0 for none.
    """

    gemm: Gemm
    batch: str
    left: str
    contracted: str
    right: str
    readings: tuple[Reading, Reading]
    output: str
    summed_terms: int

    @property
    def kind(self) -> str:
        """What a chemist calls it: GEMM, SYRK, GEMV, DOT, outer or elementwise product, of a batch or not."""
        return kind_of(self.gemm)

    @property
    def copied(self) -> int:
        """Bytes copied on the host."""
        return sum(reading.copied for reading in self.readings)


def kind_of(gemm: Gemm) -> str:
    """The name of a product by its extents.

    >>> kind_of(Gemm(function="", dtype="float64", m=5, k=3, n=1, batch=4))
    'batched GEMV'
    """
    if gemm.k == 1:
        kind = "outer product" if min(gemm.m, gemm.n) > 1 else "elementwise product"
    elif min(gemm.m, gemm.n) > 1:
        kind = "SYRK" if gemm.structure == "syrk" else "GEMM"
    else:
        kind = "GEMV" if max(gemm.m, gemm.n) > 1 else "DOT"
    return f"batched {kind}" if gemm.batch > 1 and gemm.k > 1 else kind


@lru_cache(maxsize=4096)
def fold(request: Contraction) -> Folding | str:
    """The GEMM that this einsum is, or why it is none."""
    inputs, output = request.subscripts.split("->")
    written = inputs.split(",")
    if len(written) != 2:
        return f"{len(written)} operands: a product has two"
    for term, shape in zip(written, request.shapes, strict=True):
        if len({*zip(term, shape, strict=True)}) != len(set(term)):  # 'ii,ij->j' of (1, 3) and (3, 4)
            return f"a diagonal of {term!r} with two extents, {shape}"
    extents = request.extents
    operands = [_Operand.of(request, place, extents, output) for place in (0, 1)]
    if operands[0].labels.isdisjoint(set(operands[1].labels) - set(output)):
        return "no label is contracted: an elementwise product, bound by memory"  # 'i,j->ij', 'ij,ij->ij'
    symmetric = request.same == (0, 0) and _is_symmetric(operands)
    pairs = (
        [(operands[0], operands[1])]
        if symmetric
        else [(operands[0], operands[1]), (operands[1], operands[0])]
    )
    choices = (choice for pair in pairs for choice in _arranged(pair, extents, output))
    best = min((choice for choice in choices if not symmetric or choice.is_mirrored), key=_cost)
    return best.folding(request, symmetric=symmetric)


# ---- One operand ----


@dataclass(frozen=True, slots=True)
class _Operand:
    """An operand after its diagonals, its ones and its own sums; strides in bytes by label."""

    place: int
    written: str
    ones: str
    summed: str
    strides: Mapping[str, int]
    bytes: int
    summed_terms: int

    @property
    def labels(self) -> set[str]:
        return set(self.strides)

    @property
    def is_plain(self) -> bool:
        """Whether it is read as it was written."""
        return not self.ones and not self.summed and len(self.strides) == len(self.written)

    @classmethod
    def of(cls, request: Contraction, place: int, extents: Mapping[str, int], output: str) -> _Operand:
        terms = request.subscripts.split("->")[0].split(",")
        term = terms[place]
        other = zip(terms[1 - place], request.shapes[1 - place], strict=True)
        sizes = dict(zip(term, request.shapes[place], strict=True))
        ones = "".join(label for label in sizes if sizes[label] != extents[label])
        elsewhere = {label for label, size in other if size == extents[label]} | set(output)
        summed = "".join(label for label in sizes if label not in elsewhere)
        kept = [label for label in sizes if label not in ones + summed]
        item = np.dtype(request.dtype).itemsize
        strides: dict[str, int] = {}
        if summed:  # a fresh array in C order
            step = item
            for label in reversed(kept):
                strides[label] = step
                step *= sizes[label]
            strides = {label: strides[label] for label in kept}
        else:
            for label, stride in zip(term, _strides(request, place, item), strict=True):
                if label in kept:
                    strides[label] = strides.get(label, 0) + stride
        return cls(
            place=place,
            written=term,
            ones=ones,
            summed=summed,
            strides=strides,
            bytes=item * prod(sizes[label] for label in kept),
            summed_terms=prod(sizes[label] for label in summed) if summed else 0,
        )


def _strides(request: Contraction, place: int, item: int) -> tuple[int, ...]:
    if request.strides is not None:
        return request.strides[place]
    shape = request.shapes[place]
    return tuple(item * prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _merges(operand: _Operand, group: str, extents: Mapping[str, int]) -> bool:
    """Whether the labels, in this order, are one axis of the memory."""
    steps = [(operand.strides[label], extents[label]) for label in group if extents[label] > 1]
    return all(outer == inner * size for (outer, _), (inner, size) in pairwise(steps))


def _is_symmetric(operands: list[_Operand]) -> bool:
    """Whether the product of an array with itself is symmetric: common labels are in the same places."""
    first, second = operands
    shared = first.labels & second.labels
    places = ((first.written.index(label), second.written.index(label)) for label in shared)
    return first.is_plain and second.is_plain and all(one == other for one, other in places)


# ---- Which labels go where ----


@dataclass(frozen=True, slots=True)
class _Choice:
    """Labels of each index in one order, for A and B in one order."""

    operands: tuple[_Operand, _Operand]
    batch: str
    left: str
    contracted: str
    right: str
    output: str
    copied: tuple[int, int]
    extents: Mapping[str, int]

    @property
    def is_mirrored(self) -> bool:
        """Whether the axes of A that fold into its rows are those of B that fold into its columns."""
        first, second = (operand.written for operand in self.operands)
        return [first.index(label) for label in self.left] == [second.index(label) for label in self.right]

    @property
    def permutes(self) -> bool:
        """Whether the result of the product lies in another order than was asked for."""
        long = [label for label in self.batch + self.left + self.right if self.extents[label] > 1]
        return long != [label for label in self.output if self.extents[label] > 1]

    def folding(self, request: Contraction, *, symmetric: bool) -> Folding:
        batch, m, k, n = (
            prod(self.extents[label] for label in group)
            for group in (self.batch, self.left, self.contracted, self.right)
        )
        first, second = (
            Reading(
                place=operand.place,
                written=operand.written,
                ones=operand.ones,
                summed=operand.summed,
                term="".join(operand.strides),
                copied=copied,
            )
            for operand, copied in zip(self.operands, self.copied, strict=True)
        )
        return Folding(
            gemm=Gemm(
                function=request.function,
                dtype=request.dtype,
                batch=batch,
                m=m,
                k=k,
                n=n,
                structure="syrk" if symmetric else "general",
            ),
            batch=self.batch,
            left=self.left,
            contracted=self.contracted,
            right=self.right,
            readings=(first, second),
            output=self.output,
            summed_terms=max(operand.summed_terms for operand in self.operands),
        )


def _cost(choice: _Choice) -> tuple[int, bool, int]:
    """Copies of operands first, then one of the result, then the order in which the operands were given."""
    return sum(choice.copied), choice.permutes, choice.operands[0].place


def _arranged(pair: tuple[_Operand, _Operand], extents: Mapping[str, int], output: str) -> Iterator[_Choice]:
    """Every order of labels worth a look: those of the memory of an operand, and that of the result."""
    first, second = pair
    shared = first.labels & second.labels
    batches = _orders(shared & set(output), (first, second), output)
    lefts = _orders(first.labels - shared, (first,), output)
    sums = _orders(shared - set(output), (first, second), "")
    rights = _orders(second.labels - shared, (second,), output)
    for batch, left, contracted, right in product(batches, lefts, sums, rights):
        copied = (
            _copied(first, (batch, left, contracted), extents),
            _copied(second, (batch, contracted, right), extents),
        )
        yield _Choice(pair, batch, left, contracted, right, output, copied, extents)


def _orders(labels: set[str], operands: tuple[_Operand, ...], output: str) -> list[str]:
    """The labels as they lie in each operand, outermost first, and as they stand in the result."""
    found = []
    if labels <= set(output):
        found.append("".join(label for label in output if label in labels))
    for operand in operands:
        strides = operand.strides
        own = [label for label in strides if label in labels]
        found.append("".join(sorted(own, key=lambda label: -abs(strides[label]))))
    return list(dict.fromkeys(found))


def _copied(operand: _Operand, groups: tuple[str, ...], extents: Mapping[str, int]) -> int:
    return 0 if all(_merges(operand, group, extents) for group in groups) else operand.bytes
