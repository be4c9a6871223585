"""nc_matmul: values against integer arithmetic, and every rule of its operands and of accumulation."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interp.support import evicted, filled, loaded, nisa, nl, product, psum, refused, run, sbuf, stored

CHIPS = ["trn1", "trn2", "trn3"]
edges = st.sampled_from([1, 2, 31, 32, 33, 63, 64, 65, 127, 128])
columns = st.sampled_from([1, 31, 64, 65, 127, 129, 511, 512])
DTYPES = {
    nl.float32: np.float32,
    nl.float16: np.float16,
    nl.bfloat16: ml_dtypes.bfloat16,
    nl.float8_e4m3: ml_dtypes.float8_e4m3,
    nl.float8_e5m2: ml_dtypes.float8_e5m2,
}


@settings(max_examples=60, deadline=None)
@given(
    edges,
    edges,
    columns,
    st.sampled_from(list(DTYPES)),
    st.sampled_from(list(DTYPES)),
    st.sampled_from(CHIPS),
)
def test_products_of_small_integers_are_exact(k, m, n, one, other, chip):
    if (one == nl.float32) != (other == nl.float32):
        return
    rng = np.random.default_rng(k * m * n)
    a, b = rng.integers(-4, 5, (k, m)), rng.integers(-4, 5, (k, n))

    def kernel(a, b):
        return evicted(product(loaded(a), loaded(b)))

    out = run(kernel, a.astype(DTYPES[one]), b.astype(DTYPES[other]), chip=chip)
    assert out.dtype == np.float32
    assert np.array_equal(out, a.T @ b)


def test_bfloat16_sums_are_exact_up_to_two_to_the_24():
    a = np.full((128, 16), 256)
    a[-1] = 255
    b = np.full((128, 8), 256)

    def kernel(a, b):
        left, right = loaded(a), loaded(b)
        bank = psum((16, 8))
        nisa.nc_matmul(dst=bank, stationary=left, moving=right, accumulate=False)
        nisa.nc_matmul(dst=bank, stationary=left, moving=right, accumulate=True)
        return evicted(bank)

    out = run(kernel, a.astype(ml_dtypes.bfloat16), b.astype(ml_dtypes.bfloat16))
    expected = 2 * (a.T @ b)
    assert expected.max() <= 2**24
    assert np.array_equal(out, expected)


@settings(max_examples=20, deadline=None)
@given(edges, columns, st.integers(1, 4))
def test_accumulation_false_then_true_equals_none(k, n, steps):
    rng = np.random.default_rng(k * n)
    a, b = rng.integers(-9, 9, (steps * k, 8)), rng.integers(-9, 9, (steps * k, n))

    def kernel(a, b, k, steps, inferred):
        bank = psum((8, b.shape[1]))
        for step in range(steps):
            rows = slice(step * k, step * k + k)
            flag = None if inferred else step > 0
            nisa.nc_matmul(dst=bank, stationary=loaded(a[rows]), moving=loaded(b[rows]), accumulate=flag)
        return evicted(bank)

    for inferred in (False, True):
        out = run(kernel, a.astype(np.float32), b.astype(np.float32), k, steps, inferred)
        assert np.array_equal(out, a.T @ b)


def test_operands_and_results_with_several_free_dimensions_and_steps():
    rng = np.random.default_rng(1)
    a, b = rng.integers(-9, 9, (32, 6, 8)), rng.integers(-9, 9, (32, 40))

    def kernel(a, b):
        left, right, bank = loaded(a), loaded(b), psum((24, 4, 20))
        nisa.memset(dst=bank, value=-1.0)
        for add in (False, True):
            nisa.nc_matmul(
                dst=bank[0:24, 0:4, 0:10], stationary=left[:, 0:6, 0:8:2], moving=right, accumulate=add
            )
        return evicted(bank)

    out = run(kernel, a.astype(ml_dtypes.bfloat16), b.astype(ml_dtypes.bfloat16))
    expected = np.full((24, 4, 20), -1)
    expected[:, :, :10] = 2 * (a[:, :, ::2].reshape(32, 24).T @ b).reshape(24, 4, 10)
    assert np.array_equal(out, expected)


def test_an_operand_written_again_is_read_again():
    def kernel(a):
        tile, total = loaded(a), psum((4, 4))
        ones = filled((8, 4), nl.bfloat16)
        nisa.nc_matmul(dst=total, stationary=tile[:, 0:4], moving=ones, accumulate=False)
        nisa.memset(dst=tile[:, 0:4], value=3.0)  # part of a tile that TensorE has read
        nisa.nc_matmul(dst=total, stationary=tile[:, 0:4], moving=ones, accumulate=True)
        nisa.memset(dst=tile, value=5.0)
        nisa.nc_matmul(dst=total, stationary=tile[:, 2:6], moving=ones, accumulate=True)
        nisa.memset(dst=tile.view(nl.uint16), value=0)
        nisa.nc_matmul(dst=total, stationary=tile[:, 2:6], moving=ones, accumulate=True)
        return evicted(total)

    out = run(kernel, np.ones((8, 8), ml_dtypes.bfloat16))
    assert np.array_equal(out, np.full((4, 4), 8 * (1 + 3 + 5)))


def test_tfloat32_keeps_ten_bits_of_the_operands():
    a = np.float32([[1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-12, np.inf]])

    def kernel(a, viewed):
        left = loaded(a).view(nl.tfloat32) if viewed else loaded(a, nl.tfloat32)
        return evicted(product(left, filled((1, 1))))

    for viewed in (False, True):
        out = run(kernel, a, viewed)
        assert np.array_equal(out.ravel(), [1 + 2**-10, 1, 1 + 2**-9, 1, np.inf])


def test_on_trn3_a_bfloat16_result_rounds_at_every_addition():
    def kernel(a, b):
        left, right, bank = loaded(a), loaded(b), psum((1, 1), nl.bfloat16)
        for add in (False, True, True):
            nisa.nc_matmul(dst=bank, stationary=left, moving=right, accumulate=add)
        return evicted(bank)

    out = run(kernel, np.float32([[1.0]]), np.float32([[1 + 2**-8 + 2**-9]]), chip="trn3")
    bf16 = ml_dtypes.bfloat16
    once = bf16(1 + 2**-8 + 2**-9)
    twice = bf16(np.float32(once) + np.float32(1 + 2**-8 + 2**-9))
    assert out[0, 0] == bf16(np.float32(twice) + np.float32(1 + 2**-8 + 2**-9))


def test_double_row_contracts_two_rows_a_partition():
    rng = np.random.default_rng(2)
    a, b = rng.integers(-8, 9, (128, 2, 30)), rng.integers(-8, 9, (128, 2, 50))

    def kernel(a, b):
        bank = psum((30, 50))
        mode = nisa.matmul_perf_mode.double_row
        nisa.nc_matmul(dst=bank, stationary=loaded(a), moving=loaded(b), accumulate=False, perf_mode=mode)
        return evicted(bank)

    out = run(kernel, a.astype(ml_dtypes.float8_e4m3), b.astype(ml_dtypes.float8_e5m2))
    assert np.array_equal(out, np.einsum("kim,kin->mn", a, b))


def test_trn3_writes_across_banks():
    def kernel():
        bank = psum((4, 2048))
        nisa.nc_matmul(dst=bank, stationary=filled((8, 4)), moving=filled((8, 2048)), accumulate=False)
        return evicted(bank)

    assert np.array_equal(run(kernel, chip="trn3"), np.full((4, 2048), 8))
    refused("H7", "at most 512", kernel=_long_moving, chip="trn2")


def _long_moving():
    bank = psum((4, 1024))
    right = filled((8, 1024))
    nisa.nc_matmul(dst=bank, stationary=filled((8, 4)), moving=right, accumulate=False)  # refused


@pytest.mark.parametrize("dtype", [nl.bfloat16, nl.float32])
def test_transpose_mode_moves_bits(dtype):
    a = np.array([[1, np.nan, np.inf], [-0.0, 2, 3]], DTYPES[dtype])

    def kernel(a, dtype):
        eye = nl.shared_identity_matrix(2, dtype=dtype)
        bank = psum((3, 2), dtype)
        nisa.nc_matmul(dst=bank, stationary=loaded(a), moving=eye, is_transpose=True, accumulate=False)
        return evicted(bank)

    out = run(kernel, a, dtype)
    assert np.array_equal(np.ascontiguousarray(a.T).view(np.uint8), out.view(np.uint8))


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stationary", "moving", "result", "rule", "word"),
    [
        ((64, 128), (32, 64), (128, 64), "H17", "equal partitions"),
        ((32, 129), (32, 64), (128, 64), "H7", "at most 128"),
        ((32, 16), (32, 513), (16, 513), "H7", "at most 512"),
        ((32, 16), (32, 8), (16, 9), "H17", "16 partitions of 8"),
        ((32, 16), (32, 8), (8, 16), "H17", "16 partitions of 8"),
    ],
)
def test_sizes(stationary, moving, result, rule, word):
    def kernel():
        left, right, bank = filled(stationary), filled(moving), psum(result)
        nisa.nc_matmul(dst=bank, stationary=left, moving=right, accumulate=False)  # refused

    refused(rule, word, kernel=kernel)


def test_result_inside_one_bank():
    refused("H7", "one PSUM bank", "bytes 4 to 2052", kernel=_across_banks)
    run(_second_bank)


def _across_banks():
    left, right, bank = filled((32, 16)), filled((32, 512)), psum((16, 1024))
    nisa.nc_matmul(dst=bank[:, 1:513], stationary=left, moving=right, accumulate=False)  # refused


def _second_bank():
    left, right, bank = filled((32, 16)), filled((32, 512)), psum((16, 1024))
    nisa.nc_matmul(dst=bank[:, 512:1024], stationary=left, moving=right, accumulate=False)
    result = sbuf((16, 512))
    nisa.tensor_copy(dst=result, src=bank[:, 512:1024])
    return stored(result)


@pytest.mark.parametrize(
    ("one", "other", "chip", "rule"),
    [
        (nl.float32, nl.bfloat16, "trn2", "H8"),
        (nl.float8_e4m3, nl.tfloat32, "trn2", "H8"),
        (nl.float8_e4m3, nl.float8_e4m3fn, "trn3", "H8"),
        (nl.float8_e4m3fn, nl.float8_e4m3fn, "trn2", "H29"),
        (nl.int32, nl.int32, "trn3", "H29"),
    ],
)
def test_dtypes(one, other, chip, rule):
    def kernel():
        left = filled((32, 16), one, 1 if one == nl.int32 else 1.0)
        right = filled((32, 8), other, 1 if other == nl.int32 else 1.0)
        bank = psum((16, 8))
        nisa.nc_matmul(dst=bank, stationary=left, moving=right, accumulate=False)  # refused

    refused(rule, one, kernel=kernel, chip=chip)


@pytest.mark.parametrize(
    ("chip", "dtype"), [("trn1", nl.bfloat16), ("trn2", nl.bfloat16), ("trn3", nl.float16)]
)
def test_result_dtype(chip, dtype):
    def kernel():
        left, right, bank = filled((32, 16)), filled((32, 8)), psum((16, 8), dtype)
        nisa.nc_matmul(dst=bank, stationary=left, moving=right, accumulate=False)  # refused

    refused("H9", "float32", dtype, kernel=kernel, chip=chip)


def test_operands_start_at_the_same_partition():
    def kernel():
        left, bank = filled((128, 16)), psum((16, 16))
        nisa.nc_matmul(dst=bank, stationary=left[32:64], moving=left[32:64], accumulate=False)
        nisa.nc_matmul(dst=bank, stationary=left[0:32], moving=left[32:64], accumulate=False)  # refused

    refused("H1", "same partition", "0 and 32", kernel=kernel)


def test_memories():
    def to_sbuf():
        left, result = filled((32, 16)), sbuf((16, 16))
        nisa.nc_matmul(dst=result, stationary=left, moving=left, accumulate=False)  # refused

    def from_psum():
        left = filled((32, 16))
        bank = product(left, left)
        nisa.nc_matmul(dst=psum((16, 16)), stationary=left[0:16], moving=bank, accumulate=False)  # refused

    refused("memory", "writes to PSUM", kernel=to_sbuf)
    refused("memory", "reads from SBUF", kernel=from_psum)


def test_accumulating_where_nothing_began():
    def kernel():
        left, bank = filled((32, 16)), psum((16, 32))
        nisa.nc_matmul(dst=bank[:, 0:16], stationary=left, moving=left, accumulate=False)
        nisa.nc_matmul(dst=bank[:, 1:17], stationary=left, moving=left, accumulate=True)  # refused

    refused("H10", "accumulate=False", kernel=kernel)


@pytest.mark.parametrize("accumulate", [True, None])
@pytest.mark.parametrize("chip", CHIPS)
def test_accumulating_on_a_memset(accumulate, chip):
    def kernel():
        left, bank = filled((32, 16)), psum((16, 16))
        nisa.memset(dst=bank, value=0.0)
        nisa.nc_matmul(dst=bank, stationary=left, moving=left, accumulate=accumulate)  # refused

    refused("H11", "another instruction wrote", kernel=kernel, chip=chip)


def test_accumulating_after_vector_wrote_one_element():
    def kernel():
        left = filled((32, 16))
        bank = product(left, left)
        nisa.memset(dst=bank[0:1, 3:4], value=0.0)
        nisa.nc_matmul(dst=bank, stationary=left, moving=left, accumulate=True)  # refused

    refused("H11", "another instruction wrote", kernel=kernel)


def test_inferred_accumulation_on_a_partly_written_location():
    def kernel():
        left, bank = filled((32, 16)), psum((16, 32))
        nisa.nc_matmul(dst=bank[:, 0:16], stationary=left, moving=left)
        nisa.nc_matmul(dst=bank[:, 8:24], stationary=left, moving=left)  # refused

    refused("H12", "partly written", kernel=kernel)


def test_inferred_accumulation_after_a_read():
    def kernel():
        left, bank, copy = filled((32, 16)), psum((16, 16)), sbuf((16, 16))
        nisa.nc_matmul(dst=bank, stationary=left, moving=left)
        nisa.tensor_copy(dst=copy, src=bank)
        nisa.nc_matmul(dst=bank, stationary=left, moving=left)  # refused

    refused("H12", "was read", kernel=kernel)


def test_two_slots_of_one_tile_accumulate_in_turns():
    def kernel():
        left, bank = filled((32, 16)), psum((16, 2, 16))
        for step in range(3):
            for slot in range(2):
                nisa.nc_matmul(
                    dst=bank[:, slot], stationary=left, moving=left, accumulate=None if slot else step > 0
                )
        return evicted(bank)

    assert np.array_equal(run(kernel), np.full((16, 2, 16), 96))


def test_flags_and_hints():
    def number():
        left, bank = filled((32, 16)), psum((16, 16))
        nisa.nc_matmul(dst=bank, stationary=left, moving=left, accumulate=1)  # refused

    def onezero():
        left, bank = filled((32, 16), value=2.0), psum((16, 16))
        nisa.nc_matmul(bank, left, left, is_moving_onezero=True, accumulate=False)  # refused

    def not_identity():
        left, bank = filled((16, 16)), psum((16, 16))
        nisa.nc_matmul(bank, left, left, is_transpose=True, accumulate=False)  # refused

    refused("H41", "accumulate must be True, False or None", "1", kernel=number)
    refused("H8", "zeros and ones", kernel=onezero)
    refused("H26", "identity", kernel=not_identity)


@pytest.mark.parametrize(
    ("position", "size", "chip", "fine"),
    [
        ((64, 0), (64, 128), "trn1", True),
        ((32, 0), (32, 128), "trn2", True),
        ((32, 0), (32, 128), "trn1", False),
        ((32, 0), (64, 128), "trn2", False),
        ((0, 64), (128, 64), "trn2", True),
        ((0, 32), (128, 64), "trn2", False),
        ((0, 32), (128, 32), "trn1", False),
        ((96, 32), (32, 32), "trn2", True),
    ],
)
def test_row_tiles(position, size, chip, fine):
    def kernel():
        left, bank = filled((32, 16)), psum((16, 16))
        nisa.nc_matmul(bank, left, left, accumulate=False, tile_position=position, tile_size=size)  # refused
        return evicted(bank)

    if fine:
        assert np.array_equal(run(kernel, chip=chip), np.full((16, 16), 32))
    else:
        refused("H29", position, size, kernel=kernel, chip=chip)
