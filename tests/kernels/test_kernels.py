"""Kernels on the interpreter of every chip, against exact integers and float64 products of exact operands."""

import ml_dtypes
import numpy as np
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
