"""The arithmetic of benchmarks/mp2.py, by figures computed by hand, and the aims of the small case."""

import mp2
import pytest

from numtrn.machine import CHIPS


@pytest.mark.parametrize(
    ("case", "chip", "bound", "vector"),
    [
        ("small", "trn1", 0.065, 0.068),
        ("small", "trn2", 0.076, 0.079),
        ("medium", "trn1", 63.9, 16.6),
        ("medium", "trn2", 74.5, 19.4),
    ],
)
def test_bounds_are_those_of_a_pair(case, chip, bound, vector):
    """136 pairs of 1 x 3 tiles and 112 columns; 2080 pairs of 4 x 12 tiles and 448 columns."""
    o, v, x = mp2.CASES[case]
    decimals = len(str(bound).partition(".")[2])
    assert round(mp2.bound_ms(o, v, x, CHIPS[chip]), decimals) == bound
    assert round(mp2.epilogue_ms(o, v, CHIPS[chip]) - 0.05, decimals) == vector


@pytest.mark.parametrize("chip", ["trn1", "trn2"])
def test_the_small_case_takes_no_longer_than_aimed_at(chip):
    (row,) = mp2.rows(["small"], [CHIPS[chip]])
    assert mp2.total_ms(row.fused) <= mp2.AIMS["small", chip]
    assert mp2.total_ms(row.fused) < mp2.total_ms(row.written) + mp2.epilogue_ms(16, 112, CHIPS[chip])
    assert row.line()[2:5] == ("1", f"{mp2.total_ms(row.fused):.3f}", f"{mp2.AIMS['small', chip]:g} met")


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    mp2.main(["--plot", str(tmp_path / "engines.png"), "--chip", "trn1"])
    assert (tmp_path / "engines.png").read_bytes().startswith(b"\x89PNG")
