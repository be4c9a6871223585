"""Oracles from outside: products in double-double arithmetic, and exact ones of integers.

The error-free transformations are Knuth's two-sum and Dekker's two-product (T. J. Dekker, Numerische
Mathematik 18, 1971); a double-double sum of K products is good to about K 2^-104 of |A||B|.
"""

import numpy as np

SPLITTER = 2.0**27 + 1


def two_sum(a, b):
    """a + b as a rounded sum and its error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a, b):
    """A * b as a rounded product and its error."""
    product = a * b
    high_a, high_b = SPLITTER * a, SPLITTER * b
    high_a, high_b = high_a - (high_a - a), high_b - (high_b - b)
    low_a, low_b = a - high_a, b - high_b
    return product, ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b


def product(a, b):
    """A @ b of float64 matrices as a pair (high, low) of matrices."""
    high, low = np.zeros((a.shape[0], b.shape[1])), np.zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        term, error = two_product(a[:, k : k + 1], b[k : k + 1, :])
        high, rest = two_sum(high, term)
        low += rest + error
    return two_sum(high, low)


def error_in_units(c, a, b, unit=2.0**-53):
    """Largest |c - ab| / (unit |a||b|) of a real product, componentwise; 0/0 counts as 0."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    high, low = product(a, b)
    size = np.abs(a) @ np.abs(b)
    error = np.abs((c - high) - low)
    assert (error[size == 0] == 0).all()
    return float((error[size > 0] / (unit * size[size > 0])).max(initial=0.0))
