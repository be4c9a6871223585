"""Contractions of several operands: their order, their steps, and what a plan says of them."""

from dataclasses import replace

import numpy as np
import opt_einsum
import pytest

from numtrn.options import Options
from numtrn.plan import ContractionPlan, Refusal, make_plan
from numtrn.plan.path import order
from numtrn.request import Contraction

SIZES = dict(zip("ijklabcdpqrsPQ", (5, 6, 7, 8, 20, 21, 22, 23, 30, 31, 32, 33, 40, 41), strict=True))

KINDS = {
    # subscripts: what each step is, and whether a kernel's when everything that can be is
    "ij,jk,kl->il": ["GEMM kernel", "GEMM kernel"],
    "pi,pqrs,qj->ijrs": ["GEMM kernel", "GEMM kernel"],
    "iaP,ia,iaQ->PQ": ["elementwise product numpy", "GEMM kernel"],
    "ab,ab,ab->": ["elementwise product numpy", "DOT kernel"],
    "ia,jb,iajb->": ["GEMV kernel", "DOT kernel"],
    "i,a,P->iaP": None,
    "aij,ajk,kl->ail": ["batched GEMM kernel", "GEMM kernel"],
}


def request(subscripts, **others):
    terms = subscripts.split("->")[0].split(",")
    shapes = tuple(tuple(SIZES[label] for label in term) for term in terms)
    return Contraction(
        function="numpy.einsum", dtype="float64", subscripts=subscripts, shapes=shapes, **others
    )


def planned(asked, **settings):
    return make_plan(asked, Options(**({"min_work": 0} | settings)), "interpreter")


@pytest.mark.parametrize("subscripts", KINDS)
def test_steps(subscripts):
    plan, expected = planned(request(subscripts)), KINDS[subscripts]
    if expected is None:
        assert isinstance(plan, Refusal)
        assert "none for a kernel" in plan.reason
        return
    assert isinstance(plan, ContractionPlan)
    found = [f"{stage.kind} {'kernel' if stage.plan else 'numpy'}" for stage in plan.stages]
    assert sorted(found) == sorted(expected)
    for stage in plan.stages:
        assert bool(stage.reason) == (stage.plan is None)


def test_a_given_path_is_kept():
    asked = request("ij,jk,kl->il", path=((1, 2), (0, 1)))
    assert [stage.places for stage in planned(asked).stages] == [(1, 2), (0, 1)]


def test_all_at_once_is_no_step_for_a_kernel():
    refusal = planned(request("ij,jk,kl->il", path=((0, 1, 2),)))
    assert isinstance(refusal, Refusal)
    assert "3 operands at once" in refusal.reason


@pytest.mark.parametrize("path", [((0, 1),), ((0, 3), (0, 1)), ((0, 0), (0, 1)), ((), (0, 1, 2))])
def test_a_path_that_is_none_is_an_error(path):
    with pytest.raises(ValueError, match="path"):
        order(request("ij,jk,kl->il", path=path))


@pytest.mark.parametrize("finder", ["auto", "greedy", "optimal", "dp"])
def test_the_finder_is_asked(finder):
    asked = request("pi,pqrs,qj,rk,sl->ijkl", finder=finder)
    free, _ = opt_einsum.contract_path(
        asked.subscripts, *asked.shapes, shapes=True, optimize=finder, memory_limit=None
    )
    found = order(replace(asked, memory_limit=10**9))
    assert [tuple(step) for step in found.path] == [tuple(step) for step in free]


@pytest.mark.parametrize(
    "subscripts", ["pi,pqrs,qj,rk,sl->ijkl", "ia,jb,kc,iajbkc->", "pP,qQ,pq->PQ", "pq,rs,PQ,prP,qsQ->"]
)
def test_no_intermediate_is_larger_than_allowed(subscripts):
    """By default the largest operand or result, as NumPy's own paths have it, or 1 MiB; by opt_einsum."""
    asked = request(subscripts)
    found = order(asked)
    _, info = opt_einsum.contract_path(
        subscripts, *asked.shapes, shapes=True, optimize=[tuple(step) for step in found.path]
    )
    result = int(np.prod(asked.result_shape, dtype=int))
    allowed = max(result, *(int(np.prod(shape)) for shape in asked.shapes), 2**17)
    assert found.largest <= found.limit == allowed
    assert int(info.largest_intermediate) <= allowed


@pytest.mark.parametrize(("batch", "kernel"), [(64, True), (65, False)])
def test_many_inner_products_are_numpys(batch, kernel):
    asked = Contraction(function="f", dtype="float64", subscripts="ab,ab->a", shapes=((batch, 9), (batch, 9)))
    found = planned(asked)
    assert isinstance(found, Refusal) != kernel
    assert kernel or "no matrix among them" in found.reason


@pytest.mark.parametrize("limit", [None, 0])
def test_the_least_limit_is_one_element(limit):
    """Of empty arrays the largest has none, and opt_einsum takes no limit below one."""
    shapes = ((0, 3), (3, 0), (0, 2)) if limit is None else ((4, 3), (3, 5), (5, 2))
    found = order(
        Contraction(
            function="", dtype="float64", subscripts="ij,jk,kl->il", shapes=shapes, memory_limit=limit
        )
    )
    assert found.limit == (2**17 if limit is None else 1)
    assert limit is None or found.path == ((0, 1, 2),)


def test_a_smaller_limit_is_kept():
    """pi,pqrs->iqrs has 5 x 31 x 32 x 33 elements."""
    asked = request("pi,pqrs,qj->ijrs", memory_limit=5 * 31 * 32 * 33 - 1)
    assert order(asked).largest <= asked.memory_limit


@pytest.mark.parametrize("subscripts", [key for key in KINDS if KINDS[key]])
def test_no_more_work_than_the_single_loop(subscripts):
    """Which multiplies all operands for each combination of labels."""
    plan, asked = planned(request(subscripts)), request(subscripts)
    assert plan.work <= (len(asked.shapes) - 1) * asked.work == plan.loop_work


def test_a_squared_array_is_symmetric_within_several():
    asked = Contraction(
        function="f",
        dtype="float64",
        subscripts="ka,kb,bc->ac",
        shapes=((30, 20), (30, 20), (20, 500)),
        same=(0, 0, 2),
        path=((0, 1), (0, 1)),
    )
    plan = planned(asked)
    assert [stage.kind for stage in plan.stages] == ["SYRK", "GEMM"]


def test_a_plan_prints_its_steps():
    text = str(planned(request("iaP,ia,iaQ->PQ")))
    for words in (
        "1 of 2 steps by kernels",
        "multiply-adds in place of",
        "largest intermediate result 4,000 elements",
        "bytes copied on the host",
        "NumPy, no label is contracted",
        "kernel sliced_gemm",
        "not measured",
        "promise",
    ):
        assert words in text, text


def test_small_steps_are_left_to_numpy():
    plan = planned(request("ij,jk,kPQ->iPQ"), min_work=10_000)
    by_size = sorted(plan.stages, key=lambda stage: stage.work)
    assert [stage.plan is None for stage in by_size] == [True, False]
    assert "below min_work" in by_size[0].reason
