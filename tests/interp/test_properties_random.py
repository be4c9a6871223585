"""Random numbers: what the documentation promises of them, as their bits are not published.

The same seed or state gives the same numbers on every chip; each lane has its own state; ranges and
probabilities hold; every other element of the tile stays as it was.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.interp.properties import (
    BITS,
    DTYPES,
    F32,
    GEN3,
    GEN4,
    MANY,
    SEEDS,
    cast,
    covers,
    everywhere,
    launched,
    operands,
    patterns,
    shapes,
)
from tests.interp.support import filled, loaded, nisa, nl, sbuf, stored

LARGE = shapes(rows=(31, 64, 128), edges=(128, 511))
WIDE = st.sampled_from((0, 32, 64))


def uniform(bits):
    """Fair bits, within six standard deviations."""
    share = np.unpackbits(np.ascontiguousarray(bits).view(np.uint8)).mean()
    assert abs(share - 0.5) < 3 / np.sqrt(8 * bits.nbytes)


@covers("rng", "set_rng_seed")
@MANY
@given(operands(BITS, 1), SEEDS)
def test_bits_from_a_seed(case, seed):
    def work(dst, seed):
        one, two = (sbuf(dst.shape, dst.dtype) for _ in range(2))
        nisa.set_rng_seed(src_seeds=seed)
        nisa.rng(dst=dst)
        nisa.tensor_copy(dst=one, src=dst)
        nisa.rng(dst=two)
        nisa.set_rng_seed(src_seeds=seed)
        nisa.rng(dst=dst)
        again = sbuf(dst.shape, dst.dtype)
        nisa.tensor_copy(dst=again, src=dst)
        return one, two, again

    (one, two, again), _ = launched(case, work, np.array([[seed]], np.uint32))
    assert np.array_equal(one, again)
    assert one.nbytes < 8 or not np.array_equal(one, two)
    uniform(np.concatenate([one, two]))


@covers("rng", "rand_set_state", "rand_get_state")
@MANY
@given(operands(BITS, 1), st.sampled_from(["gpsimd", "vector"]))
def test_bits_from_states(case, unit):
    """Restoring the states restores the numbers, each lane from its own state."""
    engine, words = getattr(nisa.engine, unit), {"gpsimd": 6, "vector": 24}[unit]
    chips = GEN3 if unit == "gpsimd" else GEN4
    start = case.views[0].key[0].start

    def work(dst):
        before, one, again = sbuf((128, words), nl.uint32), *(sbuf(dst.shape, dst.dtype) for _ in range(2))
        nisa.rand_get_state(dst=before, engine=engine)
        nisa.rng(dst=dst, engine=engine)
        nisa.tensor_copy(dst=one, src=dst)
        nisa.rand_set_state(src_seeds=before[start : start + dst.shape[0]], engine=engine)
        nisa.rng(dst=dst, engine=engine)
        nisa.tensor_copy(dst=again, src=dst)
        return one, again

    (one, again), _ = launched(case, work, chips=chips)
    assert np.array_equal(one, again)
    uniform(one)


@covers("rand_set_state", "rand_get_state")
@MANY
@given(WIDE, st.sampled_from((1, 31, 32)), st.sampled_from(["gpsimd", "vector"]), SEEDS)
def test_states_of_some_lanes(first, rows, unit, seed):
    engine, words = getattr(nisa.engine, unit), {"gpsimd": 6, "vector": 24}[unit]
    states = np.random.default_rng(seed).integers(0, 2**32, (128, words), np.uint32)

    def kernel(states):
        given, before, after = loaded(states), *(sbuf((128, words), nl.uint32) for _ in range(2))
        nisa.rand_get_state(dst=before, engine=engine)
        nisa.rand_set_state(src_seeds=given[first : first + rows], engine=engine)
        nisa.rand_get_state(dst=after, engine=engine)
        return stored(before), stored(after)

    before, after = everywhere(kernel, states, chips=GEN3 if unit == "gpsimd" else GEN4)
    before[first : first + rows] = states[first : first + rows]
    assert np.array_equal(after, before)


@covers("rand2")
@MANY
@given(operands(DTYPES, 1, shape=LARGE), st.integers(-20, 20), st.integers(1, 20))
def test_uniform_numbers(case, low, width):
    low = max(low, 0) if np.dtype(case.kinds[0]).kind == "u" else low

    def work(dst):
        top, state = filled((dst.shape[0], 1), value=float(low + width)), sbuf((128, 24), nl.uint32)
        one, again, second = sbuf(dst.shape), sbuf(dst.shape), sbuf(dst.shape, dst.dtype)
        nisa.rand_get_state(dst=state, engine=nisa.engine.vector)
        nisa.rand2(dst=one, min=float(low), max=top)
        nisa.rand_set_state(src_seeds=state, engine=nisa.engine.vector)
        nisa.rand2(dst=again, min=float(low), max=top)
        nisa.rand_set_state(src_seeds=state, engine=nisa.engine.vector)
        nisa.rand2(dst=second, min=float(low), max=top)
        return one, again, second

    (one, again, second), _ = launched(case, work, chips=GEN4)
    assert np.array_equal(one, again)
    assert second.tobytes() == cast(one, case.kinds[0]).tobytes()
    assert one.min() >= low
    assert one.max() <= low + width
    scaled = (one.astype(float) - low) / width
    assert abs(scaled.mean() - 0.5) < 2 / np.sqrt(one.size)
    assert abs(scaled.var() - 1 / 12) < 1 / np.sqrt(one.size)


@covers("dropout")
@MANY
@given(operands((*DTYPES, np.uint32), 2, same=True, shape=LARGE), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_dropout(case, probability):
    """Zeros as often as told, and everything else with its original bits."""
    kept = []

    def fill(shape, dtype, seed):
        values = patterns(shape, dtype, seed)
        return np.where(values.astype(F32) == values.astype(F32), values, np.ones((), dtype)).astype(dtype)

    def work(dst, x):
        chance = filled((x.shape[0], 1), value=probability)
        nisa.dropout(dst=dst, data=x, prob=chance)
        out = sbuf(x.shape, x.dtype)
        nisa.tensor_copy(dst=out, src=dst)
        return out

    got, (x, _) = launched(case, lambda x, dst: work(dst, x), fill=fill)
    width = f"u{got.itemsize}"
    same, zero = got.view(width) == np.ascontiguousarray(x).view(width), got.view(width) == 0
    assert (same | zero).all()
    kept = same[np.ascontiguousarray(x).view(width) != 0].mean()
    assert abs(kept - (1 - probability)) <= (0 if probability in (0, 1) else 3 / np.sqrt(got.size))
