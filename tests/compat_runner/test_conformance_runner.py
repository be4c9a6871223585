"""The runner of the conformance suite: its judgement, its page, and a run of a small stand-in for the suite.

The stand-in checkout holds one file of tests; a stand-in for numtrn says how many calls its kernels computed.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("pytest_jsonreport")
pytest.importorskip("ndindex")

FOLDER = Path(__file__).parents[2] / "compat" / "array_api"
NAMES = ("run", "verdict", "in_block")


@pytest.fixture
def conformance(monkeypatch):
    """The runner's modules, whose names others of this folder have too."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield {name: importlib.import_module(name) for name in NAMES}
    for name in NAMES:
        sys.modules.pop(name, None)


# ---- Judgement ----

# outcomes, expected failures, what is said
CASES = [
    ({"a": "passed", "b": "skipped"}, [], []),
    ({"a": "failed"}, [], ["a failed"]),
    ({"a": "xpassed"}, [], ["a xpassed"]),
    ({"a": "failed"}, ["a"], []),
    ({"a": "passed"}, ["a"], ["a is an expected failure, but passed: take it off the list"]),
    ({"a": "skipped"}, ["a"], ["a is an expected failure, but skipped: take it off the list"]),
    ({"a": "passed"}, ["b"], ["b is an expected failure, but there is no such test"]),
]


def a_run(verdict, words, kernel=5000, collected=None):
    outcomes = {test: (word, "not for us" if word == "skipped" else "") for test, word in words.items()}
    versions = {"numpy": "2.4.6", "spec": "2025.12"}
    return verdict.Run(versions, frozenset(collected or words), outcomes, Counter(kernel=kernel, numpy=7))


@pytest.mark.parametrize(("words", "listed", "said"), CASES)
def test_judge(conformance, words, listed, said):
    verdict = conformance["verdict"]
    expected = [verdict.Expected(test, "why", "where") for test in listed]
    assert verdict.judge(a_run(verdict, words), expected, full=True) == said


def test_a_full_run_needs_a_thousand_kernel_calls(conformance):
    verdict = conformance["verdict"]
    run = a_run(verdict, {"a": "passed"}, kernel=1000)
    assert verdict.judge(run, [], full=True) == [
        "kernels computed 1,000 calls; more than 1,000 are asked for"
    ]
    assert verdict.judge(run, [], full=False) == []


def test_a_partial_run_does_not_miss_tests_that_it_left_out(conformance):
    verdict = conformance["verdict"]
    expected = [verdict.Expected("b", "why", "where")]
    assert verdict.judge(a_run(verdict, {"a": "passed"}), expected, full=False) == []


def test_tests_that_did_not_end_are_wrong(conformance):
    verdict = conformance["verdict"]
    run = a_run(verdict, {"a": "passed"}, collected={"a", "b"})
    assert verdict.judge(run, [], full=False) == ["1 tests were collected and did not come to their end"]


def test_expected_failures_are_read(conformance, tmp_path):
    verdict = conformance["verdict"]
    path = tmp_path / "list.txt"
    path.write_text("# a comment\n\nt.py::t[a | b] | why | suite: t.py\n")
    assert verdict.read_expected(path) == [verdict.Expected("t.py::t[a | b]", "why", "suite: t.py")]


@pytest.mark.parametrize("line", ["t.py::t", "t.py::t | why", "t.py::t | why | https://example.org/1"])
def test_a_malformed_line_is_named(conformance, tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"# list\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt:2: takes 'test \| reason \| citation'"):
        conformance["verdict"].read_expected(path)


def test_the_project_s_own_list_is_short_and_well_formed(conformance):
    assert len(conformance["verdict"].read_expected(FOLDER / "expected_failures.txt")) <= 3


def test_the_page_has_counts_and_reasons(conformance):
    verdict = conformance["verdict"]
    words = {"a": "passed", "b": "skipped", "c": "failed"}
    expected = [verdict.Expected("c", "why", "suite: t.py")]
    page = verdict.document(a_run(verdict, words), expected, "55fcc60", 500, "interpreter")
    for part in ("55fcc60", "| Passed | 1 |", "| Skipped | 1 |", "- c: why (suite: t.py)", "- 1: not for us"):
        assert part in page
    assert "| Calls computed by kernels | 5,000 |" in page


# ---- A run ----

STAND_IN = """
from collections import Counter

class enabled:
    def __init__(self, **settings):
        assert settings["min_work"] == 0 and settings["strict"], settings
    def __enter__(self):
        self.counts = Counter(kernel=KERNEL, numpy=2)
        return self
    def __exit__(self, *error):
        pass
"""
CONFTEST = """
import numtrn.array_api

def pytest_addoption(parser):
    parser.addoption("--max-examples", type=int)
    parser.addoption("--disable-deadline", action="store_true")
"""
TESTS = """
import os, pytest, time

def test_pass(): assert os.environ["ARRAY_API_TESTS_MODULE"] == "numtrn.array_api"
def test_fault(): assert 0
def test_other(): pytest.skip("not for us")
def test_slow(): time.sleep(SECONDS)
"""
FAULT = "array_api_tests/test_sample.py::test_fault"


def a_checkout(folder, kernel=400, seconds=0):
    """A stand-in for the suite and one for numtrn; gives the environment in which they are found."""
    files = {
        "suite/pytest.ini": "[pytest]\n",
        "suite/conftest.py": CONFTEST,
        "suite/array_api_tests/__init__.py": "",
        "suite/array_api_tests/test_sample.py": TESTS.replace("SECONDS", str(seconds)),
        "suite/array-api/src/a": "",
        "numtrn/__init__.py": STAND_IN.replace("KERNEL", str(kernel)),
        "numtrn/array_api.py": "__array_api_version__ = '2025.12'\n",
        "expected.txt": f"{FAULT} | it asserts 0 | suite: test_sample.py\n",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMTRN", "PYTEST"))}
    return {**kept, "PYTHONPATH": str(folder), "NUMTRN_ARRAY_API_TESTS": str(folder / "suite")}


def command(folder, *options):
    script = [sys.executable, FOLDER / "run.py", "--docs", folder / "page.md"]
    return [*script, "--expected", folder / "expected.txt", *options]


def execute(folder, *options, **settings):
    env = a_checkout(folder, **settings)
    return subprocess.run(
        command(folder, *options), env=env, cwd=folder, capture_output=True, text=True, timeout=120
    )


def written_in(folder):
    return sorted(str(path.relative_to(folder)) for path in (folder / "suite").rglob("*") if path.is_file())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_run_writes_the_page_and_nothing_else(tmp_path, processes):
    if processes > 1:
        pytest.importorskip("xdist")
    done = execute(tmp_path, "--processes", str(processes))
    assert done.returncode == 0, done.stdout + done.stderr
    counts = "2 passed, 1 expected failures, 1 skipped, 0 failed; 1,600 calls computed by kernels"
    assert counts in done.stdout
    assert "| Calls computed by kernels | 1,600 |" in (tmp_path / "page.md").read_text()
    assert written_in(tmp_path) == [
        "suite/array-api/src/a",
        "suite/array_api_tests/__init__.py",
        "suite/array_api_tests/test_sample.py",
        "suite/conftest.py",
        "suite/pytest.ini",
    ]


PARTIAL = [
    (("--", "-k", "fault"), 0, "0 passed, 1 expected failures"),
    (("--max-examples", "499"), 0, "2 passed, 1 expected failures"),
    (("--", "-k", "nothing"), 1, "pytest ended with 5 after 0 tests"),
]


@pytest.mark.parametrize(("options", "code", "said"), PARTIAL)
def test_a_partial_run_writes_no_page(tmp_path, options, code, said):
    done = execute(tmp_path, "--processes", "1", *options)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
    assert not (tmp_path / "page.md").exists()


def test_a_bad_run_writes_no_page(tmp_path):
    done = execute(tmp_path, "--processes", "1", kernel=250)
    assert done.returncode == 1
    assert "WRONG: kernels computed 1,000 calls; more than 1,000 are asked for" in done.stdout
    assert not (tmp_path / "page.md").exists()


def test_an_interrupted_run_says_what_there_was(tmp_path):
    env = a_checkout(tmp_path, seconds=60)
    running = subprocess.Popen(
        [*map(str, command(tmp_path, "--processes", "1")), "--", "-vv"],
        env={**env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert running.stdout is not None
    for line in running.stdout:
        if "test_other" in line:  # the slow one is next
            break
    time.sleep(0.5)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all processes in it
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted: 1 passed, 1 expected failures, 1 skipped, 0 failed" in said
    assert not (tmp_path / "page.md").exists()


def test_without_a_checkout_it_says_how_to_get_one(tmp_path):
    env = a_checkout(tmp_path)
    del env["NUMTRN_ARRAY_API_TESTS"]
    done = subprocess.run(command(tmp_path), env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("skipped: NUMTRN_ARRAY_API_TESTS names no checkout")
    assert "git clone" in done.stdout


@pytest.mark.parametrize(
    ("missing", "said"),
    [("array_api_tests/__init__.py", "is no checkout of"), ("array-api/src/a", "submodule update --init")],
)
def test_what_is_no_checkout_is_refused(tmp_path, missing, said):
    env = a_checkout(tmp_path)
    path = tmp_path / "suite" / missing
    path.unlink()
    path.parent.rmdir() if missing.endswith("a") else None
    done = subprocess.run(command(tmp_path), env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stdout
