"""Inspection."""

import numpy as np
import pytest

from numtrn import array_api as xp

INFO = xp.__array_namespace_info__()


def test_capabilities_are_true():
    found = INFO.capabilities()
    most = found["max dimensions"]
    assert xp.ones((1,) * most).ndim == most
    with pytest.raises(ValueError):
        xp.ones((1,) * (most + 1))
    x = xp.asarray([1, 2, 3])
    assert found["boolean indexing"]
    assert [int(v) for v in x[x > 1]] == [2, 3]
    assert found["data-dependent shapes"]
    assert xp.unique_values(xp.asarray([1, 1])).shape == (1,)


def test_arrays_can_be_made_on_every_device():
    assert INFO.default_device() == xp.zeros(1).device == "cpu"
    assert {"cpu", "interpreter:0"} <= set(INFO.devices())
    assert [xp.zeros(1, device=device).device for device in INFO.devices()] == list(INFO.devices())


def test_default_types_are_those_of_python_scalars():
    found = INFO.default_dtypes()
    assert found["real floating"] == xp.asarray(1.0).dtype
    assert found["complex floating"] == xp.asarray(1j).dtype
    assert found["integral"] == xp.asarray(1).dtype
    assert found["indexing"] == xp.argmax(xp.zeros(2)).dtype


def test_types_by_kind():
    assert len(INFO.dtypes()) == 13
    assert INFO.dtypes(kind="real floating") == {"float32": xp.float32, "float64": xp.float64}
    assert set(INFO.dtypes(kind=("bool", "complex floating"))) == {"bool", "complex64", "complex128"}
    assert INFO.dtypes(device="interpreter:0", kind="bool") == {"bool": np.dtype(bool)}


def test_unknown_kinds_and_devices_are_named():
    with pytest.raises(ValueError, match="got 'floats'"):
        INFO.dtypes(kind="floats")
    with pytest.raises(ValueError, match=r"the devices here are cpu, interpreter:0.*got 'gpu'"):
        INFO.default_dtypes(device="gpu")
