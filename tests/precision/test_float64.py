"""float64 products: the promised bound, on every family of matrices, any strides, and at the edges."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.precision import Declined, choose, gemm
from numtrn.precision.schemes import required
from tests.precision import oracle
from tests.precision.engines import ExactEngine, StrictEngine
from tests.precision.families import FAMILIES, family

FULL = choose("float64", "full")


def multiply(a, b, engine=None):
    return gemm(FULL, a, b, engine or ExactEngine())


@pytest.mark.parametrize("k", [1, 7, 64, 1000, 4096])
@pytest.mark.parametrize("name", FAMILIES)
def test_bound(name, k):
    a, b = family(name, 24, k, 20)
    result = multiply(a[None], b[None])
    assert result.bound == min(k, 256) + 1
    error = oracle.error(result.value[0], oracle.product(a, b), oracle.size(a, b))
    assert error <= result.bound
    assert error <= 4, "far inside the bound, as measured when this was written"


@pytest.mark.parametrize("k", [7, 300])
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "graded elements"])
def test_strict_engine_gives_the_same_bits(name, k):
    a, b = (x[None] for x in family(name, 9, k, 8))
    exact, strict = multiply(a, b), multiply(a, b, StrictEngine())
    assert exact.slices == strict.slices
    assert exact.value.tobytes() == strict.value.tobytes()


@pytest.mark.parametrize("name", ["normal", "graded inner", "graded rows and columns", "outlier"])
@pytest.mark.parametrize("k", [70, 300])
def test_blocking_does_not_show(name, k):
    a, b = (x[None] for x in family(name, 33, k, 21))
    values = {
        multiply(a, b, ExactEngine(*step)).value.tobytes()
        for step in [(1, 9999), (7, 64), (999, 1), (16, 13)]
    }
    assert len(values) == 1


@pytest.mark.parametrize("slices", [7, 8, 9])
def test_worst_data_at_the_edge_of_the_criterion(slices):
    # All digits of A and B below the first are 127, so that what the dropped diagonals hold adds up; |A||B|
    # is just enough for `slices`, on a scale given by elements that only zeros meet. A's stay below 0.99.
    k = 300
    full = 126 / 128 + sum(127 * 2.0 ** (-8 * p - 7) for p in range(1, 7))
    element = required(slices, k, 256) * 1.04 / (full * (k - 2))
    unit = 2.0 ** (8 * np.floor((np.log2(element) + 7) / 8) - 7)  # of its first digit
    element = (np.floor(element / unit) + sum(127 * 256.0 ** (-p - 1) for p in range(6))) * unit
    a, b = np.full((1, 3, k), full), np.full((1, k, 3), element)
    a[:, :, 0] = b[:, 1] = 0
    b[:, 0] = 0.99
    result = multiply(a, b)
    assert result.slices == slices
    error = oracle.error(result.value[0], oracle.product(a[0], b[0]), oracle.size(a[0], b[0]))
    assert error <= result.bound
    assert error > 0.3 * result.bound, "the criterion is not slack"


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_fuzz(data):
    seed = data.draw(st.integers(0, 2**32 - 1), "seed")
    m, n = data.draw(st.integers(1, 5), "m"), data.draw(st.integers(1, 5), "n")
    k = data.draw(st.sampled_from([1, 2, 3, 7, 40, 129, 256]), "k")
    spread = data.draw(st.sampled_from([0, 3, 12, 60, 300]), "spread")
    where = data.draw(st.sampled_from(["elements", "inner", "rows", "outliers"]), "where")
    zeros = data.draw(st.sampled_from([0.0, 0.5, 0.95]), "zeros")
    centre = data.draw(st.sampled_from([0, 0, -500, -1000, 400]), "centre")
    a, b = fuzzed(seed, m, k, n, spread, where, zeros, centre)
    try:
        result = multiply(a[None], b[None])
    except Declined as declined:
        if not re.search("more than 16 slices|may overflow", declined.reason):
            raise
        return
    assert not oracle.exceeds(result.value[0], a, b, int(result.bound)).any()


def fuzzed(seed, m, k, n, spread, where, zeros, centre):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((m, k)), rng.standard_normal((k, n))
    a *= rng.random(a.shape) >= zeros
    b *= rng.random(b.shape) >= zeros / 2

    def powers(*shape):
        return rng.integers(-spread, spread + 1, shape)

    with np.errstate(under="ignore"):
        if where == "elements":
            a, b = np.ldexp(a, powers(m, k)), np.ldexp(b, powers(k, n))
        elif where == "inner":
            g = powers(k)
            a, b = np.ldexp(a, g), np.ldexp(b, -g[:, None])
        elif where == "rows":
            a, b = np.ldexp(a, powers(m, 1)), np.ldexp(b, powers(1, n))
        else:
            a[rng.random(a.shape) < 0.05] *= 2.0**spread
        return np.ldexp(a, centre), np.ldexp(b, -centre // 2)


@pytest.mark.parametrize("centre", [-1074, -1060, -1022, -540, 500])
def test_subnormal_operands_and_results(centre):
    rng = np.random.default_rng(3)
    a, b = np.rint(rng.standard_normal((4, 50)) * 99), rng.standard_normal((50, 4))
    with np.errstate(under="ignore"):
        for left, right in [
            (np.ldexp(a, centre), b),
            (np.ldexp(a, centre), np.ldexp(b, -centre // 2)),
            (a, b),
        ]:
            result = multiply(left[None], right[None])
            assert not oracle.exceeds(result.value[0], left, right, 51).any()


@pytest.mark.parametrize("k", [20, 400])
def test_product_with_own_transpose_is_symmetric(k):
    a = np.random.default_rng(0).standard_normal((2, 31, k)) * 2.0 ** np.arange(31)[:, None]
    c = multiply(a, a.transpose(0, 2, 1)).value
    assert c.tobytes() == np.ascontiguousarray(c.transpose(0, 2, 1)).tobytes()


def views():
    rng = np.random.default_rng(1)
    base = rng.standard_normal((3, 40, 60))
    frozen = base.copy()
    frozen.flags.writeable = False
    return {
        "C": base,
        "Fortran": np.asfortranarray(base),
        "transposed": rng.standard_normal((3, 60, 40)).transpose(0, 2, 1),
        "negative strides": base[::-1, ::-1, ::-1],
        "steps": rng.standard_normal((6, 80, 180))[::2, ::2, ::3],
        "broadcast batch": np.broadcast_to(base[0], (3, 40, 60)),
        "broadcast rows": np.broadcast_to(base[:, :1], (3, 40, 60)),
        "broadcast k": np.broadcast_to(base[:, :, :1], (3, 40, 60)),
        "read-only": frozen,
    }


@pytest.mark.parametrize("name", views())
def test_strides_do_not_show(name):
    a = views()[name]
    before = a.copy()
    b = before.transpose(0, 2, 1).copy()
    right = a.transpose(0, 2, 1)
    expected = multiply(before, b).value
    result = multiply(a, right).value
    assert result.tobytes() == expected.tobytes()
    assert np.array_equal(a, before)
    assert result.flags.c_contiguous
    assert result.flags.writeable


def test_result_is_not_shared():
    a, b = np.ones((1, 2, 2)), np.ones((1, 2, 2))
    value = multiply(a, b).value
    assert not np.shares_memory(value, a)
    assert not np.shares_memory(value, b)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0), (0, 0, 0, 0)])
def test_empty_extents_give_zeros(shape):
    batch, m, k, n = shape
    result = multiply(np.ones((batch, m, k)), np.ones((batch, k, n)))
    assert result.value.shape == (batch, m, n)
    assert not result.value.any()


def test_all_zeros_and_zero_rows():
    a, b = np.zeros((2, 5, 300)), np.random.default_rng(0).standard_normal((2, 300, 4))
    result = multiply(a, b)
    assert not result.value.any()
    assert result.slices == 7
    a[0, 3] = 1.0
    result = multiply(a, b)
    assert result.slices == 7
    assert np.flatnonzero(result.value.any(axis=2)).tolist() == [3]


def test_small_guards_need_no_launch_and_large_ones_one():
    small, large = ExactEngine(), ExactEngine()
    rng = np.random.default_rng(0)
    multiply(rng.standard_normal((1, 30, 40)), rng.standard_normal((1, 40, 30)), small)
    assert small.calls == ["words 8"]
    multiply(rng.standard_normal((1, 64, 512)), rng.standard_normal((1, 512, 64)), large)
    assert large.calls == ["least", "bfloat16", "words 7"]


def test_no_warning_escapes_where_all_raise():
    a = np.full((1, 3, 300), 2.0**-1000)
    with np.errstate(all="raise"):
        assert multiply(a, a.transpose(0, 2, 1)).value.max() == 0


def test_a_product_with_the_own_transpose_is_symmetric():
    a, _ = (x[None] for x in family("normal", 9, 300, 8))
    c = multiply(a, a.transpose(0, 2, 1)).value[0]
    assert np.array_equal(c, c.T)


@pytest.mark.parametrize("accuracy", [2, 10, 64])
@pytest.mark.parametrize("name", FAMILIES)
def test_float32_beyond_its_own_products_takes_digits(name, accuracy):
    a, b = (x.astype(np.float32) for x in family(name, 12, 64, 10))
    scheme = choose("float32", accuracy, 64)
    result = gemm(scheme, a[None], b[None], ExactEngine())
    assert result.value.dtype == np.float32
    assert result.slices
    assert not oracle.exceeds(result.value[0], a, b, accuracy, -24).any()


def test_complex64_beyond_its_own_products_takes_digits():
    rng = np.random.default_rng(64)
    a, b = (
        (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
        for shape in ((12, 64), (64, 10))
    )
    result = gemm(choose("complex64", 2, 64), a[None], b[None], ExactEngine())
    assert result.value.dtype == np.complex64
    real = np.hstack([a.real, -a.imag]), np.vstack([b.real, b.imag])
    imaginary = np.hstack([a.real, a.imag]), np.vstack([b.imag, b.real])
    for part, (left, right) in ((result.value.real, real), (result.value.imag, imaginary)):
        assert not oracle.exceeds(part[0], left, right, 2, -24).any()
