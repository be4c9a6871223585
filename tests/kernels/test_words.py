"""The kernels from words to words on every chip, against exact integers."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn import interp
from numtrn.machine import CHIPS
from numtrn.plan import words as plan
from numtrn.plan.tiling import LOWER_LHS
from numtrn.plan.tuned import Block
from numtrn.plan.words import plane_count, tile_karatsuba, tile_planes, tile_words
from numtrn.precision.fixed import result_words, word_bytes
from numtrn.targets.interpreter import _kernel

edges = st.sampled_from([1, 15, 64, 127, 128, 129, 200])
columns = st.sampled_from([1, 63, 128, 191, 511, 512, 513])
chips = st.sampled_from(list(CHIPS))
slices = st.integers(7, 16)
few = settings(max_examples=12, deadline=None)


def run(name, *arguments, chip="trn2"):
    return interp.simulate(_kernel(name), arguments, chip=CHIPS[chip]).outputs


def digits_of(kind, shape, seed):
    """Digits (batch, rows, columns, slices), the most significant first."""
    rng = np.random.default_rng(seed)
    if kind == "random":
        return rng.integers(-128, 128, shape).astype(np.int8)
    if kind == "alternating":
        return np.where(np.arange(np.prod(shape)) % 2, 127, -128).reshape(shape).astype(np.int8)
    return np.full(shape, {"least": -128, "greatest": 127, "zero": 0}[kind], np.int8)


def as_words(digits, transpose=False):
    """Digits (batch, K, extent, slices) as the bytes that the host ships."""
    batch, k, extent, s = digits.shape
    words = np.zeros((batch, k, extent, word_bytes(s)), np.int8)
    words[..., :s] = digits[..., ::-1]
    if transpose:
        words = words.transpose(0, 2, 1, 3)
    return np.ascontiguousarray(words).reshape(batch * words.shape[1], -1)


def expected(a, b):
    """Carried words (batch, words, m, n) of digits (batch, K, m, s) and (batch, K, n, s), exactly."""
    s = a.shape[3]
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)  # sums below 2^53
    found = []
    for t in range(s):
        terms = (wide_a[..., p].transpose(0, 2, 1) @ wide_b[..., t - p] for p in range(t + 1))
        found.append(sum(terms).astype(np.int64))
    found += [np.zeros_like(found[0])] * (3 * (result_words(s) - 1) + 1 - s)
    for t in range(len(found) - 1, 0, -1):
        found[t - 1] = found[t - 1] + (found[t] >> 8)
        found[t] = found[t] & 255
    tail = [found[i] << 16 | found[i + 1] << 8 | found[i + 2] for i in range(1, len(found), 3)]
    return np.stack([found[0], *tail], axis=1)


def unpacked(out, tiling):
    """Words (batch, words, m, n) of a whole result."""
    words = result_words(tiling.slices)
    out = out.reshape(tiling.batch, tiling.m, -1, words, tiling.block_n)
    return out.transpose(0, 3, 1, 2, 4).reshape(tiling.batch, words, tiling.m, tiling.n)


def planes(digits, tiling, side, transpose, chip):
    """Device planes of digits (batch, K, extent, slices), padded by zeros to the launch."""
    batch, k, extent, s = digits.shape
    padded = np.zeros((batch, tiling.k, tiling.m if side == "lhs" else tiling.n, s), np.int8)
    padded[:, :k, :extent] = digits
    pre = tile_planes(tiling, side, transpose)
    words = as_words(padded, transpose)
    assert words.shape == (pre.rows, pre.columns)
    return run(pre.kernel, words, *pre.parameters, chip=chip)


def words_of(a, b, chip, turned=(False, False), kind=tile_words):
    (batch, k, m, s), n = a.shape, b.shape[2]
    tiling = kind(batch, m, k, n, s, CHIPS[chip])
    assert tiling.launches == 1
    lhs = planes(a, tiling, "lhs", turned[0], chip)
    rhs = planes(b, tiling, "rhs", turned[1], chip)
    if kind is tile_karatsuba:
        lhs, rhs = lhs[0], rhs[0]
    out = run(tiling.kernel, lhs, rhs, *tiling.parameters, chip=chip)
    assert out.dtype == np.int32
    return unpacked(out, tiling)[:, :, :m, :n]


@few
@given(edges, edges, columns, slices, st.integers(1, 2), st.booleans(), st.booleans(), chips)
def test_words_are_exact_around_tile_edges(m, k, n, s, batch, turn_a, turn_b, chip):
    a = digits_of("random", (batch, k, m, s), m)
    b = digits_of("random", (batch, k, n, s), n)
    assert np.array_equal(words_of(a, b, chip, (turn_a, turn_b)), expected(a, b))


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("s", [7, 8, 9, 16])
@pytest.mark.parametrize("kind", ["least", "greatest", "alternating", "zero"])
def test_words_are_exact_at_extreme_digits(kind, s, chip):
    # The largest digits make the largest sums: every PSUM group of eight reaches 2^24.
    a = digits_of(kind, (1, 1030, 20, s), 0)
    for other in ("least", "random"):
        b = digits_of(other, (1, 1030, 33, s), 1)
        assert np.array_equal(words_of(a, b, chip, (True, False)), expected(a, b))


@few
@given(columns, columns, slices, chips)
def test_planes_are_the_digits(extent, k, s, chip):
    tiling = tile_words(1, 16, k, extent, s, CHIPS[chip])
    digits = digits_of("random", (1, tiling.k, tiling.n, s), extent)
    wanted = digits.reshape(tiling.k, -1, tiling.block_n, s).transpose(0, 1, 3, 2).reshape(tiling.k, -1)
    for transpose in (False, True):
        assert np.array_equal(planes(digits, tiling, "rhs", transpose, chip).astype(np.int8), wanted)


@few
@given(edges, st.sampled_from([1, 129, 1024, 1100]), columns, st.integers(7, 9), st.booleans(), chips)
def test_karatsuba_gives_the_same_words(m, k, n, s, turned, chip):
    a = digits_of("random", (1, k, m, s), m) // 2  # so that whole chunks fit a bank
    b = digits_of("random", (1, k, n, s), n) // 2
    found = words_of(a, b, chip, (turned, not turned), tile_karatsuba)
    assert np.array_equal(found, expected(a, b))


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("extent", [60, 192, 512])
def test_karatsuba_planes_bound_the_squares(extent, transpose):
    s, chip = 7, "trn2"
    tiling = tile_karatsuba(1, 16, 1100, extent, s, CHIPS[chip])
    digits = digits_of("random", (1, tiling.k, tiling.n, s), extent)
    made, squares = planes(digits, tiling, "rhs", transpose, chip)
    chunks, depth = tiling.k // (128 * tiling.parameters[4]), tiling.parameters[4]
    made = made.astype(np.int64).reshape(chunks, 128, -1, plane_count(s), depth, tiling.block_n)
    wide = (
        digits.astype(np.int64).reshape(chunks, depth, 128, -1, tiling.block_n, s).transpose(0, 2, 3, 5, 1, 4)
    )
    pairs = [(p, t - p) for t in range(1, s) for p in range((t + 1) // 2)]
    for index, (p, q) in enumerate(pairs):
        assert np.array_equal(made[:, :, :, index], wide[:, :, :, p] + wide[:, :, :, q])
    assert np.array_equal(made[:, :, :, len(pairs) :], wide)
    exact = (made[:, :, :, : len(pairs)] ** 2).sum(axis=(1, 4)).max(axis=3)  # chunk, block, pair
    largest = squares.reshape(chunks, -1, exact.shape[1], len(pairs)).max(axis=1)
    assert np.allclose(largest, exact, rtol=2.0**-13)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("n", [100, 300, 520])
@pytest.mark.parametrize("kind", [tile_words, tile_karatsuba])
def test_triangle_is_the_lower_part(kind, n, chip):
    s, k, batch = 7, 150, 2
    a = digits_of("random", (batch, k, n, s), n)
    tiling = kind(batch, n, k, n, s, CHIPS[chip], structure="syrk")
    lhs = planes(a, tiling, "lhs", True, chip)
    if kind is tile_karatsuba:
        lhs = lhs[0]
    block, words = tiling.block_m, result_words(s)
    out = run(tiling.kernel, lhs, lhs, *tiling.parameters, chip=chip)
    blocks = tiling.m // block
    out = out.reshape(batch, blocks * (blocks + 1) // 2, block, words, block).transpose(0, 1, 3, 2, 4)
    whole = expected(a, a)
    place = 0
    for i in range(blocks):
        for j in range(i + 1):
            wanted = whole[:, :, i * block : (i + 1) * block, j * block : (j + 1) * block]
            found = out[:, place][:, :, : wanted.shape[2], : wanted.shape[3]]
            assert np.array_equal(found, wanted)
            place += 1


@few
@given(
    st.sampled_from([1, 64, 129, 300, 520]),
    columns,
    st.integers(7, 9),
    st.integers(1, 2),
    st.sampled_from([tile_words, tile_karatsuba]),
    st.sampled_from([None, (128, 512, 1), (256, 256, 2), (128, 64, 4)]),
    chips,
)
def test_a_triangle_times_a_matrix(m, n, s, batch, kind, block, chip):
    rows, k = np.indices((m, m))
    a = digits_of("random", (batch, m, m, s), m) // 2 * (k >= rows)[:, :, None].astype(np.int8)  # (k, m)
    b = digits_of("random", (batch, m, n, s), n) // 2
    with pytest.MonkeyPatch.context() as patch:
        if block:
            patch.setattr(plan, "_choice", lambda *_: Block(*block, 1.0))
        tiling = kind(batch, m, m, n, s, CHIPS[chip], structure="trmm")
    assert tiling.part == LOWER_LHS
    lhs, rhs = (planes(x, tiling, side, True, chip) for x, side in ((a, "lhs"), (b, "rhs")))
    if kind is tile_karatsuba:
        lhs, rhs = lhs[0], rhs[0]
    found = interp.simulate(_kernel(tiling.kernel), (lhs, rhs, *tiling.parameters), chip=CHIPS[chip])
    assert np.array_equal(unpacked(found.outputs, tiling)[:, :, :m, :n], expected(a, b))
    assert found.instructions == tiling.instructions
    assert found.engines["tensor"] == tiling.matmuls


@few
@given(edges, edges, columns, st.integers(1, 2), chips)
def test_least_product(m, k, n, batch, chip):
    rng = np.random.default_rng(m + k + n)
    a = rng.integers(1, 4, (batch, k, m)) * (rng.random((batch, k, m)) < 0.05)
    b = rng.integers(1, 4, (batch, k, n)) * (rng.random((batch, k, n)) < 0.5)
    product = np.einsum("bkm,bkn->bmn", a, b).reshape(batch * m, n).astype(np.float32)
    operands = (x.reshape(batch * k, -1).astype(ml_dtypes.bfloat16) for x in (a, b))
    out = run("least_product", *operands, batch, chip=chip)
    assert np.array_equal(out[:, 0], product.min(axis=1))
    least = np.where(product == 0, np.float32(3e38), product).min(axis=1)
    assert np.array_equal(out[:, 1], least)
