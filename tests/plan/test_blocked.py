"""How solves and factorisations are cut, and who is to compute them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.plan import BlockedPlan, Refusal, decide, host, make_plan
from numtrn.plan.blocked import BLOCKS, Diagonal, Update, halves, largest_block, levels, steps
from numtrn.plan.ladder import Cutting
from numtrn.request import Cholesky, Solve, Triangular

orders = st.integers(2, 3000)
blocks = st.sampled_from(BLOCKS)


def solve(n, columns=100, dtype="float64", factors=1):
    lower = Triangular(uplo="lower")
    return Solve(function="f", dtype=dtype, n=n, columns=columns, factors=(lower,) * factors)


def factor(n, dtype="float64"):
    return Cholesky(function="f", dtype=dtype, n=n)


@given(orders, blocks)
def test_a_block_leaves_something_to_multiply(n, block):
    found = largest_block(n, block)
    assert found < n
    assert found == block or 4 * found > n
    upper = halves(n, found)
    assert 0 < upper < n
    assert upper % found == 0


@given(orders, blocks, st.integers(1, 3), st.sampled_from([0, 512, 4096]))
def test_steps_of_a_solve_are_all_of_its_work(n, block, factors, direct):
    request = solve(n, 7, factors=factors)
    made = steps(request, largest_block(n, block), direct)
    assert sum(step.work * count for step, count in made) == request.work
    assert all(step.n <= max(block, direct) for step, _ in made if isinstance(step, Diagonal))


@given(orders, blocks)
def test_steps_of_a_factorisation_are_all_of_its_work(n, block):
    """Of n^3 / 6, up to what is of second order: halves with and without the diagonal, and blocks."""
    made = steps(factor(n), largest_block(n, block), 0)
    work = sum(step.work * count for step, count in made)
    assert abs(work - n**3 / 6) <= n**2 * (2 + levels(n, largest_block(n, block)))


@given(orders, blocks)
def test_few_shapes_are_compiled(n, block):
    """Halves are powers of two times the block: a shape for each level, and those of the last rows."""
    block = largest_block(n, block)
    shapes = {step for step, _ in steps(solve(n), block, 0) if isinstance(step, Update)}
    assert len(shapes) <= 2 * levels(n, block)


REFUSED = {
    "one equation": (solve(1), Options(min_work=1), "nothing to multiply"),
    "no columns": (solve(100, 0), Options(min_work=1), "nothing to multiply"),
    "few columns": (solve(2000, 64), Options(), "64 right-hand sides, at most 64"),
    "small": (solve(50), Options(), "are below the plan's least"),
    "small by min_work": (factor(50), Options(min_work=10**6), "are below min_work"),
    "type": (solve(500, dtype="float16"), Options(min_work=1), "float16 has no kernel"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    request, options, words = REFUSED[case]
    refusal = make_plan(request, options, "interpreter")
    assert isinstance(refusal, Refusal)
    assert words in refusal.reason


def test_few_columns_go_where_the_user_says_so():
    assert isinstance(make_plan(solve(500, 1), Options(min_work=1), "interpreter"), BlockedPlan)


def test_what_a_probe_speaks_against_is_refused():
    refusal = make_plan(factor(500), Options(min_work=1), "interpreter", {"digits": "sums are not exact"})
    assert refusal.reason == "sums are not exact"


@pytest.mark.parametrize("request_", [solve(4096, 4096), factor(4096), solve(4096, 4096, "complex64")])
def test_on_hardware_predicted_times_decide(monkeypatch, request_):
    monkeypatch.setattr(host, "multiply_add_rate", lambda dtype: 1e9)
    plan = make_plan(request_, Options(), "neuron")
    assert isinstance(plan, BlockedPlan)
    assert plan.prediction.total < plan.numpy_seconds
    for block in BLOCKS:
        other = decide._predict_blocked(
            request_, Options(), block, plan.direct, Cutting("few", CHIPS["trn2"])
        )
        assert plan.prediction.total <= other.total
    decide._predict_step.cache_clear()
    monkeypatch.setattr(host, "multiply_add_rate", lambda dtype: 1e15)
    refusal = make_plan(request_, Options(), "neuron")
    assert isinstance(refusal, Refusal)
    assert "are below the plan's least" in refusal.reason or "against NumPy" in refusal.reason
    decide._predict_step.cache_clear()


def test_float32_solves_are_the_kernels(monkeypatch):
    plan = make_plan(solve(3000, 500, "float32"), Options(min_work=1), "interpreter")
    assert (plan.kernel, plan.direct) == ("trsm", 4096)
    assert [step for step, _ in plan.steps] == [Diagonal(3000, 500)]
    assert "by kernel trsm up to order 4096" in str(plan)
