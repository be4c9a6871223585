"""The standard's constants."""

import math

__all__ = ["e", "inf", "nan", "newaxis", "pi"]

e = math.e
"""Euler's number."""

inf = math.inf
"""Positive infinity."""

nan = math.nan
"""Not a number."""

newaxis = None
"""An axis of 1, in an index."""

pi = math.pi
"""The circle's circumference over its diameter."""
