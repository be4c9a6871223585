"""Products in one of the engine's own types: float32 at full precision, and every dtype at a lowered one.

float32 and complex64 at full precision go to the engine as they are. Everything else is scaled by powers of
two, row by row and column by column, so that exponents neither overflow nor vanish as a whole. What is small
beside the largest of its row or column may still vanish in fp32, alone or in a product: below 2^-126 of both
scales together. That is the underflow term, K 2^-124 max|A_i| max|B_j|, which `Product.underflow` states. No
digits here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from numtrn.precision.engine import Engine
from numtrn.precision.records import Product
from numtrn.precision.scaling import Exponents, declined_range, exponents, largest, rescale
from numtrn.precision.schemes import Scheme
from numtrn.request import MIRRORED, Array, Structure

__all__ = ["gemm_single"]

UNDERFLOW = 2.0**-124
"""What a product of scaled elements may lose: each factor 2^-126, and the product itself 2^-126, and scales
are powers of two, up to 2.03 times the largest element: 3 * 2.03^2 < 4 * 4, which is where it is used."""


FLOAT16_SHIFT = 15
"""Scaled operands are taken to just below 2^15 for fp16, whose normal numbers are 2^-14 to 2^16."""

FLOAT16_UNDERFLOW = 2.0**-36
"""What a product of terms in fp16 may lose: 2^-25 of either operand against 2^14, its largest element."""


OF_REAL: dict[Structure, Structure] = {"herk": "syrk", "her2k": "syr2k", "hemm": "symm"}


def gemm_single(
    scheme: Scheme, a: Array, b: Array, engine: Engine, structure: Structure = "general"
) -> Product:
    """C = A B in the scheme's operand type; a complex product as one real product of pairs.

    A structure is lost where operands are complex or split in two, and where scaled rows are not symmetric.

    Raises
    ------
    Declined
        See `numtrn.precision.gemm`.
    """
    lhs, columns = _pairs(a), _parts(b)
    sizes, column_sizes = largest((lhs,)), largest(columns, axis=1)
    declined_range(sizes, column_sizes, lhs.shape[2], a.dtype)
    e, f = exponents(sizes), exponents(column_sizes)
    plain = a.dtype in (np.float32, np.complex64) and scheme.operand_dtype == "float32"
    if not plain:
        lhs = _scaled(lhs, e[:, :, np.newaxis])
        columns = tuple(_scaled(part, f[:, np.newaxis, :]) for part in columns)
    rhs = _expand(columns)
    shift, underflow = 0, 0.0 if plain else lhs.shape[2] * UNDERFLOW * 4
    if scheme.terms > 1:
        if scheme.operand_dtype == "float16":
            shift, underflow = FLOAT16_SHIFT, lhs.shape[2] * FLOAT16_UNDERFLOW
        lhs, rhs = _split(lhs, rhs, scheme.operand_dtype, shift)
    kept = OF_REAL.get(structure, structure)
    if len(columns) == 2 or scheme.terms > 1 or (kept == "symm" and not plain):
        kept = "general"
    product = engine.product(lhs, rhs, scheme.operand_dtype, kept)
    if len(columns) == 2:
        f = np.repeat(f, 2, axis=1)
    e, f = e - shift, f - shift
    value = np.ascontiguousarray(product, np.float32) if plain else _back(product, e, f, a.real.dtype)
    value = value.view(a.dtype)
    if structure in MIRRORED and kept == "general":
        _mirror(value, conjugate=structure.startswith("her"))
    return Product(
        value=value,
        slices=None,
        bound=scheme.bound(a.shape[2]),
        underflow=underflow,
        note="" if plain else "rows and columns scaled by powers of two",
    )


def _mirror(value: Array, *, conjugate: bool) -> None:
    """Make a symmetric or Hermitian product so to the last bit."""
    rows, columns = np.tril_indices(value.shape[1], -1)
    lower = value[:, rows, columns]
    value[:, columns, rows] = lower.conj() if conjugate else lower


def _split(lhs: Array, rhs: Array, operand_dtype: str, shift: int) -> tuple[Array, Array]:
    """Both operands in two terms, side by side along k: low high + high low + high high."""
    high, low = _terms(lhs, operand_dtype, shift)
    high_rhs, low_rhs = _terms(rhs, operand_dtype, shift)
    left = np.concatenate((low, high, high), axis=2)
    return left, np.concatenate((high_rhs, low_rhs, high_rhs), axis=1)


def _terms(x: Array, operand_dtype: str, shift: int) -> tuple[Array, Array]:
    """X 2^shift as the sum of two numbers of 11 bits, as far as they hold it."""
    scaled = np.multiply(x, np.float32(2.0**shift), dtype=np.float32)
    high = _rounded(scaled, operand_dtype)
    return high, _rounded(scaled - high, operand_dtype)


def _rounded(x: Array, operand_dtype: str) -> Array:
    """X rounded to 11 bits, ties to even, so that the engine's own conversion changes nothing."""
    if operand_dtype == "float16":
        return x.astype(np.float16).astype(np.float32)
    bits = np.ascontiguousarray(x).view(np.uint32)
    odd = (bits >> np.uint32(13)) & np.uint32(1)
    return ((bits + (odd + np.uint32(0xFFF))) & np.uint32(0xFFFF_E000)).view(np.float32)


def _pairs(a: Array) -> Array:
    """A (batch, m, k) as reals: complex numbers as pairs in (batch, m, 2k), a view where strides allow."""
    if a.dtype.kind != "c":
        return a
    if a.strides[2] != a.itemsize:
        a = np.ascontiguousarray(a)
    return a.view(a.real.dtype)


def _parts(b: Array) -> tuple[Array, ...]:
    return (b.real, b.imag) if b.dtype.kind == "c" else (b,)


def _expand(parts: tuple[Array, ...]) -> Array:
    """B itself, or (batch, 2k, 2n) with [[Br, Bi], [-Bi, Br]] for each element of a complex B."""
    if len(parts) == 1:
        return parts[0]
    real, imaginary = parts
    batch, k, n = real.shape
    pairs = np.empty((batch, 2 * k, 2 * n), np.float32)
    pairs[:, 0::2, 0::2] = real
    pairs[:, 0::2, 1::2] = imaginary
    # Not np.negative: NumPy 2.4's is wrong where input and output both have certain strides.
    np.multiply(imaginary, -1, out=pairs[:, 1::2, 0::2])
    pairs[:, 1::2, 1::2] = real
    return pairs


def _scaled(x: Array, exponent: Exponents) -> NDArray[np.float32]:
    """X 2^-exponent rounded to float32; magnitudes below 1."""
    first = np.clip(-exponent, -1000, 1000)
    scaled = np.multiply(x, np.ldexp(1.0, first), dtype=np.float64)
    if (first != -exponent).any():
        scaled *= np.ldexp(1.0, -exponent - first)
    return scaled.astype(np.float32)


def _back(product: Array, rows: Exponents, columns: Exponents, dtype: np.dtype[np.generic]) -> Array:
    value = np.array(product, np.float64, order="C")
    for matrix, e, f in zip(value, rows, columns, strict=True):
        rescale(matrix, e, f)
    return value.astype(dtype, copy=False)
