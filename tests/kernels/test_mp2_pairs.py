"""Pair energies on every chip: exact integers where every denominator is 4; counts against the tiling."""

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn import interp
from numtrn.interp import modules
from numtrn.interp.clock import of_shape, time_kernel
from numtrn.interp.operators import OPERATORS
from numtrn.machine import CHIPS
from numtrn.plan import mp2_tiling
from numtrn.plan.mp2_tiling import LONG, PairTiling, predict_pairs, spin_of, tile_blocks, tile_pairs
from numtrn.targets.interpreter import _kernel
from numtrn.targets.load import load_kernel

TILE = 128
chips = st.sampled_from(list(CHIPS))
orbitals = st.integers(1, 6)
virtuals = st.sampled_from([1, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 160, 161, 192, 193, 256, 257, 300])
auxiliaries = st.sampled_from([1, 3, 31, 127, 128, 129, 257])


def shapes(t, launch, naux):
    first, second = t.spins
    energies = (TILE, first.v + launch.oi + second.tiles(launch.oj))
    if not naux:
        integrals = launch.oi * launch.oj * second.v, first.v
        return integrals, integrals, energies
    columns = launch.oi * first.width
    other = columns if launch.triangle else launch.oj * second.width
    return (naux, columns), (naux, other), energies


def run(t, launch, arrays, chip):
    return interp.simulate(_kernel("mp2_pairs"), (*arrays, *launch.parameters), chip=CHIPS[chip]).outputs


def laid_out(b, spin):
    """B (o, v, x) as the kernel reads it."""
    o, v, x = b.shape
    out = np.zeros((x, o, spin.width), np.float32)
    out[:, :, :v] = b.transpose(2, 0, 1)
    return out.reshape(x, -1)


def fours(t, launch):
    """Energies of which every denominator is 4, so that the kernel's root is -1 exactly."""
    first, second = t.spins
    table = np.full((TILE, first.v + launch.oi + second.tiles(launch.oj)), 2.0, np.float32)
    table[:, : first.v + launch.oi] = 1.0
    return table


def expected(t, launch, integrals, exchange):
    """Every sum of the result, from integrals (oi, oj, b, a), as the kernel's first page describes it."""
    second = t.spins[1]
    oi, oj, rows, _ = integrals.shape
    whole = rows // TILE * TILE
    packed, rest, full, diagonal, above = (np.zeros((TILE, oi, oj)) for _ in range(5))
    slot = TILE // second.pack if second.pack > 1 else second.rest
    for i in range(oi):
        for j in range(launch.parameters[9] * i // second.pack * second.pack, oj):
            m = integrals[i, j]
            at = j % second.pack * slot
            packed[at : at + rows - whole, i, j - j % second.pack] = (m[whole:] ** 2).sum(axis=1)
            wanted = not (launch.triangle and i > j)
            full[:, i, j] = wanted * (m[:whole].reshape(-1, TILE, m.shape[1]) ** 2).sum(axis=(0, 2))
            if exchange and not (launch.triangle and i >= j):
                z = m * m.T
                rest[: rows - whole, i, j] = z[whole:, whole:].sum(axis=1)
                for start in range(0, whole, TILE):
                    tile = z[start : start + TILE]
                    diagonal[:, i, j] += tile[:, start : start + TILE].sum(axis=1)
                    above[:, i, j] += tile[:, start + TILE :].sum(axis=1)
    kinds = [packed] * (second.rest > 0) + [rest] * (exchange and second.rest > 0)
    kinds += [full] * (second.full > 0) + [diagonal] * (exchange and second.full > 0)
    kinds += [above] * (exchange and second.full > 0 and second.v > TILE)
    return np.stack(kinds, axis=1).reshape(TILE, -1)


def padded(integrals, t):
    """Integrals with zeros for the virtual orbitals that are rounded up."""
    missing = [spin.v - extent for spin, extent in zip(t.spins[::-1], integrals.shape[2:], strict=True)]
    return np.pad(integrals, [(0, 0), (0, 0), *((0, count) for count in missing)])


@settings(max_examples=30, deadline=None)
@given(orbitals, virtuals, auxiliaries, st.booleans(), chips)
def test_integers_of_one_spin_are_exact(o, v, x, exchange, chip):
    t = tile_pairs((o, o), (v, v), x, same=True, exchange=exchange)
    (launch,) = t.launches
    b = np.random.default_rng(o * v * x).integers(-1, 2, (o, v, x)).astype(np.float32)
    moving = laid_out(b, t.spins[0])
    integrals = padded(np.einsum("iax,jbx->ijba", b, b), t)
    found = run(t, launch, (moving, moving, fours(t, launch)), chip)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected(t, launch, integrals, exchange))


@settings(max_examples=20, deadline=None)
@given(orbitals, orbitals, virtuals, virtuals, auxiliaries, chips)
def test_integers_of_two_spins_are_exact(o1, o2, v1, v2, x, chip):
    t = tile_pairs((o1, o2), (v1, v2), x, same=False, exchange=False)
    (launch,) = t.launches
    rng = np.random.default_rng(o1 * v2 * x)
    b1, b2 = (rng.integers(-1, 2, (o, v, x)).astype(np.float32) for o, v in ((o1, v1), (o2, v2)))
    integrals = padded(np.einsum("iax,jbx->ijba", b1, b2), t)
    arrays = laid_out(b1, t.spins[0]), laid_out(b2, t.spins[1]), fours(t, launch)
    assert np.array_equal(run(t, launch, arrays, chip), expected(t, launch, integrals, False))


@pytest.mark.parametrize(("v", "chunks"), [(130, {1, 4}), (520, {0, 1, 4})])
def test_integers_are_exact_where_b_streams(monkeypatch, v, chunks):
    """With little SBUF a launch holds few orbitals i, and parts of the orbitals j."""
    b = np.random.default_rng(v).integers(-1, 2, (5, v, 200)).astype(np.float32)
    integrals = np.einsum("iax,jbx->ijba", b, b)
    seen = set()
    for bytes_ in range(12_000, 120_000, 1_000):
        monkeypatch.setattr(mp2_tiling, "SBUF_BYTES", bytes_)
        tile_pairs.cache_clear()
        t = tile_pairs((5, 5), (v, v), 200, same=True, exchange=True)
        tile_pairs.cache_clear()
        if t is None or t.count > 1 or t.launches[0].parameters[5:8] in seen:
            continue
        (launch,) = t.launches
        seen.add(launch.parameters[5:8])
        moving = laid_out(b, t.spins[0])
        record = interp.simulate(
            _kernel("mp2_pairs"), (moving, moving, fours(t, launch), *launch.parameters), chip=CHIPS["trn1"]
        )
        assert np.array_equal(record.outputs, expected(t, launch, integrals, True))
        assert record.instructions == launch.instructions
    assert {chunk for _, chunk, _ in seen} == chunks
    assert len({resident for resident, _, _ in seen}) > 1


@pytest.mark.parametrize("error", [1e-3, -1e-4])
def test_the_newton_step_mends_the_root(monkeypatch, error):
    """What ScalarE's function is wrong by, e, becomes 1.5 e^2: how exact it is, is not published."""
    t = tile_pairs((1, 1), (128, 128), 1, same=True, exchange=False)
    (launch,) = t.launches
    b = np.ones((1, 128), np.float32)
    rsqrt = OPERATORS["rsqrt"]
    off = replace(rsqrt, activate=lambda x: rsqrt.activate(x) * np.float32(1 + error))
    function = _kernel("mp2_pairs").function
    monkeypatch.setattr(function.__globals__["nl"], "rsqrt", off)
    found = run(t, launch, (b, b, fours(t, launch)), "trn2")[0, 0]
    assert found == pytest.approx(128, rel=3.1 * error**2 + 1e-6)
    monkeypatch.undo()
    assert run(t, launch, (b, b, fours(t, launch)), "trn2")[0, 0] == 128


@settings(max_examples=20, deadline=None)
@given(orbitals, virtuals, st.booleans(), st.booleans(), chips)
def test_given_integers_are_exact(o, v, exchange, triangle, chip):
    t = tile_blocks((o, o), (v, v), same=triangle, exchange=exchange)
    (launch,) = t.launches
    integrals = np.random.default_rng(o * v).integers(-9, 10, (o, o, v, v)).astype(np.float32)
    packed = integrals.transpose(1, 0, 2, 3).reshape(-1, v)
    found = run(t, launch, (packed, packed, fours(t, launch)), chip)
    assert np.array_equal(found, expected(t, launch, integrals, exchange))


def test_tf32_rounds_b_to_ten_bits():
    t = tile_pairs((1, 1), (128, 128), 1, same=True, exchange=False, tf32=True)
    (launch,) = t.launches
    b = np.zeros((1, 128), np.float32)
    b[0, :2] = 1 + 2**-10, 1 + 2**-12  # the second is below half a unit of 2^-10
    found = run(t, launch, (b, b, fours(t, launch)), "trn2")
    one = np.float32((1 + 2**-10) ** 2)
    assert found[:2, 0].tolist() == [np.float32(one**2) + one, one + 1]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(
    ("nocc", "nvir", "naux", "same", "exchange"),
    [
        ((16, 16), (112, 112), 384, True, True),
        ((5, 5), (19, 19), 84, True, True),
        ((9, 9), (40, 40), 100, True, True),
        ((7, 7), (150, 150), 100, True, False),
        ((7, 7), (448, 448), 1536, True, True),
        ((5, 5), (449, 449), 1536, True, True),
        ((3, 3), (700, 700), 200, True, True),
        ((2, 2), (960, 960), 640, True, True),
        ((2, 2), (700, 700), 2700, True, True),  # B of j for each tile
        ((3, 5), (100, 448), 1000, False, False),
        ((8, 7), (110, 250), 2500, False, False),
        ((70, 70), (20, 20), 90, True, True),
        ((4, 4), (448, 448), 0, True, True),
        ((3, 5), (20, 448), 0, False, False),
    ],
)
def test_counts_are_the_kernels_and_fit_the_chip(nocc, nvir, naux, same, exchange, chip):
    if naux:
        t = tile_pairs(nocc, nvir, naux, same=same, exchange=exchange)
    else:
        t = tile_blocks(nocc, nvir, same=same, exchange=exchange)
    for launch in t.launches:
        arrays = [of_shape(shape, np.float32) for shape in shapes(t, launch, naux)]
        timeline = time_kernel(load_kernel("mp2_pairs", modules), (*arrays, *launch.parameters), CHIPS[chip])
        assert sum(timeline.instructions.values()) == launch.instructions <= LONG
        assert timeline.instructions["tensor"] == launch.matmuls + launch.transposes
        assert timeline.hbm_bytes == launch.loaded + launch.bytes_out + arrays[2].nbytes
        passes = 4 / (2 if CHIPS[chip].generation > 2 else 1)
        cycles = timeline.bounds_ns["tensor"] * CHIPS[chip].tensor_ghz
        assert cycles == pytest.approx(4 * launch.pe_columns + passes * launch.transposed)


def test_predictions_follow_the_clock():
    t = tile_pairs((6, 6), (448, 448), 1536, same=False, exchange=True)
    (launch,) = t.launches
    arrays = [of_shape(shape, np.float32) for shape in shapes(t, launch, 1536)]
    for chip in CHIPS.values():
        predicted = predict_pairs(t, chip).device
        timeline = time_kernel(load_kernel("mp2_pairs", modules), (*arrays, *launch.parameters), chip)
        assert predicted == pytest.approx(timeline.total_ns * 1e-9, rel=0.1)


def test_the_medium_case_keeps_its_promises():
    t = tile_pairs((64, 64), (448, 448), 1536, same=True, exchange=True)
    assert isinstance(t, PairTiling)
    b = 64 * 448 * 1536 * 4
    assert t.device_bytes <= 1.2 * b
    assert t.bytes_in <= 1.02 * b
    assert t.bytes_out <= 0.01 * 64**2 * 448**2 * 4
    assert len(t.launches) <= 4
    columns = t.pe_columns / 12 / 448
    assert columns == pytest.approx(2080 * 3.5, rel=0.01)  # not 4 tiles a pair


@given(st.integers(1, 2000))
def test_rows_are_padded_to_what_a_tile_shares(v):
    spin = spin_of(v)
    assert spin.v == (v if v > 64 else 32 if v <= 32 else 64)
    assert spin.rest * spin.pack <= TILE
    assert spin.width == spin.full * TILE + (TILE // spin.pack if spin.pack > 1 else spin.rest)
    assert spin.tiles(4) == 4 * spin.full + (ceil(4 / spin.pack) if spin.rest else 0)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 400), st.integers(1, 400), st.integers(1, 900), st.integers(1, 900), st.integers(1, 3000)
)
def test_launches_cover_all_pairs_in_few_programs(o1, o2, v1, v2, x):
    one = tile_pairs((o1, o1), (v1, v1), x, same=True, exchange=True)
    two = tile_pairs((o1, o2), (v1, v2), x, same=False, exchange=False)
    for t, pairs in ((one, o1 * (o1 + 1) // 2), (two, o1 * o2)):
        if t is not None:
            made = sum(
                launch.count
                * (launch.oi * (launch.oi + 1) // 2 if launch.triangle else launch.oi * launch.oj)
                for launch in t.launches
            )
            assert made == pairs
            assert len(t.launches) <= 4


def test_what_does_not_fit_sbuf_is_refused():
    assert tile_pairs((4, 4), (2000, 2000), 6000, same=True, exchange=True) is None
    assert tile_blocks((4, 4), (3000, 3000), same=True, exchange=True) is None
