"""Elementwise functions: NumPy's ufuncs called on the arrays, so that recorded ones stay recorded.

A function is a row: its name, what it takes, the ufunc, or the operator where that follows the standard and
the ufunc does not, and what computes the kinds of elements for which the standard wants something else
(`numtrn.array.special`). No floating-point warning leaves this namespace.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np

from numtrn.array import Array, promotion, special
from numtrn.array_api._helpers import KINDS, check, given, host

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
]

Operand: TypeAlias = Array | complex
"""An array, or a Python scalar: bool and int and float are complex to the type checker."""
Unary: TypeAlias = Callable[[Array], Array]
Binary: TypeAlias = Callable[[Operand, Operand], Array]
NO_OTHER: Mapping[str, Callable[..., Any]] = {}


# ---- How a row becomes a function ----


def _one(
    name: str,
    kinds: str,
    function: Callable[..., Any],
    doc: str,
    other: Mapping[str, Callable[..., Any]] = NO_OTHER,
) -> Unary:
    """A function of one array; ``other`` computes kinds (NumPy's letters) that ``function`` does not."""

    def elementwise(x: Array, /) -> Array:
        kind = check(name, x, kinds).dtype.kind
        with np.errstate(all="ignore"):
            return cast(Array, other.get(kind, function)(x))

    return _named(elementwise, name, doc)


def _two(name: str, kinds: str, function: Callable[..., Any], doc: str) -> Binary:
    """A function of two arrays, or of one and a Python scalar."""

    def elementwise(x1: Operand, x2: Operand, /) -> Array:
        operands = _operand(name, x1, kinds), _operand(name, x2, kinds)
        if not any(isinstance(x, Array) for x in operands):
            raise TypeError(f"{name} takes one array at least; got two Python scalars")
        with np.errstate(all="ignore"):
            return cast(Array, function(*operands))

    return _named(elementwise, name, doc)


def _named(function: Callable[..., Any], name: str, doc: str) -> Callable[..., Any]:
    """The function with the name by which it is found and pickled."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


ACCEPTED = {bool: "biufc", int: "iufc", float: "fc", complex: "c"}
"""The kinds of arrays among which a Python scalar has its place."""


def _operand(function: str, x: Any, kinds: str) -> Operand:
    """An array of the kinds, or a Python scalar that such arrays could hold."""
    if isinstance(x, Array):
        return check(function, x, kinds)
    for scalar, letters in ACCEPTED.items():
        if isinstance(x, scalar):
            if not set(letters) & set(KINDS[kinds]):
                raise TypeError(f"{function} takes {kinds} operands; got the {scalar.__name__} {x!r}")
            return cast(complex, scalar(x))  # no subclass, such as float64, which would count as an array
    return check(function, x, kinds)


def _by_host(function: Callable[..., Any]) -> Unary:
    """A function of an ndarray as one of an array."""
    return lambda x: given(function(host(function.__name__, x)), x)


WHOLE = {"i": np.positive, "u": np.positive}
"""Integers are rounded already; NumPy before version 2 makes them floats."""
SIGN_OF_COMPLEX = _by_host(special.sign) if promotion.BY_VALUE else np.sign
"""NumPy before version 2 gives the sign of the real part."""


# ---- The functions ----

abs = _one("abs", "numeric", np.absolute, "Absolute value; of complex numbers their modulus, which is real.")
acos = _one("acos", "floating", np.arccos, "Inverse cosine.")
acosh = _one("acosh", "floating", np.arccosh, "Inverse hyperbolic cosine.", {"c": _by_host(special.acosh)})
add = _two("add", "numeric", np.add, "Sum.")
asin = _one("asin", "floating", np.arcsin, "Inverse sine.")
asinh = _one("asinh", "floating", np.arcsinh, "Inverse hyperbolic sine.")
atan = _one("atan", "floating", np.arctan, "Inverse tangent.")
atan2 = _two(
    "atan2", "real floating", np.arctan2, "Angle of the point (x2, x1), in the quadrant of the point."
)
atanh = _one("atanh", "floating", np.arctanh, "Inverse hyperbolic tangent.")
bitwise_and = _two("bitwise_and", "integer or bool", np.bitwise_and, "Bitwise and.")
bitwise_invert = _one("bitwise_invert", "integer or bool", np.invert, "Bitwise not.")
bitwise_left_shift = _two(
    "bitwise_left_shift", "integer", np.left_shift, "Bits moved to the left by the second operand."
)
bitwise_or = _two("bitwise_or", "integer or bool", np.bitwise_or, "Bitwise or.")
bitwise_right_shift = _two(
    "bitwise_right_shift", "integer", np.right_shift, "Bits moved to the right by the second operand."
)
bitwise_xor = _two("bitwise_xor", "integer or bool", np.bitwise_xor, "Bitwise exclusive or.")
ceil = _one(
    "ceil", "real numeric", np.ceil, "Least integer that is not less; integers keep their type.", WHOLE
)


def clip(x: Array, /, min: Operand | None = None, max: Operand | None = None) -> Array:
    """The elements, no less than ``min`` and no more than ``max``; NaN where one of them is NaN."""
    result = positive(check("clip", x, "real numeric"))
    if max is not None:
        result = minimum(result, max)
    return result if min is None else maximum(result, min)


conj = _one("conj", "numeric", np.conjugate, "Complex conjugate.")
copysign = _two("copysign", "real floating", np.copysign, "The first operand with the sign of the second.")
cos = _one("cos", "floating", np.cos, "Cosine.")
cosh = _one("cosh", "floating", np.cosh, "Hyperbolic cosine.")
divide = _two("divide", "numeric", np.divide, "Quotient; of integers a float64.")
equal = _two("equal", "any", np.equal, "Whether operands are equal.")
exp = _one("exp", "floating", np.exp, "Exponential.")
expm1 = _one(
    "expm1",
    "floating",
    np.expm1,
    "``exp(x) - 1``, accurate near 0; complex infinities as `exp` has them.",
    {"c": _by_host(special.expm1)},
)
floor = _one(
    "floor",
    "real numeric",
    np.floor,
    "Greatest integer that is not greater; integers keep their type.",
    WHOLE,
)
floor_divide = _two(
    "floor_divide",
    "real numeric",
    operator.floordiv,
    "Quotient rounded down; of infinities ``floor(x1 / x2)``, where NumPy gives NaN.",
)
greater = _two("greater", "real numeric", np.greater, "Whether the first operand is greater.")
greater_equal = _two(
    "greater_equal", "real numeric", np.greater_equal, "Whether the first operand is not less."
)
hypot = _two("hypot", "real floating", np.hypot, "Square root of the sum of squares.")


def imag(x: Array, /) -> Array:
    """Imaginary parts of complex numbers."""
    return given(host("imag", x, "complex floating").imag.copy(), x)


isfinite = _one("isfinite", "numeric", np.isfinite, "Whether an element is neither infinite nor NaN.")
isinf = _one("isinf", "numeric", np.isinf, "Whether an element is infinite.")
isnan = _one("isnan", "numeric", np.isnan, "Whether an element is NaN.")
less = _two("less", "real numeric", np.less, "Whether the first operand is less.")
less_equal = _two("less_equal", "real numeric", np.less_equal, "Whether the first operand is not greater.")
log = _one("log", "floating", np.log, "Natural logarithm.")
log10 = _one("log10", "floating", np.log10, "Logarithm to base 10.")
log1p = _one("log1p", "floating", np.log1p, "``log(1 + x)``, accurate near 0.")
log2 = _one("log2", "floating", np.log2, "Logarithm to base 2.")
logaddexp = _two("logaddexp", "real floating", np.logaddexp, "``log(exp(x1) + exp(x2))``.")
logical_and = _two("logical_and", "any", np.logical_and, "Whether both operands are true (not zero).")
logical_not = _one("logical_not", "any", np.logical_not, "Whether an element is false (zero).")
logical_or = _two("logical_or", "any", np.logical_or, "Whether an operand is true (not zero).")
logical_xor = _two("logical_xor", "any", np.logical_xor, "Whether exactly one operand is true (not zero).")
maximum = _two("maximum", "real numeric", np.maximum, "The greater operand; NaN where one is NaN.")
minimum = _two("minimum", "real numeric", np.minimum, "The lesser operand; NaN where one is NaN.")
multiply = _two("multiply", "numeric", np.multiply, "Product.")
negative = _one("negative", "numeric", np.negative, "Negative.")
nextafter = _two(
    "nextafter",
    "real floating",
    np.nextafter,
    "The next number of the type from the first operand towards the second.",
)
not_equal = _two("not_equal", "any", np.not_equal, "Whether operands differ.")
positive = _one("positive", "numeric", np.positive, "The elements as they are.")
pow = _two("pow", "numeric", operator.pow, "Power; an integer with a negative integer exponent is an error.")


def real(x: Array, /) -> Array:
    """Real parts; real numbers as they are."""
    return given(host("real", x, "numeric").real.copy(), x)


reciprocal = _one("reciprocal", "floating", partial(np.divide, 1), "``1 / x``.")
remainder = _two(
    "remainder", "real numeric", operator.mod, "Remainder with the divisor's sign, as Python's ``%``."
)
round = _one(
    "round",
    "numeric",
    np.rint,
    "Nearest integer, the even one of two; complex numbers by their parts.",
    WHOLE,
)
sign = _one(
    "sign",
    "numeric",
    np.sign,
    "-1, 0 or 1; of complex numbers ``x / abs(x)``, and 0 of 0.",
    {"c": SIGN_OF_COMPLEX},
)
signbit = _one("signbit", "real floating", np.signbit, "Whether the sign bit is set.")
sin = _one("sin", "floating", np.sin, "Sine.")
sinh = _one("sinh", "floating", np.sinh, "Hyperbolic sine.")
sqrt = _one("sqrt", "floating", np.sqrt, "Square root; of a negative real number NaN.")
square = _one("square", "numeric", np.square, "Square.")
subtract = _two("subtract", "numeric", np.subtract, "Difference.")
tan = _one("tan", "floating", np.tan, "Tangent.", {"c": _by_host(special.tan)})
tanh = _one("tanh", "floating", np.tanh, "Hyperbolic tangent.", {"c": _by_host(special.tanh)})
trunc = _one(
    "trunc", "real numeric", np.trunc, "Nearest integer towards zero; integers keep their type.", WHOLE
)
