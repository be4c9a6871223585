"""sparse beside numtrn arrays: a right result or an error, never silent garbage."""

import numpy as np
import pytest

from tests.interop.support import inside, ours

sparse = pytest.importorskip("sparse")

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


def dense(value):
    return value.todense() if isinstance(value, sparse.SparseArray) else np.asarray(value)


@pytest.mark.parametrize("name", CALLS)
def test_a_right_result_or_an_error(name):
    call = CALLS[name]
    expected = call(HOLES, DENSE.copy())
    try:
        value, _ = inside(lambda: [call(sparse.COO(HOLES), ours(DENSE))])
    except Exception as problem:
        assert type(problem).__module__.split(".")[0] in ("builtins", "sparse", "numba"), problem
        assert name not in GIVEN
    else:
        assert name in GIVEN
        np.testing.assert_allclose(np.asarray(dense(value[0])), expected, rtol=1e-12, atol=1e-12)


GIVEN = set(CALLS)
