"""Tilings of the kernels from words to words: bounds, and counts that are the kernels'."""

from fractions import Fraction
from math import prod

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn import interp
from numtrn.interp.clock import of_shape
from numtrn.machine import CHIPS
from numtrn.plan.tiling import LOWER_LHS, LOWER_RESULT
from numtrn.plan.words import LONG, plane_count, tile_karatsuba, tile_least, tile_planes, tile_words, whole
from numtrn.targets.interpreter import _kernel

BF16 = ml_dtypes.bfloat16
extent = st.integers(1, 9000)
chips = st.sampled_from(list(CHIPS.values()))


def dry(name, shapes, dtype, parameters, chip):
    operands = [of_shape(shape, dtype) for shape in shapes]
    return interp.simulate(_kernel(name), (*operands, *parameters), chip=CHIPS[chip], dry=True)


@given(st.integers(1, 300), extent, extent, extent, st.integers(7, 16), chips)
def test_tilings_cover_and_are_bounded(batch, m, k, n, s, chip):
    for t in (
        tile_words(batch, m, k, n, s, chip),
        tile_words(batch, m, k, n, s, chip, peak=256),
        tile_words(batch, m, k, m, s, chip, structure="syrk"),
        tile_karatsuba(batch, m, k, n, s, chip),
        tile_karatsuba(batch, m, k, m, s, chip, structure="syrk"),
        tile_words(batch, m, m, n, s, chip, structure="trmm"),
        tile_words(batch, m, m, n, s, chip, peak=256, structure="trmm"),
        tile_karatsuba(batch, m, m, n, s, chip, structure="trmm"),
        tile_least(batch, m, k, n),
    ):
        wanted = (batch, m, m if t.part == LOWER_LHS else k, m if t.part == LOWER_RESULT else n)
        for size, piece, count in zip(wanted, (t.batch, t.m, t.k, t.n), t.pieces, strict=True):
            assert (count - 1) * piece < size <= count * piece
        assert t.instructions <= LONG
        pieces = list(t.pieces)
        if t.part:
            pieces[3 if t.part == LOWER_RESULT else 2] = Fraction(pieces[1] + 1, 2)
        assert t.launches == prod(pieces)
        if t.part == LOWER_LHS and t.pieces[1] > 1:
            assert t.pieces[1] == t.pieces[2]
            assert t.m == t.k
            assert whole(t).instructions <= LONG
        assert t.m % t.block_m == 0
        assert t.n % t.block_n == 0
        assert t.slices == 0 or max(t.block_m, t.block_n) <= 512


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(
    ("problem", "slices"),
    [
        ((1, 100, 84, 70), 7),
        ((1, 100, 84, 70), 11),
        ((1, 100, 84, 70), 16),
        ((2, 140, 600, 20), 7),
        ((2, 140, 600, 20), 11),
        ((1, 300, 1100, 520), 7),
        pytest.param((2, 140, 600, 20), 16, marks=pytest.mark.long),
        pytest.param((1, 300, 1100, 520), 11, marks=pytest.mark.long),
        pytest.param((1, 300, 1100, 520), 16, marks=pytest.mark.long),
    ],
)
def test_counts_are_the_kernels_and_fit_sbuf(problem, slices, chip):
    batch, m, k, n = problem
    for t in (
        tile_words(batch, m, k, n, slices, CHIPS[chip]),
        tile_words(batch, m, k, m, slices, CHIPS[chip], structure="syrk"),
        tile_karatsuba(batch, m, k, n, slices, CHIPS[chip]),
        tile_karatsuba(batch, m, k, m, slices, CHIPS[chip], structure="syrk"),
        tile_words(batch, m, m, n, slices, CHIPS[chip], structure="trmm"),
        tile_karatsuba(batch, m, m, n, slices, CHIPS[chip], structure="trmm"),
        whole(tile_words(batch, k, k, n, slices, CHIPS[chip], structure="trmm")),
        whole(tile_karatsuba(batch, k, k, n, slices, CHIPS[chip], structure="trmm")),
    ):
        planes, rows = slices, t.batch * t.k
        if t.kernel == "karatsuba_gemm":
            planes, rows = plane_count(slices) * t.parameters[4], rows // t.parameters[4]
        run = dry(t.kernel, ((rows, planes * t.m), (rows, planes * t.n)), BF16, t.parameters, chip)
        assert run.instructions == t.instructions
        assert run.engines["tensor"] == t.matmuls
        assert run.engines["scalar"] == t.casts
        assert run.engines["gpsimd"] == t.adds
        assert run.peak_sbuf_bytes <= CHIPS[chip].sbuf_usable_bytes
        for side in ("lhs", "rhs"):
            for transpose in (False, True):
                p = tile_planes(t, side, transpose)
                run = dry(p.kernel, ((p.rows, p.columns),), np.int8, p.parameters, chip)
                assert run.instructions == p.instructions
                assert run.peak_sbuf_bytes <= CHIPS[chip].sbuf_usable_bytes


@pytest.mark.parametrize("problem", [(1, 100, 84, 70), (2, 140, 600, 1100)])
def test_least_counts_are_the_kernels(problem):
    t = tile_least(*problem)
    run = dry(t.kernel, ((t.batch * t.k, t.m), (t.batch * t.k, t.n)), BF16, t.parameters, "trn1")
    assert run.instructions == t.instructions
    assert run.engines["tensor"] == t.matmuls
