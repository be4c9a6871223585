"""What a run of the conformance suite came to: held against the expected failures, and put into words.

It reads and judges records; it runs nothing.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ENOUGH", "Expected", "Run", "document", "judge", "read_expected", "read_run"]

ENOUGH = 1000
"""Kernel calls below which a full run proves too little."""


@dataclass(frozen=True)
class Expected:
    """A test that fails for a fault of the suite.

    Attributes
    ----------
    test
        Its full name, as pytest gives it.
    reason, citation
        Why it cannot pass, and where that is written: ``repository: path``, or the number of an issue.
    """

    test: str
    reason: str
    citation: str


@dataclass(frozen=True)
class Run:
    """What the plugin wrote down.

    Attributes
    ----------
    versions
        Of NumPy and of the standard.
    collected
        Names of all tests that were to run.
    outcomes
        Word and, of skipped tests, reason, by test.
    calls
        Calls of all sessions: by kernels, by NumPy, failed.
    """

    versions: dict[str, str]
    collected: frozenset[str]
    outcomes: dict[str, tuple[str, str]]
    calls: Counter

    def count(self, word: str) -> int:
        """Tests of an outcome."""
        return sum(found == word for found, _ in self.outcomes.values())


def read_expected(path: Path) -> list[Expected]:
    """The lines of the list; a malformed one is an error with its number."""
    expected = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [part.strip() for part in line.rsplit(" | ", 2)]
        if len(fields) != 3 or not all(fields) or "://" in line:
            raise ValueError(
                f"{path.name}:{number}: takes 'test | reason | citation', and no links; got {line!r}"
            )
        expected.append(Expected(*fields))
    return expected


def read_run(path: Path) -> Run:
    """The plugin's report, also of a run that was broken off."""
    versions, collected, outcomes, calls = {}, set(), {}, Counter()
    for record in map(json.loads, path.read_text(encoding="utf-8").splitlines() if path.exists() else ()):
        if "test" in record:
            outcomes[record["test"]] = record["outcome"], record["reason"]
            calls.update(record["calls"])
        elif "collected" in record:
            collected.add(record["collected"])
        else:
            versions = record
    return Run(versions, frozenset(collected), outcomes, calls)


def judge(run: Run, expected: list[Expected], full: bool) -> list[str]:
    """Everything that is wrong, in sentences; of a partial run only what its tests say."""
    listed = {line.test for line in expected}
    wrong = []
    for test, (word, _) in run.outcomes.items():
        if test in listed and word != "failed":
            wrong.append(f"{test} is an expected failure, but {word}: take it off the list")
        elif test not in listed and word not in ("passed", "skipped"):
            wrong.append(f"{test} {word}")
    missing = len(run.collected - run.outcomes.keys())
    if missing:
        wrong.append(f"{missing:,} tests were collected and did not come to their end")
    if run.calls["failed"]:
        wrong.append(f"{run.calls['failed']:,} kernel calls failed")
    if full:
        gone = sorted(listed - run.collected)
        wrong.extend(f"{test} is an expected failure, but there is no such test" for test in gone)
        if run.calls["kernel"] <= ENOUGH:
            wrong.append(
                f"kernels computed {run.calls['kernel']:,} calls; more than {ENOUGH:,} are asked for"
            )
    return wrong


def summary(run: Run, expected: list[Expected]) -> str:
    """The counts, in a line."""
    listed = sum(line.test in run.outcomes for line in expected)
    failed = sum(run.count(word) for word in ("failed", "xpassed", "xfailed")) - listed
    return (
        f"{run.count('passed'):,} passed, {listed} expected failures, {run.count('skipped'):,} skipped, "
        f"{failed} failed; {run.calls['kernel']:,} calls computed by kernels, {run.calls['numpy']:,} by NumPy"
    )


def document(run: Run, expected: list[Expected], revision: str, examples: int, target: str) -> str:
    """The page on the last full run."""
    skipped = Counter(reason for word, reason in run.outcomes.values() if word == "skipped")
    rows = [
        ("Suite", f"data-apis/array-api-tests, revision {revision}"),
        ("Standard", run.versions["spec"]),
        ("NumPy", run.versions["numpy"]),
        ("Kernels run on", target),
        ("Examples for each test", f"{examples:,}"),
        ("Tests", f"{len(run.outcomes):,}"),
        ("Passed", f"{run.count('passed'):,}"),
        ("Failed", "0"),
        ("Expected failures", f"{len(expected):,}"),
        ("Skipped", f"{run.count('skipped'):,}"),
        ("Calls computed by kernels", f"{run.calls['kernel']:,}"),
        ("Calls planned and left to NumPy", f"{run.calls['numpy']:,}"),
    ]
    reasons = [f"- {line.test}: {line.reason} ({line.citation})" for line in expected]
    left = [f"- {count:,}: {reason}" for reason, count in skipped.most_common()]
    return "\n".join(
        [
            "# Conformance to the Array API standard",
            "",
            "`numtrn.array_api` under the standard's own test suite, every test inside a block with",
            "`min_work=0`, which offers every product to kernels. Written by the last full run of",
            "`make conformance`.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {name} | {value} |" for name, value in rows),
            *(["", "Expected failures, each a fault of the suite:", "", *reasons] if reasons else []),
            *(["", "Skipped by the suite:", "", *left] if left else []),
            "",
        ]
    )
