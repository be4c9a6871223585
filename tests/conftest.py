"""Fixtures for all tests: no setting leaks in from the environment."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in list(os.environ):
        if name.startswith("NUMTRN_"):
            monkeypatch.delenv(name)
