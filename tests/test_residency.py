"""What targets hold of numtrn arrays' memory, and results that stay on the target."""

import gc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numtrn
from numtrn import dispatch, residency
from numtrn.block import current, suspended
from numtrn.errors import KernelError
from numtrn.options import Options
from numtrn.plan import make_plan
from numtrn.request import Gemm, Operands, k_is_fast
from numtrn.residency import Held, Matrix, Memory, Norms, Piece, Shelf, norms_of, owner_of
from tests.bounded import Bounded

rng = np.random.default_rng(11)


class Collected:
    """A piece during whose departure the collector drops another memory."""

    def __init__(self, shelf, other):
        self.shelf, self.other = shelf, other

    @property
    def bytes(self):
        if self.shelf.holds(self.other) and not self.shelf.holds(1):
            self.shelf.drop(self.other)
        return 10


@pytest.mark.parametrize(
    "leaves", [lambda shelf: shelf.keep(3, "", Piece(None, 85)), lambda shelf: shelf.drop(1)]
)
def test_a_shelf_counts_what_a_collector_drops_meanwhile(leaves):
    shelf = Shelf(100)
    shelf.keep(1, "", Collected(shelf, 2))
    shelf.keep(2, "", Piece(None, 10))
    leaves(shelf)
    assert not shelf.holds(1)
    assert not shelf.holds(2)
    assert shelf.bytes == (85 if shelf.holds(3) else 0)


def array(*shape, dtype=np.float32):
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def request(left, right, *, stays=False, held=(False, False)):
    """The product of two things with a shape and strides, (batch, m, k) and (batch, k, n)."""
    batch, m, k = left.shape
    made = tuple(np.lib.stride_tricks.as_strided(np.zeros(1), x.shape, x.strides) for x in (left, right))
    return Gemm(
        function="numpy.matmul",
        dtype="float32",
        batch=batch,
        m=m,
        k=k,
        n=right.shape[2],
        k_is_fast=k_is_fast(*made),
        stays=stays,
        held=held,
    )


def keep(block, left, right, memories=()):
    held = left.held is not None, right.held is not None
    with suspended():
        return dispatch.keep_in(
            block, request(left, right, stays=True, held=held), left, right, tuple(memories)
        )


def offer(block, a, b, memories=()):
    asked = Gemm(function="f", dtype=a.dtype.name, batch=len(a), m=a.shape[1], k=a.shape[2], n=b.shape[2])
    with suspended():
        return dispatch.offer_in(block, asked, Operands(inputs=(a, b), memories=tuple(memories)))


# ---- Memory ----


def test_a_memory_gives_back_what_was_kept_of_the_same_piece_only():
    x = array(4, 6)
    memory = Memory(x, owned=True)
    memory.keep("here:0", x[1:, ::2], "made so", "resident", 100)
    assert memory.get("here:0", x[1:, ::2], "made so") == ("resident", 100)
    assert memory.places == ("here:0",)
    for piece in (x, x[1:], x[1:, ::2].T, x[2:, ::2], x[1:, ::2].view(np.int32)):
        assert memory.get("here:0", piece, "made so") is None
    assert memory.get("here:0", x[1:, ::2], "made otherwise") is None
    assert memory.get("there:0", x[1:, ::2], "made so") is None


@pytest.mark.parametrize("event", ["changed", "shared"])
def test_a_memory_that_is_written_or_goes_out_forgets(event):
    x = array(3, 3)
    memory = Memory(x, owned=True)
    memory.keep("here:0", x, "m", "resident", 36)
    getattr(memory, event)()
    assert memory.get("here:0", x, "m") is None
    assert memory.places == ()
    memory.keep("here:0", x, "m", "another", 36)
    assert memory.get("here:0", x, "m") == (("another", 36) if event == "changed" else None)


def test_memory_of_others_is_never_remembered():
    x = array(3, 3)
    memory = Memory(x, owned=False)
    memory.keep("here:0", x, "m", "resident", 36)
    assert memory.get("here:0", x, "m") is None
    assert owner_of([memory], x) is None
    assert owner_of([memory, Memory(x, owned=True)], x[:, ::-1]) is not None
    assert owner_of([Memory(x, owned=True)], x.copy()) is None


def test_nothing_is_left_of_a_memory_that_is_gone():
    x = array(3, 3)
    memory = Memory(x, owned=True)
    memory.keep("gone:0", x, "m", "resident", 36)
    shelf = residency._shelves["gone:0"]
    assert shelf.bytes == 36
    del memory
    gc.collect()
    assert shelf.bytes == 0


def test_the_least_recently_used_goes_first(monkeypatch):
    monkeypatch.setattr(residency, "BUDGET", 100)
    x = array(3, 3)
    memory = Memory(x, owned=True)
    for name in "ab":
        memory.keep("full:0", x, name, name, 45)
    assert memory.get("full:0", x, "a") == ("a", 45)  # now b is the older
    memory.keep("full:0", x, "c", "c", 45)
    assert [memory.get("full:0", x, name) for name in "abc"] == [("a", 45), None, ("c", 45)]
    memory.keep("full:0", x, "d", "too large", 101)
    assert memory.get("full:0", x, "d") is None
    assert residency._shelves["full:0"].bytes == 90


# ---- Operands that are moved once ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_shared_operand_is_moved_once(dtype, side):
    shared = array(1, 256, 256, dtype=dtype)
    memory = Memory(shared, owned=True)
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        for _ in range(3):
            other = array(1, 256, 256, dtype=dtype)
            pair = (shared, other) if side == "left" else (other, shared)
            with_memory = offer(current(), *pair, [memory])
            assert with_memory.tobytes() == offer(current(), *pair).tobytes()
    moved = [call.bytes for call in session.calls]
    assert moved[0] == moved[1] == moved[3] == moved[5]
    if dtype == np.complex64 and side == "right":  # its real form is made anew, in memory of the engine's
        assert moved[2] == moved[3]
    else:
        assert moved[2] == moved[4]
        assert moved[3] - moved[2] >= shared.nbytes


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_a_changed_operand_is_moved_again(dtype):
    a, b = array(1, 40, 50, dtype=dtype), array(1, 50, 30, dtype=dtype)
    memory = Memory(a, owned=True)
    with numtrn.enabled(target="interpreter", min_work=0):
        offer(current(), a, b, [memory])
        memory.changed()
        a *= 3
        got = offer(current(), a, b, [memory])
        assert got.tobytes() == offer(current(), a, b).tobytes()


def test_an_operand_on_both_sides_and_in_parts():
    """One memory, read as rows, as columns, and in pieces: each is its own."""
    x = array(1, 96, 96, dtype=np.float64)
    x[0, 3] *= 2.0**40  # so that exponents by rows and by columns differ
    memory = Memory(x, owned=True)
    views = [
        (x, x),
        (x, x.swapaxes(1, 2)),
        (x[:, :48], x),
        (x[:, ::2, :], x[:, :, ::3]),
        (x.swapaxes(1, 2), x),
    ]
    with numtrn.enabled(target="interpreter", min_work=0):
        for a, b in views * 2:
            assert offer(current(), a, b, [memory]).tobytes() == offer(current(), a, b).tobytes()


# ---- Results that stay ----


@pytest.mark.parametrize("n", [16, 64, 128, 256, 1024])
def test_a_chain_moves_each_operand_once_and_the_result_once(n):
    matrices = [array(1, n, n) for _ in range(11)]
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        product = Matrix(host=matrices[0])
        for matrix in matrices[1:]:
            product = Matrix(held=keep(current(), product, Matrix(host=matrix)))
        assert sum(call.bytes for call in session.calls) == 11 * 4 * n * n
        got = product.values()
        product.values()
    assert sum(call.bytes for call in session.calls) == 12 * 4 * n * n
    with numtrn.enabled(target="interpreter", min_work=0):
        plain = matrices[0][0]
        for matrix in matrices[1:]:
            plain = plain @ matrix[0]
    assert got[0].tobytes() == plain.tobytes()


@given(st.data())
def test_chains_of_any_shape_are_those_of_the_plain_way(data):
    extents = [
        data.draw(st.sampled_from([1, 2, 15, 16, 17, 63, 64, 65, 100, 128, 129, 200])) for _ in range(4)
    ]
    batch = data.draw(st.integers(1, 3))
    a, b, c = (array(batch, *pair) for pair in pairwise(extents))
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        first = keep(current(), Matrix(host=a), Matrix(host=b))
        assert isinstance(first, Held)
        second = keep(current(), Matrix(held=first), Matrix(host=c))
        turned = keep(current(), Matrix(host=a.swapaxes(1, 2).copy()), Matrix(held=first))
        both = keep(current(), Matrix(held=first, turned=True), Matrix(host=a))
        assert session.counts == {"kernel": 4, "numpy": 0, "failed": 0, "small": 0}
    results = [x.host() if isinstance(x, Held) else x for x in (first, second, turned, both)]
    a, b, c = map(Bounded.of, (a, b, c))
    ab = a @ b
    for got, expected in zip(results, [ab, ab @ c, a.mT @ ab, ab.mT @ a], strict=True):
        expected.check(got)


def test_products_that_may_overflow_go_the_usual_way():
    a = np.full((1, 64, 64), 2.0**60, np.float32)
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        square = keep(current(), Matrix(host=a), Matrix(host=a))
        assert square is None or not isinstance(square, Held)
        ones = keep(current(), Matrix(host=a), Matrix(host=np.eye(64, dtype=np.float32)[None]))
        assert isinstance(ones, np.ndarray | Held)
    assert len(session.calls) == 2
    bad = a.copy()
    bad[0, 3, 3] = np.nan
    with numtrn.enabled(target="interpreter", min_work=0):
        got = keep(current(), Matrix(host=bad), Matrix(host=np.eye(64, dtype=np.float32)[None]))
    assert not isinstance(got, Held)


def test_verify_and_larger_products_come_back_at_once():
    a, b = array(1, 30, 40), array(1, 40, 20)
    with numtrn.enabled(target="interpreter", min_work=0, verify=True):
        assert isinstance(keep(current(), Matrix(host=a), Matrix(host=b)), np.ndarray)
    wide, tall = array(1, 16, 5000), array(1, 5000, 16)  # K beyond one launch
    with numtrn.enabled(target="interpreter", min_work=0):
        got = keep(current(), Matrix(host=wide), Matrix(host=tall))
    (Bounded.of(wide) @ Bounded.of(tall)).check(got)


def test_bytes_that_come_late_count_in_all_sessions():
    a, b = array(1, 64, 64), array(1, 64, 64)
    with numtrn.enabled(target="interpreter", min_work=0) as outer:
        with numtrn.enabled(target="interpreter", min_work=0) as inner:
            held = keep(current(), Matrix(host=a), Matrix(host=b))
        before = [call.bytes for session in (outer, inner) for call in session.calls]
    held.host()  # after the blocks
    after = [call.bytes for session in (outer, inner) for call in session.calls]
    assert before == [2 * a.nbytes] * 2
    assert after == [3 * a.nbytes] * 2


def test_a_result_that_cannot_be_brought_says_so(monkeypatch):
    a, b = array(1, 64, 64), array(1, 64, 64)
    with numtrn.enabled(target="interpreter", min_work=0):
        target = current().target
        held = keep(current(), Matrix(host=a), Matrix(host=b))

        def lost(resident):
            raise RuntimeError("device lost")

        monkeypatch.setattr(target, "fetch", lost)
        with pytest.raises(KernelError, match=r"interpreter:0: RuntimeError: device lost.*again"):
            held.host()
        monkeypatch.undo()
        assert held.host().shape == (1, 64, 64)


def test_a_failing_kernel_is_tried_once(monkeypatch):
    a, b = array(1, 64, 64), array(1, 64, 64)
    with numtrn.enabled(target="interpreter", min_work=0) as session:

        def broken(*_):
            raise RuntimeError("out of order, a chain of products")

        monkeypatch.setattr(current().target, "keep", broken)
        monkeypatch.setattr(current().target, "launch", broken)
        with pytest.warns(numtrn.KernelFallbackWarning, match="out of order"):
            assert keep(current(), Matrix(host=a), Matrix(host=b)) is None
    assert session.counts["failed"] == len(session.calls) == 1


def test_the_plan_does_not_count_what_is_there():
    def predicted(**given):
        asked = Gemm(function="f", dtype="float32", m=1024, k=1024, n=512, **given)
        return make_plan(asked, Options(min_work=0), "neuron").prediction

    size = 4 * 1024 * 512
    assert predicted().bytes == 4 * size  # A has two parts, B and C one
    assert predicted(held=(True, False)).bytes == 2 * size
    assert predicted(held=(False, True), stays=True).bytes == 2 * size
    assert (
        predicted(held=(True, True), stays=True).bytes == predicted(held=(True, True), stays=True).link == 0
    )
    assert predicted(held=(True, True), stays=True).device == predicted().device


# ---- Norms ----

EXTREMES = st.floats(-(2.0**50), 2.0**50, width=32) | st.sampled_from([0.0, 1e-30, 2.0**-149, -1e-20])


@given(st.data())
def test_norms_are_upper_bounds(data):
    m, k, n = (data.draw(st.integers(1, 5)) for _ in range(3))
    a, b = (
        np.array(data.draw(st.lists(EXTREMES, min_size=x * y, max_size=x * y)), np.float32).reshape(1, x, y)
        for x, y in ((m, k), (k, n))
    )
    wide = a.astype(np.longdouble), b.astype(np.longdouble)
    left, right = norms_of(a), norms_of(b)
    for norms, x in zip((left, right), wide, strict=True):
        assert (norms.rows >= np.sqrt((x * x).sum(axis=2))).all()
        assert (norms.columns >= np.sqrt((x * x).sum(axis=1))).all()
        assert (norms.all >= np.sqrt((x * x).sum(axis=(1, 2)))).all()
    with np.errstate(over="ignore", invalid="ignore"):
        product = np.matmul(a, b).astype(np.longdouble)
    if np.isfinite(product).all():
        made: Norms = left.times(right, k)
        assert (made.rows >= np.sqrt((product * product).sum(axis=2))).all()
        assert (made.columns >= np.sqrt((product * product).sum(axis=1))).all()
        assert left.most(right) * (1 + (k + 1) * 2.0**-23) >= np.abs(product).max()


def test_norms_of_what_is_not_finite_are_none():
    for bad in (np.nan, np.inf, 1e30):
        x = np.ones((1, 3, 3), np.float32)
        x[0, 1, 1] = bad
        assert not norms_of(x).most(norms_of(np.ones((1, 3, 3), np.float32))) < 2.0**126
