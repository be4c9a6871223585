"""Recorded arrays behave as NumPy's computed ones: values, errors, updates in place, views, threads."""

import copy
import pickle
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
from numtrn.array import evaluation, recording, tiles
from numtrn.array.record import Product, Reshaped, Source, groups, snapshot
from numtrn.array.tiles import Reduction
from numtrn.block import suspended

BLOCK = {"target": "interpreter", "min_work": 1000}

rng = np.random.default_rng(3)
b = rng.standard_normal((5, 12, 8))
small = rng.standard_normal(12)


def recorded(x):
    return repr(x).endswith("not computed)")


def integrals(x):
    return np.einsum("iaQ,jbQ->iajb", x, x)


T = integrals(b)


@pytest.fixture(autouse=True)
def several_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 500)


@pytest.fixture
def block():
    with numtrn.enabled(**BLOCK) as session:
        yield session


def close(got, expected):
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-12, atol=1e-12)


# ---- What is recorded ----

PRODUCTS = {
    "einsum": lambda x: integrals(x),
    "matmul": lambda x: x.reshape(60, 8) @ x.reshape(60, 8).T,
    "batched matmul": lambda x: x.reshape(2, 30, 8) @ x.reshape(2, 30, 8).transpose(0, 2, 1),
    "dot": lambda x: np.dot(x.reshape(60, 8), x.reshape(60, 8).T),
    "inner": lambda x: np.inner(x, x),
    "tensordot": lambda x: np.tensordot(x, x, ([2], [2])),
    "tensordot of one axis": lambda x: np.tensordot(x, x.transpose(2, 0, 1), 1),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_a_product_larger_than_its_operands_is_recorded(case, block):
    with suspended():
        expected = PRODUCTS[case](b)
    got = PRODUCTS[case](numtrn.asarray(b))
    assert recorded(got)
    assert not block.calls
    close(got, expected)
    assert not recorded(got)
    assert block.counts["kernel"] == 1


NOT_RECORDED = {
    "smaller than its operands": lambda x: np.einsum("iaQ,jaQ->ij", x, x),
    "a pair": lambda x: x[0] @ x[1].T,
    "no contraction": lambda x: np.einsum("ia,jb->iajb", x[:, :, 0], x[:, :, 0]),
    "three operands": lambda x: np.einsum("iaQ,jbP,QP->iajb", x, x, np.eye(8)),
    "a label alone": lambda x: np.einsum("iaQ,jbP->iajb", x, x),
    "into out": lambda x: np.einsum("iaQ,jbQ->iajb", x, x, out=np.empty((5, 12, 5, 12))),
    "elementwise": lambda x: x * x + x[0],
    "integers": lambda x: np.einsum("iaQ,jbQ->iajb", *[numtrn.asarray(np.ones((5, 12, 8), int))] * 2),
}


@pytest.mark.parametrize("case", NOT_RECORDED)
def test_the_rest_is_computed_at_once(case, block):
    got = NOT_RECORDED[case](numtrn.asarray(b))
    assert not recorded(got)


def test_outside_of_a_block_nothing_is_recorded():
    assert not recorded(integrals(numtrn.asarray(b)))


def test_work_below_the_least_of_the_block_is_not_recorded():
    with numtrn.enabled(target="interpreter"):
        assert not recorded(integrals(numtrn.asarray(b)))


ELEMENTWISE = {
    "scalar": lambda t: 2 * t,
    "float32 scalar": lambda t: t * np.float32(0.5),
    "array that broadcasts": lambda t: t / small,
    "list that broadcasts": lambda t: t + numtrn.asarray(small)[:, None, None],
    "negative": lambda t: -t,
    "exp": lambda t: np.exp(t / 100),
    "view": lambda t: t.swapaxes(1, 3).transpose(2, 0, 1, 3),
    "reshape": lambda t: t.reshape(60, 60).T.reshape(5, 12, -1),
    "reshape to more axes": lambda t: t.reshape((5, 3, 4, 5, 2, 6))[:, None, ..., None],
    "sum": lambda t: t - t.swapaxes(1, 3) + t.T.reshape(5, 12, 5, 12),
    "moveaxis": lambda t: np.moveaxis(t, [0, 3], [-1, 1]),
    "einsum view": lambda t: np.einsum("iajb->jbia", t),
    "expand": lambda t: np.expand_dims(t, (0, 3)),
    "in place": lambda t: inplace(t),
    "conj": lambda t: t.conj() if hasattr(t, "conj") else t,
    "complex": lambda t: t * 1j,
    "einsum that sums nothing": lambda t: np.einsum("iajb,jb->jbia", t, b[:, :, 0]),
    "sign of zero": lambda t: 1 / (0 * t),
}


def inplace(t):
    t = t.copy()
    view = t.reshape(60, 60)
    t *= 2
    t -= small
    return view + 1


@pytest.mark.parametrize("case", ELEMENTWISE)
def test_what_is_done_to_it_is_recorded_too(case, block):
    with np.errstate(all="ignore"):
        expected = ELEMENTWISE[case](T)
        got = ELEMENTWISE[case](integrals(numtrn.asarray(b)))
    assert recorded(got)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    if case == "sign of zero":
        np.testing.assert_array_equal(np.asarray(got), expected)
    else:
        close(got, expected)


REDUCTIONS = {
    "sum": lambda t: np.sum(t),
    "sum of an axis": lambda t: np.sum(t, axis=-1),
    "sum of axes": lambda t: t.sum(axis=(1, 3)),
    "sum, keepdims": lambda t: t.sum((0, 2), keepdims=True),
    "sum of a view": lambda t: np.sum(t.swapaxes(0, 3).reshape(12, -1) / 3, axis=0),
    "einsum": lambda t: np.einsum("iajb,ibja->", t, t),
    "einsum to a vector": lambda t: np.einsum("iajb,b,iajb->b", t, small, 1 + t),
    "trace": lambda t: np.einsum("iaia->", t),
    "diagonal": lambda t: np.einsum("iaib->ab", t),
    "with a large plain array": lambda t: np.einsum("iajb,iajb->", t, T),
    "with a matrix": lambda t: np.einsum("iajb,jb->ia", t, b[:, :, 0]),
    "vdot": lambda t: np.vdot(t, T),
    "ravel": lambda t: np.dot(t.reshape(-1), (2 * t).reshape(-1)),
    "squares": lambda t: np.einsum("xy,xy", t.reshape(60, 60), t.reshape(60, 60).T * 2),
    "merged axes": lambda t: np.sum(t.reshape(60, 60) * t.swapaxes(1, 3).reshape(60, 60), axis=1),
    "tensordot": lambda t: np.tensordot(t, T, 4),
    "complex": lambda t: np.sum(t * (1 + 2j), axis=0),
}


@pytest.mark.parametrize("case", REDUCTIONS)
def test_sums_over_it_do_not_compute_it(case, block):
    expected = REDUCTIONS[case](T)
    t = integrals(numtrn.asarray(b))
    got = REDUCTIONS[case](t)
    assert recorded(t)
    assert isinstance(got, numtrn.Array)
    assert got.dtype == expected.dtype
    size = float(np.sum(abs(T))) * 20
    np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=1e-13 * size)
    assert not any("materialised" in call.reason for call in block.calls)
    assert "tiles" in block.calls[-1].reason


def test_other_functions_compute_it_and_say_so(block):
    t = integrals(numtrn.asarray(b))
    np.testing.assert_allclose(np.linalg.norm(t.reshape(60, 60)), np.linalg.norm(T), rtol=1e-12)
    assert not recorded(t)
    assert "materialised" in block.calls[-1].reason
    assert "used as a whole by numpy.linalg.norm" in block.calls[-1].reason
    calls = len(block.calls)
    np.linalg.norm(t.reshape(60, 60))
    assert len(block.calls) == calls


def test_a_product_with_it_computes_it_and_says_so(block):
    t = integrals(numtrn.asarray(b))
    got = t.reshape(60, 60) @ small.repeat(5)
    np.testing.assert_allclose(np.asarray(got), T.reshape(60, 60) @ small.repeat(5), rtol=1e-10)
    assert any("used as a whole by numpy.matmul" in call.reason for call in block.calls)


def test_a_large_plain_array_ends_the_recording(block):
    got = integrals(numtrn.asarray(b)) / (T + 9)
    assert not recorded(got)
    close(got, T / (T + 9))
    assert "numpy.divide with an array that is not recorded" in block.calls[-1].reason


def test_questions_about_it_compute_nothing(block):
    t = integrals(numtrn.asarray(b))
    assert (np.shape(t), np.ndim(t), np.size(t), len(t)) == ((5, 12, 5, 12), 4, 3600, 5)
    assert np.zeros_like(t).shape == t.shape
    assert np.result_type(t, np.float32) == np.float64
    assert recorded(t)
    assert repr(t) == ("numtrn.Array(recorded 'iaQ,jbQ->iajb', shape (5, 12, 5, 12), float64, not computed)")
    assert f"{t}" == repr(t)


# ---- Values are those at the time of recording ----

UPDATES = {
    "an element": lambda x, a: a.__setitem__((0, 0, 0), 50.0),
    "everything": lambda x, a: a.__setitem__(..., 0.0),
    "in place": lambda x, a: a.__imul__(2),
    "out": lambda x, a: np.add(a, 1, out=a),
    "the ndarray": lambda x, a: x.fill(3.0),
    "sign of zero": lambda x, a: x.__setitem__((1, 1, 1), -0.0),
    "a view": lambda x, a: a.reshape(-1).__setitem__(3, 9.0),
}


@pytest.mark.parametrize("case", UPDATES)
def test_updates_of_operands_come_too_late(case, block):
    x = b.copy()
    x[1, 1, 1] = 0.0
    expected = integrals(x)
    a = numtrn.asarray(x)
    t = integrals(a)
    UPDATES[case](x, a)
    later = integrals(a)
    assert recorded(t)
    close(t, expected)
    close(later, integrals(x))


def test_updates_of_the_denominators_come_too_late(block):
    o = np.arange(1.0, 6.0)
    e = numtrn.asarray(o)
    d = e[:, None] - e[None, :]
    expected = o[:, None] - o[None, :]
    o[2] = 7
    close(d, expected)


@pytest.mark.parametrize("change", [lambda v: v.__imul__(3), lambda v: v.__setitem__((0, 1), 5.0)])
def test_a_recorded_array_updated_in_place_changes_its_views_only(block, change):
    expected, view = T.copy(), None
    view = expected.reshape(60, 60)
    before = expected + 1
    turned = expected.swapaxes(0, 2)
    copied = expected.swapaxes(0, 2).reshape(60, 60)
    t = integrals(numtrn.asarray(b))
    got = (t, t.reshape(60, 60), t + 1, t.swapaxes(0, 2), t.swapaxes(0, 2).reshape(60, 60))
    change(expected)
    change(t)
    for one, other in zip(got, (expected, view, before, turned, copied), strict=True):
        close(one, other)
    expected[0, 0, 0, 0] = 17
    t[0, 0, 0, 0] = 17
    for one, other in zip(got, (expected, view, before, turned, copied), strict=True):
        close(one, other)


def test_what_was_recorded_of_an_array_stays_when_that_is_computed(block):
    t = integrals(numtrn.asarray(b))
    twice = 2 * t
    t[0] = 0  # computes it, then changes it
    close(twice, 2 * T)


def test_operands_are_copied_once(block):
    a = numtrn.asarray(b.copy())
    first = snapshot(np.asarray(a))
    again = snapshot(np.asarray(a).reshape(60, 8).T)
    assert first.kept is again.kept
    assert not first.data.flags.writeable
    np.asarray(a)[0, 0, 0] += 1
    assert snapshot(np.asarray(a)).kept is not first.kept


def test_copies_pickles_and_conversions(block):
    t = integrals(numtrn.asarray(b))
    kept, deep = copy.copy(t), copy.deepcopy(t)
    t *= 3
    assert recorded(kept)
    close(kept, T)
    close(deep, T)
    close(pickle.loads(pickle.dumps(t)), 3 * T)
    assert np.array(t, dtype=np.float32).dtype == np.float32
    assert list(integrals(numtrn.asarray(b)))[2].shape == (12, 5, 12)
    assert float(integrals(numtrn.asarray(b))[1, 2, 3, 4]) == pytest.approx(T[1, 2, 3, 4], rel=1e-12)


# ---- Errors ----

WRONG = {
    "broadcast": lambda t: t + np.ones(7),
    "broadcast of two": lambda t: t * t.reshape(60, 60),
    "reshape": lambda t: t.reshape(7, 7),
    "two unknown": lambda t: t.reshape(-1, -1),
    "axes": lambda t: t.swapaxes(1, 4),
    "transpose": lambda t: t.transpose(0, 1),
    "too many axes": lambda t: t[:, :, :, :, :, None],
    "einsum": lambda t: np.einsum("iajb,iajb->", t, np.ones((5, 12, 5, 11))),
    "einsum's letters": lambda t: np.einsum("iajb,iaj->", t, t),
    "axis of a sum": lambda t: np.sum(t, axis=4),
    "axis twice": lambda t: np.sum(t, axis=(1, 1)),
    "in place": lambda t: t.__iadd__(np.ones((2, 5, 12, 5, 12))),
    "type": lambda t: np.bitwise_or(t, t),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_fail_at_once_as_numpys(case, block, monkeypatch):
    with pytest.raises(Exception) as expected:
        WRONG[case](T.copy())
    t = integrals(numtrn.asarray(b))
    if case != "in place":
        monkeypatch.setattr(evaluation, "fill", lambda *_: pytest.fail("was computed"))
        monkeypatch.setattr(evaluation, "reduce", lambda *_: pytest.fail("was computed"))
    with pytest.raises(type(expected.value)):
        WRONG[case](t)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_evaluation_that_fails_can_be_tried_again(block, monkeypatch, error):
    def fails(*_):
        raise error

    t = integrals(numtrn.asarray(b))
    with monkeypatch.context() as patched:
        patched.setattr(evaluation.dispatch, "offer_in", fails)
        with pytest.raises(error):
            np.sum(t)
        with pytest.raises(error):
            np.asarray(t)
    np.testing.assert_allclose(np.sum(t), np.sum(T), rtol=1e-10)
    close(t, T)


def test_a_failing_kernel_is_a_warning_and_numpy_computes(monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("broken device")

    with numtrn.enabled(**BLOCK) as session:
        t = integrals(numtrn.asarray(b))
        monkeypatch.setattr(evaluation.dispatch, "launch", fails)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", numtrn.KernelFallbackWarning)
            np.testing.assert_allclose(np.sum(t), np.sum(T), rtol=1e-10)
    assert session.counts["failed"] > 0
    with numtrn.enabled(**BLOCK, strict=True):
        t = integrals(numtrn.asarray(b))
        with pytest.raises(numtrn.KernelError):
            np.sum(t)
    close(t, T)


def test_error_states_are_those_of_the_recording(block):
    t = integrals(numtrn.asarray(b))
    with np.errstate(divide="ignore", invalid="ignore"):
        quiet = t / np.zeros(12)
    with np.errstate(divide="raise"):
        loud = t / np.zeros(12)
    assert not np.isfinite(np.asarray(quiet)).any()
    with pytest.raises(FloatingPointError):
        np.asarray(loud)


# ---- Blocks and threads ----


def test_after_the_block_numpy_computes():
    with numtrn.enabled(**BLOCK) as session:
        t = integrals(numtrn.asarray(b))
        x = t * 2
    assert recorded(t)
    np.testing.assert_allclose(np.sum(x), 2 * np.sum(T), rtol=1e-10)
    assert recorded(t)
    assert not recorded(t + 1)
    close(t, T)
    close(x, 2 * T)
    assert not session.calls


def test_an_inner_block_computes_what_an_outer_one_recorded():
    with numtrn.enabled(**BLOCK) as outer:
        t = integrals(numtrn.asarray(b))
        with numtrn.enabled(target="interpreter", min_work=10**12) as inner:
            np.sum(t)
        assert inner.counts["kernel"] == 0
        assert outer.calls == inner.calls
        np.sum(t)
        assert outer.counts["kernel"] > 0


def test_two_threads_get_the_same_memory(block):
    t = integrals(numtrn.asarray(b))
    found = []
    threads = [threading.Thread(target=lambda: found.append(np.asarray(t))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.shares_memory(one, found[0]) for one in found)
    close(t, T)


def test_a_long_expression_is_computed_in_between(block):
    t, expected = integrals(numtrn.asarray(b)), T
    for _ in range(300):
        t, expected = t + 0.5, expected + 0.5
    close(t, expected)


# ---- Memory ----


def test_no_array_of_the_size_of_the_product(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 2**15)
    o, v = 12, 80
    x = rng.standard_normal((o, v, 20))
    e, f = -1 - rng.random(o), rng.random(v)
    whole = 8 * (o * v) ** 2
    with numtrn.enabled(target="interpreter", min_work=10**6) as session:  # more than a tile's
        arrays = [numtrn.asarray(one) for one in (x, e, f)]
        tracemalloc.start()
        t = integrals(arrays[0])
        d = arrays[1][:, None, None, None] - arrays[2][:, None, None] + arrays[1][:, None] - arrays[2]
        got = np.einsum("iajb,iajb,iajb->", t, 2 * t - t.swapaxes(1, 3), 1 / d**2)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert session.counts["kernel"] == 0
    assert peak < whole / 4
    t = integrals(x)
    d = e[:, None, None, None] - f[:, None, None] + e[:, None] - f
    assert got == pytest.approx(np.sum(t * (2 * t - t.swapaxes(1, 3)) / d**2), rel=1e-12)


# ---- Tiles ----

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@settings(deadline=None)
@given(shapes, st.data())
def test_groups_hold_the_same_elements(shape, data):
    whole = int(np.prod(shape))
    divisors = [d for d in range(1, whole + 1) if whole % d == 0]
    first = data.draw(st.sampled_from(divisors))
    inner = (first, 1, whole // first)
    for outer_axes, inner_axes in groups(shape, inner):
        assert np.prod([shape[k] for k in outer_axes]) == np.prod([inner[k] for k in inner_axes])
    seen = [tuple(k for pair in groups(shape, inner) for k in pair[place]) for place in (0, 1)]
    assert seen == [tuple(range(len(shape))), (0, 1, 2)]


@settings(deadline=None)
@given(shapes, st.lists(st.integers(0, 30), max_size=4), st.randoms())
def test_views_are_where_numpy_makes_views(shape, choices, random):
    x, steps = np.arange(np.prod(shape)).reshape(shape), []
    for choice in choices:
        if choice % 2:
            axes = list(range(x.ndim))
            random.shuffle(axes)
            step = recording.Permute(tuple(axes))
        else:
            first = random.choice([d for d in range(1, x.size + 1) if x.size % d == 0])
            second = random.choice([d for d in range(1, first + 1) if first % d == 0])
            step = recording.Regroup((second, 1, first // second, x.size // first))
        after = recording.viewed(x, step)
        assert recording.is_view(shape, steps, step) == (np.shares_memory(after, x))
        if not np.shares_memory(after, x):
            break
        x, steps = after, [*steps, step]


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 400), st.booleans())
def test_every_tile_is_counted_once(o, v, x, tile, merged):
    data = np.random.default_rng(o + 10 * v).standard_normal((o, v, x))
    node = Product(
        function="numpy.einsum",
        subscripts="iaQ,jbQ->iajb",
        operands=(Source(data), Source(data)),
        shape=(o, v, o, v),
        dtype=data.dtype,
    )
    expected = integrals(data)
    top, letters, shape = (
        (Reshaped(node, (o * v, o * v)), "pq", (o * v, o * v)) if merged else (node, "iajb", None)
    )
    expected = expected.reshape(shape or expected.shape)
    reduction = Reduction(
        function="", terms=((top, letters),), output=letters[:1], dtype=data.dtype, how="sum"
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(tiles, "TILE", tile)
        tiling = tiles.choose(reduction)
        got = tiles.reduce(reduction, tiling, lambda p, blocks: np.einsum(p.subscripts, *blocks))
    axes = tuple(range(1, expected.ndim))
    np.testing.assert_allclose(got, expected.sum(axis=axes), rtol=0, atol=1e-12 * np.abs(expected).sum())


# ---- Expressions that grow ----


def test_an_expression_that_is_used_twice_at_every_step_is_computed_once_for_each(block):
    got = integrals(numtrn.asarray(b))
    for _ in range(60):
        got = got + got
    assert recorded(got)
    np.testing.assert_allclose(np.sum(got), 2.0**60 * np.sum(T), rtol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, wrap: np.transpose(x, wrap([3, 2, 1, 0])),
        lambda x, wrap: np.reshape(x, wrap([60, 60])),
        lambda x, wrap: x[None].squeeze(),
        lambda x, wrap: x[None].squeeze(axis=0),
        lambda x, wrap: x.ravel(),
    ],
)
def test_views_by_methods_and_with_numtrn_arrays_as_arguments(call, block):
    got = call(integrals(numtrn.asarray(b)), numtrn.asarray)
    assert recorded(got)
    close(got, call(T, np.asarray))


def test_the_dot_of_two_ravelled_arrays_is_a_sum(block):
    t = integrals(numtrn.asarray(b))
    np.testing.assert_allclose(t.ravel().dot(t.ravel()), np.vdot(T, T), rtol=1e-12)
    assert recorded(t)


def test_the_error_of_a_wrong_shape_is_numpys(block):
    with pytest.raises(ValueError, match=r"cannot reshape array of size 3600 into shape \(7, ?-1\)"):
        integrals(numtrn.asarray(b)).reshape(7, -1)
