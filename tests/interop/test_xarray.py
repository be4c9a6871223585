"""xarray around numtrn arrays: what it gives on ndarrays, and .data stays a numtrn array."""

import numpy as np
import pytest

import numtrn
from tests.interop.support import inside, ours, same

xr = pytest.importorskip("xarray")

rng = np.random.default_rng(8)
A, B = rng.standard_normal((3, 4)), rng.standard_normal((4, 5))

PRODUCTS = {
    "dot": lambda a, b: a.dot(b),
    "@": lambda a, b: a @ b,
    "xr.dot": lambda a, b: xr.dot(a, b, dim="y"),
    "xr.dot of three": lambda a, b: xr.dot(a, b, b, dim=["y"]),
    "apply_ufunc": lambda a, b: xr.apply_ufunc(
        np.matmul, a, b, input_core_dims=[["x", "y"], ["y", "z"]], output_core_dims=[["x", "z"]]
    ),
}
REST = {
    "arithmetic": lambda a, b: (a + 1) * a - a / 2,
    "comparison": lambda a, b: a > 0.5,
    "broadcast": lambda a, b: a + b.isel(z=0),
    "ufunc": lambda a, b: np.exp(-abs(a)),
    "sum": lambda a, b: a.sum("x"),
    "sum of all": lambda a, b: a.sum(),
    "sum without skipna": lambda a, b: a.sum("x", skipna=False),
    "mean": lambda a, b: a.mean("y"),
    "std": lambda a, b: a.std("y"),
    "var": lambda a, b: a.var(),
    "max": lambda a, b: a.max("x"),
    "min": lambda a, b: a.min(),
    "prod": lambda a, b: a.prod("x"),
    "any": lambda a, b: (a > 0).any("x"),
    "all": lambda a, b: (a > -9).all(),
    "count": lambda a, b: a.count("x"),
    "argmax": lambda a, b: a.argmax("y"),
    "cumsum": lambda a, b: a.cumsum("x"),
    "cov": lambda a, b: xr.cov(a, a, dim="y"),
    "isel": lambda a, b: a.isel(x=1),
    "isel slice": lambda a, b: a.isel(y=slice(1, 3)),
    "isel lists": lambda a, b: a.isel(x=[0, 1], y=[0, 2]),
    "sel": lambda a, b: a.sel(y=20),
    "sel list": lambda a, b: a.sel(y=[10, 30]),
    "transpose": lambda a, b: a.transpose("y", "x"),
    "where": lambda a, b: a.where(a > 0.5),
    "where, other": lambda a, b: a.where(a > 0.5, 0.0),
    "xr.where": lambda a, b: xr.where(a > 0.5, a, -a),
    "fillna": lambda a, b: a.where(a > 0.5).fillna(3.0),
    "concat": lambda a, b: xr.concat([a, a], "x"),
    "stack": lambda a, b: a.stack(w=("x", "y")),
    "expand_dims": lambda a, b: a.expand_dims("n"),
    "shift": lambda a, b: a.shift(x=1),
    "roll": lambda a, b: a.roll(x=1),
    "pad": lambda a, b: a.pad(x=1),
    "quantile": lambda a, b: a.quantile(0.3, "x"),
    "differentiate": lambda a, b: a.differentiate("y"),
    "diff": lambda a, b: a.diff("y"),
    "round": lambda a, b: a.round(1),
    "clip": lambda a, b: a.clip(0.2, 0.8),
    "astype": lambda a, b: a.astype("float32"),
    "sortby": lambda a, b: a.sortby("y", ascending=False),
    "groupby": lambda a, b: a.groupby("y").sum(),
    "coarsen": lambda a, b: a.coarsen(y=2).mean(),
    "weighted": lambda a, b: a.weighted(abs(b.isel(z=0))).mean("y"),
    "Dataset": lambda a, b: a.to_dataset(name="v").mean("x")["v"],
}


def wrapped(make):
    return (
        xr.DataArray(make(A.copy()), dims=("x", "y"), coords={"y": [0, 10, 20, 30]}, name="a"),
        xr.DataArray(make(B.copy()), dims=("y", "z")),
    )


@pytest.mark.parametrize("call", [*PRODUCTS, *REST])
def test_as_on_ndarrays(call):
    function = {**PRODUCTS, **REST}[call]
    expected = function(*wrapped(np.asarray))
    with numtrn.enabled(target="interpreter", min_work=0, strict=True) as session:
        value = function(*wrapped(numtrn.asarray))
        same(value.data, expected.data)
    assert value.dims == expected.dims
    assert (session.counts["kernel"] > 0) >= (call in PRODUCTS)


def test_values_are_ndarrays():
    a, _ = wrapped(numtrn.asarray)
    for value in (a.values, a.to_numpy(), np.asarray(a)):
        assert type(value) is np.ndarray
        np.testing.assert_array_equal(value, A)
    assert a.item(5) == A.ravel()[5]


def test_repr():
    a, _ = wrapped(numtrn.asarray)
    assert "<xarray.DataArray 'a' (x: 3, y: 4)>" in repr(a)
    assert "numtrn" in repr(a)
    assert "numtrn" in a._repr_html_()
    assert a.nbytes == A.nbytes


def test_beside_a_data_array():
    a, _ = wrapped(numtrn.asarray)
    for value in (a + ours(A), ours(A) + a, np.add(ours(A), a)):
        assert isinstance(value, xr.DataArray)
        same(value.data, 2 * A)
    assert isinstance(ours(A) @ wrapped(np.asarray)[1].data, numtrn.Array)


def test_assignment_and_copies():
    a, _ = wrapped(numtrn.asarray)
    deep = a.copy(deep=True)
    a[0] = 1.0
    a.loc[{"y": 20}] = 2.0
    expected, _ = wrapped(np.asarray)
    expected[0] = 1.0
    expected.loc[{"y": 20}] = 2.0
    same(a.data, expected.data, rtol=0, atol=0)
    same(deep.data, A, rtol=0, atol=0)


def test_dot_without_opt_einsum():
    a, b = wrapped(numtrn.asarray)
    with xr.set_options(use_opt_einsum=False):
        value, session = inside(lambda: xr.dot(a, b, dim="y").data)
    same(value, A @ B)
    assert session.counts["kernel"] == 1


def test_what_xarray_does_not_do():
    a, _ = wrapped(numtrn.asarray)
    with pytest.raises(AttributeError, match="lib"):
        a.rolling(y=2).sum()
    pytest.importorskip("scipy")
    assert type(a.interp(y=15.0).data) is np.ndarray


def test_devices_stay():
    a = xr.DataArray(ours(A).to_device("interpreter:0"), dims=("x", "y"))
    for value in (a + 1, a.sum("x"), a.T, a.isel(x=0), xr.concat([a, a], "x"), a.where(a > 0)):
        assert value.data.device == "interpreter:0"
