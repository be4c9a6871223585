"""array_api_compat takes numtrn arrays by the standard's protocol, and for nobody else's."""

import numpy as np
import pytest

import numtrn
from numtrn import array_api
from tests.interop.support import inside, ours, same

compat = pytest.importorskip("array_api_compat")

rng = np.random.default_rng(1)
DATA = rng.standard_normal((40, 5)) @ rng.standard_normal((5, 5)) + 3
TARGETS = rng.standard_normal((40, 2))


def whitened(x):
    """Rows without mean and correlations, by the Cholesky factor of their covariance."""
    xp = compat.array_namespace(x)
    centred = x - xp.mean(x, axis=0, keepdims=True)
    covariance = centred.T @ centred / (x.shape[0] - 1)
    return xp.linalg.solve(xp.linalg.cholesky(covariance), centred.T).T


def least_squares(x, y):
    """Coefficients of a linear fit, by a QR factorisation."""
    xp = compat.array_namespace(x, y)
    q, r = xp.linalg.qr(x)
    return xp.linalg.solve(r, q.T @ y)


def test_the_namespace_is_ours():
    x = ours(DATA)
    assert compat.array_namespace(x) is array_api
    assert compat.array_namespace(x, x + 1, None, 2.0) is array_api
    assert compat.array_namespace(x, api_version="2025.12") is array_api
    with pytest.raises(ValueError, match=r"2031\.12"):
        compat.array_namespace(x, api_version="2031.12")


def test_two_libraries_have_no_common_namespace():
    with pytest.raises(TypeError, match=r"[Mm]ultiple namespaces"):
        compat.array_namespace(ours(DATA), DATA)


def test_what_it_takes_a_numtrn_array_for():
    x = ours(DATA)
    assert compat.is_array_api_obj(x)
    assert compat.is_writeable_array(x)
    for library in ("numpy", "cupy", "torch", "dask", "jax", "ndonnx", "pydata_sparse"):
        assert not getattr(compat, f"is_{library}_array")(x)
        assert not getattr(compat, f"is_{library}_namespace")(array_api)
    assert not compat.is_lazy_array(x)


def test_devices():
    x = ours(DATA)
    assert compat.device(x) == x.device == "cpu"
    moved = compat.to_device(x, "interpreter:0")
    assert compat.device(moved) == "interpreter:0"
    same(compat.to_device(moved, "cpu"), DATA, rtol=0, atol=0)


def test_size():
    assert compat.size(ours(DATA)) == 200
    assert compat.size(ours(np.zeros((3, 0)))) == 0


def test_whitening():
    value, session = inside(lambda: whitened(ours(DATA)))
    same(value, whitened(DATA), rtol=1e-9, atol=1e-9)
    assert session.counts["kernel"] > 0
    np.testing.assert_allclose(np.cov(np.asarray(value).T), np.eye(5), atol=1e-9)


def test_least_squares():
    value, session = inside(lambda: least_squares(*ours(DATA, TARGETS)))
    same(value, np.linalg.lstsq(DATA, TARGETS, rcond=None)[0], rtol=1e-9, atol=1e-9)
    assert session.counts["kernel"] > 0


def test_devices_go_through_a_function():
    x = compat.to_device(ours(DATA), "interpreter:0")
    value, session = inside(lambda: whitened(x))
    assert isinstance(value, numtrn.Array)
    assert value.device == "interpreter:0"
    assert session.counts["kernel"] > 0
