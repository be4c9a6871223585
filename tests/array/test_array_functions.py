"""Every function and ufunc of NumPy that can be overridden answers for numtrn arrays as for ndarrays.

The lists of functions are NumPy's own; what no call is written for here is named, so that a new one shows up.
"""

import io
import re

import numpy as np
import numpy.fft
import numpy.lib.recfunctions
import numpy.polynomial
import pytest

import numtrn

overrides = pytest.importorskip("numpy.testing.overrides")

rng = np.random.default_rng(7)


def variables():
    square = rng.standard_normal((4, 4))
    return {
        "a": np.arange(12.0).reshape(3, 4) - 5.5,
        "b": np.linspace(2, 3, 12).reshape(3, 4),
        "s": np.array([[4.0, 1, 0.5, 0], [1, 5, 0.3, 1], [0.5, 0.3, 6, 2], [0, 1, 2, 7]]),
        "v": np.array([3.0, 1.0, 2.0, 1.0]),
        "n": np.array([1.0, np.nan, 3.0, -2.0]),
        "i": np.array([2, 0, 1, 1]),
        "j": np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 1, 1]]),
        "u": np.array([[3, 255], [0, 7]], np.uint8),
        "t": np.array([[True, False, True, True], [False] * 4, [True] * 4]),
        "m": np.array([True, False, True, False]),
        "c": np.array([1 + 2j, 3 - 1j, 0.5j, 2]),
        "z": np.array(2.5),
        "k": np.array(2),
        "q": square.reshape(2, 2, 4)[:, :, :2],
        "f": np.array([1.0, -2.0, 0.5], np.float32),
        "x": np.array(["2024-01-05", "2024-01-08"], "datetime64[D]"),
        "r": np.array([(1, 2.0), (3, 4.0), (1, 2.0)], [("p", int), ("w", float)]),
        "y": np.array(["one", " two "]),
    }


CALLS = """
np.all(t, axis=1)  np.all(t)  np.any(t, 0)  np.allclose(a, a + 1e-12)  np.amax(a)  np.amin(a, axis=0)
np.angle(c)  np.append(a, b)  np.append(a, b, 0)  np.apply_along_axis(np.sort, 0, a)
np.apply_over_axes(np.sum, a, [0, 1])  np.argmax(a)  np.argmin(a, 1)  np.argpartition(v, 2)  np.argsort(v)
np.argwhere(t)  np.around(a, 1)  np.array2string(a)  np.array_equal(a, b)  np.array_equiv(a, a)
np.array_repr(a)  np.array_split(a, 2, 1)  np.array_str(a)  np.atleast_1d(z)  np.atleast_1d(z, v)
np.atleast_2d(v)  np.atleast_3d(a)  np.average(a, 1, v)  np.average(a, weights=b, returned=True)
np.bincount(i)  np.bincount(i, v, 5)  np.block([[s, s], [s, s]])  np.broadcast_arrays(a, v)
np.broadcast_to(v, (3, 4))  np.busday_count(x[0], x[1])  np.busday_offset(x, 1)  np.is_busday(x)
np.can_cast(f, float)  np.choose(i, [v, v + 1, v + 2])  np.clip(a, -1, 2)  np.clip(a, v, None)
np.column_stack((v, v))  np.common_type(f, a)  np.compress([0, 1, 1], a, axis=0)  np.compress(m, a, 1)
np.concatenate([a, b])  np.concatenate((a, b), 1)  np.convolve(v, n)  np.copy(a)  np.copyto(a, b, where=t)
np.corrcoef(a)  np.correlate(v, n)  np.count_nonzero(t)  np.count_nonzero(t, axis=1)  np.cov(a)
np.cov(a, bias=True)  np.cross(v[:3], v[1:])  np.cumprod(a, 1)  np.cumsum(a)  np.datetime_as_string(x)
np.delete(a, 1, 0)  np.delete(a, i, 1)  np.diag(v)  np.diag(s, 1)  np.diag_indices_from(s)  np.diagflat(v)
np.diagonal(a)  np.diff(a, axis=0)  np.digitize(a, np.sort(v))  np.dot(a, v)  np.dot(a, a.T)  np.dot(v, v)
np.dsplit(q, 2)  np.dstack((v, v))  np.ediff1d(v)  np.einsum("ij,j->i", a, v)  np.einsum("ij,ij", a, b)
np.einsum("ii->i", s)  np.einsum_path("ij,j->i", a, v)  np.empty_like(a).shape  np.expand_dims(a, 1)
np.extract(t, a)  np.fill_diagonal(s, 9)  np.fill_diagonal(s, v)  np.fix(a)  np.flatnonzero(t)  np.flip(a)
np.fliplr(a)  np.flipud(a)  np.full_like(a, 3)  np.geomspace(z, 4, 3)  np.gradient(a)  np.gradient(v)
np.histogram(a, 3)  np.histogram2d(v, v, 2)  np.histogram_bin_edges(a, 4)  np.histogramdd(a.T, 2)
np.hsplit(a, 2)  np.hstack([a, b])  np.i0(v)  np.imag(c)  np.imag(a)  np.inner(a, b)
np.insert(a, 1, v, axis=0)  np.interp(v, np.sort(v), n)  np.intersect1d(v, n)
np.intersect1d(v, n, return_indices=True)  np.isclose(a, b)  np.iscomplex(c)  np.iscomplexobj(c)
np.isin(v, n)  np.isneginf(a)  np.isposinf(a)  np.isreal(c)  np.isrealobj(c)  np.ix_(i, i)  np.kron(a, s)
np.lexsort((v, n))  np.linspace(z, 4, 5)  np.linspace(v, 4, 5, retstep=True)  np.logspace(z, 4, 3)
np.max(a, axis=(0, 1))  np.max(a, 1, keepdims=True)  np.may_share_memory(a, b)  np.may_share_memory(a, a)
np.mean(a)  np.mean(a, 0)  np.mean(f)  np.median(a)  np.median(a, 1)
np.median(a.copy(), overwrite_input=True)  np.meshgrid(v, n)  np.min(a)  np.min_scalar_type(k)
np.moveaxis(q, 0, -1)  np.nan_to_num(n)  np.nan_to_num(n, copy=False)  np.nan_to_num(n, False)
np.nanargmax(n)  np.nanargmin(n)  np.nancumprod(n)  np.nancumsum(n)  np.nanmax(n)  np.nanmean(n)
np.nanmedian(n)  np.nanmin(n)  np.nanpercentile(n, 30)  np.nanprod(n)  np.nanquantile(n, 0.3)  np.nanstd(n)
np.nansum(n)  np.nanvar(n)  np.ndim(a)  np.nonzero(t)  np.ones_like(a)  np.outer(v, n)  np.packbits(t)
np.pad(a, 1)  np.pad(a, 1, "reflect")  np.partition(v, 1)  np.percentile(a, [10, 50])
np.percentile(a, 50, axis=0)  np.piecewise(v, [v < 2, v >= 2], [-1, 1])  np.place(a, t, v)  np.poly(v)
np.polyadd(v, n)  np.polyder(v)  np.polydiv(v, v[1:])  np.polyfit(v, v + 1, 1)  np.polyint(v)
np.polymul(v, n)  np.polysub(v, n)  np.polyval(v, n)  np.prod(a)  np.ptp(a, 1)  np.put(a, [1, 2], v)
np.put(a, i, 7)  np.put_along_axis(a, j[:, :1] % 3, 9, 1)  np.putmask(a, t, b)  np.quantile(a, 0.3)
np.quantile(a, v / 4)  np.ravel(a)  np.ravel(a, "F")  np.ravel_multi_index((i, i), (3, 3))  np.real(c)
np.real(a)  np.real_if_close(c)  np.repeat(a, 2, 1)  np.repeat(v, i)  np.reshape(a, (4, 3))
np.reshape(a, -1, order="F")  np.resize(a, (5, 5))  np.result_type(f, 3)  np.result_type(f, a)
np.roll(a, 1)  np.rollaxis(q, 2)  np.roots(v)  np.rot90(a)  np.round(a, 1)  np.round(z)
np.searchsorted(np.sort(v), n)  np.searchsorted(np.sort(v), 1.5)  np.select([t, ~t], [a, b])
np.setdiff1d(v, n)  np.setxor1d(v, n)  np.shape(a)  np.shares_memory(a, a[1])  np.sinc(a)  np.size(a)
np.sort(a, 0)  np.sort_complex(c)  np.split(a, [1], 1)  np.squeeze(a[None])  np.stack([a, b], -1)  np.std(a)
np.std(a, 1, ddof=1)  np.sum(a)  np.sum(a, 1)  np.sum(t)  np.sum(a, 0, None, b[0])  np.sum(a, where=t)
np.sum(a, 0, out=v)  np.sum(v, initial=z)  np.swapaxes(a, 0, 1)  np.take(a, i)  np.take(a, i, 1)
np.take(v, 2)  np.take_along_axis(a, j % 3, 0)  np.tensordot(a, b, 2)  np.tensordot(a, b, ([1], [1]))
np.tile(a, 2)  np.trace(a)  np.transpose(a)  np.transpose(q, (2, 0, 1))  np.tril(a)  np.tril_indices_from(s)
np.trim_zeros(v)  np.triu(a, 1)  np.triu_indices_from(s)  np.union1d(v, n)  np.unique(v)
np.unique(v, return_inverse=True, return_counts=True)  np.unpackbits(u)  np.unravel_index(i, (3, 4))
np.unravel_index(k, (3, 4))  np.unwrap(v)  np.vander(v)  np.var(a, 0)  np.vdot(a, b)  np.vsplit(s, 2)
np.vstack([a, v])  np.where(t)  np.where(t, a, b)  np.where(m, a, 0)  np.zeros_like(a)
np.array([1, 2.5], like=a)  np.asarray(v, like=a)  np.asanyarray([1], like=a)  np.arange(3, like=a)
np.zeros(3, like=a)  np.ones((2, 2), int, like=a)  np.empty(2, like=a).shape  np.full(2, 7, like=a)
np.eye(2, like=a)  np.tri(2, like=a)  np.identity(2, like=a)  np.ascontiguousarray(a.T, like=a)
np.asfortranarray(a, like=a)  np.frombuffer(b"12345678", like=a)  np.fromiter([1, 2], int, like=a)
np.fromstring("1 2", sep=" ", like=a)  np.fromfunction(lambda p: p, (3,), like=a)
np.require([1, 2], like=a)  np.loadtxt(io.StringIO("1 2"), like=a)
np.genfromtxt(io.StringIO("1 2"), like=a)  np.save(io.BytesIO(), a)  np.savetxt(io.StringIO(), a)
np.savez(io.BytesIO(), a)  np.savez_compressed(io.BytesIO(), a)  np.linalg.cholesky(s)  np.linalg.cond(s)
np.linalg.det(s)  np.linalg.eig(s)  np.linalg.eigh(s)  np.linalg.eigvals(s)  np.linalg.eigvalsh(s)
np.linalg.inv(s)  np.linalg.lstsq(a, a[:, 0], rcond=None)  np.linalg.matrix_power(s, 3)
np.linalg.matrix_rank(s)  np.linalg.multi_dot([a, s, v])  np.linalg.norm(a)  np.linalg.norm(a, 2)
np.linalg.norm(a, axis=1)  np.linalg.pinv(a)  np.linalg.qr(a)  np.linalg.slogdet(s)  np.linalg.solve(s, v)
np.linalg.svd(a)  np.linalg.tensorinv(s, 1)  np.linalg.tensorsolve(s, v)  np.lib.scimath.arccos(v)
np.lib.scimath.arcsin(v)  np.lib.scimath.arctanh(v / 5)  np.lib.scimath.log(a)  np.lib.scimath.log10(a)
np.lib.scimath.log2(a)  np.lib.scimath.logn(2, a)  np.lib.scimath.power(a, 2)  np.lib.scimath.sqrt(a)
np.lib.stride_tricks.sliding_window_view(a, 2, 1)  np.fft.fft(v)  np.fft.fft2(a)  np.fft.fftn(a)
np.fft.fftshift(v)  np.fft.hfft(c)  np.fft.ifft(v)  np.fft.ifft2(a)  np.fft.ifftn(a)  np.fft.ifftshift(v)
np.fft.ihfft(v)  np.fft.irfft(c)  np.fft.irfft2(a)  np.fft.irfftn(a)  np.fft.rfft(v)  np.fft.rfft2(a)
np.fft.rfftn(a)  np.lib.recfunctions.apply_along_fields(np.mean, r)  np.lib.recfunctions.drop_fields(r, "p")
np.lib.recfunctions.recursive_fill_fields(r, r)  np.lib.recfunctions.rename_fields(r, {"p": "o"})
np.lib.recfunctions.repack_fields(r)  np.lib.recfunctions.require_fields(r, [("p", float)])
np.lib.recfunctions.structured_to_unstructured(r)  np.lib.recfunctions.assign_fields_by_name(r, r)
np.lib.recfunctions.unstructured_to_structured(a)
"""

NEWER = """
np.astype(a, int)  np.cumulative_prod(v)  np.cumulative_sum(v)  np.linalg.cross(v[:3], v[1:])
np.linalg.diagonal(a)  np.linalg.matmul(a, s)  np.linalg.matrix_norm(a)  np.linalg.matrix_transpose(a)
np.linalg.outer(v, n)  np.linalg.svdvals(a)  np.linalg.tensordot(a, b)  np.linalg.trace(a)
np.linalg.vecdot(a, b)  np.linalg.vector_norm(a)  np.matrix_transpose(a)  np.trapezoid(a)  np.unique_all(v)
np.unique_counts(v)  np.unique_inverse(v)  np.unique_values(v)  np.unstack(a)
np.polynomial.polynomial.polyval2d(v, v, s)
np.polynomial.polynomial.polygrid2d(v, v, s)
"""
"""Functions of NumPy 2, some of a later one than 2.0."""

OLDER = """
np.alltrue(t)  np.asfarray(i)  np.cumproduct(v)  np.in1d(v, n)  np.msort(a)  np.product(v)  np.round_(a)
np.sometrue(t)  np.trapz(a)
"""
"""Functions of NumPy 1."""

LEFT_OUT = {
    "numpy.fromfile": "takes a file of the file system",
    "numpy.lib.recfunctions.append_fields": "gives masked arrays",
    "numpy.lib.recfunctions.find_duplicates": "takes masked arrays",
    "numpy.lib.recfunctions.join_by": "gives masked arrays",
    "numpy.lib.recfunctions.merge_arrays": "gives masked arrays",
    "numpy.lib.recfunctions.rec_append_fields": "gives record arrays",
    "numpy.lib.recfunctions.rec_drop_fields": "gives record arrays",
    "numpy.lib.recfunctions.rec_join": "gives record arrays",
    "numpy.lib.recfunctions.stack_arrays": "gives masked arrays",
}


def calls(text):
    return [call.strip() for call in re.split(r"  +|\n", text) if call.strip()]


def function_of(call):
    """The function, or None where this NumPy lacks it."""
    found = np
    for name in call.partition("(")[0].split(".")[1:]:
        found = getattr(found, name, None)
    return found


def here(text):
    if text is OLDER and np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        return []
    known = set(map(id, overrides.get_overridable_numpy_array_functions()))
    return [call for call in calls(text) if id(function_of(call)) in known]


def same(got, expected, call=""):
    if isinstance(expected, (np.ndarray, np.generic)):
        assert type(got) is numtrn.Array, (call, type(got))
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape), call
        if expected.dtype.kind in "fcmM":
            np.testing.assert_array_equal(np.asarray(got), expected)
        else:
            assert np.asarray(got).tolist() == expected.tolist(), call
    elif isinstance(expected, (tuple, list)):
        assert type(got) is type(expected), call
        assert len(got) == len(expected), call
        for one, other in zip(got, expected, strict=True):
            same(one, other, call)
    else:
        assert type(got) is type(expected), (call, type(got))
        assert got == expected, call


def evaluated(call, wrap):
    """The result of a call, and what became of its arguments."""
    given = {name: wrap(x) for name, x in variables().items()}
    result = eval(call, {"np": np, "io": io}, given)
    return result, [given[name] for name in sorted(given)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("call", [*calls(CALLS), *here(NEWER), *here(OLDER)])
def test_functions_answer_as_numpys(call):
    global rng
    state, results = rng.bit_generator.state, []
    for wrap in (np.asarray, numtrn.asarray):
        rng = np.random.default_rng()
        rng.bit_generator.state = state
        results.append(evaluated(call, wrap))
    (expected, before), (got, after) = results
    same(got, expected, call)
    same(after, before, call)


def test_every_function_has_a_call():
    known = {id(function_of(call)) for call in [*calls(CALLS), *here(NEWER), *here(OLDER)]}
    missing = {
        f"{function.__module__}.{function.__name__}"
        for function in overrides.get_overridable_numpy_array_functions()
        if id(function) not in known and not function.__module__.startswith(("numpy.char", "numpy.strings"))
    }
    creating = {"eye", "full", "identity", "ones", "tri", "fromfunction", "genfromtxt", "loadtxt", "require"}
    missing -= {f"numpy.{name}" for name in creating}  # registered twice, the second is what `like=` calls
    assert missing <= set(LEFT_OUT)


def test_functions_of_strings_answer_as_numpys():
    y = variables()["y"]
    ours = numtrn.asarray(y)
    same(np.char.add(ours, "x"), np.char.add(y, "x")[()])
    same(np.char.upper(ours), np.char.upper(y))
    same(np.char.str_len(ours), np.char.str_len(y))


# ---- Ufuncs ----

OPERANDS = {
    "?": np.array([True, False, True]),
    "b": np.array([3, 0, 2], np.int8),
    "i": np.array([3, 0, 2], np.int32),
    "l": np.array([3, 1, 2], np.int64),
    "q": np.array([3, 1, 2], np.int64),
    "f": np.array([0.5, 0.25, 1.0], np.float32),
    "d": np.array([0.5, 0.25, 1.0]),
    "F": np.array([0.5, 1j, 1 + 2j], np.complex64),
    "D": np.array([0.5, 1j, 1 + 2j]),
    "M": np.array(["2024-01-05", "2024-01-06", "NaT"], "M8[D]"),
}
STRINGS = """
count endswith find index isalnum isalpha isdecimal isdigit islower isnumeric isspace istitle isupper
rfind rindex startswith str_len
"""


def ufuncs():
    return sorted((x for x in overrides.get_overridable_numpy_ufuncs()), key=lambda x: x.__name__)


def operands_of(ufunc):
    """Operands of each loop whose types are known here; of products, matrices."""
    for types in ufunc.types:
        letters = types.partition("->")[0]
        if set(letters) <= set(OPERANDS):
            operands = [OPERANDS[letter] for letter in letters]
            if ufunc.signature:
                core = ufunc.signature.partition("->")[0].replace("?", "").split("),(")
                matrix = ["," in term.strip("()") for term in core]
                operands = [
                    np.outer(x, x) if square else x for x, square in zip(operands, matrix, strict=True)
                ]
            yield operands


def is_of_strings(ufunc):
    return ufunc.__name__.startswith("_") or ufunc.__name__ in STRINGS.split()


@pytest.mark.parametrize("ufunc", [x for x in ufuncs() if not is_of_strings(x)], ids=lambda x: x.__name__)
def test_ufuncs_answer_as_numpys(ufunc):
    loops = list(operands_of(ufunc))
    assert loops
    for operands in loops:
        with np.errstate(all="ignore"):
            expected = ufunc(*operands)
            same(ufunc(*map(numtrn.asarray, operands)), expected)
            same(ufunc(numtrn.asarray(operands[0]), *operands[1:]), expected)
            same(ufunc(*operands[:-1], numtrn.asarray(operands[-1])), expected)


METHODS = {
    "reduce": lambda a, v, i: np.add.reduce(a),
    "reduce to nothing": lambda a, v, i: np.multiply.reduce(a, axis=None),
    "reduce into": lambda a, v, i: np.add.reduce(a, axis=0, out=v),
    "reduce where": lambda a, v, i: np.add.reduce(a, axis=1, where=a > 0, initial=1),
    "accumulate": lambda a, v, i: np.add.accumulate(a, axis=1),
    "reduceat": lambda a, v, i: np.add.reduceat(v, i[:2]),
    "outer": lambda a, v, i: np.multiply.outer(v, i),
    "outer of a scalar": lambda a, v, i: np.multiply.outer(2, v),
    "outer by a scalar": lambda a, v, i: np.multiply.outer(v, 2),
    "at": lambda a, v, i: np.add.at(v, i, 1),
    "at with values": lambda a, v, i: np.add.at(v, i, a[0]),
    "dtype": lambda a, v, i: np.add(v, i, dtype=np.float32, casting="same_kind"),
    "casting": lambda a, v, i: np.add(i, i, casting="no"),
    "where": lambda a, v, i: np.sqrt(v, where=v > 1, out=v),
    "two results": lambda a, v, i: np.modf(a),
    "two results into": lambda a, v, i: np.modf(v, out=(v, a[0])),
    "one of two results into": lambda a, v, i: np.divmod(v, 2.0, out=(v, None)),
    "out by place": lambda a, v, i: np.add(v, i, v),
    "in another type": lambda a, v, i: np.add(v, i, out=a[0]),
    "broadcast into": lambda a, v, i: np.add(v, i, out=a),
    "vecdot": lambda a, v, i: np.matmul(a, v),
}


@pytest.mark.parametrize("case", METHODS)
def test_methods_of_ufuncs_answer_as_numpys(case):
    results = []
    for wrap in (np.asarray, numtrn.asarray):
        given = [wrap(variables()[name]) for name in "avi"]
        results.append((METHODS[case](*given), given))
    same(*reversed([result for result, _ in results]))
    same(*reversed([given for _, given in results]))


# ---- Results that are arguments ----


def test_out_of_ours_is_given_back():
    v, out = numtrn.asarray([1.0, 2.0]), numtrn.asarray(np.empty(2))
    for call in (
        lambda: np.add(v, 1, out),
        lambda: np.sum(np.ones((2, 2)), 0, out=out),
        lambda: np.cumsum(v, 0, None, out),
        lambda: np.concatenate([v[:1], [5.0]], out=out),
        lambda: np.take(v, [0, 1], out=out),
        lambda: np.dot(v, np.ones((2, 2)), out),
        lambda: np.add.reduce(np.ones((2, 2)), out=out),
        lambda: np.matmul(v, np.ones((2, 2)), out=(out,)),
    ):
        out.fill(-1)
        assert call() is out
        assert not (out == -1).any()


def test_out_that_is_an_ndarray_is_given_back():
    v, out, fraction = numtrn.asarray([1.5, 2.25]), np.empty(2), np.empty(2)
    for call in (
        lambda: np.add(v, 1, out),
        lambda: np.sum(v[None], 0, out=out),
        lambda: np.sum(v[None], 0, None, out),
        lambda: np.dot(v, np.ones((2, 2)), out),
    ):
        assert call() is out
    both = np.modf(v, out=(fraction, out))
    assert both[0] is fraction
    assert both[1] is out
    given = np.modf(v, out=(fraction, None))
    assert given[0] is fraction
    assert isinstance(given[1], numtrn.Array)


def test_a_0d_out_is_filled():
    total = numtrn.asarray(0.0)
    assert np.sum(numtrn.asarray([1.0, 2.0]), out=total) is total
    assert float(total) == 3


def test_a_function_that_gives_its_argument_gives_ours():
    v = numtrn.asarray([1.0])
    assert np.atleast_1d(v) is v


def test_results_that_share_memory_go_on_sharing_it():
    rows, columns = np.diag_indices_from(numtrn.asarray(np.eye(3)))
    assert rows is columns


WRONG = {
    "axis": lambda x: np.sum(x, 5),
    "unknown keyword": lambda x: np.sum(x, axes=1),
    "nothing": lambda x: np.sum(),
    "too few": lambda x: np.add(x),
    "unknown keyword of a ufunc": lambda x: np.add(x, 1, outs=x),
    "shape": lambda x: np.reshape(x, 7),
    "shapes": lambda x: x @ np.ones(5),
    "singular": lambda x: np.linalg.inv(x),
    "index": lambda x: x[7],
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_wrong_calls_raise_what_numpy_raises(wrong):
    x = np.ones((2, 2))
    with pytest.raises(Exception) as expected:
        wrong(x)
    with pytest.raises(type(expected.value)) as got:
        wrong(numtrn.asarray(x))
    assert str(got.value) == str(expected.value)
