"""Which call forms are caught, by which layer, as what: one table."""

import operator

import numpy as np
import pytest
import scipy.linalg as sl
import scipy.linalg.blas as sb
from numpy import dot as dot0
from numpy import einsum as einsum0
from numpy import inner as inner0
from numpy import matmul as matmul0
from numpy import tensordot as tensordot0
from scipy.linalg.blas import dgemm as dgemm0
from scipy.linalg.blas import dsyrk as dsyrk0
from scipy.linalg.blas import ztrsm as ztrsm0

from numtrn.request import Contraction, Gemm, Solve, Triangular

NAMES = ("matmul", "dot", "einsum", "tensordot", "inner", "vdot")
IDENTITY = {name: getattr(np, name) for name in NAMES} | {"dgemm": sb.dgemm}


class Sub(np.ndarray):
    """A subclass that adds nothing."""


rng = np.random.default_rng(0)
M, K, N = 7, 6, 5
a, b, s = rng.standard_normal((M, K)), rng.standard_normal((K, N)), rng.standard_normal((K, K))
T = rng.standard_normal((3, K, K))
tri = np.tril(s) + 20 * np.eye(K)
spd = tri @ tri.T
z, f = s + 1j * s.T, s.astype("f")
i = (a * 4).astype(np.int64)

# Form, call, layer (or None), and (m, k, n) of the GEMMs, or names of routines, that come in.
MATMUL = ("numpy.matmul", [(M, K, N)])
DOT = ("numpy.dot", [(M, K, N)])
EINSUM = ("numpy.einsum", [])
NOTHING = (None, [])
TABLE = [
    # L1
    ("a @ b", lambda: a @ b, MATMUL),
    ("np.matmul", lambda: np.matmul(a, b), MATMUL),
    ("bound earlier: matmul", lambda: matmul0(a, b), MATMUL),
    ("operator.matmul", lambda: operator.matmul(a, b), MATMUL),
    ("operator.imatmul", lambda: operator.imatmul(s.copy(), s), ("numpy.matmul", [(K, K, K)])),
    ("matmul out=", lambda: np.matmul(a, b, out=np.empty((M, N))), MATMUL),
    (
        "matmul out= by keyword, strided",
        lambda: np.matmul(a, b, out=np.empty((2 * M, 2 * N))[::2, ::-2]),
        MATMUL,
    ),
    ("matmul float32", lambda: f @ f, ("numpy.matmul", [(K, K, K)])),
    ("matmul complex128", lambda: z @ z, ("numpy.matmul", [(K, K, K)])),
    ("matmul float32 @ float64", lambda: f @ b, ("numpy.matmul", [(K, K, N)])),
    ("matmul int @ float", lambda: i @ b, MATMUL),
    ("matmul batch", lambda: T @ b, ("numpy.matmul", [(K, K, N)])),
    ("matmul strided", lambda: a[::-1] @ b[:, ::2], ("numpy.matmul", [(M, K, 3)])),
    ("matmul axes=", lambda: np.matmul(a.T, b, axes=[(1, 0), (0, 1), (0, 1)]), MATMUL),
    ("matmul matrix @ vector", lambda: a @ b[:, 0], ("numpy.matmul", [(M, K, 1)])),
    ("matrix_power", lambda: np.linalg.matrix_power(s, 3), ("numpy.matmul", [(K, K, K)] * 2)),
    ("matmul subclass", lambda: a.view(Sub) @ b.view(Sub), MATMUL),
    # L3
    ("np.dot", lambda: np.dot(a, b), DOT),
    ("bound earlier: dot", lambda: dot0(a, b), DOT),
    ("a.dot", lambda: a.dot(b), DOT),
    ("dot out=", lambda: np.dot(a, b, out=np.empty((M, N))), DOT),
    ("dot(a, a.T)", lambda: np.dot(a, a.T), ("numpy.dot", [(M, K, M)])),
    ("dot of Fortran order", lambda: np.dot(np.asfortranarray(a), b), DOT),
    ("dot of strided", lambda: np.dot(a[:, ::2], b[::2]), ("numpy.dot", [(M, 3, N)])),
    ("np.inner", lambda: np.inner(a, b.T), DOT),
    ("bound earlier: inner", lambda: inner0(a, b.T), DOT),
    ("multi_dot", lambda: np.linalg.multi_dot([a, b]), DOT),
    ("np.cov", lambda: np.cov(a), ("numpy.dot", [(M, K, M)])),
    # L2
    ("dgemm", lambda: sb.dgemm(1.0, a, b), ("scipy.linalg.blas.dgemm", [(M, K, N)])),
    ("bound earlier: dgemm", lambda: dgemm0(1.0, a, b), ("scipy.linalg.blas.dgemm", [(M, K, N)])),
    ("bound earlier: dsyrk", lambda: dsyrk0(1.0, a), ("scipy.linalg.blas.dsyrk", [(M, K, M)])),
    (
        "get_blas_funcs gemm",
        lambda: sl.get_blas_funcs("gemm", (f,))(1.0, f, f),
        ("scipy.linalg.blas.sgemm", [(K, K, K)]),
    ),
    (
        "get_blas_funcs syrk",
        lambda: sl.get_blas_funcs("syrk", (z,))(1.0, z),
        ("scipy.linalg.blas.zsyrk", [(K, K, K)]),
    ),
    ("dgemm alpha 0", lambda: sb.dgemm(0.0, a, b), ("scipy.linalg.blas.dgemm", [])),
    ("dtrsm", lambda: sb.dtrsm(1.0, tri, s, lower=1), ("scipy.linalg.blas.dtrsm", [])),
    ("bound earlier: ztrsm", lambda: ztrsm0(1.0, tri + 0j, z, lower=1), ("scipy.linalg.blas.ztrsm", [])),
    ("dtrmm", lambda: sb.dtrmm(1.0, tri, b), ("scipy.linalg.blas.dtrmm", [(K, K, N)])),
    ("dtrmm on the right", lambda: sb.dtrmm(1.0, tri, a, side=1), ("scipy.linalg.blas.dtrmm", [(K, K, M)])),
    ("dsymm", lambda: sb.dsymm(1.0, s, b), ("scipy.linalg.blas.dsymm", [(K, K, N)])),
    ("zhemm", lambda: sb.zhemm(1.0, z, z), ("scipy.linalg.blas.zhemm", [(K, K, K)])),
    ("zherk", lambda: sb.zherk(1.0, z), ("scipy.linalg.blas.zherk", [(K, K, K)])),
    ("dsyr2k", lambda: sb.dsyr2k(1.0, s, s), ("scipy.linalg.blas.dsyr2k", [(K, 2 * K, K)])),
    ("zher2k", lambda: sb.zher2k(1.0, z, z), ("scipy.linalg.blas.zher2k", [(K, 2 * K, K)])),
    ("dpotrf", lambda: sl.lapack.dpotrf(spd)[0], ("scipy.linalg.lapack.dpotrf", [])),
    # Seen, but without a kernel
    ("float16 @", lambda: f.astype("e") @ f.astype("e"), ("numpy.matmul", [])),
    ("int64 @", lambda: i @ i.T, ("numpy.matmul", [])),
    ("longdouble @", lambda: a.astype("g") @ b.astype("g"), ("numpy.matmul", [])),
    ("einsum float16", lambda: np.einsum("ij,jk", f.astype("e"), f.astype("e")), EINSUM),
    ("einsum order=F", lambda: np.einsum("ij,jk", a, b, order="F"), EINSUM),
    ("einsum dtype=", lambda: np.einsum("ij,jk", a, b, dtype=complex), EINSUM),
    # L4
    ("einsum", lambda: np.einsum("ij,jk->ik", a, b), EINSUM),
    ("bound earlier: einsum", lambda: einsum0("ij,jk->ik", a, b), EINSUM),
    ("einsum implicit", lambda: np.einsum("ij,jk", a, b), EINSUM),
    ("einsum with spaces", lambda: np.einsum(" i j , j k -> k i", a, b), EINSUM),
    ("einsum integer lists", lambda: np.einsum(a, [0, 1], b, [1, 2], [0, 2]), EINSUM),
    ("einsum integer lists, implicit", lambda: np.einsum(a, [0, 1], b, [1, 30]), EINSUM),
    ("einsum ellipsis", lambda: np.einsum("...ij,jk->...ik", T, b), EINSUM),
    ("einsum integer lists, ellipsis", lambda: np.einsum(T, [..., 0, 1], b, [1, 2], [..., 2]), EINSUM),
    ("einsum batch", lambda: np.einsum("bij,bjk->bik", T, T), EINSUM),
    ("einsum to a scalar", lambda: np.einsum("ij,ij", a, a), EINSUM),
    ("einsum of mixed types", lambda: np.einsum("ij,jk->ik", f, z), EINSUM),
    ("einsum of three", lambda: np.einsum("ij,jk,kl->il", a, s, b), EINSUM),
    ("einsum out=", lambda: np.einsum("ij,jk->ik", a, b, out=np.ones((M, N))), EINSUM),
    (
        "einsum out= of another type",
        lambda: np.einsum("ij,jk->ik", a, b, out=np.ones((M, N), complex)),
        EINSUM,
    ),
    (
        "einsum optimize=True, 3",
        lambda: np.einsum("ij,jk,kl->il", a, s, b, optimize=True),
        EINSUM,
    ),
    # L5
    ("tensordot", lambda: np.tensordot(T, T, ([0, 2], [0, 2])), ("numpy.tensordot", [])),
    ("bound earlier: tensordot", lambda: tensordot0(a, b, 1), ("numpy.tensordot", [])),
    ("N-D dot", lambda: np.dot(T, b), ("numpy.dot", [])),
    ("N-D dot with a vector", lambda: np.dot(T, b[:, 0]), ("numpy.dot", [])),
    ("N-D inner", lambda: np.inner(T, s), ("numpy.inner", [])),
    ("multi_dot of three", lambda: np.linalg.multi_dot([a, s, b]), ("numpy.linalg.multi_dot", [])),
    # Not caught
    ("N-D a.dot", lambda: T.dot(b), NOTHING),
    ("einsum of one", lambda: np.einsum("ij->ji", a), NOTHING),
    ("einsum of one, lists", lambda: np.einsum(a, [0, 1], [1, 0]), NOTHING),
    ("einsum of lists of numbers", lambda: np.einsum("i,i", [1.0, 2.0], [3.0, 4.0]), NOTHING),
    ("vdot", lambda: np.vdot(T, T), NOTHING),
    ("np.linalg.solve", lambda: np.linalg.solve(tri, b), NOTHING),
    ("np.linalg.svd", lambda: np.linalg.svd(a)[1], NOTHING),
    ("object @", lambda: a.astype(object) @ b.astype(object), NOTHING),
    ("K = 0", lambda: np.ones((3, 0)) @ np.ones((0, 2)), NOTHING),
    ("empty batch", lambda: np.ones((0, 3, 3)) @ np.ones((3, 3)), NOTHING),
    ("M = 0", lambda: np.dot(np.ones((0, 3)), np.ones((3, 3))), NOTHING),
    ("einsum of nothing", lambda: np.einsum("ij,jk", np.ones((3, 0)), np.ones((0, 2))), NOTHING),
]


@pytest.mark.parametrize(("call", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_forms(spy, call, expected):
    function, products = expected
    reference = call()
    assert not spy.requests, "caught outside a block"
    result, requests = spy.inside(call)
    assert type(result) is type(reference)
    if np.asarray(reference).dtype == object:
        result, reference = result.astype(float), reference.astype(float)
    loose = np.asarray(reference).dtype.char in "efF"
    np.testing.assert_allclose(
        result, reference, rtol=1e-2 if loose else 1e-12, atol=1e-2 if loose else 1e-12
    )
    assert np.asarray(result).dtype == np.asarray(reference).dtype
    assert np.asarray(result).strides == np.asarray(reference).strides
    if function is None:
        assert not requests
    else:
        assert {request.function for request in requests} == {function}
    extents = [(r.m, r.k, r.n) for r in requests if isinstance(r, Gemm)]
    assert extents == products


def test_public_objects_stay_what_they_are():
    for name, thing in IDENTITY.items():
        assert thing is getattr(np if name != "dgemm" else sb, name)
    assert isinstance(np.matmul, np.ufunc)


def test_triangular_systems_are_solves(spy):
    (x, info), (request,) = spy.inside(lambda: sl.lapack.dtrtrs(tri, s, lower=1))
    assert info == 0
    np.testing.assert_allclose(tri @ x, s)
    assert request == Solve(
        function="scipy.linalg.lapack.dtrtrs",
        dtype="float64",
        n=K,
        columns=K,
        factors=(Triangular(uplo="lower"),),
    )


def test_float16_is_recorded_with_its_reason(spy):
    _, (request,) = spy.inside(lambda: f.astype("e") @ f.astype("e"))
    assert request.reason == "float16 stays with NumPy: no kernel gives NumPy's own accuracy for it"
    assert request.work == K**3


def test_syrk_names_its_triangle(spy):
    _, (request,) = spy.inside(lambda: np.dot(a, a.T))
    assert request == Gemm(
        function="numpy.dot", dtype="float64", m=M, k=K, n=M, structure="syrk", triangle="upper"
    )


def test_einsum_is_read_into_explicit_subscripts(spy):
    _, (request,) = spy.inside(lambda: np.einsum(a, [0, 1], b, [1, 2]))
    assert isinstance(request, Contraction)
    assert request.shapes == (a.shape, b.shape)
    assert request.work == M * K * N


def test_batch_arrives_whole_and_unmergeable_broadcasts_in_pieces(spy):
    big = np.ones((10, 3, 4, 5, 6))
    for left, right, calls in [
        (big, np.ones((6, 7)), [120]),
        (np.ones((3, 1, 5, 6)), np.ones((1, 4, 6, 7)), [4, 4, 4]),
        (big[::2, :, ::2], np.ones((6, 7)), None),
    ]:
        reference = left @ right
        result, requests = spy.inside(lambda left=left, right=right: left @ right)
        np.testing.assert_array_equal(result, reference)
        if calls is not None:
            assert sum(request.batch for request in requests) == sum(calls)
            assert (len(requests) == 1) == (len(calls) == 1)
