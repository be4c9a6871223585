"""The guard never claims more than |A||B|, and the criterion is the derivation's."""

from fractions import Fraction

import numpy as np
import pytest

from numtrn.precision import choose, gemm, guard
from numtrn.precision.guard import choose_slices, lower_bound
from numtrn.precision.scaling import sides
from numtrn.precision.schemes import required
from tests.precision import oracle
from tests.precision.engines import ExactEngine, StrictEngine
from tests.precision.families import FAMILIES, family


@pytest.fixture(params=["host", "engine"])
def host_work(request, monkeypatch):
    if request.param == "engine":
        monkeypatch.setattr(guard, "HOST_WORK", 0)


def smallest(a, b, lhs, rhs):
    """The least nonzero element of the scaled |A||B|, exact enough: one part in 10^12."""
    sizes = oracle.size(np.abs(a), np.abs(b))
    sizes = np.ldexp(sizes, -(lhs.exponents[0][:, None] + rhs.exponents[0]))
    return sizes[sizes > 0].min()


@pytest.mark.usefixtures("host_work")
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("k", [7, 300, 4096])
def test_lower_bound(name, k):
    a, b = family(name, 12, k, 10)
    lhs, rhs = sides(a[None], b[None])
    bound, true = lower_bound(lhs, rhs, StrictEngine()), smallest(a, b, lhs, rhs)
    assert bound <= true * (1 - 1e-12)
    if true > 2.0**-50:
        assert bound >= 0.96 * true, "and loses little"


@pytest.mark.usefixtures("host_work")
@pytest.mark.parametrize("seed", range(5))
def test_lower_bound_of_complex_components(seed):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((5, 40)) + 1e-6j * rng.standard_normal((5, 40))
    b = rng.standard_normal((40, 6)) + 1e-3j * rng.standard_normal((40, 6)) * (rng.random(6) < 0.5)
    lhs, rhs = sides(a[None], b[None])
    true = min(
        smallest(np.hstack((a.real, a.imag)), np.vstack(parts), lhs, rhs)
        for parts in [(b.real, b.imag), (b.imag, b.real)]
    )
    bound = lower_bound(lhs, rhs, ExactEngine())
    assert 0.96 * true <= bound <= true


@pytest.mark.usefixtures("host_work")
@pytest.mark.parametrize(
    ("tiny", "expected"),
    [
        (0.0, "positive"),  # huge elements meet zeros only: exact
        (2.0**-110, "zero"),  # they meet something that the guard cannot see
        (2.0**-20, "positive"),
    ],
)
def test_zeros_and_what_only_looks_like_them(tiny, expected):
    a, b = np.zeros((1, 2, 3)), np.zeros((1, 3, 2))
    a[0] = [[1, tiny, 0], [0, 1, 1]]
    b[0] = [[0, 1], [1, 0], [1, 1]]
    b[0, 2, 0] = 1
    assert (lower_bound(*sides(a, b), ExactEngine()) > 0) == (expected == "positive")


def test_nothing_meets():
    a, b = np.zeros((1, 2, 4)), np.zeros((1, 4, 2))
    a[0, :, :2], b[0, 2:] = 1, 1
    assert lower_bound(*sides(a, b), ExactEngine()) == np.inf
    assert lower_bound(*sides(a + 0j, b + 0j), ExactEngine()) == np.inf
    assert lower_bound(*sides(a + 1j * a, b + 1e-30j), ExactEngine()) == 0


def test_zeros_that_are_seen_take_no_second_product(monkeypatch):
    monkeypatch.setattr(guard, "HOST_WORK", 0)
    rng = np.random.default_rng(0)
    a, b = np.tril(rng.uniform(0.5, 1, (300, 300))), np.tril(rng.uniform(0.5, 1, (300, 20)))
    a[7], b[:, 3] = 0, 0
    lhs, rhs = sides(a[None], b[None])
    for tiny, calls in ((None, 1), (2.0**-60, 3), (2.0**-120, 3)):
        if tiny is not None:
            a[299, 0] = tiny
        engine = ExactEngine()
        bound, true = lower_bound(lhs, rhs, engine), smallest(a, b, lhs, rhs)
        assert 0.96 * true <= bound <= true
        assert engine.calls.count("bfloat16") == calls


@pytest.mark.parametrize("structure", ["general", "trmm"])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_a_triangle_asks_for_few_digits_and_is_served(dtype, structure):
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal((300, 300)).astype(dtype) for _ in range(2))
    if dtype == "complex128":
        a, b = a + 1j * a[::-1], b - 1j * b[:, ::-1]
    a = np.tril(a)
    assert choose_slices(choose(dtype, "full"), *sides(a[None], b[None]), ExactEngine(), structure)[2] == 8
    transposed = sides(b[None], a.T[None])
    assert choose_slices(choose(dtype, "full"), *transposed, ExactEngine())[2] == 8, "columns have zeros too"
    result = gemm(choose(dtype, "full"), a[None], b[None], ExactEngine(), structure)
    rows, columns = [0, 1, 2, 7, 100, 299], range(0, 300, 13)  # the oracle is exact, and slow
    for part in ("real", "imag")[: 1 + (dtype == "complex128")]:
        if dtype == "float64":
            left, right = a, b
        elif part == "real":
            left, right = np.hstack((a.real, -a.imag)), np.vstack((b.real, b.imag))
        else:
            left, right = np.hstack((a.real, a.imag)), np.vstack((b.imag, b.real))
        value = getattr(result.value[0], part)[np.ix_(rows, columns)]
        assert not oracle.exceeds(value, left[rows], right[:, columns], int(result.bound)).any()


def test_few_terms_are_not_taken_for_fewer():
    rng = np.random.default_rng(4)
    a = rng.standard_normal((1, 50, 300)) * (rng.random((1, 50, 300)) < rng.random((50, 1)) ** 3)
    a[0, 4], a[0, 5, 1:] = 0, 0
    for parts in (a, a + 1j * a[:, ::-1]):
        lhs, _ = sides(parts, parts.transpose(0, 2, 1))
        counts = sum(np.count_nonzero(part, axis=2) for part in lhs.parts)
        ratio = len(lhs.parts) * 300 / np.maximum(counts, 1)
        gains = 2.0 ** guard._gains(lhs)
        assert (gains <= ratio).all()
        assert (2 * gains > ratio)[counts > 0].all()
        assert (gains[counts == 0] == 1).all()


@pytest.mark.parametrize("slices", range(7, 12))
def test_criterion_covers_the_derivation(slices):
    # Truncation of both operands, and all dropped diagonals with the largest digits, in exact arithmetic.
    truncation = 2 * Fraction(1, 2 ** (8 * slices))
    dropped = sum(Fraction(2 * slices - 1 - t, 2 ** (8 * t)) for t in range(slices, 2 * slices - 1))
    u = Fraction(1, 2**53)
    need = (truncation + dropped) / u
    slack = Fraction(np.exp(-8 * 2.0**-22))  # the guard's own factor, at least
    for terms, promised in [(1, 1), (1000, 256), (2, 1)]:
        ask = Fraction(required(slices, terms, promised))
        exact = need * Fraction(terms, promised)
        assert exact * (1 + u) * slack <= ask <= exact * Fraction(101, 100)
