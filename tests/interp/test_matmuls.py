"""Matmuls that wait for their neighbours: no order of instructions shows that they do."""

import numpy as np
import pytest

from numtrn.interp import simulate
from numtrn.interp.clock import of_shape
from numtrn.machine import CHIPS
from numtrn.targets.load import load_kernel
from tests.interp.support import evicted, filled, hbm, loaded, modules, nisa, nl, psum, run, sbuf, stored

RNG = np.random.default_rng(5)


def integers(*shape):
    """Small integers, whose sums are exact in any order."""
    return RNG.integers(-8, 9, shape).astype(np.float32)


@pytest.mark.parametrize("dtype", [nl.float32, nl.bfloat16])
@pytest.mark.parametrize("banks_first", [False, True])
def test_panels(dtype, banks_first):
    a, b = integers(3 * 128, 256), integers(3 * 128, 96)

    def kernel(a, b):
        left = [loaded(a[k : k + 128, 0:256], dtype) for k in range(0, 384, 128)]
        right = [loaded(b[k : k + 128, 0:96], dtype) for k in range(0, 384, 128)]
        banks = [psum((128, 96)) for _ in range(2)]
        steps = [(k, m) for k in range(3) for m in range(2)]
        for k, m in steps if banks_first else sorted(steps, key=lambda step: step[1]):
            columns = left[k][0:128, 128 * m : 128 * m + 128]
            nisa.nc_matmul(dst=banks[m], stationary=columns, moving=right[k], accumulate=k > 0)
        out = hbm((256, 96))
        for m in range(2):
            tile = sbuf((128, 96))
            nisa.tensor_copy(dst=tile, src=banks[m])
            nisa.dma_copy(dst=out[128 * m : 128 * m + 128, 0:96], src=tile)
        return out

    assert np.array_equal(run(kernel, a, b), a.T @ b)


@pytest.mark.parametrize("dtype", [nl.float32, nl.bfloat16])
def test_an_operand_is_overwritten_between_two_matmuls(dtype):
    a = integers(32, 16)

    def kernel(a):
        left, right, bank = loaded(a, dtype), filled((32, 8), dtype), psum((16, 8))
        nisa.nc_matmul(dst=bank, stationary=left, moving=right, accumulate=False)
        nisa.memset(dst=right, value=3.0)
        nisa.nc_matmul(dst=bank, stationary=left, moving=right, accumulate=True)
        return evicted(bank)

    assert np.array_equal(run(kernel, a), np.repeat(4 * a.sum(axis=0)[:, None], 8, axis=1))


def test_a_bank_is_begun_anew():
    a = integers(32, 16)

    def kernel(a):
        left, one, bank = loaded(a), filled((32, 8)), psum((16, 8))
        for accumulate in (False, True, False):
            nisa.nc_matmul(dst=bank, stationary=left, moving=one, accumulate=accumulate)
        return evicted(bank)

    assert np.array_equal(run(kernel, a), np.repeat(a.sum(axis=0)[:, None], 8, axis=1))


def test_an_operand_goes_out_of_scope():
    a = integers(128, 64)

    def kernel(a):
        bank = psum((64, 64))
        for step in range(5):
            tile = loaded(a)
            nisa.nc_matmul(dst=bank, stationary=tile, moving=tile, accumulate=step > 0)
        later = filled((128, 64), value=7.0)
        return evicted(bank), stored(later)

    product, later = run(kernel, a)
    assert np.array_equal(product, 5 * (a.T @ a))
    assert (later == 7).all()
    shape = of_shape(a.shape, "float32")
    dry = simulate(kernel, (shape,), chip=CHIPS["trn2"], dry=True)
    real = simulate(kernel, (a,), chip=CHIPS["trn2"])
    assert (dry.peak_sbuf_bytes, dry.peak_psum_banks) == (real.peak_sbuf_bytes, real.peak_psum_banks)


def test_more_matmuls_than_may_wait():
    def kernel():
        tile, bank = filled((8, 4)), psum((4, 4))
        for step in range(200):
            nisa.nc_matmul(dst=bank, stationary=tile, moving=tile, accumulate=step > 0)
        return evicted(bank)

    assert np.array_equal(run(kernel), np.full((4, 4), 1600))


def test_sums_are_the_same_in_every_run():
    a, b = (RNG.standard_normal((1024, 256), dtype=np.float32) for _ in range(2))
    kernel = load_kernel("gemm", modules)
    first, second = (simulate(kernel, (a, b, 1, False), chip=CHIPS["trn2"]).outputs for _ in range(2))
    assert np.array_equal(first, second)
