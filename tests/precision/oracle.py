"""Products to compare with: double-double arithmetic for large matrices, integers for any exponents."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

U = 2.0**-53


def two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a, b):
    """a b = p + e exactly, away from over- and underflow (Dekker)."""
    p = a * b
    c = 134217729.0 * a
    ah = c - (c - a)
    c = 134217729.0 * b
    bh = c - (c - b)
    al, bl = a - ah, b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def product(a, b):
    """A B as an unevaluated sum of two float64 matrices, to about K 2^-104 |A||B|."""
    high = np.zeros((a.shape[0], b.shape[1]))
    low = np.zeros_like(high)
    for k in range(a.shape[1]):
        p, e = two_product(a[:, k, None], b[None, k, :])
        high, t = two_sum(high, p)
        low += t + e
    return two_sum(high, low)


def size(a, b):
    """|A||B|, where float64 is good enough."""
    return np.abs(a) @ np.abs(b)


def error(c, reference, sizes, unit=U):
    """Largest componentwise error in units of u |A||B|; inf where an exact zero is missed."""
    difference = np.abs((c - reference[0]) - reference[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(sizes > 0, difference / sizes, np.where(difference > 0, np.inf, 0.0))
    return float(relative.max()) / unit


SCALE = 1074


def integers(x):
    """x 2^1074 as Python integers."""
    flat = [int(Fraction(float(value)) * 2**SCALE) for value in np.asarray(x).ravel()]
    return np.array(flat, object).reshape(np.shape(x))


def exceeds(c, a, b, bound, unit=-53):
    """Where the error is more than bound 2^unit |A||B| + 2^-1074, decided in integers."""
    ia, ib = integers(a), integers(b)
    exact, sizes = ia.dot(ib), abs(ia).dot(abs(ib))
    excess = abs(integers(c) * 2**SCALE - exact) - 2**SCALE
    return (excess * 2**-unit > bound * sizes).astype(bool)
