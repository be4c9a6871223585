"""Capacity of SBUF and PSUM by live tiles, and reading what was never written."""

import sys

import numpy as np
import pytest

from numtrn.interp import simulate
from numtrn.machine import CHIPS
from tests.interp.support import filled, loaded, nisa, nl, psum, refused, run, sbuf, stored


@pytest.mark.parametrize("chip", CHIPS)
def test_sbuf_holds_what_is_usable_and_no_more(chip):
    usable = CHIPS[chip].sbuf_usable_bytes

    def fits():
        tile = sbuf((1, usable // 4))[:, 0:1]
        nisa.memset(dst=tile, value=1.0)
        return stored(tile)

    def exceeds():
        first = sbuf((128, usable // 8), nl.float32)
        second = nl.ndarray((1, usable // 4), dtype=nl.bfloat16, buffer=nl.sbuf, name="second")
        third = sbuf((1, 1), nl.int8)  # refused
        return first, second, third

    record = simulate(fits, (), chip=CHIPS[chip])
    assert record.peak_sbuf_bytes == usable
    message = refused("H4", f"{usable} bytes a partition", f"{usable} live", kernel=exceeds, chip=chip)
    assert "1 more" in message
    assert f"second[1, {usable // 4}] bfloat16" in message


def test_psum_has_eight_banks_and_a_tile_takes_whole_ones():
    def kernel(count, columns):
        tiles = []
        for _ in range(count):
            tiles.append(psum((1, columns)))  # refused
        return stored(filled((1, 1)))

    assert simulate(kernel, (8, 1), chip=CHIPS["trn2"]).peak_psum_banks == 8
    assert simulate(kernel, (4, 513), chip=CHIPS["trn2"]).peak_psum_banks == 8
    refused("H4", "8 banks", "8 live and 1 more", kernel=kernel, arguments=(9, 512))
    refused("H4", "8 banks", "8 live and 2 more", kernel=kernel, arguments=(5, 513))


def test_tiles_are_freed_when_their_last_reference_goes():
    def kernel():
        for _ in range(100):
            tile = sbuf((128, 40000))
            view = tile[0:32, 0:4]
            del tile
            nisa.memset(dst=view, value=2.0)
            result = stored(view)
            del view
        return result

    record = simulate(kernel, (), chip=CHIPS["trn2"])
    assert record.peak_sbuf_bytes == 160000
    assert np.array_equal(record.outputs, np.full((32, 4), 2))


def test_a_failed_run_leaves_nothing_behind():
    for _ in range(3):
        refused("H4", "SBUF", kernel=_too_much)
        assert np.array_equal(run(lambda: stored(filled((4, 4)))), np.ones((4, 4)))


def _too_much():
    tiles = [sbuf((128, 10000)) for _ in range(6)]
    nisa.memset(dst=tiles[0], value=1.0)


@pytest.mark.parametrize("dtype", [nl.float32, nl.bfloat16, nl.int32])
def test_reading_fresh_memory(dtype):
    def kernel():
        tile, copy = sbuf((4, 4), dtype), sbuf((4, 4), dtype)
        nisa.tensor_copy(dst=copy, src=tile)  # refused

    refused("H6", "written before it is read", "tile[4, 4]", "(0, 0)", kernel=kernel)


def test_reading_a_partly_written_tile():
    def kernel(columns):
        tile, copy = sbuf((4, 8)), sbuf((4, columns))
        nisa.memset(dst=tile[:, 0:5], value=1.0)
        nisa.tensor_copy(dst=copy, src=tile[:, 0:columns])  # refused
        return stored(copy)

    assert np.array_equal(run(kernel, 5), np.ones((4, 5)))
    refused("H6", "(0, 5)", kernel=kernel, arguments=[6])


def test_a_tile_written_in_parts_is_written():
    def kernel():
        tile = sbuf((4, 9))
        nisa.memset(dst=tile[:, 0:9:2], value=1.0)
        nisa.memset(dst=tile[:, 2:9:4], value=3.0)
        nisa.memset(dst=tile[:, 1:9:2], value=2.0)
        return stored(tile)

    assert np.array_equal(run(kernel), np.tile(np.float32([1, 2, 3, 2, 1, 2, 3, 2, 1]), (4, 1)))


def test_writing_through_another_dtype_counts_by_bytes():
    def kernel(last):
        tile = sbuf((1, 2), nl.float32)
        halves = tile.view(nl.uint16)
        nisa.memset(dst=halves[:, 0:last], value=0)
        return stored(tile)

    assert np.array_equal(run(kernel, 4), np.zeros((1, 2)))

    def direct(last):
        tile, copy = sbuf((1, 2), nl.float32), sbuf((1, 2))
        nisa.memset(dst=tile.view(nl.uint16)[:, 0:last], value=0)
        nisa.tensor_copy(dst=copy, src=tile)  # refused

    refused("H6", "(0, 1)", kernel=direct, arguments=[3])


def test_a_real_nan_passes():
    x = np.float32([[np.nan, 1, -np.inf]])

    def kernel(x):
        tile = loaded(x)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.multiply, operand0=2.0)
        return stored(tile)

    assert np.array_equal(run(kernel, x), x * 2, equal_nan=True)


def test_scratch_in_hbm_must_be_written_too():
    def kernel():
        scratch, tile = nl.ndarray((4, 4), dtype=nl.float32, buffer=nl.hbm, name="scratch"), sbuf((4, 4))
        nisa.dma_copy(dst=scratch[0:2], src=filled((2, 4)))
        nisa.dma_copy(dst=tile, src=scratch)  # refused

    refused("H6", "scratch[4, 4]", "(2, 0)", kernel=kernel)


def test_a_predicate_may_leave_elements_of_fresh_memory_alone_only_if_none():
    def kernel(x):
        tile, mask = sbuf((1, 3)), loaded(x)
        nisa.tensor_copy_predicated(dst=tile, src=1.0, predicate=mask)  # refused
        return stored(tile)

    assert np.array_equal(run(kernel, np.uint8([[1, 2, 3]])), [[1, 1, 1]])
    refused("H6", kernel=kernel, arguments=[np.uint8([[1, 0, 1]])])


@pytest.mark.parametrize(("shape", "rule"), [((129, 1), "H3"), ((4,), "H30"), ((1, 1, 1, 1, 1, 1), "H30")])
def test_shapes_of_tiles(shape, rule):
    def kernel():
        sbuf(shape)  # refused

    refused(rule, shape, kernel=kernel)


def test_arguments_of_ndarray():
    def string_buffer():
        nl.ndarray((4, 4), dtype=nl.float32, buffer="sbuf")  # refused

    def numpy_dtype():
        nl.ndarray((4, 4), dtype=np.float32)  # refused

    def later_dtype():
        nl.ndarray((4, 4), dtype="float4_e2m1fn_x4")  # refused

    refused("H41", "buffer", "'sbuf'", kernel=string_buffer)
    refused("H41", "dtype", "float32", kernel=numpy_dtype)
    refused("unsupported", "float4_e2m1fn_x4", kernel=later_dtype)
    refused("H41", "positive", "(0, 4)", kernel=_empty)


def _empty():
    nl.ndarray((0, 4), dtype=nl.float32, buffer=nl.shared_hbm)  # refused


def test_the_end_of_a_tile_runs_no_python_code():
    """Python code there, such as ``__del__``, would swallow a Ctrl-C."""

    def kernel():
        calls, tile = [], filled((1, 1024))
        sys.setprofile(lambda frame, event, argument: calls.append(event))
        del tile
        sys.setprofile(None)
        assert "call" not in calls
        for _ in range(100):
            filled((1, 1024))
        return stored(filled((1, 1)))

    assert simulate(kernel, [], chip=CHIPS["trn2"]).peak_sbuf_bytes == 4096
