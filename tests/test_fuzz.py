"""A sample of `make fuzz`, and that its judge can say no."""

import fuzz
import numpy as np
import pytest
from hypothesis import given, settings

FIXED = fuzz.FIXED_SEED


def test_a_sample_is_within_the_promise():
    tally = fuzz.run(150, FIXED)
    assert tally.violations == []
    assert tally.cases >= 150
    assert tally.routes["kernel"] > 75


@settings(max_examples=25, deadline=None)
@given(fuzz.cases())
def test_another_sample_each_time(case):
    assert fuzz.check(case).problem is None


CASE = fuzz.Case(
    function="matmul",
    dtype="float64",
    batch=1,
    m=5,
    k=40,
    n=4,
    left="normal",
    right="normal",
    shape_left="plain",
    shape_right="plain",
    layout_left="C",
    layout_right="C",
    alpha=1.0,
    beta=0.0,
    transposed=(False, False),
    seed=1,
)

WRONG = {
    "an element off by more than promised": (lambda c: c + 60 * 2.0**-53 * np.abs(c).max(), "of the bound"),
    "a NaN": (lambda c: np.where(np.arange(c.size).reshape(c.shape) == 3, np.nan, c), "1 NaN"),
    "another dtype": (lambda c: c.astype(np.float32), "gave float32"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_judge_sees(wrong, monkeypatch):
    spoil, words = WRONG[wrong]
    calls = []

    def spoiled(case, a, b, c):
        calls.append(case)
        value = (a[0] @ b[0])[np.newaxis]
        return spoil(value) if len(calls) == 2 else value  # the first call is NumPy's own

    monkeypatch.setitem(fuzz.FUNCTIONS, "matmul", spoiled)
    assert words in fuzz.check(CASE).problem
