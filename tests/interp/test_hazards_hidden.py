"""Hazards in forms that are easy to miss: through views, patterns, dtypes, loops, operands per partition.

``test_hazards.py`` has the smallest kernel of each hazard; here stands what a check of the obvious form
alone would let pass.
"""

import numpy as np
import pytest

from numtrn.interp import KernelFault
from tests.interp.support import evicted, filled, hbm, loaded, nisa, nki, nl, psum, run, sbuf, stored

HIDDEN = []
GO_ON, RESET = nisa.reduce_cmd.reduce, nisa.reduce_cmd.reset_reduce


def hidden(hazard, *arguments, chip="trn2"):
    def register(kernel):
        HIDDEN.append(pytest.param(kernel, hazard, arguments, chip, id=f"{hazard}-{kernel.__name__}"))
        return kernel

    return register


@pytest.mark.parametrize(("kernel", "hazard", "arguments", "chip"), HIDDEN)
def test_hidden(kernel, hazard, arguments, chip):
    with pytest.raises(KernelFault) as caught:
        run(kernel, *arguments, chip=chip)
    assert caught.value.rule == hazard, caught.value


def column(*values, dtype=np.uint32):
    return np.array(values, dtype)[:, None]


def copied(shape, src, dtype=nl.float32):
    tile = sbuf(shape, dtype)
    nisa.tensor_copy(dst=tile, src=src)
    return tile


def table(rows=8, columns=4):
    out = hbm((rows, columns))
    nisa.dma_copy(dst=out, src=filled((rows, columns)))
    return out


# -- places ----------------------------------------------------------------------------------------


@hidden("H1")
def offset_of_a_pattern():
    copied((32, 4), filled((128, 4)).ap(pattern=[[4, 32], [1, 4]], offset=20))


@hidden("H1")
def rows_of_a_view_of_halves():
    copied((2, 8), filled((128, 4)).view(nl.bfloat16)[16:18], nl.bfloat16)


@hidden("H2")
def permuted_partitions():
    copied((4, 4), filled((4, 4)).permute((1, 0)))


@hidden("H31")
def pattern_that_leaves_its_partition():
    copied((4, 4), filled((128, 4)).ap(pattern=[[4, 4], [1, 4]], offset=2))


@hidden("H4")
def views_keep_their_banks():
    banks = [psum((4, 512))[:, 0:1] for _ in range(9)]
    return stored(banks[0])


@hidden("H7")
def pattern_over_two_banks():
    a, bank = filled((4, 4)), psum((4, 1024))
    nisa.nc_matmul(bank.ap(pattern=[[1024, 4], [600, 2]]), a, a[:, 0:2], accumulate=False)


@hidden("H30")
def windows_that_overlap():
    nisa.memset(dst=sbuf((4, 8)).ap(pattern=[[8, 4], [2, 3], [1, 4]]), value=1.0)


@hidden("H30")
def four_dimensions_for_max8():
    nisa.max8(dst=sbuf((4, 8)), src=filled((4, 2, 2, 4)))


@hidden("H31", column(-1, 0, 1, dtype=np.int32))
def negative_index(index):
    nisa.dma_copy(dst=sbuf((3, 4)), src=table().ap(pattern=[[4, 3], [1, 4]], vector_offset=loaded(index)))


# -- written before read ---------------------------------------------------------------------------


@hidden("H6")
def loop_that_stops_early():
    tile = sbuf((4, 9))
    for i in range(4):
        nisa.memset(dst=tile[:, 2 * i : 2 * i + 2], value=1.0)
    copied((4, 9), tile)


@hidden("H6")
def every_second_element():
    tile = sbuf((4, 8))
    nisa.memset(dst=tile.ap(pattern=[[8, 4], [2, 4]]), value=1.0)
    copied((4, 8), tile)


@hidden("H6")
def rows_skipped_by_a_gather():
    tile, far = sbuf((4, 4)), filled((4, 1), nl.uint32, 9)
    view = table().ap(pattern=[[4, 4], [1, 4]], vector_offset=far)
    nisa.dma_copy(dst=tile, src=view, oob_mode=nisa.oob_mode.skip)
    copied((4, 4), tile)


# -- PSUM ------------------------------------------------------------------------------------------


def begun(accumulate=False):
    a, bank = filled((4, 4)), psum((4, 4))
    nisa.nc_matmul(bank, a, a, accumulate=accumulate)
    return a, bank


def upper(bank):
    """The upper half of each element."""
    return bank.view(nl.bfloat16).reshape((4, 4, 2))[:, :, 1:2]


@hidden("H11")
def halves_overwritten():
    a, bank = begun()
    nisa.memset(dst=upper(bank), value=1.0)
    nisa.nc_matmul(bank, a, a, accumulate=True)


@hidden("H11")
def reduction_into_the_bank():
    a, bank = begun()
    nisa.activation_reduce(dst=a, op=nl.exp, data=a, reduce_op=nl.add, reduce_res=bank[:, 0:1])
    nisa.nc_matmul(bank, a, a, accumulate=True)


@hidden("H12")
def halves_read():
    a, bank = begun(None)
    copied((4, 4, 1), upper(bank), nl.bfloat16)
    nisa.nc_matmul(bank, a, a)


@hidden("H12")
def read_as_an_operand_per_partition():
    a, bank = begun(None)
    nisa.tensor_scalar(dst=a, data=a, op0=nl.add, operand0=bank[:, 0:1])
    nisa.nc_matmul(bank, a, a)


@hidden("H13")
def two_parts_of_a_bank():
    _, bank = begun()
    more = {"op0": nl.add, "operand0": 1.0, "op1": nl.add}
    nisa.scalar_tensor_tensor(dst=sbuf((4, 2)), data=bank[:, 0:2], operand1=bank[:, 2:4], **more)


@hidden("H14")
def operand_of_gpsimd():
    (a, bank), more = begun(), {"op0": nl.rsqrt, "operand0": None, "op1": nl.add}
    nisa.tensor_scalar(dst=a, data=a, operand1=bank[:, 0:1], **more)


# -- numbers ---------------------------------------------------------------------------------------


@hidden("H21")
def constant_beyond_float32():
    tile = filled((1, 1), nl.int32, 3)
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=2**24 + 1)


@hidden("H33")
def constant_of_64_bits():
    tile = filled((1, 1))
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=np.int64(2**40))


@hidden("H22")
def nan_as_the_other_choice():
    tile, never = filled((1, 2), nl.int16, 1), filled((1, 2), nl.uint8, 0)
    nisa.select_reduce(dst=tile, predicate=never, on_true=tile, on_false=float("nan"))


@hidden("H24")
def scaled_out_of_range():
    tile = filled((1, 2), value=3.0)
    nisa.activation(dst=tile, op=nl.sin, data=tile, scale=filled((1, 1), value=2.0))


@hidden("H18")
def unary_with_an_operand():
    tile = filled((1, 2), nl.int8, 1)
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.invert, operand0=1)


@hidden("H25")
def registers_of_other_lanes():
    tile, more = filled((64, 2)), {"op0": nl.add, "operand0": 0.0, "reduce_op": nl.add}
    nisa.tensor_scalar_reduce(dst=tile[0:32], data=tile[0:32], **more)
    nisa.tensor_scalar_reduce(dst=tile[32:64], data=tile[32:64], reduce_cmd=GO_ON, **more)


@hidden("H37")
def register_equal_to_a_number():
    return stored(filled((1, 1 if nisa.register_alloc(1) == 1 else 2)))


@hidden("H37")
def register_as_an_index():
    return stored(filled((1, [1, 2][nisa.register_alloc(1)])))


@hidden("H35", np.zeros((1, 1), np.int32))
def register_into_an_argument(x):
    nisa.register_store(x, nisa.register_alloc(1))


@hidden("H35")
def result_of_another_dtype():
    return table().view(nl.int32)


# -- read, modify, write ---------------------------------------------------------------------------


@hidden("H40", column(0, 1, 3, 5))
def rows_longer_than_their_distance(index):
    view = table().ap(pattern=[[4, 4], [1, 8]], vector_offset=loaded(index))
    nisa.dma_copy(dst=view, src=filled((4, 8)))


@hidden("H40")
def gather_onto_another_view():
    tile, places = filled((4, 2, 2)), filled((4, 1), nl.uint32, 1)
    view = table().ap(pattern=[[4, 4], [1, 4]], vector_offset=places)
    nisa.dma_compute(dst=tile, srcs=[tile.permute((0, 2, 1)), view], reduce_op=nl.add)


@hidden("H40", column(0, 1, 2, 3))
def scatter_onto_another_window(index):
    out, places = table(8, 8), loaded(index)
    views = [out.ap(pattern=[[8, 4], [1, 4]], offset=at, vector_offset=places) for at in (0, 4)]
    nisa.dma_compute(dst=views[0], srcs=[views[1], filled((4, 4))], reduce_op=nl.add)


def test_rows_apart_may_be_scattered_in_any_order():
    def kernel(index):
        out = table(8, 8)
        view = out.ap(pattern=[[8, 3], [1, 4]], vector_offset=loaded(index))
        nisa.dma_copy(dst=view, src=filled((3, 4), value=5.0))
        return out

    wanted = np.ones((8, 8))
    wanted[[6, 1, 5], :4] = 5
    assert np.array_equal(run(kernel, column(6, 1, 5)), wanted)


# -- overlaps --------------------------------------------------------------------------------------

RULES = {"op0": nl.multiply, "op1": nl.add}
OVERLAPS = {
    "activation": lambda dst, x, lane: nisa.activation(dst=dst, op=nl.exp, data=x, bias=lane),
    "activate2": lambda dst, x, lane: nisa.activate2(
        dst=dst, op=nl.exp, data=x, imm0=lane, imm1=0.0, **RULES
    ),
    "tensor_tensor_scan": lambda dst, x, lane: nisa.tensor_tensor_scan(
        dst=dst, data0=x, data1=x, initial=lane, **RULES
    ),
    "tensor_scalar_cumulative": lambda dst, x, lane: nisa.tensor_scalar_cumulative(
        dst=dst, src=x, imm0=lane, **RULES
    ),
    "exponential": lambda dst, x, lane: nisa.exponential(dst=dst, src=x, max_value=lane),
    "select_reduce": lambda dst, x, lane: nisa.select_reduce(
        dst=dst, on_true=x, predicate=filled((4, 2), nl.uint8, 1), on_false=lane
    ),
    "range_select": lambda dst, x, lane: nisa.range_select(
        dst=dst, on_true_tile=x, comp_op0=nl.less, comp_op1=nl.less, bound0=x[:, 0:1], bound1=lane
    ),
    "dropout": lambda dst, x, lane: nisa.dropout(dst=dst, data=x, prob=lane),
    "rand2": lambda dst, x, lane: nisa.rand2(dst=dst, min=lane, max=2.0),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_a_result_over_an_operand_per_partition(name):
    def kernel():
        tile = filled((4, 4))
        OVERLAPS[name](tile[:, 0:2], tile[:, 2:4], tile[:, 1:2])

    with pytest.raises(KernelFault, match="alias"):
        run(kernel, chip="trn3")


REDUCED = {
    "activation": lambda x, res: nisa.activation_reduce(
        dst=sbuf((4, 4)), data=x, op=nl.exp, reduce_op=nl.add, reduce_res=res
    ),
    "activate2": lambda x, res: nisa.activate2(
        dst=sbuf((4, 4)), data=x, op=nl.exp, imm0=1.0, imm1=1.0, **RULES, reduce_op=nl.add, reduce_res=res,
        reduce_cmd=RESET,
    ),
    "exponential": lambda x, res: nisa.exponential(
        dst=sbuf((4, 4)), src=x, reduce_res=res, reduce_cmd=RESET
    ),
    "select_reduce": lambda x, res: nisa.select_reduce(
        dst=sbuf((4, 4)), on_true=x, predicate=filled((4, 4), nl.uint8, 1), on_false=0.0, reduce_res=res,
        reduce_cmd=RESET,
    ),
    "tensor_scalar_reduce": lambda x, res: nisa.tensor_scalar_reduce(
        dst=sbuf((4, 4)), data=x, op0=nl.add, operand0=1.0, reduce_op=nl.add, reduce_res=res
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCED)
def test_a_reduction_into_its_input(name):
    def kernel():
        tile = filled((4, 4))
        REDUCED[name](tile, tile[:, 1:2])

    with pytest.raises(KernelFault, match="alias"):
        run(kernel, chip="trn3")


@hidden("alias")
def transpose_in_place():
    tile = filled((8, 8))
    nisa.nc_transpose(dst=tile, data=tile, engine=nisa.engine.vector)


@hidden("alias")
def copy_shifted_by_one():
    tile = filled((4, 8))
    nisa.tensor_copy(dst=tile[:, 1:5], src=tile[:, 0:4])


@hidden("alias")
def two_results_in_one_tile():
    both = sbuf((16, 8), nl.uint32)
    nisa.topk(val_dst=both.view(nl.bfloat16)[:, 0:8], idx_dst=both, src=filled((16, 2), nl.bfloat16), n=16)


@hidden("alias")
def places_over_the_data():
    tile = filled((4, 16))
    places = tile.view(nl.uint32)[:, 4:12]
    nisa.nc_match_replace8(dst=sbuf((4, 16)), data=tile, vals=filled((4, 8)), imm=0.0, dst_idx=places)


# -- two cores -------------------------------------------------------------------------------------


def test_a_barrier_on_another_tensor_shows_nothing():
    def kernel():
        one, two, rank = hbm((4, 4)), hbm((4, 4)), nl.program_id(0)
        for out in (one, two):
            nisa.dma_copy(dst=out[2 * rank : 2 * rank + 2], src=filled((2, 4)))
        nisa.core_barrier(data=two, cores=(0, 1))
        loaded(one)
        return one, two

    with pytest.raises(KernelFault, match="H6"):
        run(nki.jit(kernel)[2])


def test_a_pattern_in_a_bool_tile_is_true_or_false():
    def kernel():
        tile = sbuf((1, 4), nl.bool_)
        nisa.iota(dst=tile, pattern=[[1, 4]])
        return stored(copied((1, 4), tile))

    assert np.array_equal(run(kernel), [[0, 1, 1, 1]])


def test_matmuls_go_on_after_another_part_was_read():
    def kernel():
        a, bank = filled((4, 4)), psum((4, 8))
        nisa.nc_matmul(bank[:, 0:4], a, a)
        nisa.nc_matmul(bank[:, 4:8], a, a)
        copied((4, 4), bank[:, 4:8])
        nisa.nc_matmul(bank[:, 0:4], a, a)
        return evicted(bank)

    assert np.array_equal(run(kernel), np.repeat([[8, 4]], 4, axis=1) * np.ones((4, 1)))
