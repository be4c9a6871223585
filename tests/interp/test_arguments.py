"""Kernels that write their arguments: in which forms, and what the caller's array then holds."""

import numpy as np
import pytest

from numtrn.interp import KernelFault, importable, simulate
from numtrn.machine import CHIPS
from tests.interp.support import filled, hbm, loaded, nisa, nki, nl, nt, refused, run, stored

X = np.arange(12, dtype=np.float32).reshape(3, 4)
LAYOUTS = [np.copy, np.asfortranarray, lambda a: a.copy()[::-1], lambda a: np.repeat(a, 2, 1)[:, ::2]]


def doubled(x):
    tile = loaded(x)
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=2.0)
    return tile


def returned(x):
    nisa.dma_copy(dst=x, src=doubled(x))
    return x


def declared(x: nt.mutable_tensor):
    nisa.dma_copy(dst=x, src=doubled(x))
    return stored(filled((1, 1)))


def with_shape(x: nt.mutable_tensor[3, 4]):
    return declared(x)


def as_text(x: "nt.mutable_tensor[3, 4]"):
    return declared(x)


@pytest.mark.parametrize("kernel", [returned, declared, with_shape, as_text])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_array_given_is_updated(kernel, layout):
    x = layout(X)
    wanted = 2 * x
    run(kernel, x)
    assert np.array_equal(x, wanted)


def test_the_output_is_apart_from_the_argument():
    x = X.copy()
    out = run(returned, x)
    assert np.array_equal(out, 2 * X)
    assert not np.shares_memory(out, x)


def test_simulate_of_nki_updates_too():
    x = X.copy()
    with importable(chip=CHIPS["trn2"]):
        nki.simulate(returned)(x=x)
    assert np.array_equal(x, 2 * X)


def test_a_write_is_seen_by_later_reads():
    def kernel(x):
        before, late = x[0:1], loaded(x)
        nisa.dma_copy(dst=late[0:1], src=before)
        nisa.dma_copy(dst=x[0:1], src=filled((1, 4), value=7.0))
        out = hbm((1, 4))
        nisa.dma_copy(dst=out, src=before)
        return out, x

    x = X.copy()
    out, _ = run(kernel, x)
    assert np.array_equal(out, np.full((1, 4), 7))
    assert np.array_equal(x[1:], X[1:])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cores", [1, 2])
def test_a_failed_run_leaves_the_array_as_it_was(layout, cores):
    def kernel(x):
        row = nl.program_id(0)
        nisa.dma_copy(dst=x[row : row + 1], src=filled((1, 4)))
        raise ValueError("late")

    x = layout(X)
    before = x.copy()
    with pytest.raises(KernelFault, match="late"):
        run(nki.jit(kernel)[cores], x)
    assert np.array_equal(x, before)


def test_two_cores_write_one_argument():
    def kernel(x):
        rank = nl.program_id(0)
        nisa.dma_copy(dst=x[2 * rank : 2 * rank + 2], src=doubled(x[2 * rank : 2 * rank + 2]))
        return x

    x = np.asfortranarray(np.arange(16, dtype=np.float32).reshape(4, 4))
    wanted = 2 * x
    run(nki.jit(kernel)[2], x)
    assert np.array_equal(x, wanted)


def test_a_dry_run_writes_nothing():
    x = X.copy()
    record = simulate(returned, [np.broadcast_to(x, (3, 4))], chip=CHIPS["trn2"], dry=True)
    assert record.outputs.shape == (3, 4)
    assert np.array_equal(x, X)


def test_memory_that_cannot_be_written():
    frozen = X.copy()
    frozen.flags.writeable = False

    def kernel(x):
        nisa.dma_copy(dst=x, src=filled((3, 4)))  # refused
        return x

    refused("H35", "read-only", "pass a copy", kernel=kernel, arguments=[frozen])
    refused("H35", "read-only", kernel=kernel, arguments=[np.broadcast_to(np.float32(1), (3, 4))])


def test_two_arguments_in_one_memory():
    def kernel(x, y):
        nisa.dma_copy(dst=x, src=filled((3, 4)))  # refused
        return x

    x = X.copy()
    refused("H35", "argument0 does with argument1", kernel=kernel, arguments=[x, x])


def test_declared_and_not_written():
    def kernel(x: nt.mutable_tensor):  # refused
        return stored(loaded(x))

    refused("H35", "argument0 is not", kernel=kernel, arguments=[X.copy()])
    out = run(kernel, X.copy(), levels={"H35": "off"})
    assert np.array_equal(out, X)


def test_constants_are_not_written():
    def kernel():
        constant = nl.shared_constant(X)
        nisa.dma_copy(dst=constant, src=filled((3, 4)))  # refused

    refused("H35", "a constant is not written", kernel=kernel)
