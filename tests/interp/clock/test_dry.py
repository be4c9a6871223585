"""Running without data: the same log, the same checks, no arrays."""

import ml_dtypes
import numpy as np
import pytest

from numtrn.interp import KernelFault, modules, simulate
from numtrn.interp.absent import absent
from numtrn.interp.clock import of_shape, schedule, time_kernel
from numtrn.machine import CHIPS
from numtrn.plan.tiling import tile_gemm
from numtrn.plan.words import tile_words
from numtrn.targets.load import load_kernel
from tests.interp.support import filled, hbm, nisa, nl, psum, sbuf

GEMM, SLICED, TRSM = (load_kernel(name, modules) for name in ("gemm", "sliced_gemm", "trsm"))


def recorded(kernel, arguments, chip, dry):
    run = simulate(kernel, arguments, chip=CHIPS[chip], keep_log=True, dry=dry)
    return run, schedule(run.log, run.sizes, CHIPS[chip])


def everything(a, b):
    """Most instructions, once each."""
    x, y = sbuf((128, 128)), sbuf((128, 128), nl.bfloat16)
    nisa.dma_copy(dst=x, src=a)
    nisa.dma_copy(dst=y, src=b)
    bank = psum((128, 128))
    nisa.nc_matmul(dst=bank, stationary=x, moving=x)
    nisa.nc_matmul(dst=bank, stationary=x, moving=x)
    z = sbuf((128, 128))
    nisa.tensor_tensor(dst=z, data1=x, data2=bank, op=nl.add)
    nisa.tensor_scalar(dst=z, data=z, op0=nl.multiply, operand0=2.0, op1=nl.add, operand1=x[0:128, 0:1])
    nisa.scalar_tensor_tensor(dst=z, data=z, op0=nl.add, operand0=1.0, op1=nl.multiply, operand1=x)
    column = sbuf((128, 1))
    nisa.tensor_reduce(dst=column, op=nl.maximum, data=z, axis=1)
    nisa.tensor_scalar_reduce(dst=z, data=z, op0=nl.add, operand0=column, reduce_op=nl.add, reduce_res=column)
    nisa.activation(
        dst=z,
        op=nl.square,
        data=y,
        reduce_op=nl.add,
        reduce_res=column,
        reduce_cmd=nisa.reduce_cmd.reset_reduce,
    )
    nisa.reciprocal(dst=z, data=filled((128, 128)))
    whole = sbuf((128, 128), nl.int32)
    nisa.iota(dst=whole, pattern=[[1, 128]], offset=0, channel_multiplier=3)
    nisa.tensor_tensor(dst=whole, data1=whole, data2=whole, op=nl.add)
    nisa.tensor_scalar(dst=whole, data=whole, op0=nl.bitwise_and, operand0=7)
    nisa.tensor_copy(dst=z, src=whole)
    nisa.affine_select(
        dst=z,
        pattern=[[-1, 128]],
        channel_multiplier=1,
        on_true_tile=z,
        on_false_value=0.0,
        cmp_op=nl.greater_equal,
    )
    mask = sbuf((128, 128), nl.uint8)
    nisa.memset(dst=mask, value=1)
    nisa.tensor_copy_predicated(dst=z, src=x, predicate=mask)
    turned = psum((128, 128))
    nisa.nc_transpose(dst=turned, data=z)
    nisa.nc_transpose(dst=z[0:32, 0:32], data=x[0:32, 0:32], engine=nisa.engine.vector)
    nisa.nc_stream_shuffle(dst=z[0:32, 0:128], src=x[0:32, 0:128], shuffle_mask=[0] * 32)
    identity = nl.shared_identity_matrix(128, dtype=nl.float32)
    again = psum((128, 128))
    nisa.nc_matmul(dst=again, stationary=x, moving=identity, is_transpose=True)
    out = hbm((128, 128))
    nisa.dma_copy(dst=out, src=z)
    return out


RNG = np.random.default_rng(3)


def random(shape, dtype=np.float32):
    return RNG.standard_normal(shape, dtype=np.float32).astype(dtype)


CASES = [
    ("gemm", GEMM, (random((256, 200)), random((256, 640)), 1, False), "trn1"),
    ("tf32", GEMM, (random((300, 200)), random((300, 640)), 1, True), "trn2"),
    (
        "bf16",
        GEMM,
        (random((256, 128), ml_dtypes.bfloat16), random((256, 96), ml_dtypes.bfloat16), 2, False),
        "trn3",
    ),
    (
        "sliced",
        SLICED,
        (
            np.ones((256, 3 * 128), ml_dtypes.bfloat16),
            np.ones((256, 3 * 64), ml_dtypes.bfloat16),
            1,
            3,
            128,
            64,
            2,
            4,
            0,
        ),
        "trn2",
    ),
    ("trsm", TRSM, (random((768, 256)), random((512, 128)) / 128, random((512, 100)), 256, 64), "trn2"),
    ("everything", everything, (random((128, 128)), random((128, 128), ml_dtypes.bfloat16)), "trn2"),
    ("everything", everything, (random((128, 128)), random((128, 128), ml_dtypes.bfloat16)), "trn1"),
]


@pytest.mark.parametrize(("name", "kernel", "arguments", "chip"), CASES)
def test_dry_is_the_recorded_run(name, kernel, arguments, chip):
    full, wet = recorded(kernel, arguments, chip, dry=False)
    empty, dry = recorded(kernel, arguments, chip, dry=True)
    assert full.log == empty.log
    assert (full.engines, full.peak_sbuf_bytes, full.peak_psum_banks) == (
        empty.engines,
        empty.peak_sbuf_bytes,
        empty.peak_psum_banks,
    )
    assert wet.total_ns == dry.total_ns
    assert np.array_equal(wet.begin_ns, dry.begin_ns)
    assert np.array_equal(wet.duration_ns, dry.duration_ns)
    assert (wet.busy_ns, wet.bounds_ns, wet.critical_path) == (dry.busy_ns, dry.bounds_ns, dry.critical_path)
    assert str(wet) == str(dry)


def test_dry_outputs_have_shape_only():
    out = simulate(GEMM, CASES[0][2], chip=CHIPS["trn1"], dry=True).outputs
    assert out.shape == (200, 640)
    assert out.strides == (0, 0)


def unwritten(a):
    tile = sbuf((128, 128))
    nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1.0)
    return tile


def partly(a):
    out = hbm((128, 128))
    tile = filled((128, 64))
    nisa.dma_copy(dst=out[0:128, 0:64], src=tile)
    return out


def crowded(a):
    tiles = [filled((128, 16384)) for _ in range(4)]
    return tiles[0]


def overlapping(a):
    tile = filled((128, 128))
    nisa.tensor_copy(dst=tile[0:128, 0:64], src=tile[0:128, 32:96])
    return tile


@pytest.mark.parametrize(
    ("kernel", "rule"), [(unwritten, "H6"), (partly, "H35"), (crowded, "H4"), (overlapping, "alias")]
)
def test_checks_that_need_no_data_remain(kernel, rule):
    with pytest.raises(KernelFault) as caught:
        time_kernel(kernel, [of_shape((128, 128), np.float32)], CHIPS["trn2"])
    assert caught.value.rule == rule


def test_without_a_log_nothing_is_kept():
    run = simulate(GEMM, CASES[0][2], chip=CHIPS["trn1"])
    assert run.log is None
    assert run.sizes == {}


def test_absent_arrays_behave_like_zeros():
    some = absent((4, 6), np.float32)
    assert (some + some).shape == (4, 6)
    assert some.reshape(2, -1).shape == (2, 12)
    assert (some > 1.0).shape == (4, 6)
    assert not (some > 1.0).any()
    assert some.T.shape == (6, 4)
    assert np.add.reduce(some, axis=1).shape == (4,)
    assert np.where(some == 0, 1.0, 2.0).sum() == 48.0
    assert some.astype(np.int32).dtype == np.int32
    some *= 2
    assert some.shape == (4, 6)
    assert float(some.max()) == 0.0
    assert len(some) == 4
    assert some.copy() is some
    with pytest.raises(AttributeError):
        _ = some.__nothing__


US = {  # T_pe, microseconds, from the clocks: columns x passes / f
    ("trn1", "bfloat16", 1024): 23.4,
    ("trn1", "bfloat16", 2048): 187.2,
    ("trn1", "float32", 1024): 93.6,
    ("trn1", "float32", 2048): 749.0,
    ("trn2", "bfloat16", 1024): 27.3,
    ("trn2", "bfloat16", 2048): 218.5,
    ("trn2", "float32", 1024): 109.2,
    ("trn2", "float32", 2048): 873.8,
}


@pytest.mark.parametrize(("chip", "dtype", "n"), US)
def test_bounds_of_gemm(chip, dtype, n):
    kind = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    tiling = tile_gemm(1, n, n, n, kind.itemsize)
    timeline = time_kernel(
        GEMM, (of_shape((n, n), kind), of_shape((n, n), kind), *tiling.parameters), CHIPS[chip]
    )
    assert timeline.bound == "tensor"
    assert timeline.low_ns / 1e3 == pytest.approx(US[chip, dtype, n], rel=2e-3)
    # evictions: ceil(M / 128) N / fv; traffic: what the plan counts as instructions and as bytes out
    assert timeline.bounds_ns["vector"] == pytest.approx(n / 128 * n / CHIPS[chip].vector_ghz)
    assert sum(timeline.instructions.values()) == tiling.instructions
    assert timeline.bytes_moved == timeline.hbm_bytes
    assert timeline.bytes_moved >= tiling.bytes_in + tiling.bytes_out
    assert timeline.bounds_ns["dma"] == timeline.bytes_moved / CHIPS[chip].dma_hard_bytes_per_ns
    assert timeline.low_ns < timeline.total_ns < 4 * timeline.low_ns


def test_bounds_of_sliced_gemm():
    chip = CHIPS["trn2"]
    tiling = tile_words(1, 512, 512, 512, 7, chip)
    shape = of_shape((tiling.k, 7 * tiling.m), ml_dtypes.bfloat16)
    timeline = time_kernel(SLICED, (shape, shape, *tiling.parameters), chip)
    assert timeline.bounds_ns["tensor"] == pytest.approx(tiling.pe_columns / chip.tensor_ghz)
    assert sum(timeline.instructions.values()) == tiling.instructions
