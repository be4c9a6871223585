"""Examples in docstrings are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["fixed", "schemes"])
def test_examples(name):
    result = doctest.testmod(importlib.import_module(f"numtrn.precision.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
