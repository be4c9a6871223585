"""The array object: attributes, methods, elements, updates in place, scalars, copies, words."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn

DATA = np.arange(12.0).reshape(3, 4) - 3.5


@pytest.fixture
def x():
    return numtrn.asarray(DATA.copy())


@pytest.fixture(params=["plain", "recorded"])
def either(request):
    """An array with values, or one that is recorded, of the same values."""
    if request.param == "plain":
        yield numtrn.asarray(np.outer(np.arange(1.0, 6), np.arange(6.0) - 2))
        return
    with numtrn.enabled(target="interpreter", min_work=1):
        array = numtrn.asarray(np.arange(1.0, 6)[:, None]) @ numtrn.asarray(np.arange(6.0)[None] - 2)
        assert array._node() is not None
        yield array


OUTER = np.outer(np.arange(1.0, 6), np.arange(6.0) - 2)


def same(got, expected):
    if isinstance(expected, (np.ndarray, np.generic)):
        assert type(got) is numtrn.Array
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(np.asarray(got), expected)
    elif isinstance(expected, tuple):
        for one, other in zip(got, expected, strict=True):
            same(one, other)
    else:
        assert type(got) is type(expected)
        assert got == expected


# ---- Attributes and methods ----

ATTRIBUTES = ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "T", "real", "imag")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_ndarrays(name, either):
    same(getattr(either, name), getattr(OUTER, name))


METHODS = {
    "all": lambda x: x.all(axis=1),
    "any": lambda x: x.any(0, keepdims=True),
    "argmax": lambda x: x.argmax(),
    "argmin": lambda x: x.argmin(1),
    "argpartition": lambda x: x.argpartition(2),
    "argsort": lambda x: x.argsort(0),
    "astype": lambda x: x.astype(np.float32),
    "choose": lambda x: x.astype(int).clip(0, 1).choose([1.0, 2.0]),
    "clip": lambda x: x.clip(-1, 3),
    "clip from below": lambda x: x.clip(min=0),
    "compress": lambda x: x.compress([True, False, True], axis=0),
    "conj": lambda x: x.conj(),
    "conjugate": lambda x: (1j * x).conjugate(),
    "copy": lambda x: x.copy("F"),
    "cumprod": lambda x: x.cumprod(),
    "cumsum": lambda x: x.cumsum(axis=1),
    "diagonal": lambda x: x.diagonal(1),
    "dot": lambda x: x.dot(x.T),
    "flatten": lambda x: x.flatten("F"),
    "item": lambda x: x.item(1, 2),
    "max": lambda x: x.max(axis=0, initial=0),
    "mean": lambda x: x.mean(),
    "mean of an axis": lambda x: x.mean(1, np.float32),
    "min": lambda x: x.min(where=x > 0, initial=9),
    "nonzero": lambda x: x.nonzero(),
    "prod": lambda x: x.prod(0),
    "ptp": lambda x: np.ptp(x, 1),
    "ravel": lambda x: x.ravel("F"),
    "repeat": lambda x: x.repeat(2, axis=0),
    "reshape": lambda x: x.reshape(2, -1),
    "reshape by a tuple": lambda x: x.reshape((x.size, 1), order="F"),
    "round": lambda x: (x / 3).round(1),
    "searchsorted": lambda x: x.ravel().searchsorted([2, 3.5], "right"),
    "squeeze": lambda x: x[:, None].squeeze(1),
    "std": lambda x: x.std(1, ddof=1),
    "sum": lambda x: x.sum(axis=(0, 1), keepdims=True),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "take": lambda x: x.take([0, 2], 1),
    "tobytes": lambda x: x.T.tobytes(),
    "tolist": lambda x: x.tolist(),
    "trace": lambda x: x.trace(1),
    "transpose": lambda x: x.transpose(1, 0),
    "transpose by a tuple": lambda x: x.transpose((1, 0)),
    "var": lambda x: x.var(),
    "fill": lambda x: (x.fill(2), x)[1],
    "put": lambda x: (x.put([0, 3], 9), x)[1],
    "sort": lambda x: (x.sort(), x)[1],
    "sort of an axis": lambda x: (x.sort(axis=0, kind="stable"), x)[1],
    "partition": lambda x: (x.partition(1, 0), x)[1].min(),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_ndarrays(name, either):
    with np.errstate(all="ignore"):
        same(
            METHODS[name](either[:3] if name == "compress" else either),
            METHODS[name](OUTER[:3] if name == "compress" else OUTER.copy()),
        )


def test_every_method_of_ndarrays_is_there_or_says_where(x):
    shows_memory = {"base", "byteswap", "ctypes", "data", "dump", "dumps", "flags", "flat", "getfield"}
    shows_memory |= {"resize", "setfield", "setflags", "strides", "tofile", "view"}
    of_a_version = {"itemset", "newbyteorder", "tostring", "ptp"}
    missing = {name for name in dir(np.ndarray) if not name.startswith("_") and not hasattr(x, name)}
    assert missing - of_a_version == shows_memory
    with pytest.raises(AttributeError, match=r"numpy\.asarray\(x\)\.strides has it"):
        x.strides  # noqa: B018
    with pytest.raises(AttributeError, match="'Array' object has no attribute 'elephants'"):
        x.elephants  # noqa: B018


def test_matrix_transposes():
    stack = np.arange(24).reshape(2, 3, 4)
    same(numtrn.asarray(stack).mT, stack.swapaxes(1, 2))
    same(numtrn.asarray(stack).T, stack.T)
    with pytest.raises(ValueError, match="at least two axes; got 1"):
        numtrn.asarray([1, 2]).mT  # noqa: B018


def test_real_and_imag_can_be_assigned():
    z = np.array([1 + 2j, 3j])
    ours = numtrn.asarray(z.copy())
    for array in (ours, z):
        array.real = [5, 6]
        array.imag = numtrn.asarray(7.0) if array is ours else 7.0
    same(ours, z)


def test_the_namespace_and_its_versions(x):
    assert x.__array_namespace__() is numtrn.array_api
    for version in ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12"):
        assert x.__array_namespace__(api_version=version) is numtrn.array_api
    with pytest.raises(ValueError, match=r"2021.12, .*2025.12; got '1999.12'"):
        x.__array_namespace__(api_version="1999.12")


# ---- Elements ----

KEYS = {
    "an integer": 1,
    "a negative one": -1,
    "all axes": (1, -2),
    "a slice": slice(None, None, -2),
    "two slices": (slice(1, 3), slice(0, 4, 3)),
    "ellipsis": ...,
    "ellipsis and an integer": (..., 2),
    "a new axis": (None, slice(None), None, 1),
    "a mask": DATA > 0,
    "a mask of rows": np.array([True, False, True]),
    "a list": [2, 0],
    "integers": np.array([[2, 0], [1, 1]]),
    "two of integers": (np.array([2, 0]), np.array([1, 3])),
    "an integer without axes": np.array(2),
    "integers and a slice": (np.array([0, 2]), slice(1, 3)),
    "nothing": (),
    "a slice of integers without axes": slice(np.array(0), np.array(2)),
}


def wrapped(key):
    if isinstance(key, np.ndarray):
        return numtrn.asarray(key)
    if isinstance(key, tuple):
        return tuple(map(wrapped, key))
    if isinstance(key, slice):
        return slice(*map(wrapped, (key.start, key.stop, key.step)))
    return key


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("wrap", [wrapped, lambda key: key], ids=["ours", "numpys"])
def test_elements(name, wrap, x):
    key, expected = KEYS[name], DATA.copy()
    same(x[wrap(key)], expected[key])
    x[wrap(key)] = numtrn.asarray(7.0)
    expected[key] = 7
    same(x, expected)
    x[wrap(key)] = numtrn.asarray(expected[key] * 2)
    expected[key] = expected[key] * 2
    same(x, expected)


def test_views_share_memory_and_scalars_do_not(x):
    row, turned, element, everything = x[1], x.T, x[0, 0], x[...]
    x[...] = 0
    assert not row.any()
    assert not turned.any()
    assert not everything.any()
    assert float(element) == -3.5


def test_iteration_length_and_membership(x):
    same(tuple(x), tuple(DATA))
    same(tuple(x[0]), tuple(DATA[0]))
    assert len(x) == 3
    assert -3.5 in x
    assert numtrn.asarray(0.5) in x
    assert 100 not in x
    for wrong in (len, iter):
        with pytest.raises(TypeError):
            wrong(numtrn.asarray(1.0))
    a, b, c = numtrn.asarray([1, 2, 3])
    assert (int(a), int(b), int(c)) == (1, 2, 3)
    assert max(numtrn.asarray([1, 3, 2])).shape == ()
    assert float(sum(x[0])) == DATA[0].sum()


def test_arrays_are_not_hashed(x):
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


# ---- In place ----

INPLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod)
INPLACE += (operator.ipow,)


@pytest.mark.parametrize("call", INPLACE, ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [2, 2.5, np.float32(3), np.arange(1.0, 5), numtrn.asarray(4.0)], ids=repr)
def test_updates_in_place(call, other, either):
    before, other = OUTER[:, :4].copy(), other
    array = either[:, :4]
    view = array.T
    with np.errstate(all="ignore"):
        assert call(array, other) is array
        call(before, np.asarray(other))
    same(array, before)
    same(view, before.T)


@pytest.mark.parametrize(
    "call", [operator.ilshift, operator.irshift, operator.iand, operator.ior, operator.ixor]
)
def test_updates_of_bits_in_place(call):
    x, ours = np.arange(8), numtrn.asarray(np.arange(8))
    assert call(ours, 2) is ours
    same(ours, call(x, 2))
    with pytest.raises(TypeError):
        call(numtrn.asarray([1.0]), 2)


def test_a_product_in_place():
    x, y = np.arange(9.0).reshape(3, 3), np.eye(3)[::-1].copy()
    ours = array = numtrn.asarray(x.copy())
    array @= y
    assert array is ours
    same(array, x @ y)
    row = numtrn.asarray(x[0].copy())
    row @= y
    same(row, x[0] @ y)
    for call in (lambda a: operator.imatmul(a, y[0]), lambda a: operator.imatmul(a, np.ones((3, 2)))):
        for array in (x.copy(), ours):
            with pytest.raises(ValueError):
                call(array)
    same(ours, x @ y)  # nothing half written


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32, np.complex64])
def test_the_conjugate_of_a_real_array_is_itself(dtype):
    array = np.ones(3, dtype)
    ours = numtrn.asarray(array.copy())
    assert (ours.conj() is ours) is (array.conj() is array)
    same(ours.conjugate(), array.conjugate())


@pytest.mark.parametrize("call", INPLACE, ids=lambda f: f.__name__)
def test_updates_keep_type_and_shape(call):
    integers, row = numtrn.asarray([1, 2, 3]), numtrn.asarray([1.0, 2.0])
    with pytest.raises(TypeError):
        call(integers, 2.5)
    with pytest.raises(ValueError):
        call(row, np.ones((3, 2)))
    assert integers.tolist() == [1, 2, 3]
    assert row.tolist() == [1.0, 2.0]


def test_updates_of_elements_and_views(x):
    expected = DATA.copy()
    for array in (x, expected):
        array[0] += 1
        array[:, 1] //= 2
        array[array > 2] *= 3
        turned = array.T
        turned -= 1
    same(x, expected)


def test_an_update_changes_the_callers_memory():
    mine = np.zeros(3)
    ours = numtrn.asarray(mine)
    ours += 1
    assert mine.tolist() == [1, 1, 1]


def test_an_array_that_cannot_be_written_says_so():
    with pytest.raises(ValueError, match="read-only"):
        numtrn.asarray(np.broadcast_to(1.0, 3)).fill(2)


# ---- Operators where the standard is not NumPy ----

INF, NAN = np.inf, np.nan
DIVISIONS = [
    (INF, 2.0, INF), (INF, -2.0, -INF), (-INF, 2.0, -INF), (-INF, -2.0, INF), (INF, INF, NAN),
    (2.0, INF, 0.0), (-2.0, INF, -0.0), (2.0, -INF, -0.0), (-2.0, -INF, 0.0), (0.0, 2.0, 0.0),
    (-0.0, 2.0, -0.0), (0.0, INF, 0.0), (NAN, 2.0, NAN), (5.0, 2.0, 2.0), (-5.0, 2.0, -3.0),
]  # fmt: skip


def is_same_float(x, y):
    return (math.isnan(x) and math.isnan(y)) or (x == y and math.copysign(1, x) == math.copysign(1, y))


@pytest.mark.parametrize(("p", "q", "expected"), DIVISIONS)
def test_floor_division_at_infinities(p, q, expected):
    x, y = numtrn.asarray([p]), numtrn.asarray([q])
    with np.errstate(all="ignore"):
        updated = x.copy()
        updated //= y
        for got in (x // y, x // q, p // y, updated, divmod(x, y)[0]):
            assert is_same_float(got.item(), expected), got
        numpys = np.floor_divide(np.array([p]), np.array([q]))
        same(np.floor_divide(x, y), numpys)


def test_floor_division_of_integers_is_numpys():
    x = np.array([7, -7, 0], np.int8)
    same(numtrn.asarray(x) // 2, x // 2)
    same(numtrn.asarray(x) % -3, x % -3)


# ---- Without axes ----


def test_0d_arrays_stand_where_scalars_do():
    half, two = numtrn.asarray(2.5), numtrn.asarray(2)
    assert (float(half), int(half), complex(half), bool(half)) == (2.5, 2, 2.5 + 0j, True)
    assert [list("abcd")[two], list(range(two))] == ["c", [0, 1]]
    assert (f"{half:.3f}", f"{half}", f"{two:>3d}", f"{half:%}") == ("2.500", "2.5", "  2", "250.000000%")
    assert ("%g" % half, "%d" % two, str(half)) == ("2.5", "2", "2.5")  # noqa: UP031
    assert (round(half), round(numtrn.asarray(2.567), 1).item()) == (2, 2.6)
    assert (math.sqrt(numtrn.asarray(4.0)), math.floor(half), math.ceil(half), math.trunc(half)) == (
        2.0,
        2,
        3,
        2,
    )
    assert half > two
    assert sorted([half, two])[0] is two
    assert not numtrn.asarray(0.0)
    assert half.item() == half.tolist() == 2.5
    assert complex(numtrn.asarray(1 + 2j)) == 1 + 2j
    with pytest.raises(TypeError):
        operator.index(half)
    with pytest.raises(TypeError):
        float(numtrn.asarray(1 + 2j))


def test_arrays_with_axes_are_no_scalars(x):
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError):
        float(x)
    with pytest.raises(TypeError):
        f"{x:.3f}"
    same(round(x / 3, 1), np.round(DATA / 3, 1))


SCALARS = {
    "an element": lambda x: x[1, 2],
    "a sum": lambda x: np.sum(x),
    "a norm": lambda x: np.linalg.norm(x),
    "a product": lambda x: np.vdot(x, x),
    "einsum": lambda x: np.einsum("ij,ij", x, x),
    "a vector's product": lambda x: x[0] @ x[1],
    "a ufunc": lambda x: np.exp(x[0, 0]),
    "an operator": lambda x: x[0, 0] * 2,
    "a comparison": lambda x: x[0, 0] < 2,
    "a place": lambda x: np.argmax(x),
    "a method": lambda x: x.mean(),
}


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("block", [False, True])
def test_results_without_axes_are_arrays(name, block, x):
    expected = SCALARS[name](DATA)
    if block:
        with numtrn.enabled(target="interpreter", min_work=0):
            got = SCALARS[name](x)
    else:
        got = SCALARS[name](x)
    assert type(got) is numtrn.Array
    assert (got.shape, got.dtype) == ((), expected.dtype)
    assert got.item() == pytest.approx(expected, rel=1e-13)


def test_answers_of_python_are_pythons(x):
    for got, expected in (
        (np.ndim(x), 2),
        (np.shape(x), (3, 4)),
        (np.size(x), 12),
        (np.allclose(x, DATA), True),
        (np.array_equal(x, DATA), True),
        (np.iscomplexobj(x), False),
        (np.result_type(x), np.dtype(float)),
    ):
        assert type(got) is type(expected)
        assert got == expected


# ---- Copies, pickles, words ----


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("data", [DATA, np.array(2.5), np.zeros((0, 3), np.uint8), np.array([1 + 2j])])
@pytest.mark.parametrize("device", ["cpu", "interpreter:0"])
def test_pickles(protocol, data, device):
    got = pickle.loads(pickle.dumps(numtrn.asarray(data, device=device), protocol))
    same(got, data)
    assert got.device == device
    got.fill(0)  # its own memory


class Named(numtrn.Array):
    """A subclass with an attribute."""


def test_pickles_of_subclasses():
    named = Named(DATA.copy())
    named.name = "integrals"
    got = pickle.loads(pickle.dumps(named))
    assert type(got) is Named
    assert got.name == "integrals"
    assert got.tolist() == DATA.tolist()


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "method": lambda x: x.copy(),
    "function": np.copy,
    "asarray": lambda x: numtrn.asarray(x, copy=True),
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=list(COPIES))
def test_copies(copied, either):
    got = copied(either)
    assert got is not either
    either[...] = 0
    same(got, OUTER)


def test_words():
    x = numtrn.asarray([1.0, 2.0])
    assert (repr(x), str(x), f"{x}") == ("numtrn.array([1., 2.])", "[1. 2.]", "[1. 2.]")
    assert repr(numtrn.asarray(2.5)) == "numtrn.array(2.5)"
    assert repr(x.to_device("interpreter:0")) == "numtrn.array([1., 2.], device='interpreter:0')"
    assert repr(numtrn.asarray([1], np.int8)) == "numtrn.array([1], dtype=int8)"


# ---- Made of what ----


def test_asarray_of_everything():
    mine = np.arange(3.0)
    assert np.shares_memory(np.asarray(numtrn.asarray(mine)), mine)
    assert not np.shares_memory(np.asarray(numtrn.asarray(mine, copy=True)), mine)
    assert numtrn.asarray(mine, np.float32).dtype == np.float32
    assert numtrn.asarray(3).dtype == np.asarray(3).dtype
    assert numtrn.asarray([[1, 2.5]]).shape == (1, 2)
    assert numtrn.asarray(memoryview(b"abc")).tolist() == [97, 98, 99]
    x = numtrn.asarray(mine)
    assert numtrn.asarray(x) is x
    assert numtrn.asarray(x, copy=False) is x
    assert numtrn.asarray(x, np.float32).dtype == np.float32


class Producer:
    """An array of another library, which has DLPack only."""

    def __init__(self, data):
        self.data = data

    def __dlpack__(self, **given):
        return self.data.__dlpack__(**given)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()


def test_asarray_takes_dlpack():
    mine = np.arange(3.0)
    got = numtrn.asarray(Producer(mine))
    assert got.tolist() == [0, 1, 2]
    assert np.shares_memory(np.asarray(got), mine)
    assert not np.shares_memory(np.asarray(numtrn.asarray(Producer(mine), copy=True)), mine)


@pytest.mark.parametrize("make", [
    lambda: numtrn.asarray([1.0], copy=False),
    lambda: numtrn.asarray(np.ones(2), np.float32, copy=False),
    lambda: numtrn.asarray(numtrn.asarray([1.0]), np.float32, copy=False),
    lambda: numtrn.asarray(np.ones(2), device="interpreter:0", copy=False),
])  # fmt: skip
def test_a_copy_that_is_forbidden_is_an_error(make):
    with pytest.raises(ValueError, match="copy=False"):
        make()


# ---- Arrays of any shape ----

shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@settings(deadline=None)
@given(shapes, shapes, st.sampled_from([operator.add, operator.floordiv, operator.mod, operator.le]))
def test_operators_broadcast_as_numpys(first, second, call):
    p, q = np.arange(np.prod(first)).reshape(first), 1.5 + np.arange(np.prod(second)).reshape(second)
    try:
        expected = call(p, q)
    except ValueError:
        with pytest.raises(ValueError):
            call(numtrn.asarray(p), numtrn.asarray(q))
        return
    same(call(numtrn.asarray(p), numtrn.asarray(q)), np.asarray(expected))


@settings(deadline=None)
@given(shapes, st.data())
def test_slices_are_views_and_updates_go_through_them(shape, data):
    expected = np.arange(float(np.prod(shape))).reshape(shape)
    x = numtrn.asarray(expected.copy())
    cuts = st.slices(4)
    key = tuple(data.draw(cuts) for _ in shape)
    part, numpys = x[key], expected[key]
    same(part, numpys)
    part += 1
    if shape:
        numpys += 1
    same(part, np.asarray(numpys) if shape else numpys + 1)
    same(x, expected)
