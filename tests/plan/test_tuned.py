"""The table of blocks that the clock chose: what is listed fits, and is what the clock says now."""

import json
from dataclasses import replace

import ml_dtypes
import pytest
import tune

from numtrn.errors import NumtrnError
from numtrn.interp import modules, simulate
from numtrn.interp.clock import of_shape
from numtrn.machine import CHIPS
from numtrn.plan.tuned import SLICES, Table, blocks_of, karatsuba_from, parse, table
from numtrn.plan.words import fits, plane_count, prefers_karatsuba, tile_karatsuba, tile_words
from numtrn.targets.load import load_kernel

BF16 = ml_dtypes.bfloat16
SMALL = [[256, 256, 1, 0.5]]


def test_every_entry_is_there_and_every_block_fits():
    assert set(table().blocks) == set(tune.keys())
    for (kernel, chip, slices, _), blocks in table().blocks.items():
        for b in blocks:
            assert fits(kernel, b.rows, b.columns, b.depth, slices, CHIPS[chip])


@pytest.mark.parametrize("entry", tune.CHECKED)
def test_the_clock_would_choose_the_same_now(entry):
    assert list(tune.stale([entry])) == []


@pytest.mark.parametrize("change", ["order", "times"])
def test_a_stale_table_is_noticed(monkeypatch, change):
    key = ("sliced_gemm", "trn1", 7, 128)
    found = table().blocks[key]
    listed = found[::-1] if change == "order" else tuple(replace(b, ns=2 * b.ns) for b in found)
    monkeypatch.setattr(tune, "table", lambda: Table({key: listed}, {}))
    monkeypatch.setattr(tune, "ranked", lambda _: list(found))
    (line,) = tune.stale([key])
    assert change in line
    assert "python benchmarks/tune.py" in line


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("slices", [7, 12, 16])
def test_chosen_blocks_run_within_sbuf(chip, slices):
    """Two full blocks below each other and two chunks of K: what is live at once in any launch."""
    core = CHIPS[chip]
    b = blocks_of("sliced_gemm", chip, slices, 128)[0]
    plain = tile_words(1, 2 * b.rows, 256 * b.depth, b.columns, slices, core)
    b = blocks_of("karatsuba_gemm", chip, slices, 128)[0]
    karatsuba = tile_karatsuba(1, 2 * b.rows, 256 * b.depth, b.columns, slices, core)
    for t in (plain, karatsuba):
        depth = 1 if t is plain else t.parameters[4]
        rows, planes = t.k // depth, (slices if t is plain else plane_count(slices)) * depth
        operands = [of_shape((rows, planes * extent), BF16) for extent in (t.m, t.n)]
        run = simulate(load_kernel(t.kernel, modules), (*operands, *t.parameters), chip=core, dry=True)
        assert run.peak_sbuf_bytes <= core.sbuf_usable_bytes
        assert run.instructions == t.instructions


@pytest.mark.parametrize("chip", CHIPS)
def test_the_form_changes_at_the_extent_listed(chip):
    for slices in SLICES:
        least = karatsuba_from(chip, slices)
        if least is None:
            assert not prefers_karatsuba(1, 10**6, 10**6, 10**6, slices, CHIPS[chip])
        else:
            assert prefers_karatsuba(1, least, least, least, slices, CHIPS[chip])
            assert not prefers_karatsuba(1, least, least - 1, least, slices, CHIPS[chip])
            assert not prefers_karatsuba(1, 2 * least, 2 * least, 2 * least, slices, CHIPS[chip], "trmm")
            assert prefers_karatsuba(1, 3 * least, 3 * least, 3 * least, slices, CHIPS[chip], "trmm")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no block"),
        ([[512, 256, 1, 0.5]], "no square block"),
        ([[128, 256, 1, 0.5], [256, 256, 1, 0.4]], "not in order"),
        ([[128, 256, 1]], "not enough values"),
        ([[128, 1024, 1, 0.5]], "is no block"),
        ([[128, 256, 1.0, 0.5]], "is no block"),
        ([[128, 256, 1, 2]], "no time"),
    ],
)
def test_a_damaged_table_is_an_error_that_says_where(rows, words):
    text = json.dumps(
        {"schema": 1, "blocks": {"k": {"trn1": {"7": {"128": rows}}}}, "karatsuba_from": {"trn1": {"7": 9}}}
    )
    with pytest.raises(NumtrnError, match=rf"tilings\.json is damaged: .*{words}.*benchmarks/tune\.py"):
        parse(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "blocks": 3}'])
def test_what_is_no_table_is_an_error(text):
    with pytest.raises(NumtrnError, match="damaged"):
        parse(text)


def test_a_good_table_is_read():
    record = {
        "schema": 1,
        "blocks": {"k": {"trn1": {"7": {"128": SMALL}}}},
        "karatsuba_from": {"trn1": {"7": 9}},
    }
    found = parse(json.dumps(record))
    assert found.blocks["k", "trn1", 7, 128][0].ns == 0.5
    assert found.karatsuba == {("trn1", 7): 9}
