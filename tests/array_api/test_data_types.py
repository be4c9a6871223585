"""The data types: the ones that arrays have, and no others."""

import numpy as np
import pytest

from numtrn import array_api as xp
from numtrn.array_api._data_types import DTYPES, as_dtype


def test_types_are_those_that_arrays_have():
    for name, dtype in DTYPES.items():
        x = xp.zeros(2, dtype=dtype)
        assert x.dtype == dtype == getattr(xp, name) == np.dtype(name)
        assert getattr(xp, name) != None  # noqa: E711 - which NumPy says of its float64 dtype


@pytest.mark.parametrize("given", [np.float32, "float32", "<f4", ">f4", np.dtype("f4"), xp.float32])
def test_what_numpy_takes_for_a_type_is_taken(given):
    assert as_dtype(given) == xp.float32


@pytest.mark.parametrize("given", ["float16", "longdouble", "U3", "M8[s]", object, None, "no type", 3])
def test_other_types_are_refused(given):
    with pytest.raises(TypeError, match="has the data types bool, complex64"):
        as_dtype(given)
