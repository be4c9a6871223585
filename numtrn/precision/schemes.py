"""Which scheme a dtype and a precision take, what it costs, and what it promises. No array is touched.

Every scheme promises |C - AB| <= bound(K) * unit * |A||B| componentwise, plus underflow; of complex products
for real and imaginary part, with |Ar||Br| + |Ai||Bi| and |Ar||Bi| + |Ai||Br| for |A||B|.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log2
from typing import NamedTuple

from numtrn.options import ACCURACIES

__all__ = ["EngineCall", "Scheme", "choose", "required"]

FLOAT32_UNIT = 2.0**-24
FLOAT64_UNIT = 2.0**-53

MOST_SLICES = 16
"""136 products, still far beyond a processor's rate; integrals with rounded zeros ask for 14."""

SHORT = 256
"""Sums shorter than this take one more digit from the start: their |A||B| is rarely large enough for 7.

Promises of the sliced schemes grow no further than this, either.
"""

FAST = 2.0**14
"""``precision="fast"`` of float64 and complex128, in units of 2^-53: ordinary data then take one digit less.

The promise is for the worst digits; with six of them normal and uniform matrices err by 40 to 470 units at
K = 64 to 1000 in a bit-level model of the engine, with seven by 1 or 2.
"""

SCALE = 2.03
"""Scales of rows and columns are powers of two, at most so many times their largest element."""

SPARE = 2.0**-20
"""Of a unit of float32: what rounding to float64 first adds to the last rounding."""

INNER_PRODUCT = "K u |A||B|, any order: C.-P. Jeannerod, S. Rump, SIAM J. Matrix Anal. Appl. 34, 338 (2013)"


class EngineCall(NamedTuple):
    """One call of an `numtrn.precision.engine.Engine`: extents, and parts of an operand's words or 0."""

    batch: int
    m: int
    k: int
    n: int
    parts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """How operands of one dtype are multiplied.

    Attributes
    ----------
    name
        Short, such as ``"sliced bf16, 3M"``.
    dtype
        Of the operands and of the result.
    operand_dtype
        What the engine multiplies: ``"float32"``, ``"tfloat32"``, ``"float16"`` or ``"bfloat16"``.
    kernel
        ``"gemm"`` or ``"sliced_gemm"``.
    maximum_slices
        Most digit planes of an operand, or None where there are none.
    accuracy
        Of sliced schemes: the promise that was asked for, in units of `unit`; None for the full one.
    terms
        Products in the operand type for one of the operands: 3 where they are split in two.
    unit
        Roundoff that `bound` counts in: of the operands' type, 2^-53 for the sliced schemes.
    conversion
        Largest relative error of an operand as the engine sees it.
    description
        One line.
    source
        Of the method and of the bound.
    """

    name: str
    dtype: str
    operand_dtype: str
    kernel: str
    maximum_slices: int | None
    unit: float
    conversion: float
    description: str
    source: str
    accuracy: float | None = None
    terms: int = 1

    @property
    def complex(self) -> bool:
        """Whether operands are complex."""
        return self.dtype.startswith("complex")

    @property
    def own_unit(self) -> float:
        """Roundoff of the dtype itself, at any precision."""
        return FLOAT32_UNIT if self.dtype in ("float32", "complex64") else FLOAT64_UNIT

    @property
    def unit_text(self) -> str:
        """`unit` as a power of two, such as ``"2^-53"``."""
        return f"2^{round(log2(self.unit))}"

    def minimum_slices(self, k: int) -> int | None:
        """Fewest digit planes for sums of k products; the data may ask for more. None without digits."""
        if self.maximum_slices is None:
            return None
        if self.accuracy is None:
            return 7 if k >= SHORT else 8
        # Elements of |A||B| are seldom below a sixteenth of the largest that they can be.
        promised = self.accuracy - 1
        enough = (s for s in range(2, MOST_SLICES) if required(s, k, promised, self.unit) <= k / 16)
        return next(enough, MOST_SLICES)

    def normwise_slices(self, k: int) -> int | None:
        """Digit planes for an error of at most bound(k) units of the norms |A_i||B_j|, whatever the data.

        Scales are at most `SCALE` times the largest element of a row and so its norm: `required` then asks
        for no more than what is there. None without digits.

        Examples
        --------
        >>> [choose("float64", p).normwise_slices(1000) for p in ("full", "fast")]
        [8, 7]
        """
        if self.maximum_slices is None:
            return None
        promised = self.bound(k) - 1 - (0.0 if self.unit == FLOAT64_UNIT else SPARE)
        enough = (s for s in range(2, MOST_SLICES) if required(s, k, promised, self.unit) <= SCALE**-2)
        return next(enough, MOST_SLICES)

    def normwise_bound(self, k: int) -> float:
        """What `normwise_slices` digits promise, in `unit` of the norms |A_i||B_j|; `bound` without digits.

        Examples
        --------
        >>> round(choose("float64", "full").normwise_bound(1000), 1)
        19.2
        """
        slices = self.normwise_slices(k)
        if slices is None:
            return self.bound(k)
        return 1 + SPARE + SCALE**2 * required(slices, k, 1.0, self.unit)

    def products(self, k: int, slices: int | None = None) -> int:
        """Engine products of the operands' shape, in units of a bf16 one.

        Parameters
        ----------
        k
            Contraction length.
        slices
            Digit planes; by default the fewest.

        Examples
        --------
        >>> choose("float64", "full").products(1000), choose("complex64", "full").products(1000)
        (28, 16)
        """
        if self.maximum_slices is None:
            passes = 4 if self.operand_dtype == "float32" else self.terms
            return passes * (4 if self.complex else 1)
        s = slices or self.minimum_slices(k) or 0
        return s * (s + 1) // 2 * (3 if self.complex else 1)

    def call(self, batch: int, m: int, k: int, n: int) -> EngineCall:
        """What the engine is asked for a product of these extents, the guard of sliced schemes apart.

        Examples
        --------
        >>> choose("complex128", "full").call(5, 8, 9, 7)
        EngineCall(batch=5, m=8, k=9, n=7, parts=2)
        """
        twice = 2 if self.complex else 1
        if self.maximum_slices is None:
            return EngineCall(batch, m, twice * self.terms * k, twice * n, 0)
        return EngineCall(batch, m, k, n, twice)

    def guard(self, batch: int, m: int, k: int, n: int) -> EngineCall | None:
        """The guard product in bf16 of sliced schemes, which comes first; None without digits."""
        if self.maximum_slices is None:
            return None
        twice = 2 if self.complex else 1
        return EngineCall(batch, m, twice * k, twice * n, 0)

    def bound(self, k: int) -> float:
        """Promised componentwise error for sums of k products, in `unit` of |A||B|.

        Digits: min(k, 256) + 1, or the accuracy asked for, proven in `numtrn.precision.guard`. Otherwise,
        with d for the `conversion`, (1 + d)^2 (1 + (terms + 1) 2^-24) - 1: both conversions, a rounding for
        each product added, and one for the result; a component of a complex product has 2 k terms, and split
        operands have three times as many.

        Examples
        --------
        >>> choose("float64", "full").bound(100), choose("float32", "full").bound(100)
        (101.0, 101.0)
        """
        if self.maximum_slices is not None:
            return float(min(k, SHORT) + 1) if self.accuracy is None else self.accuracy
        terms = self.terms * (2 * k if self.complex else k)
        # Multiplied out, because (1 + d)^2 - 1 loses the digits of a small d.
        converted = self.conversion * (2 + self.conversion)
        return (converted + (1 + converted) * (terms + 1) * FLOAT32_UNIT) / self.unit


def choose(dtype: str, precision: str | float, k: int = 1) -> Scheme:
    """The scheme of a dtype at a precision.

    Parameters
    ----------
    dtype
        ``"float32"``, ``"float64"``, ``"complex64"`` or ``"complex128"``.
    precision
        ``"full"`` for the accuracy of the dtype's own BLAS; a number p from 2 to 2^40 for errors of at most
        p u |A||B|, u the dtype's unit roundoff; ``"fast"`` for what costs less and is worth it; or the
        operand type of the engine by name: ``"float32"``, ``"tfloat32x3"``, ``"float16x3"``, ``"tfloat32"``
        or ``"bfloat16"``.
    k
        Contraction length, which decides whether fp32 products keep a numeric precision of float32 data.

    Raises
    ------
    ValueError
        For anything else.
    """
    if dtype not in DTYPES:
        raise ValueError(f"schemes are for {', '.join(DTYPES)}; got {dtype!r}")
    if not isinstance(precision, str):
        return _accurate(dtype, float(precision), k)
    if precision == "fast":
        return replace(SLICED[dtype], accuracy=FAST) if dtype in SLICED else _plain(dtype, "float32")
    if precision != "full" and precision not in OPERANDS:
        names = ", ".join(map(repr, OPERANDS))
        raise ValueError(f"precision takes 'full', 'fast', {names}, or a number; got {precision!r}")
    if precision == "full" and dtype in SLICED:
        return SLICED[dtype]
    return _plain(dtype, "float32" if precision == "full" else precision)


def _accurate(dtype: str, accuracy: float, k: int) -> Scheme:
    """The cheapest scheme that promises so many units of the dtype's roundoff."""
    least, most = ACCURACIES
    if not least <= accuracy <= most:
        raise ValueError(
            f"a numeric precision is from {least:g} to 2^40, in units of the dtype's roundoff; got "
            f"{accuracy:g}"
        )
    if dtype in SLICED:
        return replace(SLICED[dtype], accuracy=accuracy)
    native = _plain(dtype, "float32")
    if native.bound(k) <= accuracy:
        return native
    wide = SLICED["complex128" if native.complex else "float64"]
    return replace(wide, dtype=dtype, unit=FLOAT32_UNIT, accuracy=accuracy)


def required(slices: int, terms: int, promised: float, unit: float = FLOAT64_UNIT) -> float:
    """What the least nonzero element of the scaled |A||B| must be for a promise to hold; see `guard`.

    Parameters
    ----------
    slices
        Digits, s.
    terms
        Real products in a sum: K, or 2 K for a component of complex ones.
    promised
        L, the promised bound less the last rounding.
    unit
        u, what the promise is counted in.

    Examples
    --------
    >>> [round(required(s, 1000, 256), 6) for s in (7, 8)]
    [3.917739, 0.017218]
    """
    return float(terms / (promised * unit) * (2 + (slices - 1) * 256 / 255) * 2.0 ** (-8 * slices))


DTYPES = ("float32", "float64", "complex64", "complex128")

OPERANDS = {
    "float32": ("fp32", FLOAT32_UNIT, FLOAT32_UNIT),
    # Two terms of 11 bits, rounded on the host: what they leave of each operand, and both low terms' product.
    "tfloat32x3": ("three tf32", FLOAT32_UNIT, 1.51 * 2.0**-22),
    "float16x3": ("three fp16", FLOAT32_UNIT, 1.51 * 2.0**-22),
    # TensorE's conversion to tf32 is not published; 2^-10 covers truncation, 2^-11 would be rounding.
    "tfloat32": ("tf32", 2.0**-11, 2.0**-10),
    "bfloat16": ("bf16", 2.0**-8, 2.0**-8),
}
"""Engine operands by name: short name, unit roundoff, and largest relative error of the conversion."""

SPLIT = ("tfloat32x3", "float16x3")
"""Those that split an operand in two; the product of both low terms is left out."""


def _plain(dtype: str, operand: str) -> Scheme:
    """One product in the operand type, of operands converted to it, or three of operands split in two."""
    short, unit, conversion = OPERANDS[operand]
    single = dtype in ("float32", "complex64")
    native = single and operand == "float32"
    if native:
        conversion = 0.0
    elif operand != "float32":
        # By way of float32, the operands of the engine.
        conversion += 0.0 if single else 2 * FLOAT32_UNIT
    name = "native fp32" if native else short
    description = f"one {short} product with fp32 accumulation"
    if operand in SPLIT:
        description = f"{short} products with fp32 accumulation of {dtype} operands split in two terms"
    elif not native:
        description += f" of {dtype} operands rounded to {short}"
    if dtype.startswith("complex"):
        name += ", complex as real"
        description += "; complex numbers as pairs of reals, (m, 2k) by (2k, 2n)"
    return Scheme(
        name=name,
        dtype=dtype,
        operand_dtype=operand.removesuffix("x3"),
        kernel="gemm",
        maximum_slices=None,
        unit=unit,
        conversion=conversion,
        description=description,
        source=INNER_PRODUCT,
        terms=3 if operand in SPLIT else 1,
    )


SLICED = {
    "float64": Scheme(
        name="sliced bf16",
        dtype="float64",
        operand_dtype="bfloat16",
        kernel="sliced_gemm",
        maximum_slices=MOST_SLICES,
        unit=FLOAT64_UNIT,
        conversion=0.0,
        description="exact bf16 products of 8-bit digits, 7 to 16 of them as the data ask, rounded once",
        source="K. Ozaki et al., Numer. Algorithms 59, 95 (2012); arXiv 2306.11975; arXiv 2511.13778",
    ),
    "complex128": Scheme(
        name="sliced bf16, 3M",
        dtype="complex128",
        operand_dtype="bfloat16",
        kernel="sliced_gemm",
        maximum_slices=MOST_SLICES,
        unit=FLOAT64_UNIT,
        conversion=0.0,
        description="exact bf16 products of 8-bit digits, three for a complex one, rounded once",
        source="K. Ozaki et al., Numer. Algorithms 59, 95 (2012); arXiv 2511.13778; 3M: N. J. Higham, "
        "SIAM J. Matrix Anal. Appl. 13, 681 (1992)",
    ),
}
"""Schemes of full accuracy for the types that the engine does not have."""
