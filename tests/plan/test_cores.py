"""Work is shared between cores: balanced, complete, the sums of a block on one core; predictions count it."""

from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numtrn.machine import CHIPS
from numtrn.options import Options
from numtrn.plan import Refusal, make_plan
from numtrn.plan.cores import assign, operand_pieces, parts_of, shares
from numtrn.plan.ladder import Cutting
from numtrn.plan.mp2_tiling import pair_shares, pair_sweep, tile_pairs
from numtrn.plan.tiling import tile_gemm
from numtrn.plan.words import tile_words
from numtrn.request import Gemm, Mp2

TRN2 = CHIPS["trn2"]


def least_heaviest(weights, cores):
    """By trying every way to cut the list into runs."""
    found = []
    for cuts in range(min(cores, len(weights))):
        for ends in combinations(range(1, len(weights)), cuts):
            bounds = (0, *ends, len(weights))
            found.append(max(sum(weights[a:b]) for a, b in pairwise(bounds)))
    return min(found)


@given(weights=st.lists(st.integers(1, 20), min_size=1, max_size=8), cores=st.integers(1, 6))
def test_no_core_has_more_to_do_than_it_must(weights, cores):
    of = assign(weights, cores)
    loads = [sum(w for w, its in zip(weights, of, strict=True) if its == core) for core in range(cores)]
    assert max(loads) == least_heaviest(weights, cores)
    assert list(of) == sorted(of)
    assert set(of) == set(range(max(of) + 1)), "no core in between is idle"


def test_nothing_is_nobodys():
    assert assign([], 3) == ()


@pytest.mark.parametrize("structure", ["general", "syrk", "trmm"])
def test_parts_are_all_launches(structure, monkeypatch):
    monkeypatch.setattr("numtrn.plan.words.LIMITS", ((128, 128, 128),))
    k = 500 if structure == "trmm" else 300
    t = tile_words(2, 500, k, 500, 7, TRN2, structure=structure)
    parts = parts_of(t)
    assert sum(part.launches for part in parts) == t.launches
    diagonal = {"general": 0, "syrk": 4 * 3, "trmm": 4 * 4}[structure]
    assert sum(part.diagonal for part in parts) == t.pieces[0] * diagonal
    assert len({part[:3] for part in parts}) == len(parts)
    for cores in (1, 2, 3, 7):
        given_out = [part for share in shares(replace(t, cores=cores)) for part in share.parts]
        assert given_out == list(parts)


def test_operand_pieces_are_counted_once():
    t = tile_gemm(1, 4096 * 3, 2048 * 2, 4096 * 2, 4)
    assert t.pieces == (1, 3, 2, 2)
    assert operand_pieces(t, parts_of(t)) == (3 * 2, 2 * 2)
    assert operand_pieces(t, parts_of(t)[:2]) == (2 * 2, 1 * 2)


@pytest.mark.parametrize("shapes", ["fine", "few"])
@pytest.mark.parametrize("extents", [(1, 1000, 700, 900), (3, 200, 5000, 130), (1, 4096, 4096, 4096)])
@pytest.mark.parametrize("cores", [2, 3, 8])
def test_sums_are_cut_the_same_for_any_number_of_cores(shapes, extents, cores):
    for timed in (False, True):
        one, several = Cutting(shapes, TRN2), Cutting(shapes, TRN2, cores, timed)
        alone, spread = one.gemm(*extents, 4), several.gemm(*extents, 4)
        assert (spread.k, spread.pieces[2]) == (alone.k, alone.pieces[2])
        assert 1 <= spread.cores <= cores
        sizes = spread.batch, spread.m, spread.k, spread.n
        covered = [pieces * size for pieces, size in zip(spread.pieces, sizes, strict=True)]
        assert all(have >= extent for have, extent in zip(covered, extents, strict=True))
        digits = several.products(*extents, 7, 1)[0]
        assert digits.slices == one.products(*extents, 7, 1)[0].slices


def test_a_launch_is_cut_where_cores_would_be_idle():
    alone = Cutting("fine", TRN2).gemm(1, 1024, 512, 512, 4)
    spread = Cutting("fine", TRN2, 4).gemm(1, 1024, 512, 512, 4)
    assert alone.launches == 1
    assert (spread.cores, spread.launches) == (4, 4)
    assert sum(spread.launches for spread in shares(spread)) == 4


def test_a_small_product_is_left_to_one_core_where_times_decide():
    assert Cutting("few", TRN2, 8, timed=True).gemm(1, 128, 500, 128, 4).cores == 1


def plan(gemm, cores, target="neuron"):
    return make_plan(gemm, Options(min_work=0, cores=cores), target)


def test_a_plan_says_how_many_cores():
    large = Gemm(function="numpy.matmul", dtype="float64", m=8192, k=8192, n=8192)
    one, eight = plan(large, 1), plan(large, 8)
    assert eight.prediction.total < one.prediction.total
    assert "cores" not in str(one)
    assert f"on {eight.tilings[0].cores} cores" in str(eight)
    forced = plan(replace(large, m=1024, k=512, n=512, dtype="float32"), 4, "interpreter")
    assert "on 4 cores" in str(forced)


def test_more_cores_are_never_predicted_to_be_slower():
    for dtype in ("float32", "float64", "complex128"):
        for edge in (512, 2048, 6000):
            gemm = Gemm(function="", dtype=dtype, m=edge, k=edge, n=edge)
            totals = [plan(gemm, cores).prediction.total for cores in (1, 2, 4, 8)]
            assert totals == sorted(totals, reverse=True)


def test_what_two_cores_of_one_memory_read_is_sent_once():
    gemm = Gemm(function="", dtype="float32", m=2048, k=512, n=512)
    moved = {cores: plan(gemm, cores, "interpreter").prediction.bytes for cores in (1, 2, 4)}
    once = 4 * (2048 * 512 + 512 * 512 + 2048 * 512)
    assert moved[1] == moved[2] == once, "cores 0 and 1 of trn2 share a stack of HBM"
    assert moved[4] == once + 4 * 512 * 512, "B in two memories, A and C once"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pairs_of_orbitals_over_cores(dtype):
    request = Mp2(function="", dtype=dtype, nocc=(32, 32), nvir=(224, 224), naux=768)
    plans = {cores: make_plan(request, Options(cores=cores), "interpreter") for cores in (1, 4)}
    assert not any(isinstance(plan, Refusal) for plan in plans.values())
    assert plans[4].prediction.device < plans[1].prediction.device / 2
    assert plans[4].used_cores == 4
    assert "4 cores" in str(plans[4])


def test_launches_of_pairs_over_cores():
    t = tile_pairs((24, 24), (96, 96), 200, same=True, exchange=True, cores=3)
    given_out = pair_shares(t)
    assert len(given_out) == t.cores == 3
    assert [one for share in given_out for one in share] == pair_sweep(t)
    made = [one.oi * (one.oi + 1) // 2 if one.triangle else one.oi * one.oj for _, _, one in pair_sweep(t)]
    assert sum(made) == 24 * 25 // 2
