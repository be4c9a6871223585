"""Kernels on the interpreter of every chip, against exact integers and float64 products of exact operands."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn import interp
from numtrn.machine import CHIPS
from numtrn.targets.interpreter import _kernel

edges = st.sampled_from([1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200])
columns = st.sampled_from([1, 64, 511, 512, 513, 1025])


def run(name, *arguments, chip="trn2"):
    return interp.simulate(_kernel(name), arguments, chip=CHIPS[chip]).outputs


@settings(max_examples=25, deadline=None)
@given(edges, edges, columns, st.integers(1, 3), st.sampled_from(list(CHIPS)))
def test_gemm_of_small_integers_is_exact(m, k, n, batch, chip):
    rng = np.random.default_rng(m * k * n)
    a = rng.integers(-8, 9, (batch, k, m))
    b = rng.integers(-8, 9, (batch, k, n))
    expected = np.einsum("bkm,bkn->bmn", a, b).reshape(batch * m, n)
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        out = run("gemm", a.reshape(-1, m).astype(dtype), b.reshape(-1, n).astype(dtype), batch, 0, chip=chip)
        assert out.dtype == np.float32
        assert np.array_equal(out, expected)


def test_tf32_rounds_operands_to_ten_bits():
    a = np.float32([[1 + 2**-10, 1 + 2**-12]])  # the second is below half a unit of 2^-10
    b = np.ones((1, 1), np.float32)
    assert np.array_equal(run("gemm", a, b, 1, 1).ravel(), [1 + 2**-10, 1.0])
    assert np.array_equal(run("gemm", a, b, 1, 0).ravel(), a.ravel())


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(("peak", "group"), [(128, 8), (256, 2)])
@pytest.mark.parametrize("extents", [(1, 20, 10, 30), (2, 130, 70, 64), (1, 256, 1030, 96)])
def test_sliced_gemm_is_exact_at_the_largest_digits(extents, peak, group, chip):
    batch, m, k, n = extents
    s, rng = 7, np.random.default_rng(m)
    block_m, block_n = (m, n) if m <= 128 else (m // 2, n)
    # The largest digits make the largest partial sums: every PSUM group reaches 2^24.
    a = rng.choice([-peak, peak, peak - 1], (batch, k, m // block_m, s, block_m))
    b = np.full((batch, k, n // block_n, s, block_n), peak)
    operands = (x.reshape(batch * k, -1).astype(ml_dtypes.bfloat16) for x in (a, b))
    out = run("sliced_gemm", *operands, batch, s, block_m, block_n, 4, group, chip=chip)
    assert out.dtype == np.int32
    out = out.reshape(batch, m, n // block_n, s, block_n).transpose(3, 0, 1, 2, 4).reshape(s, batch, m, n)
    planes_a = a.transpose(3, 0, 1, 2, 4).reshape(s, batch, k, m)
    planes_b = b.transpose(3, 0, 1, 2, 4).reshape(s, batch, k, n)
    for t in range(s):
        expected = sum(np.einsum("bkm,bkn->bmn", planes_a[p], planes_b[t - p]) for p in range(t + 1))
        assert np.array_equal(out[t], expected)
