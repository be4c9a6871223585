"""opt_einsum on plain arrays inside a block: the pairwise steps that it hands to NumPy go to kernels."""

import census
import numpy as np
import opt_einsum
import pytest
from census import Entry

import numtrn

STRINGS = (
    # one step, through tensordot
    "ij,jk->ik",
    "iaQ,jbQ->iajb",
    "Qia,Qjb->ijab",
    # one step, through einsum: a batch
    "bij,bjk->bik",
    # several steps
    "pi,pq,qj->ij",
    "pi,qj,pqrs,rk,sl->ijkl",
    "kcld,ic,jd->klij",
    "iaP,ia,iaQ->PQ",
    # a step without a sum
    "i,a,iaQ,jaQ->ij",
    # matrix times vector twice; a diagonal, which may be taken apart in more than one way
    "ijab,jkbc,kc->ia",
    "iij,jk,kl->il",
)
DTYPES = ("float64", "float32")


def drawn(string, dtype):
    entry = Entry(string, "", "")
    sizes = entry.small()
    return entry, sizes, entry.operands(sizes, dtype)


def inside(function):
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value = function()
    return value, session


def right(value, entry, sizes, operands, session):
    """The result within the promise of its steps, of which one at least a kernel computed."""
    assert session.counts["kernel"] > 0
    assert census.excess(value, entry, sizes, operands, session.calls) <= 1


def gemms(path, entry, sizes):
    """Pairwise steps of a path in which both sides have free labels and labels are contracted."""
    shapes = [tuple(sizes[label] for label in term) for term in entry.inputs]
    _, info = opt_einsum.contract_path(entry.explicit, *shapes, shapes=True, optimize=path)
    steps = [step[2] for step in info.contraction_list]
    return [step for step in steps if "," in step and census.gemm_inside(Entry(step, "", ""), sizes)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimize", ["auto", "optimal", "greedy", "dp"])
@pytest.mark.parametrize("string", STRINGS)
def test_contract(string, optimize, dtype):
    entry, sizes, operands = drawn(string, dtype)
    value, session = inside(lambda: opt_einsum.contract(string, *operands, optimize=optimize))
    right(value, entry, sizes, operands, session)


@pytest.mark.parametrize("string", STRINGS[:-2])
def test_every_gemm_of_the_path_is_by_a_kernel(string):
    entry, sizes, operands = drawn(string, "float64")
    value, session = inside(lambda: opt_einsum.contract(string, *operands, optimize="optimal"))
    assert session.counts["kernel"] >= len(gemms("optimal", entry, sizes)) > 0
    assert census.excess(value, entry, sizes, operands, session.calls) <= 1


@pytest.mark.parametrize("use_blas", [True, False])
def test_tensordot_and_einsum_are_both_caught(use_blas):
    entry, sizes, operands = drawn("pi,pq,qj->ij", "float64")
    value, session = inside(lambda: opt_einsum.contract(entry.string, *operands, use_blas=use_blas))
    right(value, entry, sizes, operands, session)
    functions = {call.function for call in session.calls if call.route == "kernel"}
    assert ("numpy.einsum" in functions) == (not use_blas)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limit", [1, 30, "max_input", None, -1])
def test_memory_limit(limit, dtype):
    entry, sizes, operands = drawn("pi,qj,pqrs,rk,sl->ijkl", dtype)
    value, session = inside(
        lambda: opt_einsum.contract(entry.string, *operands, optimize="greedy", memory_limit=limit)
    )
    assert census.excess(value, entry, sizes, operands, session.calls) <= 1
    if limit in (None, -1):
        assert session.counts["kernel"] > 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("string", STRINGS)
def test_expression(string, dtype):
    entry, sizes, operands = drawn(string, dtype)
    expression = opt_einsum.contract_expression(string, *(operand.shape for operand in operands))
    value, session = inside(lambda: expression(*operands))
    right(value, entry, sizes, operands, session)


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants(dtype):
    entry, sizes, operands = drawn("pi,qj,pqrs,rk,sl->ijkl", dtype)
    arguments = [operand if place == 2 else operand.shape for place, operand in enumerate(operands)]

    def call():
        expression = opt_einsum.contract_expression(entry.string, *arguments, constants=[2])
        return expression(*(operand for place, operand in enumerate(operands) if place != 2))

    value, session = inside(call)
    right(value, entry, sizes, operands, session)


def test_constants_contracted_before_the_block():
    entry, _, operands = drawn("pi,pq,qj->ij", "float64")
    expression = opt_einsum.contract_expression(
        entry.string, operands[0], operands[1], operands[2].shape, constants=[0, 1]
    )
    outside = expression(operands[2])
    value, session = inside(lambda: expression(operands[2]))
    assert session.counts["kernel"] > 0
    size = np.einsum(entry.string, *map(np.abs, operands))
    assert (np.abs(value - outside) <= 2.0**-48 * size).all()


@pytest.mark.parametrize("string", ["ij,jk->ki", "bij,bjk->kbi", "pi,pq,qj->ji"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_out(string, dtype):
    entry, sizes, operands = drawn(string, dtype)
    out = np.full([sizes[label] for label in entry.output], np.nan, dtype)
    value, session = inside(lambda: opt_einsum.contract(string, *operands, out=out))
    assert value is out
    right(value, entry, sizes, operands, session)


def test_shared_intermediates():
    entry, sizes, operands = drawn("pi,pq,qj->ij", "float64")

    def call():
        with opt_einsum.shared_intermediates():
            first = opt_einsum.contract(entry.string, *operands)
            second = opt_einsum.contract(entry.string, *operands)
        assert first is second
        return second

    value, session = inside(call)
    right(value, entry, sizes, operands, session)
    assert len(session.calls) == 2


def test_nothing_is_caught_outside():
    entry, _, operands = drawn("pi,pq,qj->ij", "float64")
    _, session = inside(lambda: None)
    opt_einsum.contract(entry.string, *operands)
    assert session.calls == ()


def test_integers_stay_with_numpy():
    a, b, c = (np.arange(12).reshape(3, 4), np.arange(20).reshape(4, 5), np.arange(10).reshape(5, 2))
    value, session = inside(lambda: opt_einsum.contract("ij,jk,kl->il", a, b, c))
    np.testing.assert_array_equal(value, a @ b @ c)
    assert session.counts["kernel"] == 0


@pytest.mark.parametrize(
    "args", [("ij,jk->il", (2, 3), (3, 4)), ("ij,jk->ik", (2, 3), (4, 4)), ("ij,jk->ik", (2, 3))]
)
def test_errors_are_opt_einsums(args):
    string, *shapes = args

    def outcome():
        with pytest.raises(Exception) as caught:
            opt_einsum.contract(string, *(np.ones(shape) for shape in shapes))
        return caught.type, str(caught.value)

    outside = outcome()
    assert inside(outcome)[0] == outside
