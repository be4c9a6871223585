"""sparse beside numtrn arrays: neither knows the other, and calls on both raise."""

import numpy as np
import pytest

import numtrn
from tests.interop.support import inside, ours, same

sparse = pytest.importorskip("sparse")
NumbaError = pytest.importorskip("numba").core.errors.NumbaError

rng = np.random.default_rng(6)
DENSE = rng.standard_normal((4, 6))
HOLES = np.where(rng.random((4, 6)) < 0.6, 0.0, rng.standard_normal((4, 6)))

CALLS = {
    "s + x": lambda s, x: s + x,
    "x + s": lambda s, x: x + s,
    "s * x": lambda s, x: s * x,
    "x * s": lambda s, x: x * s,
    "x - s": lambda s, x: x - s,
    "x < s": lambda s, x: x < s,
    "x == s": lambda s, x: x == s,
    "s != x": lambda s, x: s != x,
    "s @ x": lambda s, x: s @ x.T,
    "x @ s": lambda s, x: x @ s.T,
    "np.add": lambda s, x: np.add(x, s),
    "np.multiply": lambda s, x: np.multiply(s, x),
    "np.dot": lambda s, x: np.dot(x, s.T),
    "np.dot, s first": lambda s, x: np.dot(s, x.T),
    "np.tensordot": lambda s, x: np.tensordot(x, s, axes=([1], [1])),
    "np.einsum": lambda s, x: np.einsum("ij,kj->ik", x, s),
    "np.concatenate": lambda s, x: np.concatenate([x, s]),
    "np.where": lambda s, x: np.where(x > 0, x, s),
    "in place": lambda s, x: x.__iadd__(s),
}


OTHERWISE = {"np.concatenate": ValueError, "s @ x": NumbaError, "x @ s": NumbaError}
"""What sparse raises in its turn where that is no TypeError."""


@pytest.mark.parametrize("name", CALLS)
def test_an_error_says_so(name):
    x = ours(DENSE)
    with pytest.raises(OTHERWISE.get(name, TypeError)):
        inside(lambda: CALLS[name](sparse.COO(HOLES), x))
    same(x, DENSE, rtol=0, atol=0)


def test_no_silent_conversion():
    with pytest.raises(RuntimeError, match="densify"):
        numtrn.asarray(sparse.COO(HOLES))
    with pytest.raises(ValueError):
        sparse.COO(ours(DENSE))


def test_conversions():
    same(numtrn.asarray(sparse.COO(HOLES).todense()), HOLES, rtol=0, atol=0)
    np.testing.assert_array_equal(sparse.COO(np.asarray(ours(HOLES))).todense(), HOLES)
