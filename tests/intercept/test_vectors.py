"""np.matvec, vecmat and vecdot: one matrix with many vectors is a GEMM, all else is noted."""

import numpy as np
import pytest

import numtrn
from numtrn.request import Gemm, Routine

pytestmark = pytest.mark.skipif(not hasattr(np, "matvec"), reason="NumPy has these ufuncs since 2.2")

rng = np.random.default_rng(6)
DTYPES = ("float32", "float64", "complex64", "complex128")


def random(*shape, dtype):
    values = rng.integers(-3, 4, shape) + (1j * rng.integers(-3, 4, shape) if "complex" in dtype else 0)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arranged", [lambda x: x, np.asfortranarray, lambda x: x[..., ::-1]])
def test_one_matrix_with_many_vectors(spy, dtype, arranged):
    a, v = arranged(random(4, 5, dtype=dtype)), arranged(random(7, 5, dtype=dtype))
    for name, call in {
        "matvec": lambda: np.matvec(a, v),
        "vecmat": lambda: np.vecmat(v, a.T),
    }.items():
        result, (request,) = spy.inside(call)
        np.testing.assert_array_equal(result, call())
        assert request == Gemm(function=f"numpy.{name}", dtype=dtype, m=7, k=5, n=4)


def test_out_and_many_axes_of_vectors(spy):
    a, v = random(4, 5, dtype="float64"), random(2, 3, 5, dtype="float64")
    out = np.ones((2, 3, 8))[..., ::2]
    result, (request,) = spy.inside(lambda: np.matvec(a, v, out=out))
    assert result is out
    np.testing.assert_array_equal(out, np.einsum("mn,abn->abm", a, v))
    assert (request.m, request.k, request.n) == (6, 5, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_bound_by_memory_is_noted(spy, dtype):
    a, v = random(3, 4, 5, dtype=dtype), random(3, 5, dtype=dtype)
    for call in (
        lambda: np.matvec(a, v),
        lambda: np.matvec(a[0], v[0]),
        lambda: np.vecmat(v, a.swapaxes(1, 2)),
        lambda: np.vecdot(v, v),
        lambda: np.linalg.vecdot(v, v),
    ):
        result, requests = spy.inside(call)
        np.testing.assert_array_equal(result, call())
        assert requests
        assert all(isinstance(request, Routine) for request in requests)
        assert all("bound by reading its operands" in request.reason for request in requests)
        assert sum(request.work for request in requests) in (60, 20, 15)
        assert not spy.inside(call, min_work=1000)[1]


def test_numtrn_arrays_and_explain_agree():
    a, v = rng.standard_normal((40, 50)) + 1j, rng.standard_normal((30, 50)) * 1j + 2
    cases = [
        (np.matvec, (a, v), 1),
        (np.vecmat, (v, a.T), 1),
        (np.vecdot, (v, v), 0),
        (np.matvec, (a, v[0]), 0),
    ]
    for function, args, kernels in cases:
        expected = function(*args)
        with numtrn.enabled(min_work=1, target="interpreter", verify=True) as session:
            explained = numtrn.explain(function, *args)
            plain = function(*args)
            ours = function(*map(numtrn.asarray, args))
        np.testing.assert_allclose(plain, expected, rtol=1e-12)
        np.testing.assert_allclose(np.asarray(ours), expected, rtol=1e-12)
        assert isinstance(explained, numtrn.Plan) == bool(kernels)
        assert session.counts["kernel"] == 2 * kernels


def test_explain_knows_wrong_calls_and_keywords():
    a, v = np.ones((40, 50)), np.ones((30, 50))
    with pytest.raises(ValueError, match="matvec contracts axes of equal size"):
        numtrn.explain(np.matvec, a.T, v)
    with pytest.raises(ValueError, match="takes mn and n last axes"):
        numtrn.explain(np.matvec, v[0], v)
    assert "axes=" in numtrn.explain(np.matvec, a, v, axes=[(0, 1), 0, 0]).reason
    assert "DOT" in numtrn.explain(np.linalg.vecdot, a, a, axis=0).reason
