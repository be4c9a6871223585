"""Whole products through kernels against double-double arithmetic: the promise, on every family.

float64 and complex: within the scheme's promise, which is inside the classical (K + 1) u |A||B|. float32: no
worse than twice NumPy's own error.
"""

import numpy as np
import pytest

import numtrn
from numtrn.precision import choose
from tests.precision import oracle
from tests.precision.families import FAMILIES, family

LENGTHS = (1, 7, 64, 1000, 4096)


def error_in_units(c, a, b, unit=2.0**-53):
    """Largest |c - ab| / (unit |a||b|), against double-double arithmetic."""
    a, b = a.astype(float), b.astype(float)
    return oracle.error(c, oracle.product(a, b), oracle.size(a, b), unit)


def through_kernels(a, b, **options):
    with numtrn.enabled(target="interpreter", min_work=0, strict=True, **options) as session:
        c = a @ b
    return c, session


@pytest.mark.parametrize("k", LENGTHS)
@pytest.mark.parametrize("name", FAMILIES)
def test_float64_keeps_the_classical_bound(name, k):
    a, b = family(name, 24, k, 20)
    c, session = through_kernels(a, b)
    (call,) = session.calls
    assert call.route == "kernel", call.reason
    promised = choose("float64", "full").bound(k)
    assert promised <= k + 1
    assert error_in_units(c, a, b) <= promised


@pytest.mark.parametrize("k", LENGTHS)
@pytest.mark.parametrize("name", ["normal", "uniform", "constant 0.1", "ill-conditioned"])
def test_float32_is_no_worse_than_twice_numpy(name, k):
    a, b = (x.astype(np.float32) for x in family(name, 24, k, 20))
    c, session = through_kernels(a, b)
    assert c.dtype == np.float32
    assert session.counts["kernel"] == 1
    ours, theirs = error_in_units(c, a, b, 2.0**-24), error_in_units(a @ b, a, b, 2.0**-24)
    assert ours <= 2 * theirs


@pytest.mark.parametrize("k", LENGTHS)
@pytest.mark.parametrize("shrink", [1.0, 1e-6, 0.0])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_parts_each_keep_their_bound(dtype, shrink, k):
    rng = np.random.default_rng(k)
    a, b = (
        (rng.standard_normal(shape) + 1j * shrink * rng.standard_normal(shape)).astype(dtype)
        for shape in ((20, k), (k, 17))
    )
    c, session = through_kernels(a, b)
    assert c.dtype == dtype
    assert session.counts["kernel"] == 1
    unit = np.finfo(dtype).eps / 2
    real = np.hstack([a.real, -a.imag]), np.vstack([b.real, b.imag])
    imaginary = np.hstack([a.real, a.imag]), np.vstack([b.imag, b.real])
    for part, (left, right) in ((c.real, real), (c.imag, imaginary)):
        assert error_in_units(part, left, right, unit) <= choose(dtype, "full").bound(k)


def test_float64_is_exact_on_integers():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-(2**20), 2**20, (90, 300)), rng.integers(-(2**20), 2**20, (300, 70))
    c, session = through_kernels(a.astype(float), b.astype(float))
    assert session.counts["kernel"] == 1
    assert np.array_equal(c, a @ b)


@pytest.mark.parametrize(
    ("precision", "unit"), [("float32", 2.0**-24), ("tfloat32", 2.0**-11), ("bfloat16", 2.0**-9)]
)
def test_lowered_precision_keeps_its_stated_bound_and_no_more(precision, unit):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((40, 100)) * 1e200, rng.standard_normal((100, 30)) * 1e-180
    c, session = through_kernels(a, b, precision=precision, verify=True)
    assert c.dtype == np.float64
    assert session.counts["kernel"] == 1
    error = error_in_units(c, a, b, unit)
    assert 1e-3 < error <= 104


def test_launches_of_several_pieces_are_bitwise_one_result(monkeypatch):
    """Cutting a product into launches changes no bit of a float64 result."""
    from numtrn.plan import words

    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((300, 600)), rng.standard_normal((600, 200))
    whole, session = through_kernels(a, b)
    monkeypatch.setattr(words, "LIMITS", ((128, 256, 128),))
    pieces, cut = through_kernels(a, b)
    assert cut.calls[0].launches > session.calls[0].launches
    assert np.array_equal(whole, pieces)
