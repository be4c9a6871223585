"""Pytest plugin: run every test of the conformance suite inside a block, and write down what came of it.

    python -m pytest -p in_block --numtrn-report outcomes.jsonl TESTS

The report has a line of JSON for the versions, one for each test that is collected, and one for each test
that is over. Under pytest-xdist the workers open the blocks and the controller writes.
"""

import importlib
import json
import os
from pathlib import Path

import pytest

ORDER = ("failed", "xpassed", "xfailed", "skipped", "passed")
"""Of the three phases of a test (setup, call, teardown) the first in this order counts."""


def pytest_addoption(parser):
    """Options of this plugin; a report is needed."""
    group = parser.getgroup("numtrn")
    group.addoption("--numtrn-report", type=Path, required=True)
    group.addoption("--numtrn-target", default="interpreter")


def pytest_configure(config):
    """Begin to record."""
    config.pluginmanager.register(Blocks(config.option.numtrn_target), "numtrn-blocks")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Report(config.option.numtrn_report), "numtrn-report")


class Blocks:
    """Opens a block around each test function; its counts go along with the outcome of the test."""

    def __init__(self, target):
        import numtrn

        self.block = numtrn.enabled(target=target, precision="full", min_work=0, strict=True, verify=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        """Run the test function inside a block."""
        with self.block as session:
            try:
                return (yield)
            finally:
                counts = {name: session.counts[name] for name in ("kernel", "numpy", "failed")}
                item.user_properties.append(("numtrn", counts))


class Report:
    """Writes the report."""

    def __init__(self, path):
        self.file = path.open("w", encoding="utf-8")
        self.phases = {}
        self.collected = set()
        module = importlib.import_module(os.environ["ARRAY_API_TESTS_MODULE"])
        self.write(
            {"numpy": importlib.import_module("numpy").__version__, "spec": module.__array_api_version__}
        )

    def pytest_collection_finish(self, session):
        """Note what is there to run, where this process collects it."""
        self.note(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node, ids):
        """Note what is there to run, as a worker has collected it."""
        self.note(ids)

    def pytest_runtest_logreport(self, report):
        """Keep the outcome of a phase; write the test down after its last one."""
        phases = self.phases.setdefault(report.nodeid, [])
        phases.append(report)
        if report.when == "teardown":
            self.write(line(report.nodeid, self.phases.pop(report.nodeid)))

    def pytest_unconfigure(self):
        """Close the file."""
        self.file.close()

    def note(self, ids):
        """Write down tests that are collected, each once."""
        for test in ids:
            if test not in self.collected:
                self.collected.add(test)
                self.write({"collected": test})

    def write(self, record):
        """Add a line to the report."""
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()


def line(test, phases):
    """What is known of a test that is over."""
    worst = min(map(outcome, phases), key=ORDER.index)
    reasons = [phase.longrepr[2] for phase in phases if isinstance(phase.longrepr, tuple)]
    counts = next((dict(phase.user_properties)["numtrn"] for phase in phases if phase.user_properties), {})
    return {
        "test": test,
        "outcome": worst,
        "reason": (reasons[0] if reasons else "").removeprefix("Skipped: "),
        "calls": counts,
    }


def outcome(report):
    """One word for a phase."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome
