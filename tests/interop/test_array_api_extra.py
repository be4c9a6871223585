"""array-api-extra's functions on numtrn arrays give what they give on ndarrays.

A reference that is NumPy's own is used where NumPy has the function; the others are written out.
"""

import numpy as np
import pytest

import numtrn
from numtrn import array_api
from tests.interop.support import inside, ours, same

xpx = pytest.importorskip("array_api_extra")

rng = np.random.default_rng(2)
A, B = rng.standard_normal((6, 40)), rng.standard_normal((3, 5))
V, W = np.array([3, 1, 2, 3, 7, 1]), np.array([1, 7, 9])
C = A[:2, :3] + 1j * A[2:4, :3]
HOLES = np.where(rng.random((4, 9)) < 0.3, np.nan, A[:4, :9])
UNKNOWN = np.array([1.0, np.nan, np.inf, -np.inf])
CHOICES, PLACES = np.array([0, 2, 1]), np.array([[1, 4], [0, 5]])

ROWS = {
    "angle": (lambda c: xpx.angle(c), lambda c: np.angle(c), [C]),
    "angle in degrees": (lambda c: xpx.angle(c, deg=True), lambda c: np.angle(c, deg=True), [C]),
    "apply_where": (
        lambda a: xpx.apply_where(a > 0, a, lambda x: x**0.5, lambda x: -x),
        lambda a: np.where(a > 0, np.sqrt(np.abs(a)), -a),
        [A],
    ),
    "atleast_nd": (lambda v: xpx.atleast_nd(v, ndim=3), lambda v: v[None, None], [V]),
    "cov": (xpx.cov, np.cov, [A]),
    "cov of one": (xpx.cov, np.cov, [A[0]]),
    "cov weighted": (
        lambda a, w: xpx.cov(a, fweights=w, correction=0),
        lambda a, w: np.cov(a, fweights=w, ddof=0),
        [A[:, :6], V],
    ),
    "create_diagonal": (lambda v: xpx.create_diagonal(v, offset=1), lambda v: np.diag(v, 1), [V]),
    "deg2rad": (xpx.deg2rad, np.deg2rad, [A]),
    "rad2deg": (xpx.rad2deg, np.rad2deg, [A]),
    "expand_dims": (
        lambda b: xpx.expand_dims(b, axis=(0, 2)),
        lambda b: np.expand_dims(b, (0, 2)),
        [B],
    ),
    "isclose": (
        lambda x, y: xpx.isclose(x, y, equal_nan=True),
        lambda x, y: np.isclose(x, y, equal_nan=True),
        [UNKNOWN, UNKNOWN[::-1].copy()],
    ),
    "isin": (xpx.isin, np.isin, [V, W]),
    "kron": (xpx.kron, np.kron, [B, B.T]),
    "kron of more axes": (xpx.kron, np.kron, [A[:2, :3], np.ones((2, 2, 2))]),
    "nan_to_num": (xpx.nan_to_num, np.nan_to_num, [UNKNOWN]),
    "nanmax": (lambda h: xpx.nanmax(h, axis=1), lambda h: np.nanmax(h, axis=1), [HOLES]),
    "nanmin": (xpx.nanmin, np.nanmin, [HOLES]),
    "nanmean": (lambda h: xpx.nanmean(h, axis=0), lambda h: np.nanmean(h, axis=0), [HOLES]),
    "nansum": (xpx.nansum, np.nansum, [HOLES]),
    "nunique": (xpx.nunique, lambda v: np.asarray(4), [V]),
    "one_hot": (lambda i: xpx.one_hot(i, 4), lambda i: np.eye(4)[i], [CHOICES]),
    "pad": (
        lambda b: xpx.pad(b, [(1, 2), (0, 3)], constant_values=7),
        lambda b: np.pad(b, [(1, 2), (0, 3)], constant_values=7),
        [B],
    ),
    "searchsorted": (
        lambda w, v: xpx.searchsorted(w, v, side="right"),
        lambda w, v: np.searchsorted(w, v, side="right"),
        [W, V],
    ),
    "setdiff1d": (xpx.setdiff1d, np.setdiff1d, [V, W]),
    "sinc": (xpx.sinc, np.sinc, [np.linspace(-2, 2, 9)]),
    "union1d": (xpx.union1d, np.union1d, [V, W]),
    "unravel_index": (
        lambda j: xpx.unravel_index(j, (2, 3)),
        lambda j: np.unravel_index(j, (2, 3)),
        [PLACES],
    ),
    "at set": (lambda a: xpx.at(a)[1:3].set(5.0), lambda a: changed(a, "__setitem__", 5.0), [B]),
    "at add": (lambda a: xpx.at(a, slice(1, 3)).add(5.0), lambda a: changed(a, "__add__", 5.0), [B]),
    "at multiply": (
        lambda a: xpx.at(a)[1:3].multiply(2.0),
        lambda a: changed(a, "__mul__", 2.0),
        [B],
    ),
    "at power": (lambda a: xpx.at(a)[1:3].power(2.0), lambda a: changed(a, "__pow__", 2.0), [B]),
    "at min": (lambda a: xpx.at(a)[1:3].min(0.0), lambda a: np.r_[a[:1], np.minimum(a[1:3], 0)], [B]),
    "at max": (lambda a: xpx.at(a)[1:3].max(0.0), lambda a: np.r_[a[:1], np.maximum(a[1:3], 0)], [B]),
    "at with a mask": (
        lambda a: xpx.at(a, a > 0).set(0.0),
        lambda a: np.minimum(a, 0),
        [B],
    ),
    "lazy_apply": (
        lambda a: xpx.lazy_apply(np.linalg.cond, a, shape=(), dtype=a.dtype, as_numpy=True),
        lambda a: np.asarray(np.linalg.cond(a)),
        [B],
    ),
}
"""By name: the library's call, NumPy's, and the arguments of both."""

APART = {
    "argpartition", "broadcast_shapes", "default_dtype", "diag_indices", "partition", "testing",
    "tril_indices", "triu_indices", "__version__",
}  # fmt: skip
"""Public names that have tests of their own, and those that are no functions of arrays."""


def changed(array, operation, value):
    array = array.copy()
    if operation == "__setitem__":
        array[1:3] = value
    else:
        array[1:3] = getattr(array[1:3], operation)(value)
    return array


@pytest.mark.filterwarnings("ignore:`xpx.expand_dims` is deprecated")
@pytest.mark.parametrize("row", ROWS)
def test_as_numpy(row):
    call, reference, arguments = ROWS[row]
    value, _ = inside(lambda: call(*(ours(x) for x in arguments)))
    same(value, reference(*arguments))


def test_every_function_is_tried():
    tried = {row.split(" ")[0] for row in ROWS}
    assert tried | APART == set(xpx.__all__)


def test_the_product_of_cov_is_a_kernels():
    value, session = inside(lambda: xpx.cov(ours(A)))
    assert session.counts["kernel"] == 1
    same(value, np.cov(A))


def test_at_copies_or_not_as_told():
    x = ours(B)
    xpx.at(x)[0].set(1.0, copy=True)
    same(x, B, rtol=0, atol=0)
    assert xpx.at(x)[0].set(1.0, copy=False) is x
    same(x, np.r_[np.ones((1, 5)), B[1:]], rtol=0, atol=0)


@pytest.mark.parametrize("axis", [0, 1])
def test_partitions(axis):
    value = np.asarray(xpx.partition(ours(A), 3, axis=axis))
    places = np.asarray(xpx.argpartition(ours(A), 3, axis=axis))
    for found in (value, np.take_along_axis(A, places, axis)):
        np.testing.assert_array_equal(np.sort(found, axis), np.sort(A, axis))
        third = np.take(found, 3, axis)
        np.testing.assert_array_equal(third, np.take(np.sort(A, axis), 3, axis))
        assert (np.take(found, range(3), axis).max(axis) <= third).all()


def test_indices():
    same(xpx.diag_indices(4, xp=array_api), np.diag_indices(4))
    same(xpx.tril_indices(4, offset=-1, m=5, xp=array_api), np.tril_indices(4, -1, 5))
    same(xpx.triu_indices(4, offset=1, xp=array_api), np.triu_indices(4, 1))
    assert xpx.diag_indices(4, device="interpreter:0", xp=array_api)[0].device == "interpreter:0"


def test_default_dtypes():
    kinds = {
        "real floating": np.float64,
        "complex floating": np.complex128,
        "integral": np.int64,
        "indexing": np.int64,
    }
    assert {kind: xpx.default_dtype(array_api, kind) for kind in kinds} == kinds


def test_devices_stay():
    x = ours(A).to_device("interpreter:0")
    for value in (xpx.cov(x), xpx.pad(x, 1), xpx.kron(x, x), xpx.atleast_nd(x, ndim=3), xpx.sinc(x)):
        assert isinstance(value, numtrn.Array)
        assert value.device == "interpreter:0"
