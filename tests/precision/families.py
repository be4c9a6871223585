"""Matrices that are known to be hard for one step or another of a sliced product."""

from __future__ import annotations

import numpy as np


def _normal(rng, m, k, n):
    return rng.standard_normal((m, k)), rng.standard_normal((k, n))


def _uniform(rng, m, k, n):
    return rng.random((m, k)), rng.random((k, n))


def _graded_elements(rng, m, k, n):
    a, b = _normal(rng, m, k, n)
    return a * 2.0 ** rng.integers(-30, 31, a.shape), b * 2.0 ** rng.integers(-30, 31, b.shape)


def _graded_rows_columns(rng, m, k, n):
    a, b = _normal(rng, m, k, n)
    return a * 2.0 ** np.linspace(-30, 30, m)[:, None], b * 2.0 ** np.linspace(-30, 30, n)


def _graded_inner(rng, m, k, n):
    a, b = _normal(rng, m, k, n)
    g = np.linspace(-30, 30, k)
    return a * 2.0**g, b * 2.0 ** -g[:, None]


def _ill_conditioned(rng, m, k, n):
    """Condition 1e14, times its pseudo-inverse: massive cancellation."""
    r = min(m, k)
    u, _ = np.linalg.qr(rng.standard_normal((m, r)))
    v, _ = np.linalg.qr(rng.standard_normal((k, r)))
    s = np.logspace(0, -14, r)
    return (u * s) @ v.T, (v / s) @ u.T[:, :n]


def _constant(rng, m, k, n):
    return np.full((m, k), 0.1), np.full((k, n), 0.1)


def _constant_digits(rng, m, k, n):
    """All digits 127: the fullest accumulators, and remainders that all point one way."""
    x = sum(127 * 2.0 ** (-8 * p - 7) for p in range(7))
    return np.full((m, k), x), np.full((k, n), x)


def _outlier(rng, m, k, n):
    a, b = _normal(rng, m, k, n)
    a[:, k // 3] *= 2.0**40
    b[k // 3] *= 2.0**-60
    return a, b


def _huge_times_zero(rng, m, k, n):
    a, b = _normal(rng, m, k, n)
    a[:, : k // 2] *= 2.0**45
    b[: k // 2, : n // 2] = 0
    b[k // 2 :, n // 2 :] = 0
    return a, b


FAMILIES = {
    "normal": _normal,
    "uniform": _uniform,
    "graded elements": _graded_elements,
    "graded rows and columns": _graded_rows_columns,
    "graded inner": _graded_inner,
    "ill-conditioned": _ill_conditioned,
    "constant 0.1": _constant,
    "constant digits": _constant_digits,
    "outlier": _outlier,
    "huge times zero": _huge_times_zero,
}


def family(name, m, k, n):
    rng = np.random.default_rng([m, k, n, *name.encode()])
    return FAMILIES[name](rng, m, k, n)
