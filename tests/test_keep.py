"""Operands of plain arrays that stay on the target: moved once, known by their contents, never stale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import blas

import numtrn
from numtrn import demo
from numtrn.block import current
from numtrn.data import load

rng = np.random.default_rng(3)


def block(**options):
    return numtrn.enabled(target="interpreter", **{"min_work": 0, "keep": True, **options})


def totals(session):
    return sum(call.bytes for call in session.calls), sum(call.saved for call in session.calls)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_twenty_products_with_one_shared_operand_move_it_once(dtype):
    shared = rng.standard_normal((128, 128)).astype(dtype)
    others = [rng.standard_normal((128, 128)).astype(dtype) for _ in range(20)]
    with block(keep=False) as without:
        expected = [shared @ other for other in others]
    with block() as session:
        got = [shared @ other for other in others]
    for x, y in zip(got, expected, strict=True):
        assert x.tobytes() == y.tobytes()
    (plain, nothing), (moved, saved) = totals(without), totals(session)
    assert nothing == 0
    assert moved + saved == plain
    assert saved >= 19 * shared.nbytes
    if dtype == np.float32:
        assert (moved, saved) == ((1 + 20 + 20) * shared.nbytes, 19 * shared.nbytes)
    assert "MB there already" in str(session)
    assert "there already" not in str(without)


def test_the_default_keeps_nothing():
    a = rng.standard_normal((64, 64))
    with block(keep=False) as session:
        assert current().lent is None
        _ = a @ a.copy(), a @ a.copy()
    assert totals(session)[1] == 0


CHANGES = {
    "element": lambda a: a.__setitem__((3, 4), 9.0),
    "sign bits of two": lambda a: a.__setitem__(([0, 1], [2, 3]), -a[[0, 1], [2, 3]]),
    "swap of rows": lambda a: a.__setitem__([0, 1], a[[1, 0]]),
    "through a view": lambda a: a.T[5].fill(0.5),
    "through its buffer": lambda a: memoryview(a).cast("B").__setitem__(3, 17),
    "by BLAS": lambda a: blas.dscal(3.0, a.reshape(-1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_operand_is_sent_again(name):
    a, b = rng.standard_normal((64, 64)), rng.standard_normal((64, 64))
    with block() as session:
        first = a @ b
        CHANGES[name](a)
        second = a @ b
    with block(keep=False):
        assert second.tobytes() == (a @ b).tobytes()
    assert first.tobytes() != second.tobytes()
    assert session.calls[1].saved == session.calls[0].bytes - session.calls[1].bytes > 0  # b alone


def test_the_same_contents_elsewhere_are_known():
    a, b = rng.standard_normal((64, 64)), rng.standard_normal((64, 64))
    with block() as session:
        first = a @ b
        del a
        a = rng.standard_normal((64, 64))  # perhaps where the first one was
        other = a @ b
        again = a.copy() @ b
    assert other.tobytes() == again.tobytes() != first.tobytes()
    assert session.calls[2].saved > session.calls[1].saved


@pytest.mark.parametrize(
    "array", [np.array, lambda x: numtrn.asarray(x, copy=True)], ids=["ndarray", "numtrn.Array"]
)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("n", [64, 65])  # sent as it lies, and packed
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_kept_is_not_the_callers_memory(array, side, n, dtype):
    a, b = (array(rng.standard_normal((n, n)).astype(dtype)) for _ in range(2))
    before = a.copy()

    def product(x):
        return np.array(x @ b if side == "left" else b @ x)

    with block():
        first = product(a)
        a[:] = 7
        changed, again = product(a), product(before)
    assert again.tobytes() == first.tobytes() != changed.tobytes()
    with block(keep=False):
        assert changed.tobytes() == product(a).tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_operands_that_overlap_are_told_apart(dtype):
    x = rng.standard_normal((96, 64)).astype(dtype)
    first, second = x[:64], x[32:]  # the second one begins in the first
    with block():
        before = first @ second
        x[80] = 5
        got = first @ second
    with block(keep=False):
        assert got.tobytes() == (first @ second).tobytes() != before.tobytes()


@pytest.mark.parametrize("array", [np.array, lambda x: numtrn.asarray(x, copy=True)], ids=["plain", "numtrn"])
def test_what_the_guard_makes_of_one_operand_in_two_ways_is_told_apart(array):
    """Rows with zeros count for more in the guard's second look than in its first one."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((128, 128)) * np.ldexp(1.0, -rng.integers(0, 12, (128, 128))) for _ in "ab")
    a = np.tril(a)

    def calls(keep):
        x, y = (array(x) if keep else x for x in (a, b))
        with block(keep=keep) as session:
            got = [np.array(x @ y).tobytes() for _ in range(2)]
        return got, [(call.slices, call.reason) for call in session.calls]

    assert calls(keep=True) == calls(keep=False)


def test_a_part_of_a_number_is_not_all_of_it():
    """One element, whose real part has no gaps; the exponent of its digits is that of the larger part."""
    small, large = np.array([[1 + 2j]]), np.array([[1 + 2e9j]])
    with block(shapes="few") as session:
        got = [x @ x.conj() for x in (small, large, small)]
    assert session.counts["kernel"] == 3
    assert [x.item() for x in got] == [5, 1 + 4e18, 5]


def test_rows_that_an_operand_shares_with_another_one_are_moved_once():
    """Slabs [0, n) for growing n, as of pairs of orbitals: launches of one shape take the same rows."""
    slabs, right = rng.standard_normal((2048, 96)), rng.standard_normal((96, 64))
    counts = range(512, 2049, 512)
    with block(keep=False, shapes="few") as without:
        expected = [slabs[:n] @ right for n in counts]
    with block(shapes="few") as session:
        got = [slabs[:n] @ right for n in counts]
    assert all(x.tobytes() == y.tobytes() for x, y in zip(got, expected, strict=True))
    (plain, _), (moved, saved) = totals(without), totals(session)
    assert moved + saved == plain
    assert saved >= slabs.nbytes


def test_an_array_with_gaps_is_sent_each_time():
    wide, b = rng.standard_normal((64, 128)).astype(np.float32), np.eye(64, dtype=np.float32)
    with block() as session:
        _ = wide[:, ::2] @ b, wide[:, ::2] @ b
    assert session.calls[1].saved == b.nbytes


def test_the_budget_holds():
    arrays = [rng.standard_normal((64, 64)).astype(np.float32) for _ in range(5)]
    size = arrays[0].nbytes
    with block(keep=3 * size) as session:
        shelf = current().lent
        for a in arrays:
            a @ arrays[0]
            assert shelf.bytes <= 3 * size
        a = arrays[0] @ arrays[1]  # the first one is used all the time, the second has left
    assert session.calls[-1].saved == size
    with block(keep=size // 2) as session:
        _ = arrays[0] @ arrays[1], arrays[0] @ arrays[1]
    assert totals(session)[1] == 0


def test_nothing_is_left_after_the_block():
    a = rng.standard_normal((64, 64))
    with block() as first:
        a @ a.copy()
        shelf = current().lent
        with block(keep=False):
            assert current().lent is None
        assert current().lent is shelf
    assert totals(first)[1] == 0
    with block() as second:
        a @ a.copy()
    assert totals(second)[1] == 0


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_sequence_of_products_and_changes(data):
    n = data.draw(st.sampled_from([3, 16, 65]))
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.complex64, np.complex128]))
    arrays = [rng.standard_normal((n, n)).astype(dtype) for _ in range(3)]
    index = st.integers(0, 2)
    with block(verify=True) as session:
        for _ in range(data.draw(st.integers(2, 8))):
            i, j = data.draw(index), data.draw(index)
            match data.draw(st.sampled_from(["product", "turned", "einsum", "change"])):
                case "product":
                    arrays[i] @ arrays[j]
                case "turned":
                    arrays[i].T @ arrays[j]
                case "einsum":
                    np.einsum("ij,kj->ik", arrays[i], arrays[j])
                case "change":
                    arrays[i][data.draw(st.integers(0, n - 1))] *= dtype(1.5)
    assert session.counts["failed"] == 0


def test_the_demo_with_and_without():
    water = load("water")
    without = demo.run(water, target="interpreter", min_work=0)
    result = demo.run(water, target="interpreter", min_work=0, keep=True)
    assert result.energies == without.energies
    (plain, _), (moved, saved) = totals(without.session), totals(result.session)
    assert moved + saved == plain
    assert saved > 0


@pytest.mark.parametrize("wrong", [-1, "much", 1.5, None, float("nan")])
def test_wrong_settings(wrong):
    with pytest.raises((TypeError, ValueError), match=r"keep= takes a number of bytes .*; got"):
        block(keep=wrong)


@pytest.mark.parametrize(("given", "size"), [(True, 2**32), (False, 0), ("1e6", 10**6), (4096, 4096), (0, 0)])
def test_settings(given, size):
    with block(keep=given):
        assert current().options.keep == size


VIEWS = {
    "plain": lambda x, n: x[: n * n].reshape(n, n),
    "overlapping": lambda x, n: x[n * n // 2 :][: n * n].reshape(n, n),
    "turned": lambda x, n: x[: n * n].reshape(n, n).T,
    "rows backwards": lambda x, n: x[: n * n].reshape(n, n)[::-1],
    "all backwards": lambda x, n: x[n * n - 1 :: -1].reshape(n, n),
    "with gaps": lambda x, n: x[: 2 * n * n].reshape(n, 2 * n)[:, ::2],
    "windows": lambda x, n: np.lib.stride_tricks.sliding_window_view(x[: 2 * n - 1], n),
    "one row": lambda x, n: np.broadcast_to(x[:n], (n, n)),
}
PRODUCTS = {
    "matmul": lambda a, b: a @ b,
    "with itself": lambda a, b: a @ a.T,
    "conjugate": lambda a, b: a.conj().T @ b,
    "einsum": lambda a, b: np.einsum("ij,kj->ik", a, b),
    "batch": lambda a, b: np.matmul(a.reshape(2, -1, a.shape[1]), b),
    "gemm": lambda a, b: blas.get_blas_funcs("gemm", (a, b))(2, a, b, trans_a=2),
    "trmm": lambda a, b: blas.get_blas_funcs("trmm", (a, b))(1, a, b, lower=1),
}


def history(seed, dtype, keep):
    """The bytes of products of views of two memories that change and move, and how they were made."""
    rng, n, found = np.random.default_rng(seed), 16, []

    def memory():
        real = rng.standard_normal((2, 2 * n * n)) * np.ldexp(1.0, -rng.integers(0, 12, (2, 2 * n * n)))
        real[:, rng.integers(0, 2 * n * n, n * n)] = 0
        return (real[0] + 1j * real[1] if np.dtype(dtype).kind == "c" else real[0]).astype(dtype)

    memories = [memory(), memory()]
    with block(keep=keep) as session:
        for _ in range(16):
            a, b = (
                list(VIEWS.values())[i](memories[rng.integers(2)], n) for i in rng.integers(0, len(VIEWS), 2)
            )
            name = list(PRODUCTS)[rng.integers(len(PRODUCTS))]
            found.append((name, PRODUCTS[name](a, b).tobytes()))
            match rng.integers(4):
                case 0:
                    memories[rng.integers(2)][rng.integers(n * n)] = 2.0**20
                case 1 if a.flags.writeable:
                    a[rng.integers(n)] *= -1
                case 2:
                    del a, b
                    place = rng.integers(2)
                    memories[place] = None  # the next one may get its address
                    memories[place] = memory()
    return found, [(call.route, call.slices, call.reason, call.bytes + call.saved) for call in session.calls]


@pytest.mark.parametrize("keep", [True, 20_000])  # the second makes room all the time
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_any_history_gives_what_it_gives_without(dtype, keep, monkeypatch):
    monkeypatch.setattr("numtrn.precision.guard.HOST_WORK", 256)  # the guard asks kernels, not NumPy
    for seed in range(2):
        assert history(seed, dtype, keep) == history(seed, dtype, False)
