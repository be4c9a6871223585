"""docs/accuracy.md is of the present code: its rows, and what it says of them."""

import re

import accuracy
import pytest
from families import FAMILIES, SOURCES

PAGE = accuracy.PAGE.read_text(encoding="utf-8")
CELLS = accuracy.written(PAGE)


def test_every_family_and_length_has_its_row():
    assert set(CELLS) == set(accuracy.jobs(accuracy.LENGTHS))


def test_every_family_names_its_source():
    assert {family.source for family in FAMILIES.values()} <= set(SOURCES)


SAMPLE = [(family, "float64", k) for family in FAMILIES for k in (1, 257)]
SAMPLE += [(families[0], dtype, 64) for dtype, families in accuracy.OTHERS.items()]


def test_rows_are_as_written_and_within_the_promise():
    assert accuracy.differences(PAGE, SAMPLE) == []


def worst_figures():
    """(family, ours, NumPy's) of the page's last columns."""
    found = re.findall(r"^\| ([^|]+?) +\|.*\| ([\d.e+-]+) / ([\d.e+-]+)[^|/]*\|$", PAGE, re.MULTILINE)
    return [(name, float(ours), float(theirs)) for name, ours, theirs in found]


def test_no_family_is_worse_than_its_share_of_numpys():
    figures = worst_figures()
    assert len(figures) == len(FAMILIES) + sum(map(len, accuracy.OTHERS.values()))
    assert [figure for figure in figures if figure[1] > accuracy.FACTOR * figure[2]] == []


def test_the_counts_at_the_top_are_those_of_the_rows():
    total, kernel, numpy = map(
        int, re.search(r"^(\d+) products: (\d+) by kernels, (\d+)", PAGE, re.M).groups()
    )
    left = sum(cell.startswith("NumPy") for cell in CELLS.values())
    assert (total, kernel, numpy) == (len(CELLS), len(CELLS) - left, left)


@pytest.mark.parametrize("test", ["1b", "2b 16", "3b 16"])
def test_grading(test):
    assert accuracy.grade(test, 16).passed


def test_a_page_of_other_rows_is_stale():
    family = next(iter(FAMILIES))
    page = re.sub(r"\| \d[^|]+/", "| 99 /", PAGE)
    assert len(accuracy.differences(page, [(family, "float64", 1)])) == 1
