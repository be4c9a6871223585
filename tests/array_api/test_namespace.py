"""The namespace as a whole: names, pickling, and what other arrays and types meet."""

import inspect
import pickle

import numpy as np
import pytest

import numtrn
from numtrn import array_api as xp
from numtrn.array_api import _beyond


def test_the_array_s_namespace_is_the_module():
    assert numtrn.asarray([1.0]).__array_namespace__() is xp
    assert xp.__array_api_version__ == "2025.12"


def test_all_has_every_name_once_and_nothing_private():
    assert len(set(xp.__all__)) == len(xp.__all__)
    assert all(hasattr(xp, name) for name in xp.__all__)
    public = {
        name for name in vars(xp) if not name.startswith("_") and not inspect.ismodule(getattr(xp, name))
    }
    assert public - set(_beyond.__all__) <= set(xp.__all__)


FUNCTIONS = sorted(name for name in xp.__all__ if inspect.isfunction(getattr(xp, name)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_pickled_by_name_and_say_what_they_give(name):
    function = getattr(xp, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__name__ == name
    assert function.__doc__


@pytest.mark.parametrize("x", [np.ones(3), [1.0, 2.0], None, "x"])
def test_what_is_no_numtrn_array_is_refused(x):
    with pytest.raises(TypeError, match=r"sin takes numtrn arrays; got \w+. Make one by"):
        xp.sin(x)


@pytest.mark.parametrize("dtype", ["float16", "longdouble"])
def test_arrays_of_other_types_are_refused_here_and_not_by_numpy(dtype):
    x = numtrn.asarray(np.ones(3, dtype))
    with pytest.raises(TypeError, match="sin takes arrays of the Array API's types"):
        xp.sin(x)
    assert np.sin(x).dtype == np.dtype(dtype)
