"""For all tests: no setting leaks in from the environment, no verdict from the user's cache, Ctrl-C works."""

import os
import signal

import pytest
from hypothesis import settings

# No timed assertions: machines that run tests are shared.
settings.register_profile("numtrn", deadline=None)
settings.load_profile("numtrn")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for jobs that a shell starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch, tmp_path_factory):
    for name in list(os.environ):
        if name.startswith("NUMTRN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "no-cache"))
