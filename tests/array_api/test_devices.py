"""Devices are refused before anything is computed: a wrong ``device=``, and arrays of two devices."""

import inspect

import pytest

from numtrn import array_api as xp
from numtrn.array.core import Core

HUGE = 2**46
"""Elements of more bytes than a process can address: who makes them first, has no memory."""


class Unread:
    """Data that nobody may look at."""

    def __array__(self, *args, **kwargs):
        raise AssertionError("it was read")

    __dlpack__ = __dlpack_device__ = __array__


def a_view(shape):
    return xp.broadcast_to(xp.asarray(1), shape)


CREATED = {
    "asarray": lambda **on: xp.asarray(Unread(), **on),
    "from_dlpack": lambda **on: xp.from_dlpack(Unread(), **on),
    "arange": lambda **on: xp.arange(HUGE, **on),
    "linspace": lambda **on: xp.linspace(0, 1, HUGE, **on),
    "eye": lambda **on: xp.eye(2**23, 2**23, **on),
    "full": lambda **on: xp.full(HUGE, 1, **on),
    **{name: lambda name=name, **on: getattr(xp, name)(HUGE, **on) for name in ("empty", "zeros", "ones")},
    **{
        name: lambda name=name, **on: getattr(xp, name)(a_view(HUGE), **on)
        for name in ("empty_like", "zeros_like", "ones_like")
    },
    "full_like": lambda **on: xp.full_like(a_view(HUGE), 2, **on),
    "astype": lambda **on: xp.astype(a_view(HUGE), xp.float32, **on),
    "fft.fftfreq": lambda **on: xp.fft.fftfreq(10**6, d=Unread(), **on),
    "fft.rfftfreq": lambda **on: xp.fft.rfftfreq(10**6, d=Unread(), **on),
}


def test_every_function_with_a_device_is_here():
    namespaces = {"": xp, "fft.": xp.fft, "linalg.": xp.linalg}
    functions = {
        prefix + name: getattr(home, name)
        for prefix, home in namespaces.items()
        for name in home.__all__
        if inspect.isfunction(getattr(home, name))
    }
    assert set(CREATED) == {
        name for name, function in functions.items() if "device" in inspect.signature(function).parameters
    }


@pytest.mark.parametrize("name", CREATED)
def test_a_wrong_device_is_refused_first(name):
    with pytest.raises(ValueError, match=r"device is one of 'cpu', .*; got 'moon:0'"):
        CREATED[name](device="moon:0")


TOGETHER = {
    "concat": (2, lambda x, y: xp.concat([x, y])),
    "stack": (2, lambda x, y: xp.stack((x, y))),
    "asarray": (2, lambda x, y: xp.asarray([x, [y, y]])),
    "meshgrid": (1, xp.meshgrid),
    "repeat": (1, xp.repeat),
    "diff": (2, lambda x, y: xp.diff(x, append=y)),
    "take": (1, xp.take),
    "take_along_axis": (2, xp.take_along_axis),
    "isin": (2, xp.isin),
    "searchsorted": (1, xp.searchsorted),
    "searchsorted by a sorter": (1, lambda x, y: xp.searchsorted(x, x, sorter=y)),
    "where": (2, lambda x, y: xp.where(x, y, y)),
    "cross": (2, xp.linalg.cross),
    "solve": (2, xp.linalg.solve),
    "matrix_rank": (2, lambda x, y: xp.linalg.matrix_rank(x, rtol=y)),
    "pinv": (2, lambda x, y: xp.linalg.pinv(x, rtol=y)),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_arrays_of_two_devices_are_refused_before_their_values_are_read(monkeypatch, name):
    axes, function = TOGETHER[name]
    x, y = (xp.ones((3,) * axes, device=device) for device in ("cpu", "interpreter:0"))

    def read(*_):
        raise AssertionError("values were read")

    monkeypatch.setattr(Core, "_values", read)
    for pair in ((x, y), (y, x)):
        with pytest.raises(ValueError, match="arrays of one call must be on one device"):
            function(*pair)
