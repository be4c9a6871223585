"""How einsums of two operands fold into one GEMM: a table of subscripts and verdicts, and what is copied."""

import math

import numpy as np
import pytest

from numtrn.plan.contraction import fold
from numtrn.request import Contraction

SIZES = dict(zip("abcdijklmpqPQ", (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14), strict=True))

GEMMS = {
    # subscripts: (batch, left, contracted, right)
    # plain products, operands and output permuted
    "ij,jk->ik": ("", "i", "j", "k"),
    "ji,jk->ik": ("", "i", "j", "k"),
    "ij,kj->ik": ("", "i", "j", "k"),
    "ij,jk->ki": ("", "k", "j", "i"),  # C^T = B^T A^T lies as asked for
    # several labels fold into one index
    "iaQ,jbQ->iajb": ("", "ia", "Q", "jb"),
    "Qia,Qjb->ijab": ("", "ia", "Q", "jb"),
    "ikab,jkab->ij": ("", "i", "kab", "j"),
    "pi,pqj->iqj": ("", "i", "p", "qj"),
    # batches
    "bij,bjk->bik": ("b", "i", "j", "k"),
    "aij,bij->iab": ("i", "a", "j", "b"),
    "Qpq,qa->Qpa": ("", "Qp", "q", "a"),
    # matrix times vector, vectors
    "ij,j->i": ("", "i", "j", ""),
    "i,i->": ("", "", "i", ""),
    "ab,ab->": ("", "", "ab", ""),
    # a diagonal, a label summed in one operand alone
    "ii,ij->j": ("", "", "i", "j"),
    "iij,jk->ik": ("", "i", "j", "k"),
    "ijk,kl->il": ("", "i", "k", "l"),
    "iijk,kl->jl": ("", "j", "k", "l"),
}

REFUSED = {
    # more or fewer than two operands
    "ij->ji": "1 operands",
    "ij,jk,kl->il": "3 operands",
    # nothing contracted
    "i,j->ij": "no label is contracted",
    "ij,ij->ij": "no label is contracted",
    "ij,kl->ik": "no label is contracted",
}


def request(subscripts, sizes=SIZES):
    terms = subscripts.split("->")[0].split(",")
    shapes = tuple(tuple(sizes[label] for label in term) for term in terms)
    return Contraction(function="numpy.einsum", dtype="float64", subscripts=subscripts, shapes=shapes)


@pytest.mark.parametrize(("subscripts", "groups"), GEMMS.items())
def test_folds(subscripts, groups):
    folding = fold(request(subscripts))
    assert (folding.batch, folding.left, folding.contracted, folding.right) == groups


@pytest.mark.parametrize(("subscripts", "words"), REFUSED.items())
def test_refuses_with_reason(subscripts, words):
    assert words in fold(request(subscripts))


def test_extents_multiply():
    gemm = fold(request("iaQ,jbQ->iajb")).gemm
    assert (gemm.batch, gemm.m, gemm.k, gemm.n) == (1, 6 * 2, 14, 7 * 3)
    assert gemm.work == 12 * 14 * 21


def test_a_label_of_extent_one_is_left_out_of_its_operand():
    shapes = ((4, 1), (5, 6))
    folding = fold(
        Contraction(function="numpy.einsum", dtype="float64", subscripts="ij,jk->ik", shapes=shapes)
    )
    assert folding == "no label is contracted: an elementwise product, bound by memory"
    shapes = ((4, 1, 7), (3, 5, 7))
    folding = fold(
        Contraction(function="numpy.einsum", dtype="float64", subscripts="ijk,ljk->il", shapes=shapes)
    )
    # j is summed in the second operand, as the first has the same elements for each of it
    assert (folding.gemm.m, folding.gemm.k, folding.gemm.n) == (4, 7, 3)
    assert [(reading.ones, reading.summed) for reading in folding.readings] == [("j", ""), ("", "j")]


def test_a_diagonal_of_two_extents_is_refused():
    shapes = ((1, 3), (3, 4))
    request = Contraction(function="numpy.einsum", dtype="float64", subscripts="ii,ij->j", shapes=shapes)
    assert "two extents" in fold(request)


def laid_out(subscripts, *orders):
    """Operands of 8-byte elements whose memory has the labels in the given orders, outermost first."""
    terms = subscripts.split("->")[0].split(",")
    shapes = tuple(tuple(SIZES[label] for label in term) for term in terms)
    strides = []
    for term, order in zip(terms, orders, strict=True):
        steps, step = {}, 8
        for label in reversed(order):
            steps[label] = step
            step *= SIZES[label]
        strides.append(tuple(steps[label] for label in term))
    return Contraction(
        function="f", dtype="float64", subscripts=subscripts, shapes=shapes, strides=tuple(strides)
    )


COPIES = {
    # subscripts, orders of the labels in memory: operands that are copied, and (left, contracted, right)
    ("iajb,kb->iajk", "iajb", "kb"): ((), "iaj b k"),
    ("iajb,kb->iajk", "jaib", "kb"): ((), "jai b k"),
    ("ikab,jkab->ij", "ikab", "jkab"): ((), "i kab j"),
    ("ikab,jkab->ij", "iakb", "jakb"): ((), "i akb j"),
    ("ikab,jkab->ij", "ikab", "jabk"): ((0,), "i abk j"),  # or the second one, as many bytes,
    ("iajb,kalb->ikjl", "iajb", "kalb"): ((0, 1), None),
    ("bij,bjk->bik", "ibj", "bjk"): ((), "i j k"),
}


@pytest.mark.parametrize("case", COPIES)
def test_labels_take_the_order_of_the_memory_where_one_does(case):
    subscripts, *orders = case
    copied, groups = COPIES[case]
    request = laid_out(subscripts, *orders)
    folding = fold(request)
    assert tuple(sorted(r.place for r in folding.readings if r.copied)) == copied
    for reading in folding.readings:
        if reading.copied:
            assert reading.copied == 8 * math.prod(request.shapes[reading.place])
    if groups is not None:
        assert f"{folding.left} {folding.contracted} {folding.right}" == groups


@pytest.mark.parametrize("case", COPIES)
def test_a_fold_without_a_copy_is_a_view(case):
    """NumPy itself is asked: reshaping the operand to its groups copies just where the plan says so."""
    subscripts, *orders = case
    folding = fold(laid_out(subscripts, *orders))
    terms = subscripts.split("->")[0].split(",")
    groups = (
        (folding.batch, folding.left, folding.contracted),
        (folding.batch, folding.contracted, folding.right),
    )
    for reading, group in zip(folding.readings, groups, strict=True):
        term, order = terms[reading.place], orders[reading.place]
        memory = np.zeros([SIZES[label] for label in order])
        operand = memory.transpose([order.index(label) for label in term])
        axes = [term.index(label) for label in "".join(group)]
        extents = [math.prod(SIZES[label] for label in labels) for labels in group]
        folded = operand.transpose(axes).reshape(extents)
        assert np.shares_memory(folded, memory) == (not reading.copied)


SYMMETRIC = (
    "iaQ,jbQ->iajb",
    "Qia,Qjb->ijab",
    "ij,kj->ik",
    "ji,jk->ki",
    "ikab,jkab->ij",
    "bij,bkj->bik",
    "bij,bkj->bki",
)
OTHERS = ("ij,jk->ik", "bij,kbj->bik", "aij,bji->ab", "bij,bjk->bik")


def folded(subscripts, *, alike):
    terms = subscripts.split("->")[0].split(",")
    request = Contraction(
        function="f",
        dtype="float64",
        subscripts=subscripts,
        shapes=((3,) * len(terms[0]),) * 2,
        same=(0, 0) if alike else (0, 1),
    )
    return fold(request).gemm


@pytest.mark.parametrize("subscripts", SYMMETRIC)
def test_an_array_with_itself_is_symmetric(subscripts):
    assert folded(subscripts, alike=True).structure == "syrk"
    assert folded(subscripts, alike=False).structure == "general"


@pytest.mark.parametrize("subscripts", OTHERS)
def test_labels_in_other_places_are_another_matrix(subscripts):
    assert folded(subscripts, alike=True).structure == "general"
