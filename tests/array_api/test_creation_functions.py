"""Creation: whose memory, which type, which device, and NumPy's values."""

import array
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numtrn
from numtrn import array_api as xp


def same(x, expected, dtype=None):
    expected = np.asarray(expected, dtype)
    assert isinstance(x, numtrn.Array)
    assert x.dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(x), expected)


# ---- asarray ----

DATA = [
    (True, "bool"),
    (3, "int64"),
    (2.5, "float64"),
    (1j, "complex128"),
    ([], "float64"),
    ([True, 2], "int64"),
    ([[1, 2.5], [True, 4]], "float64"),
    ((1, 2j), "complex128"),
    ([[], []], "float64"),
    (np.float32(3), "float32"),
    (np.ones((2, 2), "c8"), "complex64"),
    (array.array("h", [1, 2]), "int16"),
    (b"ab", "uint8"),
    (bytearray(b"ab"), "uint8"),
    (memoryview(np.ones(3)), "float64"),
]


@pytest.mark.parametrize(("data", "dtype"), DATA)
def test_asarray_of_data(data, dtype):
    expected = np.frombuffer(data, "u1") if isinstance(data, bytes) else np.asarray(data)
    same(xp.asarray(data), expected, dtype)


def test_asarray_of_sequences_with_arrays():
    x = xp.asarray([1, 2], device="interpreter:0")
    found = xp.asarray([x, [3, x[0]]])
    same(found, [[1, 2], [3, 1]])
    assert found.device == "interpreter:0"
    with pytest.raises(ValueError, match="must be on one device"):
        xp.asarray([x, xp.asarray([1, 2])])


@pytest.mark.parametrize("data", [2**63, [2**64], [[1, -(2**63) - 1]], [2**63, -1], [2**200]])
def test_integers_beyond_int64_need_a_type(data):
    with pytest.raises(OverflowError):
        xp.asarray(data)
    with pytest.raises(OverflowError):
        xp.full(3, data) if isinstance(data, int) else xp.asarray(data, dtype=xp.int64)
    if np.min(data) > 0 and np.max(data) < 2**64:
        same(xp.asarray(data, dtype=xp.uint64), data, "u8")
    same(xp.asarray(data, dtype=xp.float64), data, "f8")


@pytest.mark.parametrize("data", ["text", [None], [[1], [2, 3]], np.ones(2, "f2"), np.array(["a"]), object()])
def test_other_data_are_refused(data):
    with pytest.raises((TypeError, ValueError)):
        xp.asarray(data)


def test_masks_are_not_lost():
    with pytest.raises(TypeError, match="mask"):
        xp.asarray(np.ma.masked_array([1.0, 2.0], [True, False]))


def test_complex_data_become_no_real_ones():
    for data in ([1j], np.ones(2, "c8"), xp.ones(2, dtype=xp.complex64)):
        with pytest.raises(TypeError, match="complex data cannot become float32"):
            xp.asarray(data, dtype=xp.float32)


def test_memory_is_the_caller_s_unless_asked_otherwise():
    for data, view in ((np.zeros(3), None), (bytearray(3), np.uint8), (array.array("d", [0, 0, 0]), float)):
        memory = data if view is None else np.frombuffer(data, view)
        shared, never, copied = xp.asarray(data), xp.asarray(data, copy=False), xp.asarray(data, copy=True)
        memory[0] = 5
        assert [int(x[0]) for x in (shared, never, copied)] == [5, 5, 0]


def test_copies_that_are_forbidden():
    x, data = xp.zeros(3), np.zeros(3)
    assert xp.asarray(x) is xp.asarray(x, copy=False) is x
    assert xp.asarray(x, copy=True) is not x
    for bad in (
        lambda: xp.asarray([1.0], copy=False),
        lambda: xp.asarray(1.0, copy=False),
        lambda: xp.asarray(data, dtype=xp.float32, copy=False),
        lambda: xp.asarray(x, dtype=xp.float32, copy=False),
        lambda: xp.asarray(x, device="interpreter:0", copy=False),
        lambda: xp.asarray(data, device="interpreter:0", copy=False),
        lambda: xp.asarray(data.astype(">f8"), copy=False),
    ):
        with pytest.raises(ValueError, match="copy"):
            bad()


def test_other_byte_orders_become_native():
    same(xp.asarray(np.arange(3, dtype=">i4")), [0, 1, 2], "i4")


class Producer:
    """Another library's array: DLPack and nothing else."""

    def __init__(self, data):
        self.data = data

    def __dlpack__(self, **settings):
        return self.data.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self.data.__dlpack_device__()


@pytest.mark.parametrize("function", [xp.from_dlpack, xp.asarray])
def test_dlpack(function):
    data = np.arange(3.0)
    shared, copied, moved = (
        function(Producer(data)),
        function(Producer(data), copy=True),
        function(Producer(data), device="interpreter:0"),
    )
    data[0] = 5.0
    assert [float(x[0]) for x in (shared, copied, moved)] == [5.0, 0.0, 0.0]
    assert [x.device for x in (shared, copied, moved)] == ["cpu", "cpu", "interpreter:0"]
    with pytest.raises(ValueError, match="copy"):
        function(Producer(data), device="interpreter:0", copy=False)


def test_dlpack_of_our_own_and_of_others():
    x = xp.asarray([1.0], device="interpreter:0")
    assert xp.from_dlpack(x, copy=False).device == "interpreter:0"
    assert xp.from_dlpack(x, device="cpu").device == "cpu"
    with pytest.raises(AttributeError):
        xp.from_dlpack([1.0])


# ---- Of a shape, of a rule ----

MADE = [
    (lambda **k: xp.zeros((2, 3), **k), np.zeros((2, 3))),
    (lambda **k: xp.ones(3, **k), np.ones(3)),
    (lambda **k: xp.full((2, 0), 4, **k), np.full((2, 0), 4)),
    (lambda **k: xp.full((), 2.5, **k), np.array(2.5)),
    (lambda **k: xp.full(2, True, **k), np.array([True, True])),
    (lambda **k: xp.eye(2, 3, k=1, **k), np.array([[0.0, 1, 0], [0, 0, 1]])),
    (lambda **k: xp.eye(2, k=-5, **k), np.zeros((2, 2))),
    (lambda **k: xp.arange(4, **k), np.array([0, 1, 2, 3])),
    (lambda **k: xp.arange(5, 1, **k), np.array([], int)),
    (lambda **k: xp.arange(5, 0, -2, **k), np.array([5, 3, 1])),
    (lambda **k: xp.arange(0.0, 2, 0.5, **k), np.array([0, 0.5, 1, 1.5])),
    (lambda **k: xp.linspace(0, 1, 5, **k), np.array([0, 0.25, 0.5, 0.75, 1])),
    (lambda **k: xp.linspace(0, 1, 4, endpoint=False, **k), np.array([0, 0.25, 0.5, 0.75])),
    (lambda **k: xp.linspace(0, 2j, 3, **k), np.array([0, 1j, 2j])),
    (lambda **k: xp.linspace(1, 2, 0, **k), np.array([])),
    (lambda **k: xp.linspace(1, 2, 1, **k), np.array([1.0])),
]


@pytest.mark.parametrize(("function", "expected"), MADE)
def test_made(function, expected):
    same(function(), expected)
    wanted = xp.complex64 if expected.dtype.kind == "c" else xp.float32
    found = function(dtype=wanted, device="interpreter:0")
    same(found, expected, wanted)
    assert found.device == "interpreter:0"


def test_empty_and_likes():
    x = xp.ones((2, 3), dtype=xp.int8, device="interpreter:0")
    for function in (xp.empty_like, xp.zeros_like, xp.ones_like, lambda y, **k: xp.full_like(y, 3, **k)):
        for settings, dtype, device in (
            ({}, xp.int8, "interpreter:0"),
            ({"dtype": xp.float64, "device": "cpu"}, xp.float64, "cpu"),
        ):
            found = function(x, **settings)
            assert (found.shape, found.dtype, found.device) == ((2, 3), dtype, device)
    assert xp.empty((2, 0)).dtype == xp.float64
    same(xp.full_like(x, 3), np.full((2, 3), 3), "i1")


def test_an_unknown_device_is_named():
    with pytest.raises(ValueError, match=r"'cpu', 'interpreter:0'.*got 'gpu'"):
        xp.zeros(3, device="gpu")


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9).filter(bool))
def test_arange_of_integers_is_python_s_range(start, stop, step):
    same(xp.arange(start, stop, step), list(range(start, stop, step)), "i8")


@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(-9, 9).filter(bool))
def test_arange_of_eighths_has_the_length_of_the_standard(start, stop, step):
    found = xp.arange(start / 8, stop / 8, step / 8)
    assert found.shape == (max(0, ceil(Fraction(stop - start, step))),)
    same(found, [(start + place * step) / 8 for place in range(found.shape[0])], "f8")


def test_wrong_numbers():
    with pytest.raises(ZeroDivisionError):
        xp.arange(0, 3, 0)
    with pytest.raises(OverflowError):
        xp.arange(2**63, 2**63 + 2)
    with pytest.raises(ValueError, match="full takes a scalar"):
        xp.full(3, xp.ones(2))


# ---- Of arrays ----


def test_meshgrid():
    x, y = xp.asarray([1, 2, 3]), xp.asarray([4, 5])
    for indexing in ("xy", "ij"):
        found = xp.meshgrid(x, y, indexing=indexing)
        assert isinstance(found, tuple)
        for one, expected in zip(found, np.meshgrid([1, 2, 3], [4, 5], indexing=indexing), strict=True):
            same(one, expected)
    assert xp.meshgrid() == ()
    found[0][0, 0] = 9
    assert int(x[0]) == 1
    with pytest.raises(ValueError, match="meshgrid takes arrays of one axis"):
        xp.meshgrid(xp.ones((2, 2)))


@pytest.mark.parametrize("k", [-9, -1, 0, 2, 9])
@pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "complex64"])
def test_triangles(k, dtype):
    x = np.arange(1, 25).reshape(2, 3, 4).astype(dtype)
    below = np.subtract.outer(np.arange(3), np.arange(4)) >= -k
    above = np.subtract.outer(np.arange(3), np.arange(4)) <= -k
    same(xp.tril(xp.asarray(x), k=k), x * below, dtype)
    same(xp.triu(xp.asarray(x), k=k), x * above, dtype)
    with pytest.raises(ValueError, match="tril takes arrays of two axes"):
        xp.tril(xp.ones(3))
