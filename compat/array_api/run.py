"""Run the Array API standard's own test suite against numtrn, kernels forced: ``make conformance``.

    NUMTRN_ARRAY_API_TESTS=CHECKOUT python compat/array_api/run.py [options] [-- -k NAME ...]

The suite is data-apis/array-api-tests; nothing is written into its checkout. What follows ``--`` goes to
pytest and makes the run a partial one. A full run with 500 examples or more writes docs/array_api.md.

The exit code is 0 when no test fails but those of ``expected_failures.txt``, and these do, and, in a full
run, kernels computed more than 1,000 calls.
"""

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from verdict import document, judge, read_expected, read_run, summary

HERE = Path(__file__).resolve().parent
VARIABLE = "NUMTRN_ARRAY_API_TESTS"
FULL = 500
"""Examples from which a run counts as full; with fewer some faults hide."""
GET = """    git clone https://github.com/data-apis/array-api-tests
    git -C array-api-tests submodule update --init
    export NUMTRN_ARRAY_API_TESTS=$PWD/array-api-tests"""
NEEDED = {"pytest_jsonreport": "pytest-json-report", "ndindex": "ndindex", "hypothesis": "hypothesis"}
"""What the suite imports, by module."""


def main(argv=None):
    """Run the suite, print what came of it; gives the exit code."""
    options = parse(argv)
    if VARIABLE not in os.environ:
        print(f"skipped: {VARIABLE} names no checkout of the conformance suite. To get one:\n{GET}")
        return 0
    checkout = Path(os.environ[VARIABLE]).expanduser().resolve()
    problem = wrong_checkout(checkout) or missing_packages()
    if problem:
        print(problem)
        return 2
    expected = read_expected(options.expected)
    print(f"array-api-tests {revision(checkout)}, --max-examples={options.max_examples}, seed {options.seed}")
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "outcomes.jsonl"
        try:
            code = execute(checkout, options, Path(scratch), report)
        except KeyboardInterrupt:
            print(f"interrupted: {summary(read_run(report), expected)}; nothing is written")
            return 130
        run = read_run(report)
    return conclude(run, expected, options, revision(checkout), code)


def conclude(run, expected, options, revision, code):
    """Say what came of a run, and write it to the docs if it was a full and good one; gives the exit code."""
    full = not options.pytest and options.max_examples >= FULL
    wrong = judge(run, expected, full)
    if code not in (0, 1) or not run.outcomes:
        wrong.append(f"pytest ended with {code} after {len(run.outcomes):,} tests")
    print(summary(run, expected))
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if full and not wrong:
        options.docs.write_text(
            document(run, expected, revision, options.max_examples, options.target), encoding="utf-8"
        )
        print(f"written: {options.docs}")
    return 1 if wrong else 0


def parse(argv):
    """The command line; what follows ``--`` is pytest's."""
    given = list(sys.argv[1:] if argv is None else argv)
    split = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-examples", type=int, default=FULL, help="hypothesis's examples for each test")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="hypothesis's; default: random"
    )
    parser.add_argument("--target", default="interpreter", help="where kernels run")
    parser.add_argument("--processes", type=int, default=2 if importlib.util.find_spec("xdist") else 1)
    parser.add_argument("--docs", type=Path, default=HERE.parents[1] / "docs" / "array_api.md")
    parser.add_argument("--expected", type=Path, default=HERE / "expected_failures.txt")
    options = parser.parse_args(given[:split])
    options.pytest = given[split + 1 :]
    return options


def wrong_checkout(folder):
    """Why a folder is no checkout of the suite, and how to get one; empty if it is."""
    if not (folder / "array_api_tests" / "__init__.py").exists():
        return f"{VARIABLE}={folder} is no checkout of data-apis/array-api-tests. To get one:\n{GET}"
    if not (folder / "array-api" / "src").exists():
        return f"{folder}/array-api is empty. To fill it: git -C {folder} submodule update --init"
    return ""


def missing_packages():
    """What the suite needs and is not installed; empty if nothing."""
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    return f"the suite needs {', '.join(missing)}: pip install 'numtrn[conformance]'" if missing else ""


def revision(checkout):
    """The checkout's commit, marked where its files are not those of that."""

    def git(*words):
        done = subprocess.run(["git", "-C", checkout, *words], capture_output=True, text=True)
        return done.stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{commit} with changes" if git("status", "--porcelain", "--untracked-files=no") else commit


def execute(checkout, options, scratch, report):
    """Run pytest in a process of its own, in a folder of its own; gives its exit code."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "--disable-warnings",
        "-p",
        "no:cacheprovider",
    ]
    command += ["-p", "in_block", "--numtrn-report", report, "--numtrn-target", options.target]
    command += ["-c", checkout / "pytest.ini", "--rootdir", checkout]
    command += [f"--max-examples={options.max_examples}", "--disable-deadline"]
    command += [f"--hypothesis-seed={options.seed}"]
    command += ["-n", str(options.processes)] if options.processes > 1 else []
    command += [checkout / "array_api_tests", *options.pytest]
    process = subprocess.Popen(list(map(str, command)), cwd=scratch, env=environment(scratch))
    try:
        return process.wait()
    except KeyboardInterrupt:  # the terminal has told pytest too: let it end
        try:
            process.wait(timeout=30)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        raise


def environment(scratch):
    """The caller's environment, without settings that bend the suite or a block."""
    bending = ("NUMTRN_", "PYTEST_", "ARRAY_API_TESTS_", "HYPOTHESIS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(bending)}
    kept["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [kept.get("PYTHONPATH")])])
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    kept["PYTHONHASHSEED"] = "0"
    kept["HYPOTHESIS_STORAGE_DIRECTORY"] = str(scratch / "hypothesis")
    kept["ARRAY_API_TESTS_MODULE"] = "numtrn.array_api"
    return kept


if __name__ == "__main__":
    sys.exit(main())
