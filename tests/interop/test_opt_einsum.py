"""opt_einsum on numtrn arrays: it orders the contraction, NumPy's functions on the arrays carry it out."""

import numpy as np
import opt_einsum
import pytest

import numtrn
from tests.interop.support import inside, ours, same

rng = np.random.default_rng(3)
SIZES = {"i": 5, "j": 6, "k": 7, "l": 4, "p": 6, "q": 7, "r": 8, "s": 5, "b": 3}
STRINGS = ["ij,jk->ik", "ij,jk,kl->li", "bij,bjk->bik", "pi,qj,pqrs,rk,sl->ijkl", "ij,ij->", "ij,jk,ki->"]


def drawn(string):
    inputs = string.split("->")[0].split(",")
    return [rng.standard_normal([SIZES[label] for label in labels]) for labels in inputs]


@pytest.mark.parametrize("backend", ["auto", "numpy"])
@pytest.mark.parametrize("string", STRINGS)
def test_contract(string, backend):
    operands = drawn(string)
    value, session = inside(
        lambda: opt_einsum.contract(string, *(ours(x) for x in operands), backend=backend)
    )
    same(value, np.einsum(string, *operands), rtol=1e-11, atol=1e-11)
    assert session.counts["kernel"] > 0


def test_an_expression_serves_both():
    string = "pi,qj,pqrs,rk,sl->ijkl"
    operands = drawn(string)
    expression = opt_einsum.contract_expression(string, *(x.shape for x in operands))
    value, session = inside(lambda: expression(*(ours(x) for x in operands)))
    same(value, expression(*operands), rtol=1e-11, atol=1e-11)
    assert session.counts["kernel"] > 0
    assert isinstance(expression(*operands), np.ndarray)


@pytest.mark.parametrize("constant", [numtrn.asarray, np.asarray])
def test_constants(constant):
    string = "pi,pq,qj->ij"
    a, b, c = drawn(string)
    expression = opt_einsum.contract_expression(string, constant(a), constant(b), c.shape, constants=[0, 1])
    value, session = inside(lambda: expression(ours(c)))
    same(value, np.einsum(string, a, b, c), rtol=1e-11, atol=1e-11)
    assert session.counts["kernel"] > 0


def test_ndarrays_and_numtrn_arrays_together():
    a, b, c = drawn("ij,jk,kl->li")
    for operands in ((ours(a), b, c), (a, b, ours(c))):
        value, session = inside(lambda given=operands: opt_einsum.contract("ij,jk,kl->li", *given))
        same(value, (a @ b @ c).T, rtol=1e-11, atol=1e-11)
        assert session.counts["kernel"] > 0


def test_out_is_filled():
    a, b = drawn("ij,jk->ik")
    out = ours(np.full((5, 7), np.nan))
    value, _ = inside(lambda: opt_einsum.contract("ij,jk->ik", *ours(a, b), out=out))
    assert value is out
    same(out, a @ b)


def test_outside_a_block():
    a, b = drawn("ij,jk->ik")
    same(opt_einsum.contract("ij,jk->ik", *ours(a, b)), a @ b)


def test_the_name_of_the_package_is_no_backend():
    a, b = drawn("ij,jk->ik")
    with pytest.raises(AttributeError, match="numtrn"):
        opt_einsum.contract("ij,jk->ik", *ours(a, b), backend="numtrn")
