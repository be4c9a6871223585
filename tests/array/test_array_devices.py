"""Devices of numtrn arrays, and how their memory goes to others."""

import numpy as np
import pytest

import numtrn
from numtrn import targets
from numtrn.array import exchange
from numtrn.array.devices import DEVICES

MINE = np.arange(6.0).reshape(2, 3)
THERE = "interpreter:0"


def test_the_host_is_the_default():
    assert numtrn.asarray(MINE).device == "cpu"
    assert numtrn.asarray(MINE, device="cpu").device == "cpu"


def test_arrays_elsewhere_have_memory_of_their_own():
    x = numtrn.asarray(MINE, device=THERE)
    assert x.device == THERE
    assert not np.shares_memory(np.asarray(x), MINE)
    assert not np.shares_memory(np.asarray(np.asarray(MINE, like=x)), MINE)


RESULTS = {
    "operator": lambda x: x + 1,
    "floor division": lambda x: x // 2,
    "ufunc": np.exp,
    "two results": lambda x: np.modf(x)[1],
    "function": lambda x: np.concatenate([x, MINE]),
    "sum": np.sum,
    "method": lambda x: x.astype(np.float32),
    "copy": lambda x: x.copy(),
    "view": lambda x: x.T,
    "element": lambda x: x[0, 0],
    "row": lambda x: next(iter(x)),
    "like": lambda x: np.zeros(3, like=x),
    "product": lambda x: x @ x.T,
    "asarray": lambda x: numtrn.asarray(x, np.float32),
    "recorded": lambda x: x.T @ x + 1,
    "computed of recorded": lambda x: np.sum(x.T @ x),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_where_the_arguments_are(name):
    with numtrn.enabled(target="interpreter", min_work=1):
        got = RESULTS[name](numtrn.asarray(MINE, device=THERE))
        assert got.device == THERE
        np.testing.assert_allclose(np.asarray(got), np.asarray(RESULTS[name](MINE)), rtol=1e-7)


def test_arrays_of_two_devices_do_not_meet():
    here, there = numtrn.asarray(MINE), numtrn.asarray(MINE, device=THERE)
    for call in (
        lambda: here + there,
        lambda: here // there,
        lambda: np.concatenate([here, there]),
        lambda: here @ there.T,
        lambda: np.add(here, 1, out=there),
        lambda: here.__iadd__(there),
        lambda: np.einsum("ij,ij", here, there),
        lambda: here[there > 1],
        lambda: here.__setitem__(0, there[0]),
    ):
        with pytest.raises(
            ValueError, match=r"'cpu' and 'interpreter:0'.*to_device|interpreter:0' and 'cpu'.*to_dev"
        ):
            call()
    assert (here + there.to_device("cpu")).tolist() == (2 * MINE).tolist()


def test_recorded_arrays_of_two_devices_do_not_meet():
    with numtrn.enabled(target="interpreter", min_work=1):
        a = numtrn.asarray(np.ones((9, 2)))
        t = a @ a.T
        with pytest.raises(ValueError, match="to_device"):
            t + numtrn.asarray(1.0, device=THERE)
        moved = t.to_device(THERE)
        assert moved._node() is not None
        assert moved.device == THERE
        assert moved.tolist() == np.full((9, 9), 2.0).tolist()


def test_moving_copies():
    x = numtrn.asarray(MINE.copy())
    assert x.to_device("cpu") is x
    moved = x.to_device(THERE)
    x.fill(0)
    assert moved.tolist() == MINE.tolist()
    assert moved.to_device(THERE) is moved
    with pytest.raises(ValueError, match="no stream"):
        x.to_device(THERE, stream=1)


def test_unknown_devices_are_errors_that_name_the_known():
    for call in (lambda: numtrn.asarray(MINE, device="gpu"), lambda: numtrn.asarray(MINE).to_device(3)):
        with pytest.raises(ValueError) as error:
            call()
        assert all(name in str(error.value) for name in DEVICES)


@pytest.mark.parametrize("name", ["simulator", "neuron"])
def test_targets_that_are_not_here_are_errors(name):
    if not targets.availability()[name]:
        pytest.skip(f"{name} is available")
    with pytest.raises(numtrn.TargetUnavailableError):
        numtrn.asarray(MINE, device=f"{name}:0")


# ---- DLPack ----


@pytest.mark.parametrize("device", ["cpu", THERE])
def test_the_host_memory_goes_out(device):
    x = numtrn.asarray(MINE.copy(), device=device)
    assert x.__dlpack_device__() == (1, 0)
    out = np.from_dlpack(x)
    assert np.array_equal(out, MINE)
    assert np.shares_memory(out, np.asarray(x))


CAPSULES = [{}, {"stream": None}, {"dl_device": (1, 0)}]
CAPSULES += [{"max_version": version} for version in (None, (0, 8), (1, 0))]


@pytest.mark.parametrize("given", CAPSULES)
def test_capsules(given):
    capsule = numtrn.asarray(MINE.copy()).__dlpack__(**given)
    versioned = exchange.VERSIONED and given.get("max_version") == (1, 0)
    assert ("dltensor_versioned" if versioned else '"dltensor"') in repr(capsule)


class Forced:
    """A producer that answers a consumer as that did not ask."""

    def __init__(self, array, **given):
        self.array, self.given = array, given

    def __dlpack__(self, **_):
        return self.array.__dlpack__(**self.given)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_a_copy_goes_out_where_it_is_asked_for():
    x = numtrn.asarray(MINE.copy())
    assert not np.shares_memory(np.from_dlpack(Forced(x, copy=True)), np.asarray(x))
    assert np.shares_memory(np.from_dlpack(Forced(x, copy=False)), np.asarray(x))


def test_what_cannot_go_out():
    x = numtrn.asarray(MINE)
    with pytest.raises(BufferError, match=r"dl_device=\(1, 0\); got \(2, 0\)"):
        x.__dlpack__(dl_device=(2, 0))
    with pytest.raises(ValueError, match="no streams"):
        x.__dlpack__(stream=1)
    with pytest.raises(BufferError):
        numtrn.asarray(np.array(["a"])).__dlpack__()


# ---- NumPy's conversion ----


def test_conversion_to_ndarrays():
    x = numtrn.asarray(MINE.copy())
    assert np.asarray(x) is np.asarray(x)
    assert not np.shares_memory(np.array(x, copy=True), np.asarray(x))
    assert np.array(x, dtype=np.float32).dtype == np.float32
    assert x.__array__() is np.asarray(x)
    assert x.__array__(np.int8).dtype == np.int8
    with pytest.raises(ValueError, match="without a copy"):
        x.__array__(np.int8, copy=False)
    assert np.add(MINE, np.asarray(x)).tolist() == (2 * MINE).tolist()
