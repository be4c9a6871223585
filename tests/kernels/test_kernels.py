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


turns = st.tuples(st.integers(0, 1), st.integers(0, 1))
kinds = st.sampled_from([(np.float32, 0), (np.float32, 1), (np.float16, 0), (ml_dtypes.bfloat16, 0)])


def laid(matrices, turned, k_first):
    """Matrices (batch, rows, columns) as the kernel takes them: k along rows, or across them."""
    matrices = matrices.swapaxes(1, 2) if bool(turned) is k_first else matrices
    return np.ascontiguousarray(matrices).reshape(-1, matrices.shape[2])


@settings(max_examples=40, deadline=None)
@given(edges, edges, columns, st.integers(1, 3), turns, kinds, st.sampled_from(list(CHIPS)))
def test_gemm_of_small_integers_is_exact_however_they_lie(m, k, n, batch, turned, kind, chip):
    dtype, tf32 = kind
    rng = np.random.default_rng(m * k * n)
    a, b = rng.integers(-8, 9, (batch, m, k)), rng.integers(-8, 9, (batch, k, n))
    operands = laid(a.astype(dtype), turned[0], False), laid(b.astype(dtype), turned[1], True)
    out = run("gemm", *operands, batch, tf32, *turned, chip=chip)
    assert out.dtype == np.float32
    assert np.array_equal(out, (a @ b).reshape(batch * m, n))


@pytest.mark.parametrize("kind", [(np.float32, 0), (np.float32, 1), (ml_dtypes.bfloat16, 0)])
@pytest.mark.parametrize("turned", [(1, 0), (0, 1), (1, 1)])
def test_transposes_change_no_bit(kind, turned):
    """Of several panels of both operands, and several chunks of k."""
    dtype, tf32 = kind
    width = 512 if dtype is np.float32 else 1024
    rng = np.random.default_rng(3)
    a = (rng.standard_normal((1, width + 130, width + 70)) * 2.0 ** rng.integers(-40, 40)).astype(dtype)
    b = rng.standard_normal((1, width + 70, width + 65)).astype(dtype)
    lying = run("gemm", laid(a, 0, False), laid(b, 0, True), 1, tf32, 0, 0, chip="trn1")
    found = run("gemm", laid(a, turned[0], False), laid(b, turned[1], True), 1, tf32, *turned, chip="trn1")
    assert found.tobytes() == lying.tobytes()


def test_a_transposed_product_with_the_identity_is_the_operand():
    """Every bit of float32, from the least normal number to the largest, comes through the PE array."""
    bits = np.random.default_rng(4).integers(2**23, 255 * 2**23, (100, 128), dtype=np.uint32)
    a = (bits | np.random.default_rng(5).integers(0, 2, bits.shape, dtype=np.uint32) << 31).view(np.float32)
    assert np.array_equal(run("gemm", a, np.eye(128, dtype=np.float32), 1, 0, 1, 1), a)


def test_tf32_rounds_operands_to_ten_bits():
    a = np.float32([[1 + 2**-10, 1 + 2**-12]])  # the second is below half a unit of 2^-10
    b = np.ones((1, 1), np.float32)
    assert np.array_equal(run("gemm", a, b, 1, 1).ravel(), [1 + 2**-10, 1.0])
    assert np.array_equal(run("gemm", a.T.copy(), b, 1, 1, 1, 1).ravel(), [1 + 2**-10, 1.0])
    assert np.array_equal(run("gemm", a, b, 1, 0).ravel(), a.ravel())
