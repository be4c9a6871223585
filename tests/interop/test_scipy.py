"""SciPy on numtrn arrays: `scipy.linalg` gives ndarrays, and its products inside a block are kernels'.

scipy_cases.py has the tests with SCIPY_ARRAY_API=1.
"""

import os

import numpy as np
import pytest

import numtrn
from tests.interop.support import inside, ours, same, with_scipy_array_api

scipy = pytest.importorskip("scipy")
fft = pytest.importorskip("scipy.fft")
linalg = pytest.importorskip("scipy.linalg")
special = pytest.importorskip("scipy.special")
stats = pytest.importorskip("scipy.stats")

rng = np.random.default_rng(9)
G, B = rng.standard_normal((40, 40)), rng.standard_normal((40, 6))
S = G @ G.T + 40 * np.eye(40)

LINALG = {
    "solve": lambda g, s, b: linalg.solve(g, b),
    "inv": lambda g, s, b: linalg.inv(g),
    "det": lambda g, s, b: linalg.det(g / 6),
    "norm": lambda g, s, b: linalg.norm(g),
    "svd": lambda g, s, b: linalg.svd(b, full_matrices=False),
    "qr": lambda g, s, b: linalg.qr(b, mode="economic"),
    "eigh": lambda g, s, b: linalg.eigh(s),
    "lu": lambda g, s, b: linalg.lu(g),
    "expm": lambda g, s, b: linalg.expm(g / 40),
    "lstsq": lambda g, s, b: linalg.lstsq(g, b)[:1],
    "cholesky": lambda g, s, b: linalg.cholesky(s),
    "solve_triangular": lambda g, s, b: linalg.solve_triangular(s, b),
    "cho_solve": lambda g, s, b: linalg.cho_solve(linalg.cho_factor(s), b),
    "pinv": lambda g, s, b: linalg.pinv(b),
    "polar": lambda g, s, b: linalg.polar(g),
    "dgemm": lambda g, s, b: linalg.blas.dgemm(1.0, g, b),
    "dsyrk": lambda g, s, b: linalg.blas.dsyrk(1.0, b),
    "toeplitz": lambda g, s, b: linalg.toeplitz(b[:, 0]),
}
"""Calls of scipy.linalg."""
KERNELS = ("cholesky", "solve_triangular", "cho_solve", "pinv", "polar", "dgemm", "dsyrk")
"""Those that are made of what has a kernel, whatever SciPy's version."""


def flat(value):
    return list(value) if isinstance(value, tuple) else [value]


def computed(call, *arrays):
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        return flat(call(*arrays)), session


@pytest.mark.parametrize("name", LINALG)
def test_linalg_gives_ndarrays_and_reaches_kernels(name):
    call = LINALG[name]
    expected, plain = computed(call, G, S, B)
    value, session = computed(call, *ours(G, S, B))
    assert {type(item) for item in value} <= {np.ndarray, np.float64}
    for one, other in zip(value, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    assert session.counts["kernel"] == plain.counts["kernel"]
    assert session.counts["kernel"] > 0 or name not in KERNELS


def test_arguments_are_left_alone():
    s = ours(S)
    inside(lambda: linalg.cholesky(s))
    same(s, S, rtol=0, atol=0)


UFUNCS = {
    "erf": lambda x: special.erf(x),
    "gammaln": lambda x: special.gammaln(abs(x)),
    "jv": lambda x: special.jv(1.0, x),
    "expit": lambda x: special.expit(x),
    "xlogy": lambda x: special.xlogy(abs(x), abs(x)),
}
"""Ufuncs, which NumPy dispatches whatever SciPy does."""
FUNCTIONS = {
    "fft.rfft": lambda x: fft.rfft(x),
    "fft.dct": lambda x: fft.dct(x),
    "special.logsumexp": lambda x: special.logsumexp(x, axis=0),
    "special.softmax": lambda x: special.softmax(x, axis=0),
    "stats.zscore": lambda x: stats.zscore(x),
    "stats.rankdata": lambda x: stats.rankdata(x[0]),
}


AS_TRIED = pytest.mark.skipif(
    tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 17),
    reason="what dispatches grows from one SciPy to the next; docs/interop.md describes 1.17",
)


@AS_TRIED
@pytest.mark.skipif(os.environ.get("SCIPY_ARRAY_API") == "1", reason="scipy_cases.py has this case")
@pytest.mark.parametrize("name", [*UFUNCS, *FUNCTIONS])
def test_other_modules_without_the_variable(name):
    call = {**UFUNCS, **FUNCTIONS}[name]
    value, _ = inside(lambda: call(ours(B)))
    assert type(value) is (numtrn.Array if name in UFUNCS else np.ndarray)
    np.testing.assert_allclose(np.asarray(value), call(B), rtol=1e-12, atol=1e-14)


@AS_TRIED
def test_with_the_variable():
    with_scipy_array_api("scipy_cases.py")
