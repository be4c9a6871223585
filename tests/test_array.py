"""numtrn arrays: functions on them are planned without any hook, and the rest is NumPy's."""

import numpy as np
import pytest

import numtrn
from numtrn import intercept

rng = np.random.default_rng(0)
x, y, batch = rng.standard_normal((30, 40)), rng.standard_normal((40, 20)), rng.standard_normal((3, 40, 20))

KERNELS = {
    "@": lambda p, q, r: p @ q,
    "matmul": lambda p, q, r: np.matmul(p, q),
    "matmul batched": lambda p, q, r: p @ r,
    "matrix times vector": lambda p, q, r: p @ q[:, 0],
    "dot": lambda p, q, r: np.dot(p, q),
    "inner": lambda p, q, r: np.inner(p, q.T),
    "tensordot": lambda p, q, r: np.tensordot(p, r, axes=([1], [1])),
    "einsum": lambda p, q, r: np.einsum("ij,bjk->bki", p, r),
    "einsum to a scalar": lambda p, q, r: np.einsum("ij,ij->", q, q),
}

NUMPY = {
    "add": lambda p, q, r: p + 1,
    "exp": lambda p, q, r: np.exp(p),
    "sum": lambda p, q, r: p.T.reshape(-1)[3:9] * 2,
    "concatenate": lambda p, q, r: np.concatenate([p.T, q], axis=1),
    "svd values": lambda p, q, r: np.linalg.svd(p, compute_uv=False),
    "einsum of three": lambda p, q, r: np.einsum("ij,jk,lk->il", p, q, q),
}


def wrapped():
    return (numtrn.asarray(v.copy()) for v in (x, y, batch))


@pytest.mark.parametrize("case", KERNELS)
@pytest.mark.parametrize("hooks", [True, False])
def test_kernels_compute(case, hooks, monkeypatch):
    if not hooks:  # as where the C thunks could not be built
        monkeypatch.setattr(intercept, "install", lambda: ())
        monkeypatch.setattr(intercept, "enter", lambda least: None)
        monkeypatch.setattr(intercept, "leave", lambda gate: None)
        monkeypatch.setattr(intercept, "small_calls", lambda gate: (0, 0.0))
    expected = KERNELS[case](x, y, batch)
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        got = KERNELS[case](*wrapped())
    assert session.counts["kernel"] == 1
    assert len(session.calls) == 1
    if np.ndim(expected):
        assert isinstance(got, numtrn.Array)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("case", NUMPY)
def test_the_rest_is_numpys(case):
    expected = NUMPY[case](x, y, batch)
    with numtrn.enabled(target="interpreter", min_work=0):
        got = NUMPY[case](*wrapped())
    assert isinstance(got, numtrn.Array)
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12, atol=1e-12)


def test_outside_a_block_numpy_computes():
    p, q, _ = wrapped()
    assert isinstance(p @ q, numtrn.Array)
    assert np.array_equal(np.asarray(p @ q), x @ y)


def test_a_refused_call_is_recorded_once():
    p, q, _ = wrapped()
    with numtrn.enabled(target="interpreter", min_work=10**9) as session:
        p @ q
    assert len(session.calls) == 1
    assert session.calls[0].route == "numpy"


def test_out_is_filled_and_given_back():
    p, q, _ = wrapped()
    out = np.empty((30, 20))
    with numtrn.enabled(target="interpreter", min_work=0):
        assert np.matmul(p, q, out=out) is out
    np.testing.assert_allclose(out, x @ y)


def test_conversions():
    p, _, _ = wrapped()
    assert numtrn.asarray(p) is p
    assert numtrn.asarray(p, dtype=np.float32).dtype == np.float32
    assert np.asarray(p).shape == p.shape == x.shape
    assert (p.ndim, p.size, len(p)) == (2, 1200, 30)
    assert repr(numtrn.asarray([1.0, 2.0])) == "numtrn.array([1., 2.])"
    p[0, 0] = 7
    assert float(p[0, 0]) == 7
    assert len(list(p)) == 30


def test_other_array_types_are_left_to_themselves():
    class Other:
        def __array_function__(self, function, types, args, kwargs):
            return "other"

    assert np.concatenate([numtrn.asarray(x), Other()]) == "other"
