"""docs/torch.md: its examples run, one after the other, and print what it shows. `import numtrn` is light."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]


def run(code):
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_print_what_is_shown():
    text = (ROOT / "docs" / "torch.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    code = "".join(content for language, content in blocks if language == "python")
    assert run(code) == "".join(content for language, content in blocks if not language)


def test_the_table_has_every_operator():
    import numtrn.torch

    text = (ROOT / "docs" / "torch.md").read_text()
    assert sorted(re.findall(r"^\| `(\w+)\(", text, re.M)) == numtrn.torch.__all__


def test_numtrn_imports_no_torch():
    work = "import numtrn, numpy as np, sys\nwith numtrn.enabled(min_work=0): np.ones((4, 4)) @ np.eye(4)\n"
    run(work + "assert 'torch' not in sys.modules")


def test_without_torch_the_error_says_what_to_install():
    hidden = "import sys\nsys.modules['torch'] = None\n"
    code = "try:\n    import numtrn.torch\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert run(hidden + code) == (
        "numtrn.torch needs PyTorch, which is not installed here: pip install 'numtrn[torch]'\n"
    )
