"""Pair sums of MP2 through engine and interpreter, within derived bounds of float64 by NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn import fused
from numtrn.engine import KernelEngine
from numtrn.errors import DenominatorError, KernelError
from numtrn.fused import block_sums, pair_sums
from numtrn.machine import CHIPS
from numtrn.plan import mp2_tiling
from numtrn.targets.interpreter import Interpreter

U = 2.0**-24
TF32 = 2.0**-11
ROOT = 16
"""Roundings of a term besides those of T and of sums: D of three sums (1.5 after the root, twice), the Newton
step (4, twice), Y (twice), the product; rounded up."""

chips = st.sampled_from(list(CHIPS))
edges = st.sampled_from([1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 192, 193])


def engine(chip="trn2"):
    return KernelEngine(Interpreter(CHIPS[chip]))


def spin(rng, o, v, x):
    """B whose integrals are about 1, with a core orbital and a gap as molecules have them."""
    occupied = -np.sort(rng.random(o))[::-1] - 0.3
    occupied[0] -= 20
    return (
        (rng.standard_normal((o, v, x)) / np.sqrt(x)).astype(np.float32),
        occupied,
        np.sort(rng.random(v)) * 3 + 0.1,
    )


def reference(first, second, exchange, operand_error=0.0):
    """d and x in float64, and what fp32 may be away from them."""
    b1, b2 = first[0].astype(np.float64), second[0].astype(np.float64)
    x = b1.shape[2]
    t = np.einsum("iaQ,jbQ->ijab", b1, b2)
    off = (2 * operand_error + x * U) * np.einsum("iaQ,jbQ->ijab", abs(b1), abs(b2))
    return sums(t, off, first, second, exchange)


def sums(t, off, first, second, exchange):
    denominators = first[-2][:, None] + second[-2]
    denominators = denominators[:, :, None, None] - first[-1][:, None] - second[-1]
    swapped, swapped_off = (t.swapaxes(2, 3), off.swapaxes(2, 3)) if exchange else (0 * t, 0 * t)
    value, bound = [], []
    relative = (ROOT + (t.shape[2] / 128 + 1) * t.shape[3]) * U
    for other, other_off in ((t, off), (swapped, swapped_off)):
        size = (abs(t) + off) * (abs(other) + other_off)
        value.append((t * other / denominators).sum(axis=(2, 3)))
        away = size - abs(t * other) + relative * size
        bound.append((away / abs(denominators)).sum(axis=(2, 3)))
    return np.stack(value), np.stack(bound) * (1 + 2.0**-10)


def check(found, wanted, bound):
    assert found.dtype == np.float64
    assert found.shape == wanted.shape
    assert (abs(found - wanted) <= bound).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), edges, st.sampled_from([1, 5, 84, 128, 200]), st.booleans(), chips)
def test_one_spin(o, v, x, exchange, chip):
    first = spin(np.random.default_rng(o * v + x), o, v, x)
    found = pair_sums(engine(chip), [first], same=True, exchange=exchange)
    check(found, *reference(first, first, exchange))
    assert np.array_equal(found, found.swapaxes(1, 2))
    assert exchange or not found[1].any()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), edges, edges, chips)
def test_two_spins(o1, o2, v1, v2, chip):
    rng = np.random.default_rng(o1 * v2)
    first, second = spin(rng, o1, v1, 60), spin(rng, o2, v2, 60)
    found = pair_sums(engine(chip), [first, second], same=False, exchange=False)
    check(found, *reference(first, second, False))


def test_two_spins_where_only_the_sum_of_their_gaps_is_positive():
    rng = np.random.default_rng(2)
    first, second = spin(rng, 3, 40, 30), spin(rng, 2, 30, 30)
    first = first[0], first[1], first[2] - 0.5
    second = second[0], second[1], second[2] + 1
    check(pair_sums(engine(), [first, second], same=False, exchange=False), *reference(first, second, False))


@pytest.mark.parametrize("v", [20, 150])
def test_given_integrals_of_one_spin_and_of_two(v):
    rng = np.random.default_rng(v)
    first, second = spin(rng, 4, v, 50), spin(rng, 3, 33, 50)
    one = np.einsum("iaQ,jbQ->iajb", first[0], first[0])
    two = np.einsum("iaQ,jbQ->iajb", first[0], second[0])
    found = block_sums(engine(), one, first[1:], exchange=True)
    check(
        found,
        *sums(
            one.transpose(0, 2, 1, 3).astype(float),
            np.zeros(()) * one.transpose(0, 2, 1, 3),
            first,
            first,
            True,
        ),
    )
    found = block_sums(engine(), two, first[1:], second[1:], exchange=False)
    turned = two.transpose(0, 2, 1, 3).astype(float)
    check(found, *sums(turned, 0 * turned, first, second, False))


@pytest.mark.parametrize(("limit", "keep"), [(120, 2**40), (120, 0)])
def test_blocks_of_orbitals_give_the_same_sums(monkeypatch, limit, keep):
    monkeypatch.setattr(mp2_tiling, "LONG", limit)
    monkeypatch.setattr(mp2_tiling, "KEEP_BYTES", keep)
    monkeypatch.setattr(fused, "KEEP_BYTES", keep)
    for cached in (mp2_tiling.tile_pairs, mp2_tiling.tile_blocks):
        cached.cache_clear()
    rng = np.random.default_rng(5)
    first, second = spin(rng, 7, 40, 30), spin(rng, 5, 70, 30)
    try:
        t = mp2_tiling.tile_pairs((7, 7), (40, 40), 30, same=True, exchange=True)
        assert t.count > 1
        made = engine()
        check(pair_sums(made, [first], same=True, exchange=True), *reference(first, first, True))
        assert made.launches == t.count
        assert made.bytes == t.bytes_in + t.bytes_out
        made = engine()
        found = pair_sums(made, [first, second], same=False, exchange=False)
        check(found, *reference(first, second, False))
        assert made.launches > 1
        integrals = np.einsum("iaQ,jbQ->iajb", first[0], first[0])
        turned = integrals.transpose(0, 2, 1, 3).astype(float)
        found = block_sums(engine(), integrals, first[1:], exchange=True)
        check(found, *sums(turned, 0 * turned, first, first, True))
    finally:
        for cached in (mp2_tiling.tile_pairs, mp2_tiling.tile_blocks):
            cached.cache_clear()


def test_only_pair_sums_come_back():
    first = spin(np.random.default_rng(1), 6, 112, 90)
    made = engine()
    pair_sums(made, [first], same=True, exchange=True)
    assert made.launches == 1
    assert made.bytes < 1.2 * first[0].nbytes + 2 * 6 * 6 * 128 * 4 + 128 * 200 * 4
    assert made.bytes < 6 * 6 * 112 * 112 * 4


def test_strides_do_not_matter_and_nothing_is_written():
    b, occupied, virtual = spin(np.random.default_rng(3), 4, 70, 40)
    plain = pair_sums(engine(), [(b, occupied, virtual)], same=True, exchange=True)
    turned = np.asfortranarray(b)
    wide = np.zeros((4, 70, 80), np.float32)[:, :, ::2]
    wide[...] = b
    for view in (turned, wide):
        view.flags.writeable = False
        assert np.array_equal(
            pair_sums(engine(), [(view, occupied, virtual)], same=True, exchange=True), plain
        )


def test_tf32_is_within_its_bound_and_not_fp32():
    first = spin(np.random.default_rng(4), 3, 65, 100)
    found = pair_sums(engine(), [first], same=True, exchange=True, tf32=True)
    value, bound = reference(first, first, True, TF32)
    check(found, value, bound)
    assert abs(found - value).max() > 10 * U * abs(value).max()


def test_nothing_gives_nothing():
    for o, v, x in ((0, 3, 2), (3, 0, 2), (3, 2, 0)):
        b = np.zeros((o, v, x), np.float32)
        found = pair_sums(engine(), [(b, np.zeros(o), np.ones(v))], same=True, exchange=True)
        assert found.shape == (2, o, o)
        assert not found.any()


def test_denominators_that_are_not_positive_are_refused():
    b, occupied, virtual = spin(np.random.default_rng(4), 3, 5, 4)
    virtual = virtual - 3
    with pytest.raises(DenominatorError, match=r"must be positive.*the least is -.*float64 on the host"):
        pair_sums(engine(), [(b, occupied, virtual)], same=True, exchange=True)


def test_what_does_not_fit_is_refused():
    b = np.broadcast_to(np.float32(1), (2, 2000, 6000))
    with pytest.raises(KernelError, match="fit SBUF; got 2000 virtual orbitals and 6000 auxiliary"):
        pair_sums(engine(), [(b, -np.ones(2), np.ones(2000))], same=True, exchange=True)


def test_exchange_needs_one_spin():
    first = spin(np.random.default_rng(4), 3, 5, 4)
    with pytest.raises(ValueError, match="pairs of one spin; got exchange=True with same=False"):
        pair_sums(engine(), [first, first], same=False, exchange=True)


def test_core_orbitals_cost_no_digits():
    """With energies of -2000, fp32 sums that were not shifted would be off by 2000 U / D."""
    b, occupied, virtual = spin(np.random.default_rng(8), 3, 30, 10)
    occupied[0] = -2000.0
    first = b, occupied, virtual
    check(pair_sums(engine(), [first], same=True, exchange=True), *reference(first, first, True))
