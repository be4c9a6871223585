"""The table in docs/cores.md is what the plans predict now."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_has_todays_table(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import cores

    assert cores.table("trn2") in (ROOT / "docs" / "cores.md").read_text()
