"""The runner of outside suites: its judgement, its list of known failures, and its pytest plugin.

The plugin is tried on a small test file, with a stand-in for numtrn that counts what it is told.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

COMPAT = Path(__file__).parents[2] / "compat"


@pytest.fixture(autouse=True)
def compat_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(COMPAT))


def outcomes(words, failed=0):
    from judge import Outcome

    calls = {"kernel": {"numpy.matmul": 2}, "numpy": {}, "failed": failed, "small": 0}
    return {test: Outcome(word, 0.0, calls) for test, word in words.items()}


def known(*tests):
    from judge import Known

    return [Known("numpy", "2.4", test, "because") for test in tests]


# plain, inside, known failures, what is said
CASES = [
    ({"a": "passed", "b": "skipped"}, {"a": "passed", "b": "skipped"}, [], []),
    ({"a": "failed"}, {"a": "failed"}, [], []),
    ({"a": "passed"}, {"a": "failed"}, [], ["a passed without a block, failed inside"]),
    ({"a": "passed"}, {"a": "skipped"}, [], ["a passed without a block, skipped inside"]),
    ({"a": "xfailed"}, {"a": "xpassed"}, [], ["a xfailed without a block, xpassed inside"]),
    ({"a": "passed"}, {}, [], ["a passed without a block, missing inside"]),
    ({}, {"a": "passed"}, [], ["a missing without a block, passed inside"]),
    ({"a": "passed"}, {"a": "failed"}, ["a"], []),
    ({"a": "passed"}, {"a": "passed"}, ["a"], ["a is a known failure, but passed: take it off the list"]),
    ({}, {}, ["a"], ["a is a known failure, but there is no such test"]),
]


@pytest.mark.parametrize(("plain", "inside", "listed", "said"), CASES)
def test_judge(plain, inside, listed, said):
    from judge import judge

    assert judge(outcomes(plain), outcomes(inside), known(*listed)) == said


def test_failed_kernel_calls_are_wrong_even_in_a_test_that_passes():
    from judge import judge

    words = {"a": "passed"}
    assert judge(outcomes(words), outcomes(words, failed=3), []) == ["a: 3 kernel calls failed"]


def test_calls_are_summed_by_function():
    from judge import total

    assert total(outcomes({"a": "passed", "b": "passed"}), "kernel") == {"numpy.matmul": 4}


def test_level3_calls_are_summed_over_types():
    from judge import LEVEL3, by_routine, without_kernel

    kernel = Counter({name.replace("?", "d"): 1 for name in LEVEL3})
    kernel["scipy.linalg.blas.ztrsm"] = 2
    numpy = Counter({"scipy.linalg.blas.strsm": 5, "scipy.linalg.lapack.dpotrf": 7})
    rows = by_routine(kernel, numpy)
    assert [row[0] for row in rows] == list(LEVEL3)
    assert ("scipy.linalg.blas.?trsm", 3, 5) in rows
    assert without_kernel(rows) == []
    del kernel["scipy.linalg.lapack.dpotrf"]
    said = without_kernel(by_routine(kernel, numpy))
    assert said == ["kernels computed no call of scipy.linalg.lapack.?potrf, and SciPy 7"]


def test_known_failures_are_read_by_version(tmp_path):
    from judge import Known, read_known

    path = tmp_path / "known.txt"
    path.write_text("# a comment\n\nnumpy 2.4 | x.py::T::t[a-b] | why | not\n")
    (line,) = read_known(path)
    assert line == Known("numpy", "2.4", "x.py::T::t[a-b]", "why | not")
    assert line.counts_for({"numpy": "2.4.6"})
    assert not line.counts_for({"numpy": "2.40.1"})


@pytest.mark.parametrize("line", ["numpy 2.4 | x.py::t", "numpy | x.py::t | why", "numpy 2.4 | x.py::t | "])
def test_a_malformed_line_is_named(tmp_path, line):
    from judge import read_known

    path = tmp_path / "known.txt"
    path.write_text(f"# list\n{line}\n")
    with pytest.raises(ValueError, match=r"known\.txt:2: takes 'package version \| test \| reason'"):
        read_known(path)


def test_the_project_s_own_lists_are_well_formed():
    from judge import read_known
    from suites import HEAVY, SUITES

    assert all(line.reason for line in read_known(COMPAT / "known_failures.txt"))
    assert all(HEAVY.values())
    assert all(all(suite.deselect.values()) for suite in SUITES)
    assert len({suite.name for suite in SUITES}) == len(SUITES)


STAND_IN = """
class Call:
    def __init__(self, function, route):
        self.function, self.route = function, route

class enabled:
    def __init__(self, **settings):
        self.settings = settings
    def __enter__(self):
        assert self.settings["strict"]
        self.calls = [Call("numpy.matmul", "kernel"), Call("numpy.dot", "numpy")] * self.settings["min_work"]
        self.counts = {"failed": 0, "small": 7}
        return self
    def __exit__(self, *error):
        pass
"""

TESTS = """
import time
import pytest

def test_pass(): pass
def test_fail(): assert 0
def test_skip(): pytest.skip("no")
@pytest.mark.xfail
def test_xfail(): assert 0
@pytest.mark.xfail
def test_xpass(): pass
@pytest.fixture
def broken(): raise RuntimeError
def test_setup(broken): pass
def test_hang(): time.sleep(60 if HANG else 0)
"""


def run_plugin(folder, *options, hang=False):
    (folder / "numtrn.py").write_text(STAND_IN)
    (folder / "test_sample.py").write_text(f"HANG = {hang}\n{TESTS}")
    report = folder / "report.jsonl"
    command = [sys.executable, "-m", "pytest", "-q", "-c", COMPAT / "pytest.ini", "--rootdir", folder]
    command += ["-p", "inside_block", "--numtrn-report", report, *options, folder / "test_sample.py"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": f"{COMPAT}:{folder}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, [json.loads(line) for line in report.read_text().splitlines()]


def test_plugin_reports_outcomes_and_calls(tmp_path):
    done, lines = run_plugin(tmp_path)
    assert done.returncode == 1, done.stdout
    over = {line["test"].split("::")[1]: line for line in lines if "test" in line}
    assert {test: line["outcome"] for test, line in over.items()} == {
        "test_pass": "passed",
        "test_fail": "failed",
        "test_skip": "skipped",
        "test_xfail": "xfailed",
        "test_xpass": "xpassed",
        "test_setup": "failed",
        "test_hang": "passed",
    }
    inside = {"kernel": {"numpy.matmul": 1}, "numpy": {"numpy.dot": 1}, "failed": 0, "small": 7}
    assert over["test_pass"]["calls"] == inside
    assert over["test_fail"]["calls"] == inside
    assert over["test_setup"]["calls"] == {"kernel": {}, "numpy": {}, "failed": 0, "small": 0}


def test_plain_mode_does_not_import_numtrn(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "import sys\ndef pytest_sessionfinish():\n    assert 'numtrn' not in sys.modules\n"
    )
    done, lines = run_plugin(tmp_path, "--numtrn-mode", "plain")
    assert done.returncode == 1, done.stdout
    assert all(line["calls"]["kernel"] == {} for line in lines if "test" in line)


def test_a_hanging_test_ends_the_process_and_is_named(tmp_path):
    done, lines = run_plugin(tmp_path, "--numtrn-timeout", "1", hang=True)
    assert done.returncode == 1
    assert lines[-1] == {"begin": "test_sample.py::test_hang"}
    assert "test_hang" in (tmp_path / "report.traceback").read_text()
    from run import read

    finished, current = read(tmp_path / "report.jsonl")
    assert current == "test_sample.py::test_hang"
    assert "test_sample.py::test_pass" in finished
