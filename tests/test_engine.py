"""The engine: forms, pieces and budgets change no bit; work goes on ahead; every product is exact."""

import gc
import threading

import numpy as np
import pytest
from scipy.linalg.blas import dgemm, dsyrk

import numtrn
from numtrn import engine
from numtrn.machine import CHIPS
from numtrn.plan import ladder, words
from numtrn.precision import threads
from numtrn.precision.scaling import sides
from numtrn.precision.words import SideMagnitudes
from numtrn.targets.interpreter import Interpreter
from tests.precision import oracle


def through_kernels(function, *arrays):
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value = function(*arrays)
    (call,) = session.calls
    assert call.route == "kernel", call.reason
    return value, call


@pytest.fixture
def forms(monkeypatch):
    """The forms that products of words took."""
    taken = []
    fits = engine.KernelEngine._fits

    def noted(*given):
        taken.append(fits(*given))
        return taken[-1]

    monkeypatch.setattr(engine.KernelEngine, "_fits", staticmethod(noted))
    return taken


@pytest.fixture
def karatsuba(monkeypatch):
    monkeypatch.setattr(ladder, "prefers_karatsuba", lambda *_: True)


@pytest.mark.parametrize("shape", [(300, 520, 200), (130, 1100, 64), (1, 300, 1)])
@pytest.mark.parametrize("kind", ["normal", "batched", "symmetric"])
def test_karatsubas_form_gives_the_same_bits(shape, kind, forms, monkeypatch):
    m, k, n = shape
    rng = np.random.default_rng(m)
    batch = (3,) if kind == "batched" else ()
    a, b = rng.standard_normal((*batch, m, k)), rng.standard_normal((*batch, k, n))
    function, arrays = (dsyrk, (1.0, a)) if kind == "symmetric" else (np.matmul, (a, b))
    plain, _ = through_kernels(function, *arrays)
    monkeypatch.setattr(ladder, "prefers_karatsuba", lambda *_: True)
    fewer, _ = through_kernels(function, *arrays)
    assert forms == [True]
    assert plain.tobytes() == fewer.tobytes()


@pytest.mark.usefixtures("karatsuba")
def test_data_that_fill_a_bank_take_the_plain_form(forms):
    a = np.full((128, 2048), (126 + sum(127 * 256.0**-p for p in range(1, 7))) * 2.0**-7)
    value, _ = through_kernels(np.matmul, a, a.T.copy())
    assert forms == [False], "sums of 1024 products of 254 do not fit 2^24"
    assert oracle.error(value, oracle.product(a, a.T), oracle.size(a, a.T)) <= 2


@pytest.mark.parametrize("n", [70, 300])
@pytest.mark.parametrize("limit", [2048, 128])
def test_half_of_a_symmetric_product_is_all_of_it(n, limit, monkeypatch):
    monkeypatch.setattr(words, "LIMITS", ((limit, limit, limit),))
    a = np.random.default_rng(n).standard_normal((n, 140))
    upper, half = through_kernels(dsyrk, 1.0, a)
    whole, all_of_it = through_kernels(np.matmul, a, a.T.copy())
    product, recognised = through_kernels(np.matmul, a, a.T)
    assert recognised.launches == half.launches
    assert np.array_equal(product, whole)
    assert np.array_equal(whole, whole.T)
    assert np.array_equal(upper, np.triu(whole))
    if n > limit:
        assert half.launches < all_of_it.launches


def test_planes_that_cannot_be_kept_are_made_again(monkeypatch):
    monkeypatch.setattr(words, "LIMITS", ((128, 256, 128),))
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((300, 500)), rng.standard_normal((500, 200))
    kept, few = through_kernels(np.matmul, a, b)
    monkeypatch.setattr("numtrn.engine.products.KEEP_BYTES", 0)
    again, many = through_kernels(np.matmul, a, b)
    assert kept.tobytes() == again.tobytes()
    assert many.launches > few.launches
    assert many.bytes > few.bytes


@pytest.mark.parametrize("limits", [words.LEAST_LIMIT, (128, 128, 64)])
def test_least_elements(limits, monkeypatch):
    monkeypatch.setattr(words, "LEAST_LIMIT", limits)
    rng = np.random.default_rng(7)
    a = rng.uniform(0.5, 1, (2, 200, 300)) * (rng.random((2, 200, 300)) < 0.02)
    b = rng.uniform(0.5, 1, (2, 300, 90)) * (rng.random((2, 300, 90)) < 0.05)
    a[0, 5] = 0
    for left in (a, a + 0.25):
        lhs, rhs = sides(left, b)
        found, nonzero = engine.KernelEngine(Interpreter(CHIPS["trn2"])).least(
            SideMagnitudes(side=lhs), SideMagnitudes(side=rhs)
        )
        product = np.ldexp(left, -lhs.exponents[:, :, None]) @ np.ldexp(b, -rhs.exponents[:, None])
        assert found <= product.min()
        assert 0 < nonzero <= product[product > 0].min()
        if limits == words.LEAST_LIMIT and limits[1] > 300:
            assert nonzero >= 0.96 * product[product > 0].min()
            assert found >= 0.96 * product.min()


def test_a_result_is_ahead_while_the_present_one_is_used():
    begun, release = threading.Event(), threading.Event()

    def make(item):
        if item == 1:
            begun.set()
            assert release.wait(60)
        return item

    coming = threads.ahead(make, [0, 1, 2])
    assert next(coming) == 0
    assert begun.wait(60), "the second one is made before it is asked for"
    release.set()
    assert list(coming) == [1, 2]


def test_what_is_given_up_leaves_nothing_behind():
    def fail(item):
        raise KeyError(item)

    assert list(threads.ahead(str, [])) == []
    assert list(threads.ahead(str, [1])) == ["1"]
    with pytest.raises(KeyError):
        list(threads.ahead(fail, [1, 2, 3]))
    made = []
    begun = threads.ahead(lambda item: made.append(item) or item, list(range(100)))
    assert next(begun) == 0
    begun.close()
    assert len(made) <= 3


def test_collection_in_a_starting_thread_does_not_wait_for_it():
    """A cycle that holds a product given up halfway may be collected wherever Python allocates."""
    for _ in range(50):
        held = [threads.ahead(str, [1, 2, 3])]
        held.append(held)
        next(held[0])
        del held
        collected = threading.Thread(target=gc.collect)
        collected.start()
        collected.join(60)
        assert not collected.is_alive()


def test_a_session_says_what_the_data_made_of_the_plan():
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((30, 300)), rng.standard_normal((300, 20))
    _, plain = through_kernels(np.matmul, a, b)
    a[4, 7] = np.nan
    _, apart = through_kernels(np.matmul, a, b)
    _, graded = through_kernels(np.matmul, b.T * 2.0 ** np.arange(300), b / 2.0 ** np.arange(300)[:, None])
    assert ";" not in plain.reason
    assert apart.reason == f"{plain.reason}; 1 rows and 0 columns with NaN or Inf by NumPy"
    assert graded.reason.endswith("slices, inner dimension scaled")


def test_functions_that_never_warn_do_not():
    a, b = np.ones((40, 30)), np.ones((30, 20))
    a[3, 4], a[3, 5] = np.inf, -np.inf
    value, _ = through_kernels(np.einsum, "ij,jk->ik", a, b)
    assert np.isnan(value[3]).all()
    product, _ = through_kernels(dgemm, 1.0, a, b)
    assert np.isnan(product[3]).all()
    with pytest.warns(RuntimeWarning, match="invalid value"):
        np.matmul(a, b)
    with pytest.warns(RuntimeWarning, match="invalid value"):
        through_kernels(np.matmul, a, b)


@pytest.mark.parametrize("shapes", ["fine", "few"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_one_matrix_for_a_whole_batch_is_moved_once(dtype, shapes):
    a = np.random.default_rng(0).standard_normal((24, 16, 128)).astype(dtype)
    b = np.random.default_rng(1).standard_normal((128, 256)).astype(dtype)
    with numtrn.enabled(target="interpreter", min_work=0, shapes=shapes) as session:
        got, expected = a @ b, a.reshape(-1, 128) @ b
    assert got.tobytes() == expected.tobytes()
    together, beside = session.calls
    assert (together.route, together.bytes) == ("kernel", beside.bytes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [20, 40])
def test_a_batch_of_one_matrix_times_its_transpose(dtype, m):
    """All rows of all matrices are one row in memory, so that both shortcuts would fit."""
    row = np.arange(40).astype(dtype)
    a, b = np.broadcast_to(row, (3, m, 40)), np.broadcast_to(row[:, None], (40, m))
    product, _ = through_kernels(np.matmul, a, b)
    assert (product == np.full((3, m, m), row @ row)).all()


@pytest.mark.parametrize("step", [1, 2])
def test_a_batch_of_rows_times_one_matrix_is_one_product(step):
    a = np.random.default_rng(0).standard_normal((48, 1, 128))[::step]
    b = np.random.default_rng(1).standard_normal((128, 256))
    together, call = through_kernels(np.matmul, a, b)
    rows, beside = through_kernels(np.matmul, a[:, 0], b)
    assert together[:, 0].tobytes() == rows.tobytes()
    assert call.bytes == beside.bytes


def test_a_stack_of_thin_matrices_times_one_is_not_thin():
    a, b = np.ones((1000, 8, 64), np.float32), np.ones((64, 512), np.float32)
    with numtrn.enabled(target="interpreter") as session:
        plan, beside = numtrn.explain(np.matmul, a, b), numtrn.explain(np.matmul, a.reshape(-1, 64), b)
        np.matmul(a, b)
    assert plan.tilings == beside.tilings
    assert session.calls[0].route == "kernel"


@pytest.mark.parametrize(
    ("stack", "one"),
    [
        (np.ones((4, 3, 20, 40), np.float32), True),
        (np.ones((4, 3, 20, 40), np.float32)[::-1, ::-1, ::-1], True),
        (np.ones((12, 1, 40), np.float32)[::2], True),
        (np.ones((8, 20, 40), np.float32)[::2], False),
        (np.ones((4, 40, 20), np.float32).swapaxes(1, 2), False),
    ],
)
def test_explain_tells_the_product_that_is_made(stack, one):
    b = np.ones((40, 30), np.float32)
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        plan = numtrn.explain(np.matmul, stack, b)
        found = np.matmul(stack, b)
        lazily = np.asarray(np.matmul(numtrn.asarray(stack), b))
    assert (plan.gemm.batch == 1) == one
    assert session.calls[0].bytes == plan.prediction.bytes
    assert (found == 40).all()
    assert (lazily == 40).all()
