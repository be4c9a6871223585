"""float32 and complex64, and all dtypes at lowered precision: stated bounds, exponents beyond fp32."""

import numpy as np
import pytest

from numtrn.precision import choose, gemm
from tests.precision import oracle
from tests.precision.engines import ExactEngine, StrictEngine
from tests.precision.families import FAMILIES, family

REAL = [
    ("float32", "full"),
    ("float32", "tfloat32x3"),
    ("float32", "float16x3"),
    *((d, p) for d in ("float32", "float64") for p in ("float32", "tfloat32", "bfloat16")),
]
COMPLEX = [(dtype.replace("float32", "complex64").replace("float64", "complex128"), p) for dtype, p in REAL]


def underflow(result, a, b):
    """What the result says of it, at least K 2^-124, times the largest of row and column."""
    factor = max(result.underflow, a.shape[1] * 2.0**-124)
    assert factor <= a.shape[1] * 2.0**-36
    return factor * np.abs(a).max(axis=1)[:, None] * np.abs(b).max(axis=0)


@pytest.mark.parametrize("engine", [ExactEngine, StrictEngine])
@pytest.mark.parametrize(("dtype", "precision"), REAL)
@pytest.mark.parametrize("k", [1, 64, 1000])
@pytest.mark.parametrize("name", FAMILIES)
def test_bound(name, k, dtype, precision, engine):
    a, b = (x.astype(dtype) for x in family(name, 12, k, 10))
    scheme = choose(dtype, precision)
    result = gemm(scheme, a[None], b[None], engine())
    assert result.value.dtype == dtype
    assert result.bound == scheme.bound(k)
    a, b = a.astype(np.float64), b.astype(np.float64)
    high, low = oracle.product(a, b)
    allowed = result.bound * scheme.unit * oracle.size(a, b) + underflow(result, a, b)
    assert (np.abs((result.value[0] - high) - low) <= allowed).all()


@pytest.mark.parametrize(("dtype", "precision"), COMPLEX)
@pytest.mark.parametrize("contiguous", [True, False])
def test_complex_bound(dtype, precision, contiguous):
    rng = np.random.default_rng(0)
    a = (rng.standard_normal((2, 9, 70)) + 1e-2j * rng.standard_normal((2, 9, 70))).astype(dtype)
    b = (rng.standard_normal((2, 70, 8)) + 1j * rng.standard_normal((2, 70, 8))).astype(dtype)
    if not contiguous:
        a, b = np.asfortranarray(a), b[:, ::-1, ::-1]
    before = a.copy(), b.copy()
    scheme = choose(dtype, precision)
    result = gemm(scheme, a, b, StrictEngine())
    assert result.value.dtype == dtype
    assert result.value.flags.c_contiguous
    assert np.array_equal(a, before[0])
    assert np.array_equal(b, before[1])
    for x, y, c in zip(a.astype(complex), b.astype(complex), result.value, strict=True):
        for left, right, part in [
            (np.hstack((x.real, -x.imag)), np.vstack((y.real, y.imag)), c.real),
            (np.hstack((x.real, x.imag)), np.vstack((y.imag, y.real)), c.imag),
        ]:
            error = oracle.error(part, oracle.product(left, right), oracle.size(left, right), scheme.unit)
            assert error <= result.bound


@pytest.mark.parametrize("k", [64, 1000, 4096])
@pytest.mark.parametrize("name", ["normal", "uniform", "constant 0.1"])
def test_float32_is_no_worse_than_twice_numpy(name, k):
    a, b = (x.astype(np.float32) for x in family(name, 24, k, 20))
    result = gemm(choose("float32", "full"), a[None], b[None], StrictEngine()).value[0]
    wide = a.astype(np.float64), b.astype(np.float64)
    reference, sizes = oracle.product(*wide), oracle.size(*wide)
    mine, numpys = (oracle.error(c, reference, sizes, 2.0**-24) for c in (result, a @ b))
    assert mine <= 2 * numpys


@pytest.mark.parametrize("precision", ["float32", "tfloat32", "bfloat16"])
@pytest.mark.parametrize(
    ("left", "right"), [(-1000, 900), (500, 300), (-1040, 0), (-700, -350), (1000, -1060)]
)
def test_exponents_beyond_fp32(precision, left, right):
    rng = np.random.default_rng(0)
    with np.errstate(under="ignore"):
        a, b = np.ldexp(rng.standard_normal((6, 40)), left), np.ldexp(rng.standard_normal((40, 5)), right)
    scheme = choose("float64", precision)
    result = gemm(scheme, a[None], b[None], StrictEngine())
    assert np.isfinite(result.value).all()
    unit = int(np.log2(scheme.unit))
    assert not oracle.exceeds(result.value[0], a, b, int(np.ceil(result.bound)), unit).any()


def test_small_elements_of_a_row_are_not_lost():
    a = np.array([[[1e11, 1e-30]]], np.float32)
    b = np.array([[[0.0], [1e20]]], np.float32)
    result = gemm(choose("float32", "full"), a, b, StrictEngine())
    assert abs(float(result.value[0, 0, 0]) - 1e-10) <= result.bound * 2.0**-24 * 1e-10


@pytest.mark.parametrize("precision", ["float32", "tfloat32", "bfloat16"])
def test_what_vanishes_at_a_lowered_precision_is_promised(precision):
    a, b = np.array([[[2.0**60, 2.0**-100]]]), np.array([[[0.0], [2.0**60]]])
    result = gemm(choose("float64", precision), a, b, StrictEngine())
    assert result.value[0, 0, 0] == 0
    assert result.underflow * 2.0**60 * 2.0**60 >= 2.0**-40


@pytest.mark.parametrize("precision", ["full", "tfloat32", "bfloat16"])
@pytest.mark.parametrize(("left", "right"), [(-140, 100), (-120, -20), (90, -120), (60, 50)])
def test_float32_at_the_ends_of_its_range(precision, left, right):
    rng = np.random.default_rng(0)
    with np.errstate(under="ignore"):
        a = np.ldexp(rng.standard_normal((6, 40)), left).astype(np.float32)
        b = np.ldexp(rng.standard_normal((40, 5)), right).astype(np.float32)
    scheme = choose("float32", precision)
    result = gemm(scheme, a[None], b[None], StrictEngine())
    assert bool(result.note) == (precision != "full")
    high, low = oracle.product(a.astype(float), b.astype(float))
    allowed = result.bound * scheme.unit * oracle.size(a.astype(float), b.astype(float)) + 41 * 2.0**-149
    allowed = allowed + result.underflow * np.abs(a).max(axis=1)[:, None].astype(float) * np.abs(b).max(
        axis=0
    )
    assert (np.abs((result.value[0] - high) - low) <= allowed).all()


def test_comfortable_float32_goes_to_the_engine_uncopied():
    seen = []

    class Engine(ExactEngine):
        def product(self, lhs, rhs, operand_dtype, structure="general"):
            seen.extend((lhs, rhs))
            return super().product(lhs, rhs, operand_dtype)

    a, b = np.ones((1, 4, 5), np.float32), np.ones((1, 5, 6), np.float32)
    gemm(choose("float32", "full"), a, b, Engine())
    assert np.shares_memory(seen[0], a)
    assert np.shares_memory(seen[1], b)
    z = np.ones((1, 4, 5), np.complex64)
    gemm(choose("complex64", "full"), z, z.transpose(0, 2, 1), Engine())
    assert np.shares_memory(seen[2], z)
    assert seen[3].shape == (1, 10, 8)


@pytest.mark.parametrize("size", [2, 3, 40])
def test_complex64_with_a_transposed_right_operand(size):
    """NumPy 2.4's np.negative with out= is wrong for some strides; products of these ran into it."""
    rng = np.random.default_rng(size)
    a, b = (
        rng.integers(-9, 9, (1, size, size)) + 1j * rng.integers(-9, 9, (1, size, size)) for _ in range(2)
    )
    transposed = b.astype(np.complex64).transpose(0, 2, 1)
    c = gemm(choose("complex64", "full"), a.astype(np.complex64), transposed, ExactEngine()).value
    expected = np.einsum("bij,bkj->bik", a, b)
    assert np.array_equal(c, expected)
