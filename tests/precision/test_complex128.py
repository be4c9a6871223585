"""complex128 products by 3M on digits: real and imaginary part each within the bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.precision import Declined, choose, gemm
from tests.precision import oracle
from tests.precision.engines import ExactEngine, StrictEngine

FULL = choose("complex128", "full")


def operands(seed, m, k, n, left=1.0, right=1.0):
    """Random, with imaginary parts of the given sizes."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((m, k)) + 1j * left * rng.standard_normal((m, k))
    b = rng.standard_normal((k, n)) + 1j * right * rng.standard_normal((k, n))
    return a, b


def components(a, b):
    """Real products whose values are the real and the imaginary part of A B."""
    yield "real", np.hstack((a.real, -a.imag)), np.vstack((b.real, b.imag))
    yield "imag", np.hstack((a.real, a.imag)), np.vstack((b.imag, b.real))


@pytest.mark.parametrize("k", [1, 7, 64, 1000, 4096])
@pytest.mark.parametrize("sizes", [(1, 1), (1e-6, 1), (1e-4, 1e-4), (1e6, 1e-3)])
def test_bound(k, sizes):
    a, b = operands(k, 12, k, 10, *sizes)
    result = gemm(FULL, a[None], b[None], ExactEngine())
    for part, left, right in components(a, b):
        value = getattr(result.value[0], part)
        error = oracle.error(value, oracle.product(left, right), oracle.size(left, right))
        assert error <= result.bound
        assert error <= 4


@pytest.mark.parametrize("k", [6, 200])
def test_strict_engine_gives_the_same_bits(k):
    a, b = operands(0, 5, k, 6, 1e-2)
    a, b = np.stack((a, 2 * a)), np.stack((b, b.conj()))
    exact, strict = (gemm(FULL, a, b, engine) for engine in (ExactEngine(), StrictEngine(3, 50)))
    assert exact.value.tobytes() == strict.value.tobytes()
    assert exact.value.flags.c_contiguous


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 50]), st.sampled_from([0, 10, 300]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_fuzz(seed, k, spread, sparse):
    rng = np.random.default_rng(seed)
    a, b = operands(seed, 3, k, 3, 2.0 ** rng.integers(-8, 8), 2.0 ** rng.integers(-8, 8))
    a *= 2.0 ** rng.integers(-spread, spread + 1, (3, 1))
    b *= 2.0 ** rng.integers(-spread, spread + 1, (1, 3))
    if sparse:
        a.real *= rng.random(a.shape) < 0.5
        b.imag *= rng.random(b.shape) < 0.5
    try:
        result = gemm(FULL, a[None], b[None], ExactEngine())
    except Declined as declined:
        if "more than 16 slices" not in declined.reason:
            raise
        return
    for part, left, right in components(a, b):
        assert not oracle.exceeds(getattr(result.value[0], part), left, right, int(result.bound)).any()


def test_real_operands_in_complex_arrays_stay_real():
    a, b = operands(0, 4, 300, 5, 0, 0)
    result = gemm(FULL, a[None], b[None], ExactEngine())
    assert result.slices == 7
    assert not result.value.imag.any()


def test_a_product_with_the_own_transpose_is_symmetric():
    a, _ = operands(0, 6, 300, 1)
    c = gemm(FULL, a[None], a.T[None], ExactEngine()).value[0]
    assert np.array_equal(c, c.T)


def test_imaginary_noise_takes_more_slices():
    a, b = operands(0, 4, 300, 5, 1e-14, 1e-14)
    result = gemm(FULL, a[None], b[None], ExactEngine())
    assert result.slices > 11
    for part, left, right in components(a, b):
        assert not oracle.exceeds(getattr(result.value[0], part), left, right, int(result.bound)).any()


def test_too_small_imaginary_noise_is_declined():
    a, b = operands(0, 4, 300, 5, 1e-25, 1e-25)
    with pytest.raises(Declined, match="more than 16 slices"):
        gemm(FULL, a[None], b[None], ExactEngine())


def test_conjugated_and_reversed_views():
    a, b = operands(0, 8, 60, 10)
    expected = gemm(FULL, a[None], b[None], ExactEngine()).value
    left, right = np.asfortranarray(a)[None], np.asfortranarray(b[::-1, ::-1])[None][:, ::-1, ::-1]
    assert gemm(FULL, left, right, ExactEngine()).value.tobytes() == expected.tobytes()
