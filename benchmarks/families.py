"""Families of matrices that are hard for one step or another of a product, each with where it comes from.

`FAMILIES` maps a name to a `Family`; `Family.draw` gives the same operands for the same extents everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FAMILIES", "SOURCES", "Family", "circulant", "complementary", "scaled_block"]

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]
Draw = Callable[[np.random.Generator, int, int, int], Pair]

GRADING = (
    'J. Demmel, X. Li, J. Langou, W. Pereira, M. Gates, C. Rubio-González, "How to grade the accuracy of an '
    'implementation of the BLAS", BLIS Retreat 2024'
)
LATMS = 'J. Demmel, A. McKenney, "A test matrix generation suite", LAPACK Working Note 9, 1989'
HIGHAM = "N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002"
OZAKI = "K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, Numerical Algorithms 59 (2012) 95"
SPAN = 'A. Schwarz et al., "Guaranteed DGEMM accuracy ...", arXiv 2511.13778 (exponent spans)'
OWN = "made for digits of 8 bits"

SOURCES = {
    "grading": GRADING,
    "latms": LATMS,
    "Higham": HIGHAM,
    "Ozaki": OZAKI,
    "spans": SPAN,
    "own": OWN,
}


@dataclass(frozen=True)
class Family:
    """Operands of one kind.

    Attributes
    ----------
    name, about
        For tables; ``about`` says what is hard.
    source
        A key of `SOURCES`.
    make
        ``make(rng, m, k, n)`` gives A (m, k) and B (k, n).
    """

    name: str
    source: str
    about: str
    make: Draw

    def draw(self, m: int, k: int, n: int) -> Pair:
        """Operands of these extents; the same ones each time."""
        return self.make(np.random.default_rng([m, k, n, *self.name.encode()]), m, k, n)


# ---- Distributions of elements ----


def _normal(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    return rng.standard_normal((m, k)), rng.standard_normal((k, n))


def _uniform(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    return rng.random((m, k)), rng.random((k, n))


def _constant(value: float) -> Draw:
    return lambda rng, m, k, n: (np.full((m, k), value), np.full((k, n), value))


def _spread(phi: float) -> Draw:
    def make(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
        a, b = (
            (rng.random(shape) - 0.5) * np.exp(phi * rng.standard_normal(shape)) for shape in ((m, k), (k, n))
        )
        return a, b

    return make


def _noise(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    a, b = _normal(rng, m, k, n)
    first, second = (np.where(rng.random(x.shape) < 0.5, 1e-17 * x, x) for x in (a, b))
    return first, second


def _integers(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    first, second = (rng.integers(-(2**19), 2**19, shape).astype(float) for shape in ((m, k), (k, n)))
    return first, second


def _powers(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    a, b = (
        rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.integers(-20, 21, shape) for shape in ((m, k), (k, n))
    )
    return a, b


# ---- Scalings ----


def _graded_elements(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    a, b = _normal(rng, m, k, n)
    return a * 2.0 ** rng.integers(-30, 31, a.shape), b * 2.0 ** rng.integers(-30, 31, b.shape)


def _graded_lines(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    a, b = _normal(rng, m, k, n)
    return a * 2.0 ** np.linspace(-30, 30, m)[:, None], b * 2.0 ** np.linspace(-30, 30, n)


def _graded_inner(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    a, b = _normal(rng, m, k, n)
    grades = np.linspace(-30, 30, k)
    return a * 2.0**grades, b * 2.0 ** -grades[:, None]


def _outlier(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    a, b = _normal(rng, m, k, n)
    a[:, k // 3] *= 2.0**40
    b[k // 3] *= 2.0**-60
    return a, b


def _huge_times_zero(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    a, b = _normal(rng, m, k, n)
    a[:, : k // 2] *= 2.0**45
    b[: k // 2, : n // 2] = 0
    b[k // 2 :, n // 2 :] = 0
    return a, b


# ---- Cancellation and conditioning ----


def _alternating(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    """Neighbours along K cancel but for their last bits."""
    signs = np.where(np.arange(k) % 2, -1.0, 1.0)
    pairs = np.repeat(rng.random((m, (k + 1) // 2)) + 0.5, 2, axis=1)[:, :k]
    nudged = pairs * (1 + rng.integers(-2, 3, (m, k)) * 2.0**-52)
    return nudged * signs, np.repeat(rng.random(((k + 1) // 2, n)) + 0.5, 2, axis=0)[:k]


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


def _ill_conditioned(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    """Condition 1e14, times columns of the pseudo-inverse."""
    r = min(m, k)
    u, v, s = _orthogonal(rng, m, r), _orthogonal(rng, k, r), np.logspace(0, -14, r)
    return (u * s) @ v.T, (v / s) @ u.T[:, :n]


def _svd(spectrum: Callable[[int], Array]) -> Draw:
    """Random singular vectors, a given spectrum of condition 1e12, in both operands."""

    def make(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
        a, b = (
            (_orthogonal(rng, rows, r) * spectrum(r)) @ _orthogonal(rng, columns, r).T
            for rows, columns, r in ((m, k, min(m, k)), (k, n, min(k, n)))
        )
        return a, b

    return make


LEAST = 1e-12


def _one_large(r: int) -> Array:
    return np.where(np.arange(r) == 0, 1.0, LEAST)


def _one_small(r: int) -> Array:
    return np.where(np.arange(r) == r - 1, LEAST, 1.0)


def _hilbert(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    i, j = np.arange(max(m, k)), np.arange(max(k, n))
    h = 1.0 / (i[:, None] + j + 1)
    return h[:m, :k].copy(), h[:k, :n] * np.where(i[:k] % 2, -1.0, 1.0)[:, None]


def _kahan(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    """Kahan's upper triangular matrix, theta = 1.2, times a transposed one."""
    s, c = np.sin(1.2), np.cos(1.2)

    def rows(count: int) -> Array:
        upper = np.triu(np.full((count, k), -c), 1) + np.eye(count, k)
        return s ** np.arange(count)[:, None] * upper

    return rows(m), rows(n).T.copy()


# ---- The grading tests of Demmel and others ----


def complementary(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
    """Test 1b: in some places row i of A and column i of B have no nonzero in common.

    A product made of K products has exact zeros there; Strassen's leaves rounding errors.
    """
    a, b = _normal(rng, m, k, n)
    for i in range(min(m, n) // 2):
        chosen = rng.random(k) < 0.5
        a[i, chosen] = 0
        b[~chosen, i] = 0
    return a, b


def circulant(span: float) -> Draw:
    """Test 2b: x D times D^-1 x, shifted around; exponents of D from -span to span.

    Fixed point with one scale for each row and column loses the small half of every sum.
    """

    def make(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
        x = 1 + rng.random(k)
        d = 2.0 ** np.rint(np.linspace(span, -span, k))
        where = np.arange(k)
        a = (x * d)[(np.arange(m)[:, None] + where) % k]
        return a, (x / d)[(where[:, None] + np.arange(n)) % k]

    return make


def scaled_block(span: float) -> Draw:
    """Test 3b: R D times D^-1 S, with a last row of A and a last column of B as large as D gets."""

    def make(rng: np.random.Generator, m: int, k: int, n: int) -> Pair:
        d = 2.0 ** rng.permutation(np.rint(np.linspace(span, -span, k)))
        a, b = (1 + rng.random((m, k))) * d, (1 + rng.random((k, n))) / d[:, None]
        a[-1] = 2.0**span * (1 + rng.random(k))
        b[:, -1] = 2.0**span * (1 + rng.random(k))
        return a, b

    return make


WIDEST = 490
"""Exponents for which products and sums of 10,000 of them neither over- nor underflow."""

FULL = sum(127 * 2.0 ** (-8 * place - 7) for place in range(7))
"""All digits 127."""

_ALL = [
    Family("normal", "Higham", "roundings average out", _normal),
    Family("uniform", "grading", "grade A: errors may grow linearly", _uniform),
    Family("Ozaki phi = 0.5", "Ozaki", "moderate range", _spread(0.5)),
    Family("Ozaki phi = 4", "Ozaki", "wide range", _spread(4.0)),
    Family("constant 0.1", "Higham", "all roundings point one way", _constant(0.1)),
    Family(
        "all digits 127",
        "own",
        "fullest accumulators",
        _constant(FULL),
    ),
    Family("graded elements 2^±30", "spans", "no scaling removes it", _graded_elements),
    Family("graded rows and columns 2^±30", "spans", "elements of C of all sizes", _graded_lines),
    Family("graded inner 2^±30", "spans", "grades cancel in the product", _graded_inner),
    Family("outlier 2^40", "spans", "one column against one row 2^-60", _outlier),
    Family("huge times zero", "spans", "blocks 2^45 that meet zeros", _huge_times_zero),
    Family("half of them noise", "own", "1e-17, as in symmetric molecules", _noise),
    Family("condition 1e14", "Higham", "times its pseudo-inverse", _ill_conditioned),
    Family("alternating cancellation", "Higham", "neighbours differ in last bits", _alternating),
    Family("spectrum: one large", "latms", "mode 1", _svd(_one_large)),
    Family("spectrum: one small", "latms", "mode 2", _svd(_one_small)),
    Family("spectrum: geometric", "latms", "mode 3", _svd(lambda r: np.logspace(0, -12, r))),
    Family("spectrum: arithmetic", "latms", "mode 4", _svd(lambda r: np.linspace(1, LEAST, r))),
    Family("Hilbert", "Higham", "second operand with alternating signs", _hilbert),
    Family("Kahan", "Higham", "theta = 1.2, times its transpose", _kahan),
    Family("integers 2^19", "Higham", "exact results", _integers),
    Family("powers of two", "Higham", "exact products", _powers),
    Family("grading 1b", "grading", "exact zeros; Strassen", complementary),
    Family("grading 2b, 2^±10", "grading", "fixed point", circulant(10)),
    Family("grading 2b, 2^±30", "grading", "fixed point", circulant(30)),
    Family("grading 2b, 2^±490", "grading", "fixed point", circulant(WIDEST)),
    Family("grading 3b, 2^±10", "grading", "inner scaling", scaled_block(10)),
    Family("grading 3b, 2^±490", "grading", "inner scaling", scaled_block(WIDEST)),
]
FAMILIES = {family.name: family for family in _ALL}
