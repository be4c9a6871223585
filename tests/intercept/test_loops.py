"""What the matmul loop sees, and that results, layouts and warnings are NumPy's."""

import ctypes
import warnings

import numpy as np
import pytest

ones = np.ones


def swapped():
    return np.arange(16.0).reshape(4, 4).astype(">f8")


def unaligned():
    return np.frombuffer(bytearray(129), np.uint8)[1:].view("f8").reshape(4, 4)


rng = np.random.default_rng(2)
big = rng.standard_normal((8, 6))
TABLE = {
    "negative and stepped strides": lambda: big[::-2] @ big.T[:, ::-1],
    "zero strides": lambda: np.broadcast_to(big[0], (4, 6)) @ big.T,
    "zero strides in the batch": lambda: np.broadcast_to(big, (3, 8, 6)) @ big.T,
    "Fortran order": lambda: np.asfortranarray(big) @ np.asfortranarray(big.T),
    "out= overlaps": lambda: (lambda q: np.matmul(q, q, out=q))(big[:6].copy()),
    "out= overlaps, shifted": lambda: (lambda q: np.matmul(q[:6], q[:6], out=q[1:7]))(big[:8].copy()),
    "out= strided": lambda: np.matmul(big, big.T, out=np.zeros((16, 16))[::2, ::2]),
    "out= of another type": lambda: np.matmul(big.astype("f"), big.T.astype("f"), out=np.zeros((8, 8))),
    "byte-swapped": lambda: swapped() @ big[:4, :4],
    "unaligned": lambda: unaligned() @ big[:4, :4],
    "vector": lambda: big @ big[0],
    "vector on the left": lambda: big[:, 0] @ big,
    "two vectors": lambda: big[0] @ big[1],
    "1 x 1": lambda: big[:1, :1] @ big[:1, :1],
    "NaN": lambda: np.where(big > 0, np.nan, big) @ big.T,
}


@pytest.mark.parametrize("name", TABLE)
def test_results_are_numpys(spy, name):
    reference = TABLE[name]()
    result, requests = spy.inside(TABLE[name])
    assert requests
    np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-5)
    assert np.asarray(result).strides == np.asarray(reference).strides
    assert result.dtype == reference.dtype


@pytest.mark.parametrize(
    "shapes", [((3, 0), (0, 4)), ((0, 3), (3, 4)), ((2, 0, 3), (3, 4)), ((0, 2, 3), (3, 4))]
)
def test_nothing_to_multiply_is_numpys(spy, shapes):
    a, b = map(ones, shapes)
    result, requests = spy.inside(lambda: a @ b)
    assert not requests
    np.testing.assert_array_equal(result, a @ b)


def test_wrong_shapes_raise_as_numpy_does(spy):
    for call in (
        lambda: ones((2, 3)) @ ones((2, 3)),
        lambda: np.dot(ones((2, 3)), ones((2, 3))),
        lambda: np.einsum("ij,jk", ones((2, 3)), ones((2, 3))),
    ):
        with pytest.raises(ValueError) as plain:
            call()
        with spy.block(), pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == str(plain.value)


def test_read_only_out_is_refused(spy):
    out = np.zeros((3, 3))
    out.flags.writeable = False
    for call in (
        lambda: np.matmul(ones((3, 3)), ones((3, 3)), out=out),
        lambda: np.dot(ones((3, 3)), ones((3, 3)), out=out),
        lambda: np.einsum("ij,jk->ik", ones((3, 3)), ones((3, 3)), out=out),
    ):
        with spy.block(), pytest.raises(ValueError):
            call()
    assert not out.any()


@pytest.mark.parametrize(
    "call", [lambda a: a @ a, lambda a: np.dot(a, a), lambda a: np.einsum("ij,jk", a, a)]
)
def test_flags_of_a_kernel_are_no_warning_of_the_callers(spy, call):
    libm = ctypes.CDLL("libm.so.6")
    answer = spy.answer

    def dirty(request, operands):
        result = answer(request, operands)
        libm.feraiseexcept(1 | 4 | 8)  # invalid, divide by zero, overflow
        return result

    spy.answer = dirty
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        spy.inside(lambda: call(ones((4, 4))))


def test_rounding_mode_of_a_kernel_does_not_stay(spy):
    libm = ctypes.CDLL("libm.so.6")

    def dirty(request, operands):
        libm.fesetround(0x400 if ctypes.sizeof(ctypes.c_void_p) == 8 else 0)

    before = libm.fegetround()
    spy.answer = dirty
    spy.inside(lambda: ones((4, 4)) @ ones((4, 4)))
    assert libm.fegetround() == before


def test_warnings_of_the_original_stay(spy):
    spy.answer = lambda request, operands: None
    huge = np.full((4, 4), 1e200)
    with pytest.warns(RuntimeWarning, match="overflow encountered in matmul"):
        spy.inside(lambda: huge @ huge)
