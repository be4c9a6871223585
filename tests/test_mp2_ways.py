"""MP2 energies of eight molecules by every way in (``benchmarks/mp2_ways.py``), against PySCF's."""

from functools import cache

import pytest

pytest.importorskip("pyscf")

import mp2_ways

ALLOWED = 1e-9
"""Eh, of opposite spin and same spin each."""

SINGLE = 1e-6
"""The same in float32."""

SLOW = ("H2O, cc-pVTZ", "O2, triplet")

prepare = cache(mp2_ways.prepare)


def cases():
    for name in mp2_ways.MOLECULES:
        for way in mp2_ways.WAYS:
            slow = name in SLOW and way == "pair by pair"
            yield pytest.param(name, way, marks=[pytest.mark.long] if slow else [])


@pytest.mark.parametrize(("name", "way"), list(cases()))
def test_energies_are_pyscfs(name, way):
    found, session = mp2_ways.difference(prepare(name), way, "full")
    assert found <= ALLOWED
    assert session.counts["kernel"] > 0
    assert session.counts["failed"] == 0


@pytest.mark.parametrize("way", mp2_ways.WAYS)
def test_energies_in_float32(way):
    found, session = mp2_ways.difference(prepare("H2O"), way, "float32")
    assert 0 < found <= SINGLE
    assert session.counts["kernel"] > 0
