"""Calls of contracting functions as requests: the words, the order of a chain, and what is left to NumPy."""

import doctest
import itertools

import numpy as np
import opt_einsum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
from numtrn import forms, subscripts
from numtrn.request import Contraction, Routine

A, B, T = np.ones((3, 4)), np.ones((4, 5)), np.ones((2, 3, 4))


def test_examples_in_docstrings():
    assert doctest.testmod(subscripts).failed == 0


WORDS = {
    "dot": (lambda: forms.dot(T, B), "abc,cd->abd"),
    "dot of more axes": (lambda: forms.dot(T, np.ones((6, 4, 5))), "abc,dce->abde"),
    "inner": (lambda: forms.inner(T, np.ones((7, 6, 4))), "abc,dec->abde"),
    "tensordot": (lambda: forms.tensordot(T, np.ones((3, 4, 2))), "abc,bcd->ad"),
    "tensordot of axes": (lambda: forms.tensordot(T, T, ((2, 0), (-1, 0))), "abc,adc->bd"),
    "chain": (lambda: forms.multi_dot([A, B, B.T]), "ab,bc,cd->ad"),
    "chain with vectors": (lambda: forms.multi_dot([A[0], B, B[0]]), "b,bc,c->"),
    "matvec": (lambda: forms.vectors("matvec", A, T), "mn,ABn->ABm"),
    "vecmat": (lambda: forms.vectors("vecmat", T, B), "ABn,nm->ABm"),
    "einsum": (lambda: forms.einsum("...ij,jk", T, B), None),
}


@pytest.mark.parametrize("form", WORDS)
def test_subscripts_say_what_numpy_computes(form):
    read, words = WORDS[form]
    found = read()
    if words is not None:
        assert found.reading.subscripts == words
    request = found.request()
    assert isinstance(request, Contraction)
    assert np.einsum(request.subscripts, *found.arrays).shape == found.reading.shape


def test_tensordot_by_default_contracts_two_axes():
    assert forms.tensordot(T, np.ones((3, 4, 5))).reading.shape == np.tensordot(T, np.ones((3, 4, 5))).shape


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 40), min_size=4, max_size=6))
def test_a_chain_is_multiplied_in_the_order_of_least_work(extents):
    """The oracle is opt_einsum's exhaustive search, on chains without vectors."""
    shapes = list(itertools.pairwise(extents))
    request = forms.multi_dot([np.broadcast_to(0.0, shape) for shape in shapes]).request()
    assert request.path == subscripts.read_chain(tuple(shapes)).path
    least = multiply_adds(request.subscripts, shapes, "optimal")
    assert multiply_adds(request.subscripts, shapes, list(request.path)) <= least


def multiply_adds(words, shapes, optimize):
    """Of a path, each step the product of the extents of all its labels."""
    extents = dict(
        pair
        for term, shape in zip(words.split("->")[0].split(","), shapes, strict=True)
        for pair in zip(term, shape, strict=True)
    )
    info = opt_einsum.contract_path(words, *shapes, shapes=True, optimize=optimize)[1]
    labels = (set(step[2]) - set(",->") for step in info.contraction_list)
    return sum(int(np.prod([extents[label] for label in step])) for step in labels)


@pytest.mark.parametrize(
    "call",
    [
        lambda: forms.dot(A, A),
        lambda: forms.dot(A, 2.0),
        lambda: forms.einsum("ij", A),
        lambda: forms.einsum("ij,jk", A, B, order="X"),
        lambda: forms.einsum("ij,jk", A, B, optimize="somehow"),
        lambda: forms.einsum("ij,jk", A, B, unknown=1),
        lambda: forms.multi_dot([A]),
        lambda: forms.multi_dot([A, A, B]),
        lambda: forms.multi_dot(iter([A, B])),
        lambda: forms.tensordot(A, B, 3),
        lambda: forms.einsum("ii,ij,jk->k", np.ones((1, 3)), A, B),
        lambda: forms.vectors("vecmat", A, A),
        lambda: forms.einsum("ij,jk", A, B, dtype="f").request(),
        lambda: forms.einsum("ij,jk", A, B, out=np.ones((3, 4))).request(),
        lambda: forms.dot(T, B, np.ones((2, 3, 5), "f")).request(),
        lambda: forms.dot(T, [[1.0]] * 4, as_array=forms.exactly),
    ],
)
def test_wrong_calls_are_no_forms(call):
    with pytest.raises((ValueError, TypeError, IndexError)):
        call()


def test_reasons():
    for form, words in [
        (forms.einsum("ij,jk", A, B, dtype=complex, optimize=True), "depends on the order"),
        (forms.einsum("ij,jk", A.astype("e"), B), "float16 stays with NumPy"),
        (forms.einsum("ij,jk", A, B, dtype=">f8"), "foreign byte order"),
        (forms.dot(T.astype(int), B), "int64 stays with NumPy"),
        (forms.vectors("matvec", A, A[0]), "by GEMV"),
        (forms.vectors("vecdot", A, A), "by DOT"),
        (forms.contract("ij,jk", A, B, backend="numpy"), "backend"),
    ]:
        request = form.request()
        assert isinstance(request, Routine)
        assert words in request.reason


def test_axes_of_tensordot_may_be_an_array_without_axes():
    assert forms.tensordot(T, np.ones((4, 5)), np.array(1)).reading.subscripts == "abc,cd->abd"


def test_chains_of_more_matrices_than_letters_say_so():
    with pytest.raises(ValueError, match="at most 51 matrices"):
        forms.multi_dot([np.ones((2, 2))] * 52)
    assert len(forms.multi_dot([np.ones((2, 2))] * 51).request().path) == 50


def test_a_cast_that_only_numpys_order_can_judge_is_no_error():
    """NumPy contracts pairs before it casts: this is a call that it computes."""
    form = forms.einsum("ij,jk->ik", A.astype("D"), B, dtype="F", optimize=True)
    assert "depends on the order" in form.request().reason


@pytest.mark.parametrize("optimize", [True, "optimal", "greedy", [(0, 2), (0, 1)]])
def test_opt_einsum_contract_has_its_own_order(optimize):
    form = forms.contract("ij,jk,lk->il", A, B, np.ones((9, 5)), optimize=optimize)
    path, _ = opt_einsum.contract_path("ij,jk,lk->il", A, B, np.ones((9, 5)), optimize=optimize)
    assert form.request().path == tuple(map(tuple, path))


def test_opt_einsum_contract_inside_a_block_is_caught_step_by_step():
    a, b = np.random.default_rng(0).standard_normal((2, 40, 40))
    expected = opt_einsum.contract("ij,jk,lk->il", a, b, a)
    with numtrn.enabled(min_work=1, target="interpreter", verify=True) as session:
        result = opt_einsum.contract("ij,jk,lk->il", a, b, a)
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    assert session.counts["kernel"] == 2
    assert {call.function for call in session.calls} <= {"numpy.tensordot", "numpy.einsum", "numpy.matmul"}
