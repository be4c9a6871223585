"""docs/residency.md has the bytes that the demo's water moves now."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "residency.md").read_text()


@pytest.fixture
def residency(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import residency

    return residency


def test_pairs_of_orbitals_send_each_operand_once(residency, capsys):
    residency.pair_by_pair(["water"], "fine")
    name, products, plain, kept, _, equal = capsys.readouterr().out.splitlines()[-1].split()
    assert equal == "yes"
    assert f"| {name} | {products} | {plain} | {kept} |" in PAGE


def test_the_demo(residency):
    *_, (_, calls, plain, operands, again, there) = residency.of_the_demo("water", False, "fine")
    assert (calls > 10, there) == (True, 0)
    *_, (_, _, kept, *_) = residency.of_the_demo("water", True, "fine")
    figures = " | ".join(f"{count / 1e6:.2f}" for count in (plain, operands, again, kept))
    assert f"| water | {figures} |" in PAGE
