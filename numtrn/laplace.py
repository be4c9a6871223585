r"""1/x as a sum of exponentials, with a proven error: the quadrature of Laplace-transformed MP2.

1/x = \int exp(-x t) dt, t from 0 on, becomes with t = exp(s) an integral over all s. For that the
trapezoidal rule of step h has a relative error of at most 2 sum over n >= 1 of |Gamma(1 + 2 pi i n / h)|, by
Poisson's summation (G. Beylkin, L. Monzon, Appl. Comput. Harmon. Anal. 28, 131 (2010)); |Gamma(1 + i y)|^2 is
pi y / sinh(pi y). For x in [1, R]:

- what is left out above is largest for x = 1, and summed;
- what is left out below is at most R h exp(s) / (1 - exp(-h)), s the last point kept;
- the points t <= c = 1/R, of total weight W, are replaced by the m of the Gauss rule of that measure.
  Its error for exp(-x t) is at most x^(2m) / (2m)! times the integral of the square of its monic orthogonal
  polynomial, which that of Chebyshev's, at most 2 (c/4)^m, exceeds: 4 R W (R c / 4)^(2m) / (2m)! in all.

Laplace transforms in MP2: J. Almlof, Chem. Phys. Lett. 181, 319 (1991). No arrays of integrals here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial, log

import numpy as np

from numtrn.request import Array

__all__ = ["Quadrature", "quadrature"]

TOLERANCES = (1e-13, 1e-1)
"""Range of relative errors that can be asked for; rounding of the weights is 1e-15."""

ROUNDED = 1e-14
"""Relative error of a sum with points and weights in float64, generously."""

FURTHER = 64
"""Points beyond the last that are looked at; the summand falls as exp(-exp(s))."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quadrature:
    """1/x is the sum of weights[k] exp(-points[k] x), up to a relative ``error``, for least <= x <= most."""

    points: Array
    weights: Array
    error: float


def quadrature(least: float, most: float, tolerance: float) -> Quadrature:
    """Points and weights for 1/x.

    Parameters
    ----------
    least, most
        Range of x, both positive and finite.
    tolerance
        Relative error, 1e-13 to 0.1.

    Raises
    ------
    ValueError
        For others.

    Examples
    --------
    >>> rule = quadrature(1.0, 100.0, 1e-6)
    >>> bool(abs(float(rule.weights @ np.exp(-7 * rule.points)) * 7 - 1) <= rule.error <= 1e-6)
    True
    """
    if not 0 < least <= most < np.inf:
        raise ValueError(f"denominators of one sign, positive and finite; got {least:g} to {most:g}")
    if not TOLERANCES[0] <= tolerance <= TOLERANCES[1]:
        low, high = TOLERANCES
        raise ValueError(f"tolerance is a relative error from {low:g} to {high:g}; got {tolerance!r}")
    ratio, part = most / least, tolerance / 4
    step = _step(part)
    lowest = log(part * -np.expm1(-step) / (step * ratio))
    points = np.exp(np.arange(lowest, log(-log(part) + 8) + step, step))
    weights = step * points
    above = points * np.exp(-points)
    kept = points <= points[np.cumsum(above[::-1])[::-1] * step > part][-1]
    beyond = np.exp(np.log(points[kept][-1]) + step * np.arange(1, FURTHER))
    error = _aliasing(step) + part + step * float((beyond * np.exp(-beyond)).sum())
    few, more = _compressed(points[kept], weights[kept], ratio, part)
    return Quadrature(points=few[0] / least, weights=few[1] / least, error=error + more + ROUNDED)


def _aliasing(step: float) -> float:
    """Error of the trapezoidal rule over all s."""
    y = 2 * np.pi * np.arange(1, 8) / step
    # pi y / sinh(pi y), without overflow; further terms are below 1e-30 of the first.
    sizes = np.sqrt(2 * np.pi * y * np.exp(-np.pi * y) / -np.expm1(-2 * np.pi * y))
    return 2 * float(sizes.sum())


def _step(tolerance: float) -> float:
    """Largest step of that error, to a thousandth."""
    low, high = 0.01, 4.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if _aliasing(middle) <= tolerance else (low, middle)
    return low


def _compressed(
    points: Array, weights: Array, ratio: float, tolerance: float
) -> tuple[tuple[Array, Array], float]:
    """The rule with its points up to 1 / ratio replaced by those of a Gauss rule; and the error of that."""
    low = points <= 1 / ratio
    total, cut = float(weights[low].sum()), float(points[low].max(initial=0.0))
    for m in range(1, int(low.sum())):
        error = 4 * ratio * total * (ratio * cut / 4) ** (2 * m) / factorial(2 * m)
        if error <= tolerance:
            few, found = _gauss(points[low], weights[low], m)
            return (np.append(few, points[~low]), np.append(found, weights[~low])), error
    return (points, weights), 0.0


def _gauss(points: Array, weights: Array, m: int) -> tuple[Array, Array]:
    """The m-point Gauss rule of a discrete measure, by the Lanczos process (Golub and Welsch, 1969)."""
    scale = points.max()
    vectors = [np.sqrt(weights / weights.sum())]
    jacobi = np.zeros((m, m))
    for k in range(m):
        following = points / scale * vectors[k]
        jacobi[k, k] = following @ vectors[k]
        for _ in range(2):  # orthogonal to working precision
            for vector in vectors:
                following = following - (following @ vector) * vector
        if k + 1 < m:
            jacobi[k, k + 1] = jacobi[k + 1, k] = np.linalg.norm(following)
            vectors.append(following / jacobi[k, k + 1])
    values, bases = np.linalg.eigh(jacobi)
    return values * scale, weights.sum() * bases[0] ** 2
