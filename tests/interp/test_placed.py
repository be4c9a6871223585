"""Tiles with addresses: where they may lie, and what tiles in the same memory do to one another."""

import numpy as np
import pytest

from numtrn.interp import KernelFault, simulate
from numtrn.machine import CHIPS
from tests.interp.support import filled, loaded, nisa, nl, psum, refused, run, sbuf, stored

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def at(address, shape=(3, 4), dtype=nl.float32, buffer=nl.sbuf):
    return nl.ndarray(shape, dtype=dtype, buffer=buffer, address=address)  # refused, in some tests


def test_tiles_side_by_side():
    def kernel(x):
        one, two = at((0, 0)), at((0, 16))
        nisa.dma_copy(dst=one, src=x)
        nisa.tensor_scalar(dst=two, data=one, op0=nl.multiply, operand0=2.0)
        nisa.tensor_tensor(dst=one, data1=one, data2=two, op=nl.add)
        assert two.address == (0, 16)
        assert sbuf((1, 1)).address is None
        return stored(one)

    assert np.array_equal(run(kernel, X), 3 * X)


def test_memory_is_used_again():
    def kernel(x):
        outs = []
        for _ in range(3):
            tile = at((0, 32))
            nisa.dma_copy(dst=tile, src=x)
            outs.append(stored(tile))
        return tuple(outs)

    record = simulate(kernel, [X], chip=CHIPS["trn2"])
    assert all(np.array_equal(out, X) for out in record.outputs)
    assert record.peak_sbuf_bytes == 16


def test_only_what_was_written_over_is_lost():
    def kernel(x):
        below = at((0, 0))
        above = at((0, 8), (3, 2))
        nisa.dma_copy(dst=below, src=x)
        nisa.memset(dst=above[0:1], value=1.0)
        kept = loaded(x[0:3, 0:2])
        nisa.tensor_copy(dst=kept, src=below[:, 0:2])
        return stored(kept), stored(below)

    with pytest.raises(KernelFault, match=r"H5: .* is read after"):
        run(kernel, X)
    kept, below = run(kernel, X, levels={"H5": "off"})
    assert np.array_equal(kept, X[:, 0:2])
    assert np.array_equal(below, X)


def test_a_write_to_other_partitions_or_bytes_loses_nothing():
    def kernel(x):
        one = at((0, 0), (32, 4))
        other, next_to = at((32, 0), (32, 4)), at((0, 16), (32, 4))
        for tile in (one, other, next_to):
            nisa.memset(dst=tile, value=1.0)
        nisa.tensor_tensor(dst=next_to, data1=one, data2=other, op=nl.add)
        return stored(next_to)

    assert np.array_equal(run(kernel, X), np.full((32, 4), 2))


def test_a_lost_tile_may_be_written_anew():
    def kernel(x):
        one, two = at((0, 0)), at((0, 0), (3, 8), nl.bfloat16)
        nisa.dma_copy(dst=one, src=x)
        nisa.memset(dst=two, value=1.0)
        nisa.dma_copy(dst=one, src=x)
        return stored(one)

    assert np.array_equal(run(kernel, X), X)


def test_another_width_of_the_same_memory():
    def kernel(x):
        one, two = at((0, 0)), at((0, 4), (3, 2), nl.bfloat16)
        nisa.dma_copy(dst=one, src=x)
        nisa.memset(dst=two, value=1.0)
        nisa.tensor_copy(dst=sbuf((3, 1)), src=one[:, 0:1])
        nisa.tensor_copy(dst=sbuf((3, 2)), src=one[:, 2:4])
        nisa.tensor_copy(dst=sbuf((3, 1)), src=one[:, 1:2])  # refused

    refused("H5", "bfloat16 was written over it", kernel=kernel, arguments=[X])


def test_banks_of_psum():
    def kernel(x):
        a = loaded(x)
        bank = at((0, 3 * 2048), (4, 4), buffer=nl.psum)
        nisa.nc_matmul(dst=bank, stationary=a, moving=a, accumulate=False)
        again = at((0, 3 * 2048), (4, 4), buffer=nl.psum)
        nisa.nc_matmul(dst=again, stationary=a, moving=a, accumulate=False)
        nisa.nc_matmul(dst=bank, stationary=a, moving=a, accumulate=True)  # refused

    refused("H10", kernel=kernel, arguments=[X])


def test_the_start_partition_is_the_physical_one():
    def kernel():
        nisa.memset(dst=at((5, 0), (32, 4)), value=1.0)  # refused

    refused("H1", "32 from 5", kernel=kernel)
    run(lambda: stored(_written(at((64, 0), (64, 4)))))


def _written(tile):
    nisa.memset(dst=tile, value=1.0)
    return tile


def test_placed_and_other_tiles_share_the_capacity():
    def kernel():
        at((0, 0), (1, 1024))
        at((0, 2048), (1, 1024))
        rest = sbuf((1, (CHIPS["trn2"].sbuf_usable_bytes - 6144) // 4))
        return stored(filled((1, 1))), rest

    refused("H4", "SBUF", kernel=kernel)


def test_eight_banks_with_addresses_leave_none():
    def kernel():
        at((0, 0), (1, 4096), buffer=nl.psum)
        psum((1, 1))

    with pytest.raises(KernelFault, match="H4"):
        run(kernel)


@pytest.mark.parametrize(
    ("arguments", "rule", "word"),
    [
        (((100, 0), (64, 4)), "H5", "within 128 partitions"),
        (((0, 1 << 20),), "H5", "ends at 1048592"),
        (((0, 2),), "H5", "multiple of an element, 4 bytes"),
        (((0, 2048 + 4), (3, 4), nl.float32, nl.psum), "H5", "multiple of a bank"),
        (((0, 8 * 2048), (3, 4), nl.float32, nl.psum), "H5", "16384 bytes"),
        (((0, 0), (3, 4), nl.float32, nl.shared_hbm), "H5", "in HBM"),
        (((0, -4),), "H41", "from 0 on"),
        ((0,), "H41", "(partition, bytes)"),
        (((0, 1.0),), "H41", "(partition, bytes)"),
    ],
)
def test_addresses_that_are_refused(arguments, rule, word):
    refused(rule, word, kernel=lambda: at(*arguments))
