"""Families of float64 matrices that break a careless scheme: graded, outlying, ill-conditioned, constant."""

import numpy as np


def normal(rng, m, k, n):
    return rng.standard_normal((m, k)), rng.standard_normal((k, n))


def uniform(rng, m, k, n):
    return rng.random((m, k)), rng.random((k, n))


def graded(rng, m, k, n):
    a, b = normal(rng, m, k, n)
    return a * 2.0 ** rng.integers(-30, 31, a.shape), b * 2.0 ** rng.integers(-30, 31, b.shape)


def graded_rows_and_columns(rng, m, k, n):
    a, b = normal(rng, m, k, n)
    return a * 2.0 ** np.linspace(-30, 30, m)[:, None], b * 2.0 ** np.linspace(-30, 30, n)


def graded_inside(rng, m, k, n):
    a, b = normal(rng, m, k, n)
    scale = 2.0 ** np.linspace(-30, 30, k)
    return a * scale, b / scale[:, None]


def ill_conditioned(rng, m, k, n):
    r = min(m, k)
    left, _ = np.linalg.qr(rng.standard_normal((m, r)))
    right, _ = np.linalg.qr(rng.standard_normal((k, r)))
    values = np.logspace(0, -14, r)
    return (left * values) @ right.T, (right / values) @ left.T[:, : min(n, m)]


def constant(rng, m, k, n):
    return np.full((m, k), 0.1), np.full((k, n), 0.1)


def constant_digits(rng, m, k, n):
    x = sum(127 * 2.0 ** (-8 * (p + 1) + 1) for p in range(7))
    return np.full((m, k), x), np.full((k, n), x)


def outlier(rng, m, k, n):
    a, b = normal(rng, m, k, n)
    a[:, k // 3] *= 2.0**40
    b[k // 3] *= 2.0**-60
    return a, b


def huge_times_zero(rng, m, k, n):
    a, b = normal(rng, m, k, n)
    a[:, : k // 2] *= 2.0**45
    b[: k // 2, : n // 2] = 0
    b[k // 2 :, n // 2 :] = 0
    return a, b


FAMILIES = {
    family.__name__: family
    for family in (
        normal,
        uniform,
        graded,
        graded_rows_and_columns,
        graded_inside,
        ill_conditioned,
        constant,
        constant_digits,
        outlier,
        huge_times_zero,
    )
}
