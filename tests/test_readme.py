"""The README tells the truth: its example is the file it names, and prints what it shows but for times."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    """Contents of the fenced blocks of a language, in order."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.S | re.M)
    return [content for name, content in fenced if name == language]


def without_times(text):
    """A table without its last column, and without the rules whose width follows from it."""
    lines = [line for line in text.splitlines() if not line.startswith("---")]
    return [re.sub(r" +(\d+\.?\d*|s)$", "", line) for line in lines]


def test_the_example_is_the_file():
    code = (ROOT / "examples" / "ten_lines.py").read_text()
    assert code.partition('"""\n\n')[2] == blocks("python")[0]


def test_the_example_prints_what_is_shown():
    script = ROOT / "examples" / "ten_lines.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert without_times(done.stdout) == without_times(blocks("")[0])


def test_the_plan_reads_as_shown():
    lines = blocks("python")[1]
    code = f"import numpy as np, numtrn\nB = np.ones((300, 8, 60))\n{lines}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == blocks("")[1]


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_steps_of_a_contraction_read_as_shown():
    page = (ROOT / "docs" / "contractions.md").read_text()
    code, shown = (found.group(1) for found in re.finditer(r"```(?:python)?\n(.*?)```", page, re.DOTALL))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == shown
