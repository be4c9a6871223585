"""dask with numtrn arrays as chunks, and beside them in operators.

The scheduler is dask's synchronous one: a block belongs to a thread, and sees the products made in it.
"""

import numpy as np
import pytest

import numtrn
from tests.interop.support import inside, ours, same

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

rng = np.random.default_rng(7)
X = rng.standard_normal((6, 8))

PRODUCTS = {
    "@": lambda m, x: x @ x.T,
    "dot": lambda m, x: m.dot(x, x.T),
    "tensordot": lambda m, x: m.tensordot(x, x, axes=((1,), (1,))),
    "einsum": lambda m, x: m.einsum("ij,kj->ik", x, x),
    "cov": lambda m, x: m.cov(x),
}
REST = {
    "elementwise": lambda m, x: m.exp(x) * 2 - x,
    "sum": lambda m, x: x.sum(axis=0),
    "sum of all": lambda m, x: x.sum(),
    "mean": lambda m, x: x.mean(axis=1),
    "std": lambda m, x: x.std(),
    "max": lambda m, x: x.max(axis=0),
    "argmax": lambda m, x: x.argmax(axis=0),
    "where": lambda m, x: m.where(x > 0, x, 0),
    "concatenate": lambda m, x: m.concatenate([x, x], axis=1),
    "transpose": lambda m, x: x.T,
    "reshape": lambda m, x: x.reshape(48),
    "index": lambda m, x: x[1:5, ::2],
    "astype": lambda m, x: x.astype("float32"),
    "cumsum": lambda m, x: m.cumsum(x, axis=0),
}


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def _registered(monkeypatch):
    from dask.array import chunk_types

    monkeypatch.setattr(chunk_types, "_HANDLED_CHUNK_TYPES", list(chunk_types._HANDLED_CHUNK_TYPES))
    da.register_chunk_type(numtrn.Array)


def chunked():
    return da.from_array(ours(X), chunks=(3, 4), asarray=False)


def test_chunks_are_numtrn_arrays():
    assert "chunktype=numtrn.Array" in repr(chunked())
    same(chunked().compute(), X, rtol=0, atol=0)
    same(chunked().blocks[1, 1].compute(), X[3:, 4:], rtol=0, atol=0)


@pytest.mark.parametrize("call", PRODUCTS)
def test_products_of_chunks_are_kernels(call):
    value, session = inside(lambda: PRODUCTS[call](da, chunked()).compute())
    same(value, PRODUCTS[call](np, X))
    assert session.counts["kernel"] > 1


@pytest.mark.parametrize("call", REST)
def test_the_rest(call):
    value, _ = inside(lambda: REST[call](da, chunked()).compute())
    same(value, REST[call](np, X))


def test_map_blocks():
    value, _ = inside(lambda: chunked().map_blocks(lambda block: block * 2).compute())
    same(value, X * 2)


BESIDE = {
    "d + x": lambda d, x: d + x,
    "x + d": lambda d, x: x + d,
    "d @ x": lambda d, x: d @ x.T,
    "x @ d": lambda d, x: x @ d.T,
    "np.add": lambda d, x: np.add(x, d),
    "np.matmul": lambda d, x: np.matmul(x, d.T),
    "np.dot": lambda d, x: np.dot(x, d.T),
    "np.tensordot": lambda d, x: np.tensordot(d, x.T, 1),
    "np.concatenate": lambda d, x: np.concatenate([x, d]),
}
"""A dask array and a numtrn array in one call."""


@pytest.mark.parametrize("call", BESIDE)
@pytest.mark.usefixtures("_registered")
def test_beside_a_dask_array_once_registered(call):
    plain = da.from_array(X, chunks=(3, 4))
    value = BESIDE[call](plain, ours(X))
    assert isinstance(value, da.Array)
    expected = BESIDE[call](X, X)
    np.testing.assert_allclose(np.asarray(value.compute()), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("call", BESIDE)
def test_beside_a_dask_array_without_being_registered(call):
    with pytest.raises(TypeError):
        BESIDE[call](da.from_array(X, chunks=(3, 4)), ours(X))


def test_other_threads_are_outside_the_block():
    with dask.config.set(scheduler="threads"):
        value, session = inside(lambda: (chunked() @ chunked().T).compute())
    same(value, X @ X.T)
    assert session.counts["kernel"] == 0


def test_a_dask_array_becomes_one_when_asked():
    same(numtrn.asarray(da.from_array(X, chunks=(3, 4))), X, rtol=0, atol=0)
    same(numtrn.asarray(chunked()), X, rtol=0, atol=0)
