"""The dispatchers of np.dot, inner, tensordot, einsum and multi_dot: what they hold, and what they give."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import numtrn
from numtrn.intercept import dispatchers, gate
from numtrn.request import Contraction

FUNCTIONS = tuple(dispatchers.REPLACEMENTS)
ids = {"ids": lambda function: function.__name__}
rng = np.random.default_rng(5)
T, S = rng.integers(-3, 4, (3, 4, 5)).astype(float), rng.integers(-3, 4, (2, 5, 6)).astype(float)
M, N = T[0], S[0]
SQUARE = np.ones((6, 6))


def held():
    return [function._implementation for function in FUNCTIONS]


NUMPYS = held()
FLAGS = ("WRITEABLE", "C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA")


def outcome(call):
    try:
        return call(), None
    except Exception as error:
        return None, (type(error), str(error))


def same(result, reference, flags=FLAGS):
    assert type(result) is type(reference)
    np.testing.assert_array_equal(result, reference)
    if isinstance(reference, np.ndarray):
        assert result.dtype == reference.dtype
        assert result.strides == reference.strides
        for flag in flags:
            assert result.flags[flag] == reference.flags[flag], flag


# ---- What they hold ----


@pytest.mark.parametrize("function", FUNCTIONS, **ids)
def test_outside_of_blocks_they_hold_numpys_own(spy, function):
    before = function._implementation
    assert getattr(before, "__module__", "").startswith("numpy")
    with spy.block():
        assert function._implementation is dispatchers._ours[function]
        with spy.block():
            assert function._implementation is dispatchers._ours[function]
        assert function._implementation is dispatchers._ours[function]
    assert function._implementation is before


def test_an_exception_gives_them_back(spy):
    with pytest.raises(ValueError, match="shape-mismatch"), spy.block():
        np.tensordot(T, T, 1)
    assert held() == NUMPYS


def test_blocks_that_end_in_any_order_give_them_back(spy):
    first, second = spy.enter(), spy.enter()
    spy.leave(first)
    assert held() != NUMPYS
    spy.leave(second)
    spy.leave(second)
    assert held() == NUMPYS


def test_they_hold_ours_while_any_thread_has_a_block(spy):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with spy.block():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    try:
        assert held() != NUMPYS
        assert not spy.hit(lambda: np.dot(T, N)), "a thread without a block was asked"
        with spy.block():
            assert spy.hit(lambda: np.dot(T, N))
        assert held() != NUMPYS
    finally:
        leave.set()
        thread.join()
    assert held() == NUMPYS


def test_threads_that_toggle_blocks_leave_them_right(spy):
    expected, wrong = np.dot(T, N), []

    def toggle():
        for _ in range(200):
            with spy.block(min_work=1e9):
                if not np.array_equal(np.dot(T, N), expected):
                    wrong.append(1)
            if not np.array_equal(np.tensordot(T, N, 1), expected):
                wrong.append(1)

    threads = [threading.Thread(target=toggle) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert held() == NUMPYS


def test_a_thread_that_dies_inside_a_block_does_no_harm():
    code = (
        "import threading, numpy as np, numtrn\n"
        "own, t = np.dot._implementation, np.ones((2, 3, 4))\n"
        "thread = threading.Thread(target=lambda: numtrn.enabled(target='interpreter').__enter__())\n"
        "thread.start(); thread.join()\n"
        "print(np.dot(t, t.transpose(0, 2, 1)).shape, np.dot._implementation is own)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "(2, 3, 2, 3) True\n", done.stderr


def test_references_stay_balanced(spy):
    with spy.block():
        pass
    gc.collect()
    watched = [*NUMPYS, *dispatchers._ours.values(), *FUNCTIONS]
    before = [sys.getrefcount(one) for one in watched]
    for _ in range(500):
        with spy.block():
            pass
    assert [sys.getrefcount(one) for one in watched] == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_forgets_the_blocks_of_other_threads():
    code = (
        "import os, threading, warnings, numpy as np\n"
        "from numtrn import intercept\n"
        "warnings.simplefilter('ignore')\n"
        "intercept.install()\n"
        "own = np.dot._implementation\n"
        "inside, leave = threading.Event(), threading.Event()\n"
        "def other():\n"
        "    token = intercept.enter(1e9); inside.set(); leave.wait(20); intercept.leave(token)\n"
        "thread = threading.Thread(target=other); thread.start(); inside.wait(20)\n"
        "assert np.dot._implementation is not own\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if np.dot._implementation is own else 1)\n"
        "status = os.waitpid(child, 0)[1]\n"
        "kept = np.dot._implementation is not own\n"
        "leave.set(); thread.join()\n"
        "token = intercept.enter(1e9)\n"
        "second = os.fork()\n"
        "if second == 0: os._exit(0 if np.dot._implementation is not own else 1)\n"
        "print(status, kept, os.waitpid(second, 0)[1])\n"
        "intercept.leave(token)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "0 True 0\n", done.stderr


def test_what_is_built_otherwise_is_refused(monkeypatch):
    with pytest.raises(RuntimeError, match="hold its implementation"):
        gate.hook.add_dispatcher(np.dot, type(np.dot).__basicsize__, object(), print)
    with pytest.raises(RuntimeError, match="hold its implementation"):
        gate.hook.add_dispatcher(np.dot, 16, np.dot._implementation, print)
    monkeypatch.setattr(dispatchers, "REPLACEMENTS", {np.add: dispatchers._tensordot})
    try:
        with pytest.raises(RuntimeError, match="no dispatcher"):
            dispatchers.install()
        monkeypatch.undo()
        monkeypatch.setattr(dispatchers.sysconfig, "get_config_var", lambda name: 1)
        with pytest.raises(RuntimeError, match="free-threaded"):
            dispatchers.install()
    finally:
        monkeypatch.undo()
        dispatchers.install()
    assert held() == NUMPYS


# ---- What they give ----

CAUGHT = {
    "dot": lambda: np.dot(T, S),
    "dot by name": lambda: np.dot(a=T, b=S),
    "dot with a matrix": lambda: np.dot(T, N),
    "dot of a matrix": lambda: np.dot(M, S),
    "dot with a vector": lambda: np.dot(T, N[:, 0]),
    "dot of a vector": lambda: np.dot(N[:, 0], S),
    "dot out": lambda: np.dot(T, N, np.ones((3, 4, 6))),
    "dot of mixed types": lambda: np.dot(T.astype("f"), N),
    "dot of views": lambda: np.dot(T[:, ::-1], S.transpose(0, 1, 2)[..., ::2]),
    "dot of complex": lambda: np.dot(T + 1j, S),
    "inner": lambda: np.inner(T, S.swapaxes(1, 2)),
    "inner with a matrix": lambda: np.inner(T, M),
    "tensordot": lambda: np.tensordot(T, N, 1),
    "tensordot of axes": lambda: np.tensordot(T, T, ([0, 2], [0, 2])),
    "tensordot of crossed axes": lambda: np.tensordot(T, T.transpose(2, 0, 1), axes=((2, 0), (0, 1))),
    "tensordot of an axis": lambda: np.tensordot(T, S, (2, 1)),
    "tensordot of negative axes": lambda: np.tensordot(T, S, (-1, -2)),
    "tensordot of arrays of axes": lambda: np.tensordot(T, S, (np.array([2]), np.array([1]))),
    "tensordot of all": lambda: np.tensordot(T, T, 3),
    "tensordot of none": lambda: np.tensordot(M, N, 0),
    "tensordot of two": lambda: np.tensordot(M, N, 1),
    "tensordot to a matrix": lambda: np.tensordot(T, T, ((1, 2), (1, 2))),
    "tensordot to a row": lambda: np.tensordot(M, T.transpose(1, 2, 0), 2),
    "einsum": lambda: np.einsum("ij,jk", M, N, optimize=True),
    "einsum to a scalar": lambda: np.einsum("ij,ij", M, M, optimize=True),
    "einsum of three": lambda: np.einsum("ij,jk,lk->il", M, N, SQUARE, optimize="optimal"),
    "multi_dot": lambda: np.linalg.multi_dot([M, N, N.T]),
    "multi_dot of vectors": lambda: np.linalg.multi_dot([M[0], N, N[0]]),
    "multi_dot with a vector": lambda: np.linalg.multi_dot((M[0], N, N.T, M.T)),
    "multi_dot out": lambda: np.linalg.multi_dot([M, N, N.T], out=np.ones((4, 5))),
}


@pytest.mark.parametrize("form", CAUGHT)
def test_results_are_numpys(spy, form):
    reference = CAUGHT[form]()
    result, requests = spy.inside(CAUGHT[form])
    assert [type(request) for request in requests] == [Contraction]
    # Whether a result is a view of something temporary differs for these.
    same(result, reference, FLAGS[:3] if form.startswith(("einsum", "multi_dot")) else FLAGS)


@pytest.mark.parametrize("form", CAUGHT)
def test_declined_calls_are_numpys_and_counted_once(spy, form):
    reference = CAUGHT[form]()
    spy.answer = lambda request, operands: None
    with spy.block() as opened:
        result = CAUGHT[form]()
    same(result, reference)
    (call,) = opened.session.calls
    assert call.seconds is not None
    assert opened.session.small == (0, 0.0)


@pytest.mark.parametrize("form", CAUGHT)
def test_small_calls_are_counted_once(spy, form):
    with spy.block(min_work=1e9) as opened:
        result = CAUGHT[form]()
    same(result, CAUGHT[form]())
    assert opened.session.small[0] == 1
    assert not opened.session.calls


class Sub(np.ndarray):
    """A subclass."""


NOT_CAUGHT_WHOLE = {
    "dot of matrices": (lambda: np.dot(M, N), 1),
    "dot of vectors": (lambda: np.dot(M[0], M[0]), 0),
    "dot with a scalar": (lambda: np.dot(T, 2.0), 0),
    "dot of lists": (lambda: np.dot(T.tolist(), N), 0),
    "inner with a scalar": (lambda: np.inner(T, np.float64(2)), 0),
    "tensordot of lists": (lambda: np.tensordot(M.tolist(), N, 1), 1),
    "tensordot of a subclass": (lambda: np.tensordot(M.view(Sub), N, 1), 1),
    "tensordot of iterators": (lambda: np.tensordot(T, S, iter([[2], [1]])), 1),
    "einsum of a subclass": (lambda: np.einsum("ij,jk->ik", M.view(Sub), N, optimize=True), 1),
    "multi_dot of two": (lambda: np.linalg.multi_dot([M, N]), 1),
    "multi_dot of mixed types": (lambda: np.linalg.multi_dot([M.astype("f"), N, N.T]), 2),
    "multi_dot of lists": (lambda: np.linalg.multi_dot([M.tolist(), N, N.T]), 2),
    "object": (lambda: np.dot(T.astype(object), N).astype(float), 1),
    "nothing": (lambda: np.dot(np.ones((2, 3, 0)), np.ones((0, 4))), 0),
}


@pytest.mark.parametrize("form", NOT_CAUGHT_WHOLE)
def test_what_else_there_is_goes_to_numpy_whose_parts_are_caught(spy, form):
    call, parts = NOT_CAUGHT_WHOLE[form]
    reference = call()
    result, requests = spy.inside(call)
    same(result, reference)
    assert len(requests) == parts


WRONG = {
    "dot": lambda: np.dot(T, M),
    "dot without": lambda: np.dot(T),
    "dot out of another type": lambda: np.dot(T, N, out=np.ones((3, 4, 6), "f")),
    "dot out of another shape": lambda: np.dot(T, N, out=np.ones((3, 4, 7))),
    "dot out in Fortran order": lambda: np.dot(T, N, out=np.ones((3, 4, 6), order="F")),
    "dot keyword": lambda: np.dot(T, N, as_array=None),
    "inner": lambda: np.inner(T, N),
    "tensordot": lambda: np.tensordot(T, M, 1),
    "tensordot axes": lambda: np.tensordot(T, S, 7),
    "tensordot axes beyond": lambda: np.tensordot(T, S, ([3], [0])),
    "tensordot axes twice": lambda: np.tensordot(M @ M.T, M @ M.T, ([0, 0], [0, 1])),
    "tensordot uneven axes": lambda: np.tensordot(T, S, ([2], [1, 0])),
    "tensordot one list": lambda: np.tensordot(T, S, [1]),
    "tensordot strange axes": lambda: np.tensordot(T, S, "ab"),
    "tensordot extents of one": lambda: np.tensordot(np.ones((2, 1)), np.ones((3, 2)), 1),
    "multi_dot": lambda: np.linalg.multi_dot([M, N, N]),
    "multi_dot extents of one": lambda: np.linalg.multi_dot(
        [np.ones((4, 1)), np.ones((3, 2)), np.ones((2, 2))]
    ),
    "multi_dot of one": lambda: np.linalg.multi_dot([M]),
    "multi_dot of axes": lambda: np.linalg.multi_dot([M, S, N]),
    "multi_dot out": lambda: np.linalg.multi_dot([M, N, N.T], out=np.ones((4, 5), "f")),
    "einsum": lambda: np.einsum("ij,jk->iz", M, N, optimize=True),
    "einsum extents": lambda: np.einsum("ij,jk->ik", M, N.T, optimize=True),
    "einsum out": lambda: np.einsum("ij,jk->ik", M, N, optimize=True, out=np.ones((1, 2))),
}


@pytest.mark.parametrize("form", WRONG)
def test_errors_are_numpys(spy, form):
    _, error = outcome(WRONG[form])
    (_, caught), requests = spy.inside(lambda: outcome(WRONG[form]))
    assert caught == error
    assert error is not None
    # Until NumPy 2.3 einsum has computed before it looks at out.
    assert form == "einsum out" or not [r for r in requests if isinstance(r, Contraction)]


def test_errors_of_kernels_reach_the_caller(spy):
    def fail(request, operands):
        raise MemoryError("no room")

    spy.answer = fail
    with spy.block(), pytest.raises(MemoryError, match="no room"):
        np.dot(T, S)
    assert held() == NUMPYS
    assert not gate.hook.is_asking()


@st.composite
def tensordots(draw):
    """Operands and axes of a valid tensordot, in any memory order."""
    contracted = draw(st.lists(st.integers(1, 4), max_size=3))
    places = []
    operands = []
    for _ in range(2):
        free = draw(st.lists(st.integers(1, 3), max_size=3))
        order = draw(st.permutations(range(len(contracted) + len(free))))
        extents = contracted + free
        shape = [extents[axis] for axis in order]
        places.append([order.index(axis) for axis in range(len(contracted))])
        seed = np.random.default_rng(draw(st.integers(0, 99)))
        array = seed.integers(-3, 4, shape).astype(draw(st.sampled_from("fdFD")))
        operands.append(np.asfortranarray(array) if draw(st.booleans()) else array)
    negative = draw(st.booleans())
    if negative:
        places = [[axis - array.ndim for axis in axes] for axes, array in zip(places, operands, strict=True)]
    return operands, places


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tensordots())
def test_any_tensordot(spy, call):
    (first, second), axes = call
    reference = np.tensordot(first, second, axes)
    result, requests = spy.inside(lambda: np.tensordot(first, second, axes))
    assert len(requests) == 1
    same(result, reference)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(1, 4), max_size=2), st.lists(st.integers(1, 4), max_size=2), st.integers(1, 5))
def test_any_dot_and_inner(spy, ours, theirs, k):
    first = np.arange(float(np.prod(ours, dtype=int) * k)).reshape(*ours, k)
    second = np.arange(float(np.prod(theirs, dtype=int) * k)).reshape(*theirs, k)
    for call in (
        lambda: np.inner(first, second),
        lambda: np.dot(first, second.swapaxes(-1, -min(2, second.ndim))),
    ):
        reference = call()
        result, requests = spy.inside(call)
        same(result, reference)
        assert not [r for r in requests if isinstance(r, Contraction)] or max(first.ndim, second.ndim) > 2


def test_kernels_compute_them():
    a, b = rng.standard_normal((3, 20, 30)), rng.standard_normal((30, 5, 4))
    with numtrn.enabled(min_work=1, target="interpreter", verify=True) as session:
        results = [
            np.tensordot(a, b, 1),
            np.dot(a, b.reshape(30, 20)),
            np.inner(a, b.reshape(30, 20).T),
            np.einsum("aij,jkl->lika", a, b, optimize=True),
        ]
    assert session.counts["kernel"] == 4
    assert session.counts["numpy"] == 0
    expected = np.einsum("aij,jkl->aikl", a, b)
    np.testing.assert_allclose(results[0], expected, rtol=1e-12, atol=1e-12)
    for result in results[1:3]:
        np.testing.assert_allclose(result, expected.reshape(3, 20, 20), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(results[3], expected.transpose(3, 1, 2, 0), rtol=1e-12, atol=1e-12)
