"""Which scheme is chosen, what it costs and what it promises."""

import pytest

from numtrn.options import PRECISIONS
from numtrn.precision import choose

CASES = [
    # dtype, precision, name, operand, kernel, products at k = 1000, unit, bound at k = 1000
    ("float32", "full", "native fp32", "float32", "gemm", 4, "2^-24", 1001),
    ("float32", "float32", "native fp32", "float32", "gemm", 4, "2^-24", 1001),
    ("float32", "tfloat32", "tf32", "tfloat32", "gemm", 1, "2^-11", 4.1),
    ("float32", "bfloat16", "bf16", "bfloat16", "gemm", 1, "2^-8", 2.02),
    ("float64", "full", "sliced bf16", "bfloat16", "sliced_gemm", 28, "2^-53", 257),
    ("float64", "float32", "fp32", "float32", "gemm", 4, "2^-24", 1003),
    ("float64", "tfloat32", "tf32", "tfloat32", "gemm", 1, "2^-11", 4.1),
    ("float64", "bfloat16", "bf16", "bfloat16", "gemm", 1, "2^-8", 2.02),
    ("complex64", "full", "native fp32, complex as real", "float32", "gemm", 16, "2^-24", 2001),
    ("complex64", "bfloat16", "bf16, complex as real", "bfloat16", "gemm", 4, "2^-8", 2.04),
    ("complex128", "full", "sliced bf16, 3M", "bfloat16", "sliced_gemm", 84, "2^-53", 257),
    ("complex128", "tfloat32", "tf32, complex as real", "tfloat32", "gemm", 4, "2^-11", 4.3),
]


@pytest.mark.parametrize(
    ("dtype", "precision", "name", "operand", "kernel", "products", "unit", "bound"), CASES
)
def test_table(dtype, precision, name, operand, kernel, products, unit, bound):
    scheme = choose(dtype, precision)
    assert (scheme.name, scheme.operand_dtype, scheme.kernel, scheme.dtype) == (name, operand, kernel, dtype)
    assert scheme.products(1000) == products
    assert scheme.unit_text == unit
    assert scheme.unit == 2.0 ** int(unit[2:])
    assert scheme.bound(1000) == pytest.approx(bound, rel=0.02)
    assert scheme.source
    assert len(scheme.description.splitlines()) == 1


def test_slices():
    full = choose("float64", "full")
    assert [full.minimum_slices(k) for k in (1, 255, 256, 9999)] == [8, 8, 7, 7]
    assert [full.products(1000, s) for s in range(7, 12)] == [28, 36, 45, 55, 66]
    assert full.maximum_slices == 16
    assert choose("float32", "full").minimum_slices(9) is None
    assert choose("float32", "full").maximum_slices is None


def test_an_accuracy_asked_for():
    scheme = choose("float64", 1000.0)
    assert (scheme.kernel, scheme.unit, scheme.bound(1), scheme.bound(10**5)) == (
        "sliced_gemm",
        2.0**-53,
        1000,
        1000,
    )
    assert [choose("float64", 2.0**p).minimum_slices(1000) for p in (1, 8, 14, 20, 40)] == [8, 7, 6, 5, 3]
    assert choose("complex128", 50).products(1000, 7) == 84
    # fp32 products promise K + 1; beyond that, digits
    assert choose("float32", 200, 100) == choose("float32", "full")
    digits = choose("float32", 50, 100)
    assert (digits.kernel, digits.unit, digits.dtype) == ("sliced_gemm", 2.0**-24, "float32")
    assert digits.bound(100) == 50
    assert digits.minimum_slices(100) == 4
    assert choose("complex64", 3, 100).complex


@pytest.mark.parametrize("accuracy", [0, 1.99, -5, 2.0**41, float("nan"), float("inf")])
def test_an_accuracy_out_of_range(accuracy):
    with pytest.raises(
        ValueError, match="a numeric precision is from 2 to 2\\^40, in units of the dtype's roundoff"
    ):
        choose("float64", accuracy)


def test_fast_is_a_digit_less_of_float64_and_native_fp32():
    assert choose("float64", "fast").minimum_slices(1000) == 6
    assert choose("float64", "fast").bound(1000) == 2**14
    assert choose("float32", "fast") == choose("float32", "full")


@pytest.mark.parametrize("precision", ["tfloat32x3", "float16x3"])
def test_split_operands(precision):
    scheme = choose("float32", precision)
    assert (scheme.products(1000), scheme.call(2, 3, 4, 5)) == (3, (2, 3, 12, 5, 0))
    assert scheme.unit == 2.0**-24
    assert 3 * 1000 + 1 + 12 < scheme.bound(1000) < 3 * 1000 + 1 + 13


def test_calls_of_the_engine():
    shape = (2, 3, 4, 5)
    assert choose("float64", "full").call(*shape) == (*shape, 1)
    assert choose("float32", "full").call(*shape) == (*shape, 0)
    assert choose("complex64", "full").call(*shape) == (2, 3, 8, 10, 0)
    assert choose("complex128", "bfloat16").call(*shape) == (2, 3, 8, 10, 0)
    assert choose("complex128", "full").call(*shape) == (*shape, 2)
    assert choose("complex128", "full").guard(*shape) == (2, 3, 8, 10, 0)
    assert choose("float64", "full").guard(*shape) == (*shape, 0)
    assert choose("float32", "full").guard(*shape) is None


def test_every_precision_has_a_scheme():
    for precision in PRECISIONS:
        for dtype in ("float32", "float64", "complex64", "complex128"):
            assert choose(dtype, precision).dtype == dtype


def test_unknown():
    with pytest.raises(
        ValueError, match="schemes are for float32, float64, complex64, complex128; got 'int8'"
    ):
        choose("int8", "full")
    with pytest.raises(
        ValueError, match=r"precision takes 'full', 'fast', 'float32', .* or a number; got 'fp8'"
    ):
        choose("float64", "fp8")
