"""Pytest plugin: run every test inside its own ``with numtrn.enabled(...)`` and write down what it did.

    python -m pytest -p inside_block --numtrn-report calls.jsonl TESTS

One line of JSON for each test that begins, ``{"begin": test}``, and for each that is over, as
`Recorder.line` gives it. The file is complete up to a crash, so that the reader knows the test that caused
it. With ``--numtrn-mode plain`` there is no block, and numtrn is not even imported.
"""

import contextlib
import faulthandler
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from suites import HEAVY, HEAVY_MIN_WORK


def pytest_addoption(parser):
    """Options of this plugin; a report is needed."""
    group = parser.getgroup("numtrn")
    group.addoption("--numtrn-mode", choices=("block", "plain"), default="block")
    group.addoption("--numtrn-report", type=Path, required=True)
    group.addoption("--numtrn-target", default="interpreter")
    group.addoption("--numtrn-all", action="store_true", help="no higher threshold for heavy tests")
    group.addoption("--numtrn-verify", action="store_true", help="compare each kernel result with NumPy's")
    group.addoption("--numtrn-timeout", type=float, default=300.0, help="seconds for one test")


def pytest_configure(config):
    """Begin to record."""
    config.pluginmanager.register(Recorder(config.option), "numtrn-recorder")


class Recorder:
    """Opens the blocks and writes the report."""

    def __init__(self, option):
        self.option = option
        self.report = option.numtrn_report.open("w", encoding="utf-8")
        self.traceback = option.numtrn_report.with_suffix(".traceback").open("w", encoding="utf-8")
        self.blocks = {}
        self.calls = None
        self.outcomes = []
        self.start = 0.0

    def block(self, test):
        """A block for this test: one object for each threshold, entered again and again."""
        if self.option.numtrn_mode == "plain":
            return contextlib.nullcontext()
        import numtrn

        least = HEAVY_MIN_WORK if test in HEAVY and not self.option.numtrn_all else 1
        if least not in self.blocks:
            self.blocks[least] = numtrn.enabled(
                target=self.option.numtrn_target,
                chip="trn2",
                precision="full",
                min_work=least,
                strict=True,
                verify=self.option.numtrn_verify,
            )
        return self.blocks[least]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        """Write down the beginning and the end of a test, and end the process when it hangs."""
        self.write({"begin": item.nodeid})
        self.calls, self.outcomes, self.start = None, [], time.perf_counter()
        # A thread inside a ctypes callback cannot be interrupted safely: end the process, with a traceback.
        faulthandler.dump_traceback_later(self.option.numtrn_timeout, exit=True, file=self.traceback)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()
            self.write(self.line(item.nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        """Run the test function inside a block."""
        with self.block(item.nodeid) as session:
            try:
                return (yield)
            finally:
                if session is not None:
                    self.calls = count(session)

    def pytest_runtest_logreport(self, report):
        """Keep the outcome of a phase."""
        self.outcomes.append(outcome(report))

    def pytest_unconfigure(self):
        """Close the files."""
        self.report.close()
        self.traceback.close()

    def line(self, test):
        """What is known of a test that is over."""
        worst = min(self.outcomes, key=ORDER.index, default="failed")
        return {
            "test": test,
            "outcome": worst,
            "seconds": round(time.perf_counter() - self.start, 4),
            "calls": self.calls or {"kernel": {}, "numpy": {}, "failed": 0, "small": 0},
        }

    def write(self, record):
        """Add a line to the report."""
        self.report.write(json.dumps(record) + "\n")
        self.report.flush()


ORDER = ("failed", "xpassed", "xfailed", "skipped", "passed")
"""Of the three phases of a test (setup, call, teardown) the first in this order counts."""


def outcome(report):
    """One word for a phase."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome


def count(session):
    """Calls by function for each route, and the other counts."""
    routes = {"kernel": Counter(), "numpy": Counter()}
    for call in session.calls:
        routes[call.route][call.function] += 1
    counts = session.counts
    return {**routes, "failed": counts["failed"], "small": counts["small"]}
