"""Where the values of numtrn arrays are: moved once, when somebody asks, and never stale."""

import pickle
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn
from tests.bounded import Bounded

rng = np.random.default_rng(5)


def values(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def block(**options):
    return numtrn.enabled(target="interpreter", min_work=0, **options)


def moved(session):
    return sum(call.bytes for call in session.calls)


PRODUCTS = {
    "@": lambda a, b: a @ b,
    "matmul": np.matmul,
    "dot": np.dot,
    "method": lambda a, b: a.dot(b),
    "tensordot": lambda a, b: np.tensordot(a, b, 1),
    "einsum": lambda a, b: np.einsum("ij,jk->ik", a, b),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_chain_of_ten_moves_each_operand_once_and_the_result_once(name):
    matrices = [values(1024, 1024) for _ in range(11)]
    multiply = PRODUCTS[name]
    with block() as session:
        product = numtrn.asarray(matrices[0])
        for matrix in matrices[1:]:
            product = multiply(product, numtrn.asarray(matrix))
        assert product.shape == (1024, 1024)
        assert product.dtype == np.float32
        assert product.residency == ("interpreter:0",)
        assert moved(session) == 11 * matrices[0].nbytes
        got = np.asarray(product)
    assert moved(session) == 12 * matrices[0].nbytes
    assert session.counts == {"kernel": 10, "numpy": 0, "failed": 0, "small": 0}
    with block():
        plain = matrices[0]
        for matrix in matrices[1:]:
            plain = multiply(plain, matrix)
    assert got.tobytes() == plain.tobytes()


def test_residency_says_where_values_are():
    a, b = numtrn.asarray(values(64, 64), copy=True), numtrn.asarray(values(64, 64), copy=True)
    assert a.residency == ("cpu",)
    with block():
        c = a @ b
    assert a.residency == ("cpu", "interpreter:0")
    assert c.residency == ("interpreter:0",)
    c.sum()
    assert c.residency == ("cpu", "interpreter:0")
    c[0] = 1
    assert c.residency == ("cpu",)
    with block():
        assert numtrn.asarray(values(2, 3)).copy().residency == ("cpu",)
        outer = numtrn.asarray(values(40, 3)) @ numtrn.asarray(values(3, 40))
        assert outer.residency == ()  # recorded, not computed


def test_an_operand_of_twenty_products_is_moved_once():
    shared = numtrn.asarray(values(128, 128), copy=True)
    with block() as session:
        results = [shared @ numtrn.asarray(values(128, 128)) for _ in range(20)]
        assert moved(session) == 21 * shared.nbytes
    assert all(x.residency == ("interpreter:0",) for x in results)


CHANGES = {
    "element": lambda x: x.__setitem__((0, 0), 7),
    "slice": lambda x: x.__setitem__(slice(1, 3), 2.5),
    "in place": lambda x: x.__iadd__(1),
    "view": lambda x: x.T.__setitem__((2, 1), 9),
    "view of a view": lambda x: x[1:][:, ::2].__imul__(3),
    "row": lambda x: x[3].__setitem__(1, 4),
    "reshaped": lambda x: x.reshape(-1).__setitem__(5, -1),
    "ravel": lambda x: np.ravel(x).fill(0.25),
    "out": lambda x: np.exp(x, out=x),
    "out of a view": lambda x: np.negative(x[::2], out=x[::2]),
    "ufunc.at": lambda x: np.add.at(x, (0, 0), 3),
    "copyto": lambda x: np.copyto(x, 3.5),
    "put": lambda x: np.put(x, [1, 2], [5, 6]),
    "fill_diagonal": lambda x: np.fill_diagonal(x, 2),
    "sort": lambda x: x.sort(axis=0),
    "fill": lambda x: x.fill(1.5),
    "ndarray of it": lambda x: np.asarray(x).__setitem__((1, 1), 8),
    "ndarray of a view": lambda x: np.asarray(x.T).__setitem__((1, 2), 8),
    "dlpack": lambda x: np.from_dlpack(x) * 1,
    "split": lambda x: np.split(x, 2)[1].__iadd__(2),
    "diagonal by einsum": lambda x: np.einsum("ii->i", x).__iadd__(2),
    "matmul out": lambda x: np.matmul(x.copy(), x.copy(), out=x),
    "broadcast": lambda x: np.broadcast_to(x[0], (3, 64)).sum(),
    "median": lambda x: np.median(x, None, None, True),
    "percentile": lambda x: np.percentile(x, 50, None, None, overwrite_input=True),
    "nan_to_num": lambda x: (x.fill(np.nan), np.nan_to_num(x, False, 3)),
    "@=": lambda x: x.__imatmul__(np.eye(64, dtype=x.dtype)[::-1]),
    "real": lambda x: np.real(x).__setitem__((0, 1), 5),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("state", ["host", "result"])
def test_what_is_changed_is_not_taken_for_what_it_was(name, dtype, state):
    data, other = values(64, 64, dtype=dtype), values(64, 64, dtype=dtype)
    eye = np.eye(64, dtype=dtype)
    with block():
        x = numtrn.asarray(data, copy=True)
        if state == "result":
            x = x @ numtrn.asarray(eye)
        before = np.array(x.copy())
        first = np.array(x.copy() @ numtrn.asarray(other))
        x @ numtrn.asarray(other)  # now the target has it
        CHANGES[name](x)
        got = np.array(x @ numtrn.asarray(other))
        later = np.array((x @ numtrn.asarray(eye)) @ numtrn.asarray(other))
    after = before.copy()
    with np.errstate(all="ignore"):
        CHANGES[name](after)
    unit, factor = Bounded.of(eye), Bounded.of(other)
    (Bounded.of(data) @ unit).check(before)
    (Bounded.of(before) @ factor).check(first)
    (Bounded.of(after) @ factor).check(got)
    (Bounded.of(after) @ unit @ factor).check(later)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_a_vector_is_a_column_and_a_row(dtype):
    vector, matrix = values(3, dtype=dtype), values(3, 3, dtype=np.float64)
    x = numtrn.asarray(vector, copy=True)
    with block():
        column = numtrn.asarray(matrix) @ x
        row = (x[np.newaxis, np.newaxis] @ numtrn.asarray(matrix[np.newaxis]))[0]
        again = numtrn.asarray(matrix) @ x[:, np.newaxis]
    np.testing.assert_allclose(np.asarray(column), matrix @ vector, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(row), vector[np.newaxis] @ matrix, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(again), matrix @ vector[:, np.newaxis], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_of_the_caller_is_read_each_time(dtype):
    data, other = values(64, 64, dtype=dtype), numtrn.asarray(values(64, 64, dtype=dtype))
    x = numtrn.asarray(data)  # no copy
    with block():
        x @ other
        data *= 2
        got = np.asarray(x @ other)
    factor = Bounded.of(np.asarray(other))
    (Bounded.of(data) @ factor).check(got)
    given_away = numtrn.asarray(data, copy=True)
    memory = np.asarray(given_away)
    with block():
        given_away @ other
        memory += 1
        got = np.asarray(given_away @ other)
    (Bounded.of(memory) @ factor).check(got)


def stays(x):
    """Whether the target remembers an array after a product."""
    with block():
        np.asarray(x @ numtrn.asarray(values(64, 64)))
    return "interpreter:0" in x.residency


LENT = {
    "atleast_1d": lambda x, a: np.atleast_1d(x, a)[1],
    "broadcast_arrays": lambda x, a: np.broadcast_arrays(x, a)[1],
    "asarray": lambda x, a: np.asarray(a, like=x),
    "view": lambda x, a: np.atleast_3d(x, a)[1][:, :, 0],
    "callback": lambda x, a: np.apply_over_axes(lambda *_: a, x, [0]),
    "array_like": lambda x, a: np.atleast_1d(x, memoryview(a))[1],
}


@pytest.mark.parametrize("name", LENT)
def test_what_a_function_gives_of_the_callers_is_the_callers(name):
    data = values(64, 64)
    given = LENT[name](numtrn.asarray(values(64, 64)), data)
    assert np.shares_memory(np.asarray(given), data)
    given = LENT[name](numtrn.asarray(values(64, 64)), data)
    assert not stays(given)


def test_memory_that_a_callback_has_seen_is_the_callers_too():
    seen, x = [], numtrn.asarray(values(64, 64), copy=True)
    np.apply_along_axis(lambda row: seen.append(row) or row.sum(), 1, x)
    assert np.shares_memory(seen[0], np.asarray(x))
    assert not stays(x)


def test_an_array_in_an_array_of_objects_is_the_callers_too():
    data, holder = values(64, 64), np.empty(1, object)
    holder[0] = data
    x = numtrn.asarray(holder)[0]
    assert np.shares_memory(np.asarray(x), data)
    assert not stays(numtrn.asarray(holder)[0])


def test_a_pickle_out_of_band_shares_memory():
    buffers, x = [], numtrn.asarray(values(64, 64), copy=True)
    pickled = pickle.dumps(x, protocol=5, buffer_callback=buffers.append)
    y = pickle.loads(pickled, buffers=buffers)
    assert not stays(x)
    assert not stays(y)
    assert np.shares_memory(np.asarray(x), np.asarray(y))


def test_a_copy_that_reshape_makes_has_memory_of_its_own():
    x, other = numtrn.asarray(values(64, 64), copy=True), values(64, 64)
    with block():
        copied = x.T.reshape(32, 128).reshape(64, 64)
        view = copied[:]
        view @ numtrn.asarray(other)
        copied[0] = 1
        got = np.array(view @ numtrn.asarray(other))
    (Bounded.of(np.asarray(copied)) @ Bounded.of(other)).check(got)


def test_an_array_on_a_device_has_memory_of_its_own():
    data, other = values(64, 64), values(64, 64)
    x = numtrn.asarray(data, device="interpreter:0")
    data[:] = 0
    assert x.device == "interpreter:0"
    with block() as session:
        for _ in range(3):
            y = x @ numtrn.asarray(other, device="interpreter:0")
            assert y.device == "interpreter:0"
        assert moved(session) == 4 * data.nbytes
    assert np.asarray(x).any()


def test_views_of_a_result_stay_where_it_is():
    a, b, c = (values(128, 192), values(192, 128), values(128, 128))
    with block() as session:
        x = numtrn.asarray(a) @ numtrn.asarray(b)
        before = moved(session)
        views = [x.T, np.transpose(x), x.mT, np.swapaxes(x, 0, 1), np.moveaxis(x, 0, 1)]
        assert all(v.residency == ("interpreter:0",) for v in views)
        assert np.shape(x) == x.shape == (128, 128)
        assert np.zeros_like(x).shape == (128, 128)
        assert x.reshape(-1).shape == (128 * 128,)
        assert moved(session) == before
        got = views[0] @ numtrn.asarray(c)
        assert moved(session) == before + c.nbytes
        ((Bounded.of(a) @ Bounded.of(b)).mT @ Bounded.of(c)).check(got)
        views[0][0, 1] = 77  # a view of the same memory, once it is there
        assert float(x[1, 0]) == 77
        assert float(views[3][0, 1]) == 77
        (Bounded.of(np.asarray(x)) @ Bounded.of(c)).check(x @ numtrn.asarray(c))


def test_copies_of_a_result_are_their_own():
    with block() as session:
        x = numtrn.asarray(values(64, 64)) @ numtrn.asarray(values(64, 64))
        before = moved(session)
        y = x.copy()
        z = y.to_device("interpreter:0")
        assert moved(session) == before
        assert (y.residency, z.device) == (("interpreter:0",), "interpreter:0")
        y[:] = 0
        assert moved(session) == before + x.nbytes
        assert np.asarray(x).all()
        assert moved(session) == before + 2 * x.nbytes
        assert np.asarray(z).tobytes() == np.asarray(x).tobytes()


def test_a_result_comes_after_its_block():
    with block() as session:
        x = numtrn.asarray(values(64, 64)) @ numtrn.asarray(values(64, 64))
        before = moved(session)
    again = pickle.loads(pickle.dumps(x))
    assert moved(session) == before + x.nbytes
    assert np.asarray(again).tobytes() == np.asarray(x).tobytes()
    assert repr(x).startswith("numtrn.array(")


def test_what_may_overflow_is_numpys_as_before():
    big = numtrn.asarray(np.full((64, 64), 2.0**100, np.float32))
    with block() as session, np.errstate(over="ignore"):
        product = big @ big
    assert np.isinf(np.asarray(product)).all()
    assert [call.route for call in session.calls] == ["numpy"]


@settings(max_examples=40)
@given(st.data())
def test_any_mixture_is_as_numpys(data):
    """Chains of products, views, in-place changes and sums, beside the same in float64."""
    n = data.draw(st.sampled_from([16, 48, 64, 130]))
    hosts = [values(n, n, dtype=np.float32) / np.float32(n) for _ in range(3)]
    ours = [numtrn.asarray(x, copy=True) for x in hosts]
    hosts = [Bounded.of(x) for x in hosts]
    index = st.integers(0, 2)
    with block():
        for _ in range(data.draw(st.integers(1, 8))):
            i, j, k = (data.draw(index) for _ in range(3))
            match data.draw(st.sampled_from(["product", "turned", "change", "view", "sum", "copy", "add"])):
                case "product":
                    hosts[k], ours[k] = hosts[i] @ hosts[j], ours[i] @ ours[j]
                case "turned":
                    hosts[k], ours[k] = hosts[i].mT @ hosts[j], ours[i].T @ ours[j]
                case "change":
                    for x in (hosts[i], ours[i]):
                        x[1, 2:5] = 0.5
                case "view":
                    hosts[k], ours[k] = hosts[i].mT, ours[i].T
                case "sum":
                    hosts[i].sum(0).check(ours[i].sum(0))
                case "copy":
                    hosts[k], ours[k] = hosts[i].copy(), ours[i].copy()
                case "add":
                    total = hosts[i] + hosts[j]
                    hosts[i].value[:], hosts[i].off[:] = total.value, total.off
                    ours[i] += ours[j]
    for x, y in zip(hosts, ours, strict=True):
        x.check(y)


def test_the_page_on_residency_says_what_is_so(capsys):
    page = (Path(__file__).parents[1] / "docs" / "residency.md").read_text()
    lines = page.split("moment is another matter", 1)[1].split("\n\n")[1:4]
    code = textwrap.dedent("\n".join(part for part in lines if part.startswith("    ")))
    exec(compile(code, "docs/residency.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    said = re.findall(r"print\(.*\) +# (.*)", code)
    assert printed == said
    assert len(said) == 2
