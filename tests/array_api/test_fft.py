"""The extension fft, against the defining sums; extents, norms, and the precision on every NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numtrn.array_api as xp
from numtrn.array_api import fft

PAIRS = [("fft", "ifft"), ("rfft", "irfft"), ("ihfft", "hfft")]
NORMS = ["backward", "ortho", "forward"]


def signal(shape, dtype="complex128", seed=13):
    r = np.random.default_rng(seed).normal(size=(2, *shape))
    return (r[0] + (1j * r[1] if np.dtype(dtype).kind == "c" else 0)).astype(dtype)


def dft(x, norm="backward", sign=-1):
    """The defining sum along the last axis."""
    n = x.shape[-1]
    j = np.arange(n)
    scale = {"backward": 1 if sign < 0 else n, "ortho": np.sqrt(n), "forward": n if sign < 0 else 1}[norm]
    return x @ np.exp(sign * 2j * np.pi * np.outer(j, j) / n) / scale


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_one_axis_is_the_defining_sum(n, norm):
    x, r = signal((3, n)), signal((3, n), "float64")
    a, b = xp.asarray(x), xp.asarray(r)
    half = n // 2 + 1
    for result, expected in (
        (fft.fft(a, norm=norm), dft(x, norm)),
        (fft.ifft(a, norm=norm), dft(x, norm, 1)),
        (fft.rfft(b, norm=norm), dft(r, norm)[:, :half]),
        (fft.ihfft(b, norm=norm), dft(r, norm, 1)[:, :half]),
        (fft.irfft(fft.rfft(b, norm=norm), n=n, norm=norm), r),
        (fft.hfft(fft.ihfft(b, norm=norm), n=n, norm=norm), r),
    ):
        np.testing.assert_allclose(np.asarray(result), expected, atol=1e-13)


@pytest.mark.parametrize("single", [True, False])
def test_precision_is_kept(single):
    real, complex_ = (xp.float32, xp.complex64) if single else (xp.float64, xp.complex128)
    r, c = xp.ones((4, 4), dtype=real), xp.ones((4, 4), dtype=complex_)
    for name in ("fft", "ifft", "fftn", "ifftn"):
        assert getattr(fft, name)(c).dtype == getattr(fft, name)(r).dtype == complex_
    for name in ("rfft", "rfftn", "ihfft"):
        assert getattr(fft, name)(r).dtype == complex_
    for name in ("irfft", "irfftn", "hfft"):
        assert getattr(fft, name)(c).dtype == real
    assert fft.fftshift(r).dtype == real


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from([0, 1, -1, -2]))
def test_padding_and_trimming(extent, n, axis):
    x = signal((extent, extent))
    padded = np.zeros((n, extent), dtype=x.dtype)
    padded[: min(n, extent)] = np.moveaxis(x, axis, 0)[:n]
    result = np.asarray(fft.fft(xp.asarray(x), n=n, axis=axis))
    np.testing.assert_allclose(np.moveaxis(result, axis, -1), dft(padded.T), atol=1e-12)
    assert fft.irfft(xp.asarray(x), n=n, axis=axis).shape[axis] == n
    assert fft.rfft(xp.asarray(x.real.copy()), n=n, axis=axis).shape[axis] == n // 2 + 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("axes", [None, (0,), (-1, 0), (2, 0, 1)])
def test_several_axes_are_one_after_the_other(axes, norm):
    x, r = signal((2, 3, 4)), signal((2, 3, 4), "float64")
    order = range(3) if axes is None else axes
    one, inverse, of_real = xp.asarray(x), xp.asarray(x), fft.rfft(xp.asarray(r), axis=order[-1], norm=norm)
    for axis in order:
        one, inverse = fft.fft(one, axis=axis, norm=norm), fft.ifft(inverse, axis=axis, norm=norm)
    for axis in order[:-1]:
        of_real = fft.fft(of_real, axis=axis, norm=norm)
    np.testing.assert_allclose(
        np.asarray(fft.fftn(xp.asarray(x), axes=axes, norm=norm)), np.asarray(one), atol=1e-12
    )
    np.testing.assert_allclose(
        np.asarray(fft.ifftn(xp.asarray(x), axes=axes, norm=norm)), np.asarray(inverse), atol=1e-12
    )
    spectrum = fft.rfftn(xp.asarray(r), axes=axes, norm=norm)
    np.testing.assert_allclose(np.asarray(spectrum), np.asarray(of_real), atol=1e-12)
    extents = [r.shape[axis] for axis in order]
    back = fft.irfftn(spectrum, s=extents, axes=tuple(order), norm=norm)
    np.testing.assert_allclose(np.asarray(back), r, atol=1e-12)


def test_an_extent_of_minus_one_takes_all_elements():
    x = xp.asarray(signal((4, 5)))
    for function in (fft.fftn, fft.ifftn, fft.irfftn):
        whole = np.asarray(function(x, axes=(0, 1)))
        np.testing.assert_array_equal(np.asarray(function(x, s=(-1, -1), axes=(0, 1))), whole)
    assert fft.fftn(x, s=(7, -1), axes=(1, 0)).shape == (4, 7)
    assert fft.irfftn(x, s=(-1, -1), axes=(1, 0)).shape == (6, 5)


def test_extents_need_axes():
    x = xp.ones((2, 2))
    for axes in (None, (0,)):
        for function in (fft.fftn, fft.ifftn, fft.rfftn, fft.irfftn):
            with pytest.raises(ValueError, match="as many axes as extents"):
                function(x, s=(2, 2), axes=axes)


def test_no_axes_leave_a_copy():
    x = xp.asarray([1j])
    fft.fftn(x, axes=())[0] = 0
    assert complex(x[0]) == 1j


def test_arguments():
    c = xp.ones(3, dtype=xp.complex64)
    for function in (fft.rfft, fft.rfftn, fft.ihfft):
        with pytest.raises(TypeError, match="real floating arrays; got complex64"):
            function(c)
    for function in (fft.fft, fft.irfft, fft.fftn):
        with pytest.raises(TypeError, match="floating arrays; got int64"):
            function(xp.asarray([1, 2]))
    for wrong in ({"n": 0}, {"n": -1}, {"axis": 1}, {"norm": "half"}):
        with pytest.raises((ValueError, IndexError)):
            fft.fft(c, **wrong)


@pytest.mark.parametrize("dtype", [None, xp.float32, xp.float64])
@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_frequencies(n, dtype):
    whole = [k if 2 * k < n else k - n for k in range(n)]
    expected = np.asarray(whole) / (n * 0.5)
    result = fft.fftfreq(n, d=0.5, dtype=dtype)
    assert result.dtype == (dtype or xp.float64)
    np.testing.assert_array_equal(np.asarray(result), expected.astype(result.dtype))
    half = fft.rfftfreq(n, d=0.5, dtype=dtype)
    np.testing.assert_array_equal(np.asarray(half), (np.arange(n // 2 + 1) / (n * 0.5)).astype(half.dtype))
    assert fft.fftfreq(n, device="interpreter:0").device == "interpreter:0"
    assert fft.rfftfreq(n).device == "cpu"


def test_frequencies_that_are_not_there():
    for function in (fft.fftfreq, fft.rfftfreq):
        with pytest.raises(ValueError, match="at least 1; got 0"):
            function(0)
        with pytest.raises(TypeError):
            function(2.5)
        with pytest.raises(TypeError, match="got dtype=int64"):
            function(3, dtype=xp.int64)


@pytest.mark.parametrize("axes", [None, 0, -1, (0, 1), [1]])
@pytest.mark.parametrize("shape", [(4, 5), (1, 0)])
def test_shifts(shape, axes):
    x = np.arange(np.prod(shape)).reshape(shape)
    shifted = fft.fftshift(xp.asarray(x), axes=axes)
    expected = x
    for axis in range(2) if axes is None else np.atleast_1d(axes):
        expected = np.roll(expected, x.shape[axis] // 2, axis)
    np.testing.assert_array_equal(np.asarray(shifted), expected)
    np.testing.assert_array_equal(np.asarray(fft.ifftshift(shifted, axes=axes)), x)


@pytest.mark.parametrize(("forth", "back"), PAIRS)
def test_defaults_go_back_to_an_even_number(forth, back):
    r = signal((2, 6), "float64")
    result = getattr(fft, back)(getattr(fft, forth)(xp.asarray(r)))
    np.testing.assert_allclose(np.asarray(result), r, atol=1e-13)
