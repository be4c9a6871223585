"""Elementwise functions: NumPy's values, the standard's where NumPy has others, types, kinds, recording."""

import cmath
import inspect
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numtrn
from numtrn import array_api as xp
from numtrn.array_api import _elementwise_functions as module

NAMES = {  # in NumPy, where the standard's is another
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
    "bitwise_invert": "invert",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
    "pow": "power",
    "round": "rint",
}
REAL = np.array([0.25, -0.5, 0.75, 1.5, -2.5, 3.0])
SAMPLES = {
    "b": np.array([True, False, True]),
    "i": np.array([1, -2, 3, 7], "i2"),
    "u": np.array([1, 2, 3, 7], "u1"),
    "f": REAL,
    "c": REAL * (1 + 2j),
}
KINDS = {
    "floating": "fc",
    "real floating": "f",
    "integer": "iu",
    "integer or bool": "biu",
    "real numeric": "iuf",
    "numeric": "iufc",
    "any": "biufc",
}


def takes(name):
    """The kinds that a function takes: it refuses the others with a TypeError."""
    function, found = getattr(xp, name), ""
    for kind, sample in SAMPLES.items():
        try:
            function(*[xp.asarray(sample)] * arguments(name))
        except TypeError:
            continue
        except ValueError:
            pass  # an integer to a negative power
        found += kind
    return found


def arguments(name):
    return len([p for p in inspect.signature(getattr(xp, name)).parameters if p not in ("min", "max")])


TAKES = {
    "floating": "acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 reciprocal sin "
    "sinh sqrt tan tanh",
    "real floating": "atan2 copysign hypot logaddexp nextafter signbit",
    "integer": "bitwise_left_shift bitwise_right_shift",
    "integer or bool": "bitwise_and bitwise_invert bitwise_or bitwise_xor",
    "real numeric": "ceil clip floor floor_divide greater greater_equal less less_equal maximum minimum "
    "remainder trunc",
    "numeric": "abs add conj divide isfinite isinf isnan multiply negative positive pow real round sign "
    "square subtract",
    "any": "equal logical_and logical_not logical_or logical_xor not_equal",
}
FUNCTIONS = {name: KINDS[words] for words, names in TAKES.items() for name in names.split()}


def test_the_table_is_complete():
    assert {*FUNCTIONS, "imag"} == set(module.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_kinds(name):
    assert takes(name) == FUNCTIONS[name]


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"clip", "pow", "floor_divide"}))
def test_values_are_numpy_s(name):
    reference = getattr(np, NAMES.get(name, name))
    for kind in FUNCTIONS[name]:
        x, y = SAMPLES[kind], SAMPLES[kind][::-1]
        arrays = (x, np.abs(y) if "shift" in name else y)[: arguments(name)]
        with np.errstate(all="ignore"):
            expected = reference(*arrays)
        found = getattr(xp, name)(*map(xp.asarray, arrays))
        if name in ("ceil", "floor", "trunc", "round") and kind in "iu":
            expected = x  # NumPy before version 2 makes floats of them
        if name == "sign" and kind == "c":
            expected = x / np.abs(x)
        assert found.dtype == expected.dtype, kind
        np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_axes_no_elements_and_no_warnings(name):
    function, count = getattr(xp, name), arguments(name)
    for kind in FUNCTIONS[name]:
        dtype = SAMPLES[kind].dtype
        for shape in ((), (0,), (2, 0, 3)):
            found = function(*[xp.ones(shape, dtype=dtype)] * count)
            assert isinstance(found, numtrn.Array)
            assert found.shape == shape
        if kind in "fc":
            special = xp.asarray(np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e308, -2, 1e-308], dtype))
            function(*[special[:, None], special][:count])


def test_parts_of_complex_numbers():
    x = np.array([1 + 2j, -0.0 - 3j], "c8")
    for name in ("real", "imag"):
        found = getattr(xp, name)(xp.asarray(x))
        assert found.dtype == xp.float32
        np.testing.assert_array_equal(np.asarray(found), getattr(x, name))
        found[0] = 9.0  # memory of its own
    assert x[0] == 1 + 2j
    with pytest.raises(TypeError, match="imag takes complex floating arrays; got float64"):
        xp.imag(xp.ones(2))


# ---- Scalars and types ----


@pytest.mark.parametrize(
    ("name", "x", "scalar", "dtype"),
    [
        ("add", xp.ones(2, dtype=xp.float32), 1.5, "float32"),
        ("add", xp.ones(2, dtype=xp.float32), 1e300, "float32"),  # infinity, and no warning
        ("add", xp.ones(2, dtype=xp.float32), np.float64(1.5), "float32"),  # a float
        ("add", xp.ones(2, dtype=xp.int8), 1, "int8"),
        ("add", xp.ones(2, dtype=xp.int8), 1.5, "float64"),
        ("multiply", xp.ones(2, dtype=xp.float32), 1j, "complex64"),
        ("atan2", xp.ones(2, dtype=xp.float32), 1, "float32"),
        ("logical_and", xp.ones(2, dtype=xp.bool), True, "bool"),
        ("bitwise_and", xp.ones(2, dtype=xp.uint8), 3, "uint8"),
        ("floor_divide", xp.ones(2, dtype=xp.float32), 0.5, "float32"),
        ("pow", xp.ones(2, dtype=xp.float32), 0.5, "float32"),
        ("less", xp.ones(2, dtype=xp.int8), 1000, "bool"),
        ("equal", xp.ones((), dtype=xp.int8), -1000, "bool"),
    ],
)
def test_scalars(name, x, scalar, dtype):
    function = getattr(xp, name)
    for found in (function(x, scalar), function(scalar, x)):
        assert found.dtype == np.dtype(dtype)
        assert found.shape == x.shape


@pytest.mark.parametrize(
    ("name", "operands", "said"),
    [
        ("add", (1, 2), "add takes one array at least"),
        (
            "bitwise_and",
            (xp.ones(2, dtype=xp.int8), 1.5),
            "bitwise_and takes integer or bool operands; got the float",
        ),
        ("less", (xp.ones(2), 1j), "less takes real numeric operands; got the complex 1j"),
        ("add", (xp.ones(2), np.ones(2)), "add takes numtrn arrays; got ndarray"),
        ("add", (xp.ones(2), np.float32(1)), "add takes numtrn arrays; got float32"),
        ("sqrt", (2.0,), "sqrt takes numtrn arrays; got float"),
        ("add", (xp.ones(2), xp.ones(2, dtype=xp.bool)), "add takes numeric arrays; got bool"),
    ],
)
def test_what_is_refused(name, operands, said):
    with pytest.raises(TypeError, match=said):
        getattr(xp, name)(*operands)


def test_integers_out_of_their_type():
    with pytest.raises(OverflowError):
        xp.add(xp.ones(2, dtype=xp.int8), 300)


def test_devices():
    x = xp.ones(2, device="interpreter:0")
    for found in (
        xp.sin(x),
        xp.add(x, 1),
        xp.tanh(xp.astype(x, xp.complex64)),
        xp.floor_divide(x, x),
        xp.real(x),
    ):
        assert found.device == "interpreter:0"
    with pytest.raises(ValueError, match="must be on one device"):
        xp.add(x, xp.ones(2))


# ---- clip ----

NUMBERS = st.one_of(st.none(), st.floats(width=32), st.lists(st.floats(width=32), min_size=3, max_size=3))


@given(st.lists(st.floats(width=32), min_size=3, max_size=3), NUMBERS, NUMBERS)
def test_clip_is_a_minimum_and_a_maximum(x, least, most):
    def bounded(value, lower, upper):
        if any(one is not None and math.isnan(one) for one in (value, lower, upper)):
            return math.nan
        value = value if upper is None else min(value, upper)
        return value if lower is None else max(value, lower)

    def given_as(bound):
        return xp.asarray(bound, dtype=xp.float32) if isinstance(bound, list) else bound

    found = xp.clip(xp.asarray(x, dtype=xp.float32), given_as(least), given_as(most))
    bounds = [bound if isinstance(bound, list) else [bound] * 3 for bound in (least, most)]
    assert found.dtype == xp.float32
    np.testing.assert_array_equal(np.asarray(found), [bounded(*row) for row in zip(x, *bounds, strict=True)])


def test_clip_keeps_the_type_and_gives_a_new_array():
    x = xp.asarray([-5, 0, 5], dtype=xp.int8)
    found = xp.clip(x, min=-1, max=1)
    assert found.dtype == xp.int8
    assert [int(v) for v in found] == [-1, 0, 1]
    found = xp.clip(x)
    found[0] = 7
    assert int(x[0]) == -5


# ---- Special values ----

INF, NAN = math.inf, math.nan
VALUES = (INF, -INF, NAN, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e308, -1e308, 1e-308)


def written(x):
    """A float or a complex number with its signs of zeros; those of NaN do not count."""
    x = complex(x)
    return tuple("nan" if math.isnan(part) else repr(part) for part in (x.real, x.imag))


def floored(a, b):
    """The floor of a / b, of a tiny negative quotient by an infinity -0."""
    if math.isnan(a) or math.isnan(b) or (math.isinf(a) and math.isinf(b)) or (a == 0 and b == 0):
        return NAN
    if b == 0 or math.isinf(a):
        return math.copysign(INF, a) * math.copysign(1, b)
    quotient = float(Fraction(a) / Fraction(b) // 1) if math.isfinite(b) else a / b
    return quotient if quotient else math.copysign(0.0, a) * math.copysign(1, b)


@pytest.mark.parametrize("dtype", [xp.float32, xp.float64])
def test_floor_divide_at_special_values(dtype):
    few = [x for x in VALUES if not 1e300 < abs(x) < INF and not 0 < abs(x) < 1e-300]
    for a, b in itertools.product(few, few):
        x, y = xp.asarray(a, dtype=dtype), xp.asarray(b, dtype=dtype)
        with np.errstate(all="ignore"):
            found = (xp.floor_divide(x, y), xp.floor_divide(a, y), xp.floor_divide(x, b), x // y)
        assert {written(one) for one in found} == {written(floored(a, b))}, (a, b)


def test_floor_divide_by_an_infinity_is_a_signed_zero():
    for a, b in ((1.0, INF), (1.0, -INF), (-1.0, INF), (-1.0, -INF)):
        assert written(xp.floor_divide(xp.asarray(a), b)) == written(a / b)


def test_remainder_is_python_s():
    for a, b in itertools.product(VALUES, VALUES):
        try:
            expected = a % b
        except ZeroDivisionError:
            expected = NAN
        assert written(xp.remainder(xp.asarray(a), b)) == written(expected), (a, b)


def test_pow_is_c_s():
    def power(a, b):
        try:
            return math.pow(a, b)
        except OverflowError:
            return -INF if a < 0 and b % 2 == 1 else INF
        except ValueError:  # a pole, or no real number
            return NAN if a else math.copysign(INF, a) if abs(b) % 2 == 1 else INF

    for a, b in itertools.product(VALUES, VALUES):
        with np.errstate(all="ignore"):  # the operator warns, as NumPy's
            by_operator = xp.asarray(a) ** b
        for found in (
            xp.pow(xp.asarray(a), b),
            xp.pow(a, xp.asarray(b)),
            xp.pow(xp.asarray(a), xp.asarray([b]))[0],
            by_operator,
        ):
            assert written(found) == written(power(a, b)), (a, b)


def exponential_less_one(z):
    """As the standard has it: of infinities and NaN ``exp(z) - 1``."""
    return complex(np.exp(np.complex128(z))) - 1


def hyperbolic(z):
    """``cmath.tanh`` but for an infinite real part, where zeros have the sign of the imaginary one."""
    if math.isinf(z.real):
        return complex(math.copysign(1, z.real), math.copysign(0, z.imag))
    if z.real == 0 and not math.isfinite(z.imag):
        return complex(z.real, NAN)
    return cmath.tanh(z) if math.isfinite(z.imag) else complex(NAN, NAN)


def tangent(z):
    found = hyperbolic(complex(-z.imag, z.real))
    return complex(found.imag, -found.real)


COMPLEX = [
    complex(a, b)
    for a in (INF, -INF, NAN, 0.0, -0.0, 1.0, -2.0)
    for b in (INF, -INF, NAN, 0.0, -0.0, 1.0, -2.0)
]


@pytest.mark.parametrize(
    ("name", "reference"), [("expm1", exponential_less_one), ("tanh", hyperbolic), ("tan", tangent)]
)
@pytest.mark.parametrize("dtype", [xp.complex64, xp.complex128])
def test_complex_functions_at_special_values(name, reference, dtype):
    rtol = 2e-6 if dtype == xp.complex64 else 1e-14
    with np.errstate(all="ignore"):
        for z in COMPLEX:
            found, expected = complex(getattr(xp, name)(xp.asarray(z, dtype=dtype))), reference(z)
            for one, other in ((found.real, expected.real), (found.imag, expected.imag)):
                assert one == pytest.approx(other, rel=rtol, nan_ok=True), z
                if one == 0 and not math.isnan(z.imag) and not math.isinf(z.imag):
                    assert math.copysign(1, one) == math.copysign(1, other), z


def test_expm1_that_overflows_on_the_real_axis_is_real():
    assert written(xp.expm1(xp.asarray(1000 + 0j))) == ("inf", "0.0")


def test_acosh_of_an_imaginary_nan():
    found = complex(xp.acosh(xp.asarray(complex(0, NAN))))
    assert math.isnan(found.real)
    assert abs(found.imag) == math.pi / 2


def test_sign_of_complex_numbers():
    found = xp.sign(xp.asarray([0j, 3 + 4j, -2 + 0j, complex(NAN, 1), complex(1, NAN)]))
    assert complex(found[0]) == 0
    assert complex(found[1]) == pytest.approx(0.6 + 0.8j, rel=1e-15)
    assert complex(found[2]) == -1
    assert written(found[3]) == written(found[4]) == ("nan", "nan")


def test_reciprocal_is_one_over():
    found = xp.reciprocal(xp.asarray([0.0, -0.0, INF, -INF, 4.0]))
    assert [written(x)[0] for x in found] == ["inf", "-inf", "0.0", "-0.0", "0.25"]


def test_round_goes_to_even():
    found = xp.round(xp.asarray([0.5, 1.5, 2.5, -0.5, 1.5 + 2.5j]))
    assert [complex(x) for x in found] == [0, 2, 2, 0, 2 + 2j]


# ---- Recording ----


def test_recorded_arrays_stay_recorded():
    a, b = np.ones((200, 3)), np.ones((3, 200))
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        T = xp.matmul(xp.asarray(a), xp.asarray(b))
        found = xp.sum(xp.subtract(xp.multiply(2.0, xp.pow(xp.negative(T), 2)), xp.divide(T, 3.0)))
    assert float(found) == pytest.approx(200 * 200 * (2 * 9.0 - 1.0), rel=1e-12)
    assert "materialised" not in str(session)


def test_powers_in_place():
    x = numtrn.asarray([-INF, -0.0, 4.0])
    y = x
    y **= 0.5
    assert y is x
    assert [written(v)[0] for v in x] == ["inf", "0.0", "2.0"]
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        T = numtrn.asarray(np.ones((200, 3))) @ numtrn.asarray(np.ones((3, 200)))
        T **= 2
        assert float(np.sum(T)) == pytest.approx(200 * 200 * 9.0, rel=1e-12)
    assert "materialised" not in str(session)
