"""1/x as a sum of exponentials: within the error that comes with the rule, from the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numtrn.laplace import TOLERANCES, quadrature


def errors(rule, least, most, count=2001):
    x = least * np.exp(np.linspace(0, np.log(most / least), count)).astype(np.longdouble)
    sums = (rule.weights[:, None] * x * np.exp(-rule.points[:, None] * x)).sum(axis=0)
    return np.abs(sums - 1)


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-3, 3).map(lambda e: 10.0**e),
    st.floats(0, 5).map(lambda e: 10.0**e),
    st.floats(-13, -1).map(lambda e: 10.0**e),
)
def test_within_the_error_that_is_stated(least, ratio, tolerance):
    tolerance = min(max(tolerance, TOLERANCES[0]), TOLERANCES[1])
    rule = quadrature(least, least * ratio, tolerance)
    assert rule.error <= tolerance
    assert errors(rule, least, least * ratio).max() <= rule.error
    assert (rule.weights > 0).all()
    assert (rule.points >= 0).all()


def test_the_error_is_not_stated_at_random():
    """Beyond its range a rule is wrong, and of a finer one the error is smaller."""
    rule = quadrature(1.0, 100.0, 1e-6)
    assert errors(rule, 1e5, 1e5 + 1, 2).min() > 1e-3
    assert errors(rule, 1.0, 100.0).max() > errors(quadrature(1.0, 100.0, 1e-9), 1.0, 100.0).max() * 100


def test_few_points():
    """A gap of 0.5 Eh and denominators up to 50 Eh: fewer than 25 points for 1e-8."""
    assert len(quadrature(0.5, 50.0, 1e-8).points) < 25


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((0.0, 1.0, 1e-8), "positive and finite"),
        ((2.0, 1.0, 1e-8), "positive and finite"),
        ((1.0, np.inf, 1e-8), "positive and finite"),
        ((1.0, np.nan, 1e-8), "positive and finite"),
        ((1.0, 2.0, 1e-15), "from 1e-13 to 0.1"),
        ((1.0, 2.0, 0.5), "from 1e-13 to 0.1"),
    ],
)
def test_what_it_does_not_take(arguments, text):
    with pytest.raises(ValueError, match=text):
        quadrature(*arguments)
