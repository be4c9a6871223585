"""Which einsums are one GEMM: a table of subscripts and verdicts."""

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
    "ij,jk->ki": ("", "i", "j", "k"),
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
}

REFUSED = {
    # more or fewer than two operands
    "ij->ji": "1 operands",
    "ij,jk,kl->il": "3 operands",
    # a diagonal
    "ii,ij->j": "twice in 'ii'",
    "ij,jj->i": "twice in 'jj'",
    # a label summed in one operand alone
    "ijk,kl->il": "'j' is summed in one operand alone",
    "ij,kl->ik": "summed in one operand alone",
    # nothing contracted
    "i,j->ij": "no label is contracted",
    "ij,ij->ij": "no label is contracted",
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


def test_broadcast_from_one_is_refused():
    shapes = ((4, 1), (5, 6))
    refused = fold(
        Contraction(function="numpy.einsum", dtype="float64", subscripts="ij,jk->ik", shapes=shapes)
    )
    assert "broadcasts from 1 to 5" in refused


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
