"""The third product of complex operands: sums of digits, their squares, and the matmuls that share a bank."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn import interp
from numtrn.engine import CERTAIN_SUMS, KernelEngine, group_of
from numtrn.interp.clock import of_shape
from numtrn.machine import CHIPS
from numtrn.plan import words as plan
from numtrn.plan.words import tile_products
from numtrn.precision import choose, gemm
from numtrn.precision.fixed import result_words
from numtrn.request import MIRRORED
from numtrn.targets.interpreter import Interpreter, _kernel
from tests.kernels.test_words import digits_of, few, run
from tests.precision.engines import ExactEngine

FULL = choose("complex128", "full")
chips = st.sampled_from(list(CHIPS))


class Digits:
    """An operand of given digits (parts, batch, rows, k, slices), as `numtrn.precision.engine.Words`."""

    source = None  # no memory of an array's

    def __init__(self, digits, k_is_fast=True):
        self.digits, self.k_is_fast = digits, k_is_fast
        self.parts, self.batch, self.rows, self.k, self.slices = digits.shape

    def cut(self, part, batch, rows, k, out):
        out[...] = 0
        out[..., : self.slices] = self.digits[part, batch, rows, k, ::-1]


class Spy(Interpreter):
    """Notes the matmuls that share a bank in every ``sliced_gemm``."""

    def __init__(self, chip):
        super().__init__(CHIPS[chip])
        self.groups = []

    def keep(self, kernel, arrays, parameters):
        if kernel == "sliced_gemm":
            self.groups.append(parameters[5])
        return super().keep(kernel, arrays, parameters)


def whole(engine, lhs, rhs, structure="general"):
    """The sums of all blocks, (product, batch, rows, limbs, columns); of symmetric results the lower half."""
    shape = 2 * lhs.parts - 1, lhs.batch, lhs.rows, result_words(lhs.slices), rhs.rows
    found = np.zeros(shape, np.int64)
    for block in engine.words(lhs, rhs, structure):
        for number, sums in enumerate(block.sums):
            found[number, block.batch, block.rows, :, block.columns] = sums
    for limb in range(shape[3] - 1, 0, -1):  # sums over several launches are not carried
        found[:, :, :, limb - 1] += found[:, :, :, limb] >> 24
        found[:, :, :, limb] &= 2**24 - 1
    if structure in MIRRORED:
        rows, columns = np.indices((lhs.rows, lhs.rows))
        found *= (columns <= rows)[:, None]
    return found


def groups_of_exact(lhs, rhs, chip="trn2", structure="general"):
    """Compare with exact arithmetic; the matmuls in a bank of each product."""
    target = Spy(chip)
    found = whole(KernelEngine(target), lhs, rhs, structure)
    assert np.array_equal(found, whole(ExactEngine(), lhs, rhs, structure))
    return target.groups


@few
@given(
    st.sampled_from([16, 64, 128, 256, 640]),
    st.sampled_from([16, 32, 64, 192, 512, 576]),
    st.sampled_from([1, 7, 9]),
    st.sampled_from(["random", "least", "alternating"]),
    chips,
)
def test_sums_and_squares(rows, block, slices, kind, chip):
    height = min(128, rows)
    first, second = (digits_of(kind, (rows, block * slices), seed) for seed in (0, 1))
    out, squares = run(
        "sum_planes", *(x.astype(ml_dtypes.bfloat16) for x in (first, second)), height, chip=chip
    )
    total = first.astype(np.int64) + second
    assert np.array_equal(out.astype(np.int64), total)
    exact = (total**2).reshape(-1, height, block * slices).sum(axis=1)
    assert squares.shape == exact.shape
    assert (np.abs(squares - exact) <= exact * 2.0**-8).all()


def test_squares_of_more_tiles_than_partitions():
    first, second = (digits_of("random", (130 * 16, 24), seed) for seed in (0, 1))
    _, squares = run("sum_planes", *(x.astype(ml_dtypes.bfloat16) for x in (first, second)), 16)
    exact = ((first.astype(np.int64) + second) ** 2).reshape(130, 16, 24).sum(axis=1)
    assert (np.abs(squares - exact) <= exact * 2.0**-8).all()


def test_squares_rounded_anyhow_are_covered():
    x = np.arange(257, dtype=np.float32) ** 2
    truncated = (x.view(np.uint32) >> 16 << 16).view(np.float32)
    assert (x <= truncated * np.float64(CERTAIN_SUMS)).all()


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("s", [7, 8, 9, 16])
@pytest.mark.parametrize("kind", ["least", "greatest", "alternating"])
def test_the_largest_digits_stay_exact(kind, s, chip):
    for other in (kind, "random"):
        lhs = Digits(digits_of(kind, (2, 1, 20, 1030, s), 0))
        rhs = Digits(digits_of(other, (2, 1, 33, 1030, s), 1), k_is_fast=False)
        groups = groups_of_exact(lhs, rhs, chip)
        assert groups[:2] == [8, 8]
        if other != "random" and kind != "alternating":
            assert groups[2] == 2


@pytest.mark.parametrize("shape", [(1, 70, 30, 50), (3, 40, 1100, 33), (2, 300, 200, 530)])
def test_random_digits_fill_banks(shape):
    batch, m, k, n = shape
    lhs = Digits(digits_of("random", (2, batch, m, k, 7), 0))
    rhs = Digits(digits_of("random", (2, batch, n, k, 7), 1), k_is_fast=False)
    assert all(group >= 6 for group in groups_of_exact(lhs, rhs))


@pytest.mark.parametrize("chip", CHIPS)
def test_sums_that_any_larger_group_would_round(chip):
    digits = np.random.default_rng(0).integers(100, 128, (2, 2, 1, 70, 1030, 7)).astype(np.int8)
    assert groups_of_exact(Digits(digits[0]), Digits(digits[1]), chip)[2] == 2


@pytest.mark.parametrize("kind", ["random", "least"])
@pytest.mark.parametrize("batch", [1, 3])
def test_symmetric(kind, batch):
    lhs = Digits(digits_of(kind, (2, batch, 300, 260, 7), 0))
    groups = groups_of_exact(lhs, lhs, structure="syrk")
    assert groups[2] == (8 if kind == "random" else 2)


@pytest.mark.parametrize("limits", [(128, 256, 128), (640, 256, 640)])
@pytest.mark.parametrize("karatsuba", [False, True])
def test_real_symmetric(karatsuba, limits, monkeypatch):
    # Several launches, or several blocks of one; those below the diagonal are whole.
    monkeypatch.setattr(plan, "LIMITS", (limits,))
    monkeypatch.setattr("numtrn.plan.ladder.prefers_karatsuba", lambda *_: karatsuba)
    lhs = Digits(digits_of("random", (1, 1, 700, 300, 7), 0) // 2)
    groups = groups_of_exact(lhs, lhs, structure="syrk")
    assert bool(groups) is not karatsuba


@pytest.mark.parametrize("structure", ["general", "syrk"])
def test_launches_choose_for_themselves(structure, monkeypatch):
    # One strip of rows with the largest digits, over launches along M, N and K.
    monkeypatch.setattr(plan, "LIMITS", ((128, 256, 128),))
    digits = digits_of("random", (2, 1, 300, 600, 7), 0)
    digits[:, :, :100, 256:] = -128
    lhs = Digits(digits)
    rhs = lhs if structure == "syrk" else Digits(digits_of("random", (2, 1, 140, 600, 7), 1), k_is_fast=False)
    third = groups_of_exact(lhs, rhs, structure=structure)[2::3]
    assert len(set(third)) > 1
    assert min(third) == (2 if structure == "syrk" else 4)


@pytest.mark.parametrize("kind", ["random", "least"])
@pytest.mark.parametrize("structure", ["syr2k", "trmm", "herk"])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("limits", [(2048, 2048, 2048), (128, 128, 64)])
def test_structures(limits, parts, structure, kind, monkeypatch):
    monkeypatch.setattr(plan, "LIMITS", (limits,))
    lhs, rhs = structured(structure, digits_of(kind, (parts, 1, 300, 300, 7), 0), 130)
    groups = groups_of_exact(lhs, rhs, structure=structure)
    assert (min(groups) < 8) is (parts == 2 and kind == "least")


def structured(structure, digits, n):
    """Operands of the structure from digits (parts, batch, m, m, slices)."""
    m = digits.shape[2]
    if structure == "trmm":
        rows, k = np.indices((m, m))
        digits = digits * (k <= rows)[:, :, None].astype(np.int8)
        return Digits(digits), Digits(digits_of("random", (len(digits), 1, n, m, 7), 1), k_is_fast=False)
    if structure == "herk":  # what the engine is given are two operands
        return Digits(digits), Digits(digits[:, :, ::-1] if len(digits) == 2 else digits)
    turned = np.roll(digits, m // 2, axis=3)
    return Digits(digits), Digits(turned, k_is_fast=False)


def test_chunks_that_end_on_a_diagonal_are_asked_for():
    # Blocks of 128 rows in chunks of four tiles: the second one ends after two.
    tiling = tile_products(1, 512, 512, 256, 7, 2, CHIPS["trn2"], "trmm")[2]
    small = replace(tiling, block_m=128, parameters=(1, 7, 128, 256, 4, 8, 2))
    norms = np.ones((1, 4, 7))
    norms[:, 1] = 2365.0  # its square is 2^24 / 3
    assert group_of(small, norms, norms) == 4
    assert group_of(replace(small, parameters=(1, 7, 128, 256, 4, 8, 0)), norms, norms) == 8


@pytest.mark.parametrize("kept", [0, 2**40])
def test_nothing_kept_gives_the_same(kept, monkeypatch):
    monkeypatch.setattr("numtrn.engine.products.KEEP_BYTES", kept)
    monkeypatch.setattr(plan, "LIMITS", ((128, 256, 128),))
    lhs, rhs = (Digits(digits_of("random", (2, 1, 150, 300, 7), seed)) for seed in (0, 1))
    assert set(groups_of_exact(lhs, rhs)) == {8}


@few
@given(st.integers(0, 2**32), st.integers(1, 1500), st.integers(-128, 127))
def test_no_group_is_larger_than_its_sums_allow(seed, k, least):
    # What group_of says, against the largest sum of magnitudes of any bank.
    rng = np.random.default_rng(seed)
    t = tile_products(1, 16, k, 16, 7, 2, CHIPS["trn2"])[2]
    a, b = (rng.integers(least, 128, (2, t.k, 7, 16)).sum(axis=0) for _ in range(2))
    a, b = (np.abs(x.reshape(-1, min(128, t.k), 7, 16)).astype(np.float64) for x in (a, b))
    norms = [np.sqrt((x**2).sum(axis=1)).max(axis=-1)[None] for x in (a, b)]
    group, depth = group_of(t, *norms), t.parameters[4]
    for start in range(0, len(a), depth):
        left, right = a[start : start + depth], b[start : start + depth]
        for q in range(7):
            parts = [left[k, :, p].T @ right[k, :, q - p] for p in range(q + 1) for k in range(len(left))]
            for first in range(0, len(parts), group):
                assert sum(parts[first : first + group]).max() <= 2**24


@pytest.mark.parametrize("structure", ["general", "syrk", "trmm"])
@pytest.mark.parametrize("group", [2, 4, 6, 8])
def test_counts_of_a_group_are_the_kernels(group, structure):
    for batch, m, k in ((2, 140, 600), (1, 600, 1100)):
        k = m if structure == "trmm" else k
        _, _, t = tile_products(batch, m, k, m, 7, 2, CHIPS["trn2"], structure)
        t = plan.regroup(t, group)
        operands = (of_shape((t.batch * t.k, 7 * extent), ml_dtypes.bfloat16) for extent in (t.m, t.n))
        counted = interp.simulate(_kernel(t.kernel), (*operands, *t.parameters), chip=CHIPS["trn2"], dry=True)
        assert counted.engines["scalar"] == t.casts
        assert counted.engines["gpsimd"] == t.adds
        assert counted.instructions == t.instructions


@pytest.mark.parametrize("kind", [127, -128, "random", "graded"])
def test_complex_products_have_the_bits_of_exact_sums(kind):
    rng = np.random.default_rng(0)
    if isinstance(kind, int):  # digits 63, then this one; the scaled element is below 1/2
        x = 63 + sum(kind * 256.0**-p for p in range(1, 6))
        a, b = np.full((1, 40, 520), x + 1j * x), np.full((1, 520, 30), x + 1j * x)
    else:
        a, b = (rng.standard_normal((2, *shape)) for shape in ((1, 40, 520), (1, 520, 30)))
        a, b = a[0] + 1j * a[1], b[0] + 1j * b[1]
    if kind == "graded":
        a *= 10.0 ** rng.integers(-3, 4, 520)
    target = Spy("trn2")
    found, exact = (gemm(FULL, a, b, engine).value for engine in (KernelEngine(target), ExactEngine()))
    assert found.tobytes() == exact.tobytes()
    assert target.groups[:2] == [8, 8]
    if isinstance(kind, int):
        assert target.groups[2] == 2
        assert not found.real.any()
    if kind == "random":
        assert target.groups[2] == 8
