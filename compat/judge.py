"""Compare a suite's results inside a block with those without one. No test is run here."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["LEVEL3", "Known", "Outcome", "by_routine", "judge", "read_known", "total", "without_kernel"]

LEVEL3 = (
    *(f"scipy.linalg.blas.?{name}" for name in ("gemm", "symm", "hemm", "syrk", "herk", "syr2k", "her2k")),
    *(f"scipy.linalg.blas.?{name}" for name in ("trmm", "trsm")),
    *(f"scipy.linalg.lapack.?{name}" for name in ("trtrs", "potrs", "getrs", "potrf")),
)
"""Routines that a full run must have computed by kernels; ? stands for the type's letter."""


@dataclass(frozen=True)
class Outcome:
    """What became of one test: pytest's word, and the calls caught in it."""

    word: str
    seconds: float = 0.0
    calls: dict = field(default_factory=lambda: {"kernel": {}, "numpy": {}, "failed": 0, "small": 0})


@dataclass(frozen=True)
class Known:
    """One line of ``known_failures.txt``."""

    package: str
    version: str
    test: str
    reason: str

    def counts_for(self, versions: dict[str, str]) -> bool:
        """Whether the line is about the minor version installed."""
        return versions[self.package].split(".")[:2] == self.version.split(".")


def read_known(path: Path) -> list[Known]:
    """The lines of the list; a malformed one is an error with its number."""
    known = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [part.strip() for part in line.split("|", 2)]
        head = fields[0].split()
        if len(fields) != 3 or len(head) != 2 or not all(fields):
            raise ValueError(f"{path.name}:{number}: takes 'package version | test | reason'; got {line!r}")
        known.append(Known(*head, *fields[1:]))
    return known


def judge(plain: dict[str, Outcome], block: dict[str, Outcome], known: list[Known]) -> list[str]:
    """Everything that is wrong with a suite, in sentences; empty when a block changes nothing.

    Parameters
    ----------
    plain, block
        Outcome by test, without a block and inside one.
    known
        The lines of the list that are about this suite and the versions installed.
    """
    listed = {line.test for line in known}
    wrong = []
    for test in [*plain, *(test for test in block if test not in plain)]:
        before = plain[test].word if test in plain else "missing"
        inside = block[test].word if test in block else "missing"
        if test in listed:
            if inside != "failed":
                wrong.append(f"{test} is a known failure, but {inside}: take it off the list")
        elif before != inside:
            wrong.append(f"{test} {before} without a block, {inside} inside")
        if test in block and block[test].calls["failed"]:
            wrong.append(f"{test}: {block[test].calls['failed']} kernel calls failed")
    gone = sorted(test for test in listed if test not in plain and test not in block)
    wrong.extend(f"{test} is a known failure, but there is no such test" for test in gone)
    return wrong


def total(outcomes: dict[str, Outcome], route: str) -> Counter:
    """Calls of a route by function."""
    calls: Counter = Counter()
    for outcome in outcomes.values():
        calls.update(outcome.calls[route])
    return calls


def by_routine(kernel: Counter, numpy: Counter) -> list[tuple[str, int, int]]:
    """Calls of each routine of `LEVEL3`, of all types: its name, those by kernels, those by SciPy."""

    def calls(counter: Counter, routine: str) -> int:
        folder, name = routine.split("?")
        return sum(counter[f"{folder}{letter}{name}"] for letter in "sdcz")

    return [(routine, calls(kernel, routine), calls(numpy, routine)) for routine in LEVEL3]


def without_kernel(rows: list[tuple[str, int, int]]) -> list[str]:
    """Routines of such a table that no kernel computed, in sentences."""
    return [
        f"kernels computed no call of {routine}, and SciPy {left:,}"
        for routine, calls, left in rows
        if calls == 0
    ]
