"""The command line: a script runs unchanged inside a block, and doctor says what is there."""

import subprocess
import sys
import textwrap

import pytest

from numtrn.targets import detect

SCRIPT = """
import sys
import numpy as np
a = np.ones((150, 150))
print(float((a @ a)[0, 0]), sys.argv[1:], __name__)
"""


def python(*args, **more):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, **more)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def test_run_executes_the_script_in_a_block_and_reports(script):
    done = python(
        "-m", "numtrn", "run", "--target", "interpreter", "--min-work", "1e3", str(script), "--fast", "3"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "150.0 ['--fast', '3'] __main__\n"
    assert "1 calls by kernels" in done.stderr


def test_run_takes_a_least_work_of_zero(script):
    script.write_text(script.read_text().replace("150, 150", "9, 9"))
    done = python("-m", "numtrn", "run", "--min-work", "0", str(script))
    assert "1 calls by kernels" in done.stderr


def test_run_gives_the_scripts_exit_status_and_still_reports(script):
    script.write_text(script.read_text() + "sys.exit(7)\n")
    done = python("-m", "numtrn", "run", str(script))
    assert done.returncode == 7
    assert "1 calls by kernels" in done.stderr


def test_run_shows_the_scripts_own_error(script):
    script.write_text(script.read_text() + "1 / 0\n")
    done = python("-m", "numtrn", "run", str(script))
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "nowhere.py"], "there is no file nowhere.py"),
        (["run", "--target", "gpu", "x.py"], "invalid choice: 'gpu'"),
        (["run", "--min-work", "lots", "x.py"], "got 'lots'"),
        (["run", "--min-work", "1.5", "x.py"], "got '1.5'"),
        (["run", "--min-work=-1", "x.py"], "got '-1'"),
        (["run", "--precision", "fp8", "x.py"], "or a number from 2 to 2^40"),
        (["run", "--precision", "1", "x.py"], "got '1'"),
        (["run", "--target", "neuron", "x.py"], "no Neuron device"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_a_wrong_argument_says_so(args, words):
    done = python("-m", "numtrn", *args)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_check_prints_findings_and_fails_on_errors(tmp_path):
    kernel = tmp_path / "kernel.py"
    kernel.write_text(
        "import nki\n@nki.jit\ndef kernel(x):\n    y = x if x is not None else 1\n    return y\n"
    )
    done = python("-m", "numtrn", "check", str(kernel))
    assert done.returncode == 1
    assert f"{kernel}:4:14: error: H32: NKI forbids identity tests since 0.3; found is not" in done.stdout
    assert done.stdout.endswith("files 1, functions of kernels 1, errors 1, warnings 1\n")
    lowered = python("-m", "numtrn", "check", "--level", "H32=warning", str(kernel))
    assert (lowered.returncode, lowered.stdout.count("warning:")) == (0, 2)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nowhere.py"], "takes files of Python source; nowhere.py"),
        (["--level", "H7", "x.py"], "level of H7"),
    ],
)
def test_check_says_what_it_cannot_do(args, words):
    done = python("-m", "numtrn", "check", *args)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr


def test_demo_reads_its_own_options():
    done = python("-m", "numtrn", "demo", "--molecule", "water", "--target", "interpreter", "--chip", "trn1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "target interpreter, chip trn1" in done.stdout
    assert "benzene" not in done.stdout
    assert python("-m", "numtrn", "demo", "--molecule", "gold").returncode == 2


def test_doctor_reports_layers_and_targets():
    done = python("-m", "numtrn", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("L1", "L2", "L3", "L4", "interpreter", "can be used", "right to the last bit"):
        assert word in done.stdout


def test_doctor_shows_a_wrong_setting(monkeypatch):
    monkeypatch.setenv("NUMTRN_CHIP", "trn7")
    done = python("-m", "numtrn", "doctor")
    assert done.returncode == 1
    assert "NUMTRN_CHIP= takes one of" in done.stdout


def test_a_placeholder_is_recognised_and_explained(monkeypatch):
    monkeypatch.setattr(detect.metadata, "version", lambda name: "0.0.1")
    assert "empty placeholder from PyPI" in detect.package("nki").problem
    assert "AWS's Neuron package index" in detect.package("nki").problem


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise detect.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(detect.metadata, "version", missing)
    assert "nki is not installed; install nki>=0.3.0" in detect.package("nki").problem


def test_importing_numtrn_stays_light():
    heavy = {"scipy", "torch", "matplotlib", "nki", "tabulate", "opt_einsum"}
    code = f"import numtrn, sys; print(sorted({heavy} & set(sys.modules)))"
    assert python("-W", "error", "-c", code).stdout == "[]\n"


def test_a_block_without_scipy_in_use_does_not_break(tmp_path):
    """Names bound before numtrn is imported are caught too."""
    path = tmp_path / "early.py"
    path.write_text(
        "from numpy import matmul, dot, einsum\nfrom scipy.linalg.blas import dgemm\nimport numpy as np\n"
        "import numtrn\na = np.ones((50, 50))\n"
        "with numtrn.enabled(target='interpreter', min_work=0) as s:\n"
        "    matmul(a, a); dot(a, a); einsum('ij,jk->ik', a, a); dgemm(1.0, a, a)\n"
        "print([c.function for c in s.calls], s.counts['kernel'])\n"
    )
    done = python("-W", "error", str(path))
    assert done.stdout == "['numpy.matmul', 'numpy.dot', 'numpy.einsum', 'scipy.linalg.blas.dgemm'] 4\n", (
        done.stderr
    )
