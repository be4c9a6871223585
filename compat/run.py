"""Run the tests of NumPy, SciPy and opt_einsum in a block, and compare with a run without: ``make compat``.

    python compat/run.py [--suite NAME ...] [--budget SECONDS] [--plain] [--all] [--verify] [--target NAME]

The exit code is 0 when every test has the same outcome in both runs (but for ``known_failures.txt``), no
kernel call failed, and, in a full run, more than 1,000 calls were computed by kernels, some of each
routine of level 3.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from judge import Outcome, by_routine, judge, read_known, total, without_kernel
from suites import HEAVY, HEAVY_MIN_WORK, SUITES
from tabulate import tabulate

HERE = Path(__file__).resolve().parent
PACKAGES = ("numpy", "scipy", "opt_einsum", "pytest")
"""Whose versions decide what to expect."""

ENOUGH = 1000
"""Kernel calls below which a full run proves too little."""


class SuiteError(Exception):
    """A run of a suite that did not come to its end."""


def main(argv=None):
    """Run the suites, print what came of them; gives the exit code."""
    options = parse(argv)
    deadline = time.monotonic() + options.budget
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    print(", ".join(f"{name} {version}" for name, version in versions.items()), flush=True)
    known = [line for line in read_known(HERE / "known_failures.txt") if line.counts_for(versions)]
    paths = tuple(location(suite) for suite in SUITES)
    wrong = [
        f"{line.test} is a known failure, but in no suite"
        for line in known
        if not line.test.startswith(paths)
    ]

    absent = [suite for suite in options.suites if suite.may_lack and not installed(suite)]
    options.suites = [suite for suite in options.suites if suite not in absent]
    for suite in absent:
        print(f"{suite.name}: left out, {suite.may_lack}", flush=True)
    rows, kernel_calls, numpy_calls = [], Counter(), Counter()
    for suite in options.suites:
        try:
            outcomes, seconds, found = compare(suite, known, options, deadline)
        except SuiteError as error:
            found = [str(error)]
        else:
            rows.append(row(suite, outcomes, seconds))
            kernel_calls.update(total(outcomes, "kernel"))
            numpy_calls.update(total(outcomes, "numpy"))
            print(f"{suite.name}: {len(outcomes)} tests, {seconds:.0f} s", flush=True)
        for sentence in found:
            print(f"  {sentence}", flush=True)
        wrong.extend(found)

    calls = sum(kernel_calls.values())
    routines = by_routine(kernel_calls, numpy_calls)
    if not (options.plain or options.suite):
        if calls <= ENOUGH:
            wrong.append(f"kernels computed {calls:,} calls; more than {ENOUGH:,} are asked for")
        wrong.extend(without_kernel(routines))
    print("", tabulate(rows, headers="keys", intfmt=","), "", sep="\n")
    if not options.plain:
        print(
            tabulate(kernel_calls.most_common(), headers=("function", "kernel calls"), intfmt=","), end="\n\n"
        )
        print(tabulate(routines, headers=("function", "by kernels", "by SciPy"), intfmt=","), end="\n\n")
        print_exceptions(options, known)
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if not (wrong or options.plain):
        print(f"As without a block, with {calls:,} calls computed by kernels on target {options.target}.")
    return 1 if wrong else 0


def compare(suite, known, options, deadline):
    """Run a suite without a block and inside one; gives the outcomes, seconds, and what is wrong."""
    plain, seconds = run(suite, "plain", options, deadline)
    for test, outcome in plain.items():
        if outcome.word == "failed":
            print(f"  fails without a block too: {test}", flush=True)
    if options.plain:
        return plain, seconds, []
    block, seconds = run(suite, "block", options, deadline)
    here = [line for line in known if line.test.startswith(location(suite))]
    return block, seconds, judge(plain, block, here)


def parse(argv):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", action="append", choices=[suite.name for suite in SUITES])
    parser.add_argument("--budget", type=float, default=2700.0, help="seconds for everything")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one test")
    parser.add_argument("--target", default="interpreter")
    parser.add_argument("--plain", action="store_true", help="only the run without a block")
    parser.add_argument("--all", action="store_true", help="no higher threshold for heavy tests")
    parser.add_argument("--verify", action="store_true", help="compare each kernel result with NumPy's")
    options = parser.parse_args(argv)
    options.suites = [suite for suite in SUITES if not options.suite or suite.name in options.suite]
    return options


def site(package):
    """The folder that holds a package."""
    return Path(importlib.util.find_spec(package).origin).parents[1]


def location(suite):
    """The suite's path in the installed version."""
    old = suite.package == "numpy" and not (site("numpy") / "numpy" / "_core" / "tests").exists()
    return suite.path.format(core="core" if old else "_core")


def installed(suite):
    """Whether the suite's file or folder is there."""
    return (site(suite.package) / location(suite)).exists()


def left_out(suite):
    """Reason by full name of a test that is left out."""
    path = location(suite)
    separator = "::" if path.endswith(".py") else "/"
    return {f"{path}{separator}{test}": reason for test, reason in suite.deselect.items()}


def run(suite, mode, options, deadline):
    """Run a suite in a process of its own; gives outcome by test, and the seconds it took."""
    folder, path = site(suite.package), location(suite)
    if not installed(suite):
        raise SuiteError(f"{suite.name}: {path} is not installed; the wheels on PyPI have it")
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.jsonl"
        command = [sys.executable, "-m", "pytest", "-q", "-c", HERE / "pytest.ini", "-p", "inside_block"]
        command += ["--rootdir", folder, "--confcutdir", folder, folder / path]
        command += ["-k", suite.keyword] if suite.keyword else []
        command += [f"--deselect={test}" for test in left_out(suite)]
        command += ["--numtrn-mode", mode, "--numtrn-report", report, "--numtrn-target", options.target]
        command += ["--numtrn-timeout", str(options.timeout)]
        command += ["--numtrn-all"] * options.all + ["--numtrn-verify"] * options.verify
        start = time.monotonic()
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=max(deadline - start, 1.0),
            )
        except subprocess.TimeoutExpired:
            outcomes, current = read(report)
            raise SuiteError(
                f"{suite.name}, {mode}: the budget of {options.budget:.0f} s is spent, "
                f"after {len(outcomes)} tests, in {current}"
            ) from None
        outcomes, current = read(report)
        if current or done.returncode not in (0, 1):
            hung = report.with_suffix(".traceback")
            print(done.stdout[-5000:], hung.read_text() if hung.exists() else "", sep="\n")
            raise SuiteError(f"{suite.name}, {mode}: pytest ended with {done.returncode}, in {current}")
        if mode == "block" and done.returncode == 1:
            print(done.stdout[-20000:])
        return outcomes, time.monotonic() - start


def environment():
    """The caller's environment, with the plugin to be found and without settings that bend a block."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMTRN_", "PYTEST_"))}
    kept["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [kept.get("PYTHONPATH")])])
    return kept


def read(report):
    """Outcome by test, and the test that has begun and is not over, if any."""
    outcomes, current = {}, None
    if report.exists():
        for line in map(json.loads, report.read_text(encoding="utf-8").splitlines()):
            current = line.get("begin")
            if current is None:
                outcomes[line["test"]] = Outcome(line["outcome"], line["seconds"], line["calls"])
    return outcomes, current


def row(suite, outcomes, seconds):
    """A suite's line in the table."""
    words = Counter(outcome.word for outcome in outcomes.values())
    return {
        "suite": suite.name,
        **{word: words[word] for word in ("passed", "failed", "skipped", "xfailed")},
        "kernel calls": total(outcomes, "kernel").total(),
        "NumPy calls": total(outcomes, "numpy").total(),
        "small": sum(outcome.calls["small"] for outcome in outcomes.values()),
        "seconds": round(seconds, 1),
    }


def print_exceptions(options, known):
    """Say which tests were treated differently, and why."""
    for suite in options.suites:
        for test, reason in left_out(suite).items():
            print(f"left out: {test}: {reason}")
    if not options.all:
        for suite in options.suites:
            for test in HEAVY:
                if test.startswith(location(suite)):
                    print(f"min_work={HEAVY_MIN_WORK:,} in place of 1: {test}: {HEAVY[test]}")
    for line in known:
        print(f"known failure ({line.package} {line.version}): {line.test}: {line.reason}")


if __name__ == "__main__":
    sys.exit(main())
