"""docs/backward.md is of the present code: its rows, what it says of them; its judge beside exact sums."""

import re

import backward
import numpy as np
import pytest
import scipy.linalg as sl
from exact import Dyadic

LEAST = min(backward.ORDERS)


@pytest.fixture(scope="module")
def page():
    return backward.PAGE.read_text(encoding="utf-8")


def test_every_family_and_order_has_its_row(page):
    assert set(backward.written(page)) == set(backward.jobs(backward.ORDERS))


SAMPLE = [
    ("trsm", "Wishart", "float64", LEAST),
    ("trsm", "columns 2^20 to 2^-20", "float64", LEAST),
    ("trsm", "RBF 2-D", "float32", LEAST),
    ("potrf", "Wishart", "float32", LEAST),
    ("potrf", "RBF 3-D", "float64", LEAST),
    ("potrf", "Kahan", "float64", LEAST),
]


def test_rows_are_as_written(page):
    assert backward.differences(page, SAMPLE) == []


def test_no_family_is_worse_than_its_share_of_scipys(page):
    assert "**more**" not in page
    ratios = re.findall(r"\| ([\d.]+) +\|$", page, re.MULTILINE)
    with_kernels = {
        (kind, family, dtype)
        for (kind, family, dtype, _), cell in backward.written(page).items()
        if " / " in cell
    }
    assert len(ratios) == len(with_kernels)
    assert all(float(ratio) <= backward.FACTOR for ratio in ratios)


def test_kernels_ran_unless_a_minor_is_not_positive(page):
    """Rounding decides whether a matrix on the edge is positive definite: those are LAPACK's."""
    left = [job for job, cell in backward.written(page).items() if cell.startswith("SciPy")]
    assert all(job[0] == "potrf" for job in left)
    assert page.count("is not positive definite; LAPACK reports it") == len(left) <= 2


def test_a_page_of_other_rows_is_stale():
    row = backward.measure("trsm", "Wishart", "float32", LEAST)
    other = backward.page([backward.Row("trsm", "Wishart", "float32", LEAST, 99.0, 99.0)])
    job = (row.kind, row.family, row.dtype, row.n)
    assert len(backward.differences(other, [job])) == 1
    assert backward.differences(backward.page([row]), [job]) == []


@pytest.mark.parametrize("family", backward.TRIANGLES, ids=lambda family: family.name)
def test_long_double_is_wide_enough(family):
    """Residuals as the benchmark forms them, beside those of exact arithmetic."""
    triangle = family.draw(60, 0, "float64")
    b = family.right_hand_sides(triangle, 0)
    x = sl.solve_triangular(triangle, b, lower=family.lower, unit_diagonal=family.unit_diagonal)
    t, solution, right = map(Dyadic.of, (triangle, x, b))
    scale = abs(t) @ abs(solution) * Dyadic.of(2.0**-53)
    exact = (abs(t @ solution - right) / scale).max()
    assert exact > 0.1
    assert backward.solve_error(triangle, x, b) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("dtype", backward.DTYPES)
def test_an_error_in_a_factor_is_seen(dtype):
    (family,) = (entry for entry in backward.POSITIVE if entry.name == "Wishart")
    a = family.draw(100, 0, dtype)
    factor = np.linalg.cholesky(a)
    before = backward.factor_error(a, factor)
    factor[70, 65] += 100 * backward.UNITS[dtype] * np.abs(factor).max()
    assert backward.factor_error(a, factor) > 2 * before


def test_triangles_are_triangles():
    for family in backward.TRIANGLES:
        triangle = family.draw(20, 0, "float64")
        assert np.array_equal(triangle, np.tril(triangle) if family.lower else np.triu(triangle))
        assert not family.unit_diagonal or (triangle.diagonal() == 1).all()
