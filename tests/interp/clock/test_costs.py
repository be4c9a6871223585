"""Each rule against a published figure; every instruction has one, and an unknown one is refused."""

from math import prod

import pytest

from numtrn.interp import simulate
from numtrn.interp.clock import ClockError, costs
from numtrn.interp.clock.prices import PRICES, Cost, price
from numtrn.interp.core import Instruction, Operand
from numtrn.machine import CHIPS
from tests.interp.support import nisa, nl, stored

TRN1, TRN2, TRN3 = (CHIPS[name] for name in ("trn1", "trn2", "trn3"))
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int32": 4, "tfloat32": 4}


def operand(shape, dtype="float32", buffer="sbuf", storage=1, strides=None, offset=0):
    if strides is None:
        strides = tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
    count = prod(shape)
    return Operand(storage, buffer, tuple(shape), strides, offset, dtype, count * BYTES[dtype])


def instruction(engine, name, writes, reads=(), **options):
    return Instruction(engine, name, tuple(writes), tuple(reads), tuple(options.items()))


def vector_ns(chip, name, n, dtype="float32", source="sbuf", inputs=1, **options):
    reads = [operand((128, n), dtype, source), *[operand((128, n), dtype)] * (inputs - 1)]
    return price(instruction("vector", name, [operand((128, n), dtype)], reads, **options), chip)


@pytest.mark.parametrize(
    ("computed", "published"),
    [
        # OLD and A2: cycles
        (costs.matmul_cycles(512, 1, TRN1), 512),
        (costs.matmul_cycles(1, 1, TRN1), 64),
        (costs.matmul_cycles(512, costs.matmul_passes(True, False, TRN2), TRN2), 2048),
        (costs.matmul_cycles(512, costs.matmul_passes(True, True, TRN2), TRN2), 1024),
        (costs.transpose_cycles(128, 128, costs.transpose_passes(False, TRN1)), 128),
        (costs.transpose_cycles(128, 128, costs.transpose_passes(True, TRN1)), 512),
        (costs.transpose_cycles(128, 128, costs.transpose_passes(True, TRN2)), 256),
        (costs.transpose_cycles(32, 512, 1), 64),
        (costs.interval_cycles(512, 32), 128),
        (costs.one_operand_cycles(512, False, True, True, TRN2), 512),
        (costs.one_operand_cycles(512, False, False, True, TRN2), 256),
        (costs.one_operand_cycles(512, True, False, True, TRN2), 128),
        (costs.one_operand_cycles(512, True, True, True, TRN2), 256),
        (costs.one_operand_cycles(512, True, False, True, TRN1), 512),
        (costs.one_operand_cycles(1, False, False, True, TRN1), 64),
        (costs.tensor_tensor_cycles(512, False, 0, False, True, TRN1), 1024),
        (costs.tensor_tensor_cycles(512, False, 1, True, True, TRN1), 512),
        (costs.tensor_tensor_cycles(512, True, 0, False, True, TRN1), 512),
        (costs.tensor_tensor_cycles(512, True, 0, False, False, TRN1), 1024),
        (costs.tensor_tensor_cycles(512, True, 0, False, False, TRN2), 512),
        (costs.scalar_tensor_tensor_cycles(512, False, TRN1), 1024),
        (costs.scalar_tensor_tensor_cycles(512, True, TRN1), 512),
        (costs.scan_cycles(512, TRN1), 1024),
        (costs.reduce_cycles(512, False, TRN1), 512),
        (costs.reduce_cycles(512, True, TRN1), 256),
        (costs.reciprocal_cycles(448, TRN1), 3584),
        (costs.predicated_cycles(512, True, TRN1), 512),
        (costs.predicated_cycles(512, False, TRN1), 1024),
        (costs.dynamic_copy_cycles(100), 600),
        (costs.vector_transpose_cycles(512, TRN1), 512),
        (costs.memset_cycles(512, False, TRN1), 512),
        (costs.memset_cycles(512, True, TRN1), 256),
        (costs.activation_cycles(512, False, TRN1), 512),
        (costs.activation_cycles(512, True, TRN1), 576),
        (costs.pattern_cycles(512), 662),
        (costs.gpsimd_cycles(512), 1174),
        (costs.gather_cycles(64, 4), 406),
        (costs.topk_cycles(256, 8), 1032),
    ],
)
def test_cycles(computed, published):
    assert computed == published


@pytest.mark.parametrize(
    ("predicted", "published", "within"),
    [
        # trn2, fp32 matmuls of 512 columns, two instructions of 426.7 ns each (use-neuron-profile.rst)
        (costs.matmul_cycles(512, 4, TRN2) / TRN2.tensor_ghz, 2 * 428.5, 0.01),
        # a whole one takes 162 to 165 ns more
        (costs.matmul_cycles(512, 2, TRN2) / TRN2.tensor_ghz + TRN2.matmul_latency_ns, 590.5, 0.01),
        # trn1, 128 columns: 188 to 219 ns (nki_perf_guide.rst)
        (costs.matmul_cycles(128, 1, TRN1) / TRN1.tensor_ghz + TRN1.matmul_latency_ns, 203.5, 0.02),
        # trn1 tensor_tensor of 8192 fp32: 14.97 us (nki_perf_guide.rst)
        (costs.tensor_tensor_cycles(8192, False, 0, False, True, TRN1) / TRN1.vector_ghz, 14970, 0.03),
        # trn2, 512 fp32 copied from PSUM 680 to 690 ns, from SBUF about 420 (use-neuron-profile.rst)
        (
            sum(getattr(vector_ns(TRN2, "tensor_copy", 512, source="psum"), k) for k in ("busy", "latency")),
            685,
            0.01,
        ),
        (sum(getattr(vector_ns(TRN2, "tensor_copy", 512), k) for k in ("busy", "latency")), 420, 0.02),
        # dependent one-element activations on trn1: every 189 ns (nki_perf_guide.rst)
        ((costs.activation_cycles(1, False, TRN1) + TRN1.scalar_latency_cycles) / TRN1.scalar_ghz, 189, 0.01),
        # trn2 activations: 4096 elements 3.71 us, 128 elements 0.40 us (nki-dma-overview.rst)
        (
            (costs.activation_cycles(4096, False, TRN2) + TRN2.scalar_latency_cycles) / TRN2.scalar_ghz,
            3710,
            0.01,
        ),
        (
            (costs.activation_cycles(128, False, TRN2) + TRN2.scalar_latency_cycles) / TRN2.scalar_ghz,
            400,
            0.02,
        ),
        # trn2: four rows of 8 KiB by one engine in 1416 ns (nki-dma-overview.rst)
        (costs.dma_engine_ns(4, 8192, 1.0, TRN2), 1416, 0.05),
        # trn2: rows of 512 B 30 ns, of 2 KiB 92 ns (kernel-optimization.rst)
        (costs.dma_row_ns(512, TRN2), 30, 0.03),
        (costs.dma_row_ns(2048, TRN2), 92, 0.02),
        # trn1: rows of 2 to 4 KiB 14.7 B/ns an engine; up to 1 KiB 103 to 105 GB/s in all
        (3072 / costs.dma_row_ns(3072, TRN1), 14.7, 0.02),
        (16 * 1024 / costs.dma_row_ns(1024, TRN1), 104, 0.01),
        (16 * 256 / costs.dma_row_ns(256, TRN1), 104, 0.15),
        # a transpose on trn2 reaches half of the rate from SBUF (A3)
        (
            costs.dma_engine_ns(8, 4096, TRN2.dma_transpose_sbuf_share, TRN2),
            2 * 8 * costs.dma_row_ns(4096, TRN2),
            1e-9,
        ),
    ],
)
def test_times(predicted, published, within):
    assert predicted == pytest.approx(published, rel=within)


def test_the_clock_knows_the_whole_isa():
    compute = """nc_matmul nc_matmul_mx quantize_mx tensor_tensor tensor_scalar scalar_tensor_tensor
    tensor_reduce tensor_scalar_reduce tensor_scalar_cumulative tensor_tensor_scan tensor_partition_reduce
    activation activation_reduce reciprocal iota affine_select tensor_copy_predicated select_reduce
    register_alloc register_move register_load register_store activate2 exponential range_select
    local_gather nc_n_gather bn_stats bn_aggr max8 nc_find_index8 nc_match_replace8 topk nonzero_with_count
    sequence_bounds dropout rng set_rng_seed rand2 rand_set_state rand_get_state"""
    movement = """dma_copy dma_transpose dma_compute tensor_copy memset nc_transpose nc_stream_shuffle
    sendrecv core_barrier shared_identity_matrix"""
    assert set((compute + " " + movement).split()) <= set(PRICES)


@pytest.mark.parametrize("engine", ["vector", "dma"])
def test_an_unknown_instruction_is_refused(engine):
    with pytest.raises(ClockError, match=r"no cost for conjure on engine \w+; add a rule to .*costs.py"):
        price(instruction(engine, "conjure", [operand((128, 8))]), TRN2)


def test_dma_transpose_on_trn1_moves_single_elements():
    one = instruction(
        "dma",
        "dma_transpose",
        [operand((128, 16), "bfloat16")],
        [operand((16, 128), "bfloat16", "shared_hbm")],
    )
    slow, fast = price(one, TRN1), price(one, TRN2)
    assert slow.engines == fast.engines == 16
    assert slow.engine_ns == 128 * costs.dma_row_ns(2, TRN1)
    assert fast.engine_ns == costs.dma_engine_ns(1, 256, 0.9, TRN2)


@pytest.mark.parametrize(
    ("dtype", "value", "cycles"), [("bfloat16", 0.0, 256), ("bfloat16", 1.0, 512), ("float32", 0.0, 512)]
)
def test_a_zero_of_16_bits_is_written_twice_as_fast(dtype, value, cycles):
    def kernel():
        nisa.memset(dst=(tile := nl.ndarray((128, 512), dtype=dtype, buffer=nl.sbuf)), value=value)
        return stored(tile)

    record = simulate(kernel, [], chip=TRN1, keep_log=True)
    assert price(record.log[0], TRN1).busy == cycles / TRN1.vector_ghz


def test_rows_are_dealt_to_engines_by_partition():
    def copy(rows, start):
        tile = operand((rows, 512), strides=(512, 1), offset=512 * start)
        return price(
            instruction("dma", "dma_copy", [tile], [operand((rows, 512), buffer="shared_hbm")]), TRN2
        )

    whole, one, few = copy(128, 0), copy(1, 0), copy(16, 64)
    assert (whole.first, whole.engines) == (0, 16)
    assert (one.first, one.engines, one.engine_ns) == (0, 1, costs.dma_row_ns(2048, TRN2))
    assert (few.first, few.engines, few.engine_ns) == (8, 2, 8 * costs.dma_row_ns(2048, TRN2))
    assert whole.bytes == whole.hbm == 128 * 2048


def test_double_row_and_row_tiles():
    def matmul(**options):
        reads = [operand((128, 2, 64), "bfloat16"), operand((128, 2, 512), "bfloat16")]
        reads = (
            reads
            if options.get("double_row")
            else [operand((32, 64), "bfloat16"), operand((32, 512), "bfloat16")]
        )
        cost = price(
            instruction("tensor", "nc_matmul", [operand((64, 512), buffer="psum")], reads, **options), TRN2
        )
        assert isinstance(cost, Cost)
        return cost.least * TRN2.tensor_ghz

    assert matmul() == matmul(double_row=True) == pytest.approx(512)
    assert matmul(tile_size=(32, 128)) == pytest.approx(128)


def test_every_chip_prices_every_engine():
    for chip in CHIPS.values():
        for engine in ("vector", "scalar", "gpsimd"):
            one = instruction(engine, "tensor_copy", [operand((128, 256))], [operand((128, 256))])
            assert price(one, chip).busy > 0
