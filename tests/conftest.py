"""Fixtures for all tests: no setting leaks in from the environment, no verdict from the user's cache."""

import os

import pytest


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch, tmp_path_factory):
    for name in list(os.environ):
        if name.startswith("NUMTRN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "no-cache"))
