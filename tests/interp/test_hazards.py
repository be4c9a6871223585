"""The smallest kernel that each hazard refuses, the message it gets, and what it computes when lowered.

Hazards that are checked in source have their table in ``test_static.py``.
"""

import linecache
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from numtrn.errors import KernelHazardWarning
from numtrn.interp import HAZARDS, Checks, KernelFault, simulate
from numtrn.interp.faults import allowing
from numtrn.interp.hazards import page
from numtrn.machine import CHIPS
from tests.interp.support import evicted, filled, hbm, loaded, nisa, nki, nl, psum, refused, run, sbuf, stored

SMALLEST = []
LOWERED = []
NAN = np.float32(np.nan)


def smallest(hazard, message, *arguments, chip="trn2", lowered=None):
    """Register a kernel: refused with this message, and, if the hazard can be lowered, its result then."""

    def register(kernel):
        row = pytest.param(
            kernel, hazard, message, arguments, chip, lowered, id=f"{hazard}-{kernel.__name__}"
        )
        SMALLEST.append(row)
        LOWERED.extend([] if lowered is None else [row])
        return kernel

    return register


def two_cores(kernel):
    return nki.jit(kernel)[2]


@pytest.mark.parametrize(("kernel", "hazard", "message", "arguments", "chip", "lowered"), SMALLEST)
def test_refused(kernel, hazard, message, arguments, chip, lowered):
    found = refused(hazard, kernel=kernel, arguments=arguments, chip=chip)
    assert found.startswith(f"{hazard}: {message} ({__file__}:"), found


@pytest.mark.parametrize(("kernel", "hazard", "message", "arguments", "chip", "lowered"), LOWERED)
def test_lowered(kernel, hazard, message, arguments, chip, lowered):
    out = run(kernel, *arguments, chip=chip, levels={hazard: "off"})
    np.testing.assert_array_equal(out.astype(float), np.broadcast_to(lowered, out.shape))
    with pytest.warns(KernelHazardWarning) as caught:
        again = run(kernel, *arguments, chip=chip, levels={hazard: "warning"})
    assert again.tobytes() == out.tobytes()
    lines = {(warning.filename, warning.lineno) for warning in caught}
    assert len(lines) == len(caught), "one warning for each line"
    text = str(caught[0].message)
    assert text == f"{hazard}: {message}; {HAZARDS[hazard].then}"
    assert "# refused" in linecache.getline(caught[0].filename, caught[0].lineno)


def test_every_hazard_checked_while_running_has_a_kernel():
    rows = {row.values[1] for row in SMALLEST}
    assert rows == {hazard.id for hazard in HAZARDS.values() if hazard.running}
    lowered = {row.values[1] for row in LOWERED}
    assert lowered == {hazard.id for hazard in HAZARDS.values() if hazard.then}


# -- the kernels -----------------------------------------------------------------------------------


@smallest(
    "H1",
    "a compute operand starts at partition 0, 32, 64 or 96 if it has at most 32 partitions, at 0"
    " or 64 if at most 64, else at 0; src has 32 from 5: tensor[32, 4] float32 in sbuf",
    lowered=1,
)
def starts_at_partition_5():
    tile = filled((128, 4))
    part = sbuf((32, 4))
    nisa.tensor_copy(dst=part, src=tile[5:37])  # refused
    return stored(part)


@smallest("H1", "stationary and moving must start at the same partition; got 64 and 0", lowered=64)
def rows_of_the_array_differ():
    a, b, bank = filled((128, 4)), filled((64, 4)), psum((4, 4))
    nisa.nc_matmul(dst=bank, stationary=a[64:128], moving=b, accumulate=False)  # refused
    return evicted(bank)


@smallest(
    "H2",
    "partitions must be consecutive; src steps by 8 elements where a partition has 4: tensor[64,"
    " 4] float32 in sbuf",
)
def every_second_partition():
    tile, half = filled((128, 4)), sbuf((64, 4))
    nisa.tensor_copy(dst=half, src=tile[0:128:2])  # refused


@smallest("H3", "a tile has at most 128 partitions; got (129, 1)")
def too_many_partitions():
    return nl.ndarray((129, 1), dtype=nl.float32, buffer=nl.sbuf)  # refused


@smallest(
    "H4",
    "live tiles must fit PSUM: 8 banks on trn2; 8 live and 1 more asked for; largest live:"
    " tile[1, 512] float32 1, tile[1, 512] float32 1, tile[1, 512] float32 1, tile[1, 512] float32"
    " 1",
    lowered=2,
)
def nine_banks():
    banks = []
    for _ in range(9):
        banks.append(nl.ndarray((1, 512), dtype=nl.float32, buffer=nl.psum))  # refused
    nisa.memset(dst=banks[8], value=2.0)
    return evicted(banks[8])


@smallest(
    "H5",
    "a tile is read before another at its address is written; one[1, 1] float32 is read after two[1, 1]"
    " float32 was written over it",
    lowered=1,
)
def overwritten_through_another_tile():
    one = nl.ndarray((1, 1), dtype=nl.float32, buffer=nl.sbuf, name="one", address=(0, 64))
    two = nl.ndarray((1, 1), dtype=nl.float32, buffer=nl.sbuf, name="two", address=(0, 64))
    copy = sbuf((1, 1))
    nisa.memset(dst=one, value=1.0)
    nisa.memset(dst=two, value=2.0)
    nisa.tensor_copy(dst=copy, src=one)  # refused
    return stored(copy)


@smallest("H5", "an address is a multiple of a bank, 2048 bytes; tile[1, 1] float32 is at (0, 64)")
def psum_address_inside_a_bank():
    return nl.ndarray((1, 1), dtype=nl.float32, buffer=nl.psum, address=(0, 64))  # refused


@smallest(
    "H6",
    "an element must be written before it is read; tile[1, 3] float32 is not, at (0, 2) of the operand",
    lowered=[[1, 1, NAN]],
)
def reads_unwritten():
    tile, copy = sbuf((1, 3)), sbuf((1, 3))
    nisa.memset(dst=tile[:, 0:2], value=1.0)
    nisa.tensor_copy(dst=copy, src=tile)  # refused
    return stored(copy)


@smallest(
    "H6",
    "an element must be written before it is read; tile[1, 3] int32 is not, at (0, 0) of the operand",
    lowered=4,
)
def reads_unwritten_integers():
    tile, copy = sbuf((1, 3), nl.int32), sbuf((1, 3), nl.int32)
    nisa.tensor_copy(dst=copy, src=tile)  # refused
    return stored(copy)


@smallest(
    "H6",
    "an element must be written before it is read; tile[1, 2] float32 is not, at (0, 2) of the operand",
    np.ones((1, 1), np.float32),
    lowered=[[0, 1, NAN, NAN]],
)
def reads_unwritten_halves(x):
    tile, copy = sbuf((1, 2)), sbuf((1, 4), nl.bfloat16)
    nisa.dma_copy(dst=tile[:, 0:1], src=x)
    nisa.tensor_copy(dst=copy, src=tile.view(nl.bfloat16))  # refused
    return stored(copy)


@smallest(
    "H7",
    "TensorE writes inside one PSUM bank of 2048 bytes; dst covers bytes 1600 to 2400 of a"
    " partition: tensor[4, 200] float32 in psum",
)
def across_banks():
    bank = psum((4, 600))
    a, b = filled((8, 4)), filled((8, 200))
    nisa.nc_matmul(dst=bank[:, 400:600], stationary=a, moving=b, accumulate=False)  # refused


@smallest("H8", "float32 and tfloat32 only multiply each other; got float32 and bfloat16", lowered=8)
def mixes_widths():
    bank = psum((4, 4))
    a, b = filled((8, 4)), filled((8, 4), nl.bfloat16)
    nisa.nc_matmul(dst=bank, stationary=a, moving=b, accumulate=False)  # refused
    return evicted(bank)


@smallest(
    "H9",
    "a matmul result must be float32 (or bfloat16 from gen4) in PSUM; dst is tensor[4, 4] bfloat16 in psum",
)
def rounded_result():
    bank = psum((4, 4), nl.bfloat16)
    a = filled((8, 4), nl.bfloat16)
    nisa.nc_matmul(dst=bank, stationary=a, moving=a, accumulate=False)  # refused


@smallest(
    "H10",
    "accumulate=True needs a location begun by a matmul with accumulate=False; dst is tensor[4,"
    " 4] float32 in psum",
    lowered=8,
)
def adds_to_nothing():
    bank, a = psum((4, 4)), filled((8, 4))
    nisa.nc_matmul(dst=bank, stationary=a, moving=a, accumulate=True)  # refused
    return evicted(bank)


@smallest(
    "H11",
    "a matmul cannot add to what another instruction wrote (undefined on hardware); dst is"
    " tensor[4, 4] float32 in psum",
    lowered=8,
)
def adds_to_zeros():
    bank, a = psum((4, 4)), filled((8, 4))
    nisa.memset(dst=bank, value=0.0)
    nisa.nc_matmul(dst=bank, stationary=a, moving=a, accumulate=True)  # refused
    return evicted(bank)


@smallest(
    "H12",
    "accumulate=None is ambiguous on a dst partly written before; say True or False; dst is"
    " tensor[4, 4] float32 in psum",
    lowered=[[16, 16, 8, 8]],
)
def half_begun():
    bank, a = psum((4, 4)), filled((8, 4))
    nisa.nc_matmul(dst=bank[:, 0:2], stationary=a, moving=a[:, 0:2], accumulate=False)
    nisa.nc_matmul(dst=bank, stationary=a, moving=a)  # refused
    return evicted(bank)


@smallest(
    "H12",
    "accumulate=None after the tile was read: whether the compiler then starts a new group is not"
    " documented; say True or False, or allocate a new tile; dst is tensor[4, 4] float32 in psum",
    lowered=16,
)
def second_group():
    bank, a, first = psum((4, 4)), filled((8, 4)), sbuf((4, 4))
    nisa.nc_matmul(dst=bank, stationary=a, moving=a)
    nisa.tensor_copy(dst=first, src=bank)
    nisa.nc_matmul(dst=bank, stationary=a, moving=a)  # refused
    return evicted(bank)


@smallest(
    "H13",
    "data1 and data2 cannot both be in PSUM; got tensor[1, 4] float32 in psum and tensor[1, 4]"
    " float32 in psum",
    lowered=2,
)
def both_in_psum():
    one, other = filled_bank(1.0), filled_bank(1.0)
    nisa.tensor_tensor(dst=one, data1=one, data2=other, op=nl.add)  # refused
    return evicted(one)


@smallest("H14", "GpSimd cannot access PSUM (A2); src is tensor[1, 4] float32 in psum", lowered=3)
def gpsimd_reads_psum():
    bank, copy = filled_bank(3.0), sbuf((1, 4))
    nisa.tensor_copy(dst=copy, src=bank, engine=nisa.engine.gpsimd)  # refused
    return stored(copy)


@smallest("H15", "a DMA cannot access PSUM; src is tensor[1, 4] float32 in psum", lowered=3)
def dma_reads_psum():
    bank, out = filled_bank(3.0), hbm((1, 4))
    nisa.dma_copy(dst=out, src=bank)  # refused
    return out


@smallest(
    "H16",
    "dge_mode.hwdge does not cast; got float32 to bfloat16",
    np.float32([[1.5, 2.5]]),
    lowered=[[1.5, 2.5]],
)
def hwdge_casts(x):
    tile = sbuf((1, 2), nl.bfloat16)
    nisa.dma_copy(dst=tile, src=x, dge_mode=nisa.dge_mode.hwdge)  # refused
    return stored(tile)


@smallest(
    "H17",
    "operands must have equal partitions and equal elements a partition; dst has [4, 4], data [4, 1]",
)
def broadcasts():
    tile, column = filled((4, 4)), filled((4, 1))
    nisa.tensor_tensor(dst=tile, data1=tile, data2=column, op=nl.add)  # refused


@smallest("H18", "operand0 must be a number or a tile of shape (4, 1); got tensor[1, 4] float32 in sbuf")
def row_as_operand():
    tile, row = filled((4, 4)), filled((1, 4))
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=row)  # refused


@smallest(
    "H19",
    "bitvec operators need integer operands of one dtype; nl.bitwise_and got float32, float32, float32",
)
def bits_of_floats():
    tile = filled((4, 4))
    nisa.tensor_tensor(dst=tile, data1=tile, data2=tile, op=nl.bitwise_and)  # refused


@smallest("H20", "memset of a float32 tile needs a float constant; got 1", lowered=1)
def integer_for_floats():
    tile = sbuf((1, 4))
    nisa.memset(dst=tile, value=1)  # refused
    return stored(tile)


@smallest("H20", "memset of a int16 tile needs an int (or bool) constant; got 2.5", lowered=2)
def float_for_integers():
    tile = sbuf((1, 4), nl.int16)
    nisa.memset(dst=tile, value=2.5)  # refused
    return stored(tile)


@smallest("H20", "the constant must fit int8; got 300", lowered=127)
def constant_too_large():
    tile = sbuf((1, 4), nl.int8)
    nisa.memset(dst=tile, value=300)  # refused
    return stored(tile)


@smallest(
    "H21",
    "engines and casting DMAs compute in float32, which has no 16777217",
    np.int32([[2**24 + 1, 2**25]]),
    lowered=[[2**24, 2**25]],
)
def large_integers_as_floats(x):
    tile, wide = loaded(x), sbuf((1, 2))
    nisa.tensor_copy(dst=wide, src=tile)  # refused
    return stored(wide)


@smallest(
    "H22",
    "NaN has no documented int32 value; an element to be cast is NaN",
    np.float32([[np.nan, 2.5, 1e20, -np.inf]]),
    lowered=[[0, 2, 2**31 - 1, -(2**31)]],
)
def nan_to_integer(x):
    tile, whole = loaded(x), sbuf((1, 4), nl.int32)
    nisa.tensor_copy(dst=whole, src=tile)  # refused
    return stored(whole)


@smallest(
    "H24",
    "activation nl.log is valid for value 5.42101e-20 to 1.84467e+19; got 0.0",
    lowered=-np.inf,
)
def logarithm_of_zero():
    tile = filled((1, 4), value=0.0)
    nisa.activation(dst=tile, op=nl.log, data=tile)  # refused
    return stored(tile)


@smallest("H25", "the accumulator registers of these partitions were not reset before reduce_cmd.reduce")
def registers_not_reset():
    tile, go_on = filled((1, 4)), nisa.reduce_cmd.reduce
    more = {"op0": nl.add, "operand0": 0.0, "reduce_op": nl.add}
    nisa.tensor_scalar_reduce(dst=tile, data=tile, reduce_cmd=go_on, **more)  # refused


@smallest("H26", "nc_transpose takes at most 32 x 32 on this engine; got 64 x 64")
def transpose_too_large():
    tile, other = filled((64, 64)), sbuf((64, 64))
    nisa.nc_transpose(dst=other, data=tile, engine=nisa.engine.vector)  # refused


@smallest("H27", "dma_transpose keeps a dtype of 2 or 4 bytes; got int8 to int8", np.ones((4, 8), np.int8))
def transpose_of_bytes(x):
    tile = sbuf((8, 4), nl.int8)
    nisa.dma_transpose(dst=tile, src=x)  # refused


@smallest(
    "H28",
    "axis must name the last free dimensions of tensor[4, 2, 3] float32 in sbuf, in order; got 1",
)
def reduces_the_first_free_axis():
    tile, total = filled((4, 2, 3)), sbuf((4, 3))
    nisa.tensor_reduce(dst=total, op=nl.add, data=tile, axis=1)  # refused


@smallest("H29", "nl.abs_max needs gen4; trn2 is gen3")
def operator_of_gen4():
    tile = filled((1, 4))
    nisa.tensor_tensor(dst=tile, data1=tile, data2=tile, op=nl.abs_max)  # refused


@smallest("H30", "a compute operand has at most 4096 elements a partition here; dst has 8192")
def too_many_elements_of_psum():
    bank = psum((1, 2, 4096), nl.int8)
    nisa.memset(dst=bank, value=1)  # refused


@smallest(
    "H31",
    "a slice must satisfy 0 <= start < stop <= size and step >= 1; got 0:5:None on dimension 1 of"
    " tensor[4, 4] float32 in sbuf",
)
def slice_outside():
    tile = filled((4, 4))
    return tile[:, 0:5]  # refused


@smallest("H33", "integers in kernels have 32 bits; argument 0 is 2147483648", 2**31)  # refused
def large_argument(n):
    return n


@smallest(  # refused
    "H35",
    "an output must be written completely; 1 units of tensor[1, 2] float32 in shared_hbm",
    lowered=[[1, NAN]],
)
def output_half_written():
    out = hbm((1, 2))
    nisa.dma_copy(dst=out[:, 0:1], src=filled((1, 1)))
    return out


@smallest(
    "H35",
    "an argument that is written is annotated nt.mutable_tensor, or returned; argument0 is neither",
    np.ones((1, 1), np.float32),
    lowered=2,
)
def writes_its_argument(x):
    tile = filled((1, 1), value=2.0)
    nisa.dma_copy(dst=x, src=tile)  # refused
    return stored(tile)


@smallest(
    "H36",
    "nl.divide does not work on hardware; multiply by nl.reciprocal",
)
def divides():
    tile = filled((1, 4))
    return nl.divide(tile, tile)  # refused


@smallest(
    "H37",
    "branching on a register works in one front end only; use nl.while_loop",
    lowered=[[1.0]],
)
def branches_on_a_register():
    value = 0.0
    if nisa.register_alloc(1):  # refused
        value = 1.0
    return stored(filled((1, 1), value=value))


@smallest(
    "H40",
    "whether one source replaces dst or is added to it is contradictory; list dst as well",
    np.ones((1, 2), np.float32),
    lowered=[[1.0, 1.0]],
)
def accumulates_one_source(x):
    out = hbm((1, 2))
    nisa.dma_copy(dst=out, src=filled((1, 2), value=5.0))
    nisa.dma_compute(dst=out, srcs=[x], reduce_op=nl.add)  # refused
    return out


@smallest(
    "H38",
    "what one core writes, the other touches only after a core_barrier; core 0 writes tensor[1, 1] float32"
    " in shared_hbm and core 1 writes some of it there too",
    lowered=1,
)
@two_cores
def both_cores_write_all():
    out, tile = hbm((1, 1)), filled((1, 1))
    nisa.dma_copy(dst=out, src=tile)  # refused
    return out


@smallest(
    "H39",
    "arguments of dma_copy after the first 2 changed position between NKI versions; name them;"
    " got 4 positional",
    np.ones((1, 4), np.float32),
    lowered=1,
)
def positional_arguments(x):
    tile = sbuf((1, 4))
    nisa.dma_copy(tile, x, None, nisa.oob_mode.error)  # refused
    return stored(tile)


@smallest(
    "H39",
    "an integer index on the partition dimension, or on a 2-D tile, keeps or drops the dimension"
    " depending on the NKI version; use a slice; got 0 on dimension 0 of tensor[4, 4] float32 in"
    " sbuf",
)
def integer_on_partitions():
    tile = filled((4, 4))
    return tile[0, 0:4]  # refused


@smallest("H41", "arguments must be those of nisa.tensor_copy; got an unexpected keyword argument 'engin'")
def misspelt_keyword():
    tile = filled((1, 4))
    nisa.tensor_copy(dst=tile, src=tile, engin=nisa.engine.vector)  # refused


def filled_bank(value):
    bank = psum((1, 4))
    nisa.memset(dst=bank, value=value)
    return bank


# -- levels ----------------------------------------------------------------------------------------


def test_a_kernel_that_accumulates_onto_zeros_runs_with_one_warning_and_adds():
    def kernel(a, b):
        left, right, bank = loaded(a), loaded(b), psum((8, 32))
        nisa.memset(dst=bank, value=0.0)
        for k in range(0, 128, 64):
            nisa.nc_matmul(dst=bank, stationary=left[k : k + 64], moving=right[k : k + 64], accumulate=True)
        return evicted(bank)

    rng = np.random.default_rng(0)
    a, b = (rng.integers(-8, 9, (128, n)).astype(ml_dtypes.bfloat16) for n in (8, 32))
    exact = a.astype(float).T @ b.astype(float)
    with pytest.warns(KernelHazardWarning, match="H11: .*; the product is added to what is there") as caught:
        out = run(kernel, a, b, levels={"H11": "warning"})
    assert len(caught) == 1
    assert np.array_equal(out, exact)
    with pytest.raises(KernelFault, match="H11"):
        run(kernel, a, b)


def test_a_warning_turned_into_an_error_stays_itself():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KernelHazardWarning, match="H11"):
            run(adds_to_zeros, levels={"H11": "warning"})


def test_levels_belong_to_one_run():
    run(adds_to_zeros, levels={"H11": "off"})
    refused("H11", kernel=adds_to_zeros)


def test_a_block_lowers_runs_without_levels_of_their_own():
    with allowing("H10"), allowing("H11"):
        assert run(adds_to_zeros)[0, 0] == run(adds_to_nothing)[0, 0] == 8
        refused("H13", kernel=both_in_psum)
        with pytest.raises(KernelFault, match="H11"):
            run(adds_to_zeros, levels={"H10": "off"})
    refused("H11", kernel=adds_to_zeros)


def test_lowering_one_hazard_leaves_the_others():
    with pytest.raises(KernelFault, match="H11"):
        run(adds_to_zeros, levels={"H10": "off"})


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"H7": "warning"}, "H7 stays an error; got 'warning'. A kernel that breaks it has no result to"),
        ({"H34": "off"}, "H34 stays an error; got 'off'. A run does not check it; python -m numtrn check"),
        ({"H42": "off"}, "H42 stays an error; got 'off'. Nothing checks it: A setting of the runtime"),
        ({"memory": "off"}, "memory stays an error; got 'off'"),
        ({"H44": "off"}, "a level belongs to a hazard, H1 to H43; got 'H44'"),
        ({"H11": "loud"}, "the level of H11 must be one of error, warning, off; got 'loud'"),
    ],
)  # fmt: skip
def test_levels_that_cannot_be(levels, message):
    with pytest.raises(ValueError) as caught:
        Checks(levels=levels)
    assert str(caught.value).startswith(message)


def test_every_hazard_may_be_named_an_error():
    checks = Checks(levels=dict.fromkeys(HAZARDS, "error"))
    assert simulate(starts_at_partition_0, (), chip=CHIPS["trn2"], checks=checks).instructions == 2


def starts_at_partition_0():
    return stored(filled((1, 1)))


# -- the list --------------------------------------------------------------------------------------


def test_the_list_is_complete_and_most_of_it_is_checked():
    assert list(HAZARDS) == [f"H{number}" for number in range(1, 44)]
    assert sum(hazard.checked for hazard in HAZARDS.values()) >= 36
    for hazard in HAZARDS.values():
        assert hazard.checked or hazard.note, f"{hazard.id} needs the reason why it is not checked"
        assert hazard.running or not hazard.then


def test_the_page_is_written_from_the_list():
    file = Path(__file__).parents[2] / "docs" / "hazards.md"
    anew = "from numtrn.interp.hazards import page; print(page(), end='')"
    assert file.read_text(encoding="utf-8") == page(), f'python -c "{anew}" > docs/hazards.md'
