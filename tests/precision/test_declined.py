"""What is left to NumPy, and how the reason reads."""

import numpy as np
import pytest

from numtrn.precision import Declined, choose, gemm
from numtrn.precision.sliced import MOST_TERMS
from tests.precision.engines import ExactEngine

DTYPES = ["float32", "float64", "complex64", "complex128"]


class NoEngine:
    """Declining must not cost a launch."""

    def product(self, lhs, rhs, operand_dtype):
        raise AssertionError("multiplied")

    def words(self, lhs, rhs, structure="general"):
        raise AssertionError("multiplied")

    def least(self, lhs, rhs):
        raise AssertionError("multiplied")


def reason(a, b, precision="full"):
    with pytest.raises(Declined) as declined:
        gemm(choose(a.dtype.name, precision), a, b, NoEngine())
    assert str(declined.value) == declined.value.reason
    return declined.value.reason


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["full", "bfloat16"])
def test_mostly_not_finite(dtype, precision):
    a, b = np.ones((2, 3, 4), dtype), np.ones((2, 4, 5), dtype)
    a[:, :, 0] = np.nan
    b[1, 2, 3] = np.inf
    assert reason(a, b, precision) == (
        "operands hold NaN or Inf, in 6 of 6 rows of A and 1 of 10 columns of B; NumPy propagates them"
    )


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_operands_that_are_not_finite(dtype):
    a, b = np.ones((1, 30, 4), dtype), np.ones((1, 4, 20), dtype)
    b[0, 0, 0] = complex(1, np.inf)
    assert reason(a, b).startswith("operands hold NaN or Inf, in 0 of 30 rows of A and 1 of 20 columns of B")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_rows_and_columns_that_are_not_finite_are_numpys(dtype, value):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 30, 40)).astype(dtype), rng.standard_normal((2, 40, 20)).astype(dtype)
    a[1, 2, 3] = value
    b[0, 5, 7] = b[0, 6, 7] = value
    computed = gemm(choose(dtype, "full"), a, b, ExactEngine())
    expected = a @ b
    assert np.array_equal(np.isfinite(computed.value), np.isfinite(expected))
    odd = ~np.isfinite(expected)
    assert odd.any()
    assert np.array_equal(computed.value[odd], expected[odd], equal_nan=True)
    assert np.allclose(computed.value[~odd], expected[~odd], rtol=1e-4)
    assert "1 rows and" in computed.note
    assert "with NaN or Inf by NumPy" in computed.note


@pytest.mark.parametrize(
    ("dtype", "left", "right", "k", "declined"),
    [
        ("float32", 63, 60, 4, False),
        ("float32", 63, 63, 4, True),
        ("float64", 500, 519, 4, False),
        ("float64", 512, 512, 4, True),
        ("float64", 500, 520, 1000, True),
        ("complex64", 63, 62, 4, True),
        ("complex128", 500, 520, 4, True),
        ("complex128", 500, 500, 4, False),
    ],
)
def test_overflow(dtype, left, right, k, declined):
    a, b = np.full((1, 2, k), 2.0**left, dtype), np.full((1, k, 2), 2.0**right, dtype)
    if not declined:
        value = gemm(choose(dtype, "full"), a, b, ExactEngine()).value
        assert np.isfinite(value).all()
        assert value[0, 0, 0] == k * 2.0 ** (left + right)
        return
    text = reason(a, b)
    assert text.startswith(
        f"the product may overflow: magnitudes up to 2^{left + 1} in A and 2^{right + 1} in B, "
    )
    assert text.endswith(f"for {dtype}; NumPy gives the Inf and the warning")


def test_huge_rows_of_one_matrix_and_huge_columns_of_another_are_no_overflow():
    a, b = np.ones((2, 3, 4)), np.ones((2, 4, 3))
    a[0] *= 2.0**600
    b[1] *= 2.0**600
    assert gemm(choose("float64", "full"), a, b, ExactEngine()).value.max() == 4 * 2.0**600


def test_huge_times_zero_is_no_overflow():
    a, b = np.full((1, 3, 4), 1e308), np.zeros((1, 4, 3))
    assert not gemm(choose("float64", "full"), a, b, ExactEngine()).value.any()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_range(dtype):
    a = np.ones((1, 2, 40), dtype)
    a[0, 0, 0] = 2.0**90
    b = np.ones((1, 40, 2), dtype)
    b[0, 0, 0] = 0
    b[0, 1, 0] = 2.0**90
    b[0, 1, 1], a[0, 0, 1] = 0, 0
    text = reason(a, b)
    assert text.startswith(
        "the operands' range asks for more than 16 slices, beyond which NumPy is faster: the least element "
        "of |A||B| is about"
    )
    assert text.endswith("is needed")


def test_wrong_arrays_are_errors():
    a = np.ones((1, 2, 3))
    with pytest.raises(ValueError, match="scheme 'sliced bf16' multiplies float64; got float32 and float32"):
        gemm(choose("float64", "full"), a.astype("f4"), a.astype("f4"), NoEngine())
    with pytest.raises(ValueError, match=r"A must be \(batch, m, k\) and B \(batch, k, n\); got \(1, 2, 3\)"):
        gemm(choose("float64", "full"), a, a, NoEngine())


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_sums_too_long_for_the_carries(dtype):
    k = MOST_TERMS + 1
    a, b = np.broadcast_to(np.ones((), dtype), (1, 1, k)), np.broadcast_to(np.ones((), dtype), (1, k, 1))
    assert reason(a, b) == "sums of K = 67,108,865 products; carries in int64 allow 67,108,864"
