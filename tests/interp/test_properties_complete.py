"""Every instruction of nki.isa that the interpreter has is the subject of a property."""

import inspect
from importlib import import_module
from pathlib import Path

import pytest

from tests.interp.properties import COVERED
from tests.interp.support import nisa
from tests.interp.test_coverage import names, present

for file in sorted(Path(__file__).parent.glob("test_properties*.py")):
    if file != Path(__file__):
        import_module(f"tests.interp.{file.stem}")

QUERIES = {"get_nc_version", "get_nc_sub_version"}
"""Functions that name the chip; they touch no data."""


def instructions():
    here = (name.removeprefix("nki.isa.") for name in names() if "nki.isa." in name and present(name))
    return {name for name in here if inspect.isfunction(getattr(nisa, name))} - QUERIES


def test_every_instruction_has_a_property():
    assert instructions() == set(COVERED)


@pytest.mark.parametrize("name", sorted(COVERED))
def test_properties_call_what_they_are_about(name):
    for test in COVERED[name]:
        assert f"nisa.{name}" in inspect.getsource(inspect.getmodule(test))
