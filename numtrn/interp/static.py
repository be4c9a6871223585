"""Checking a kernel's source: what a device's compiler refuses although Python, and a simulator, run it.

The checks stand in ``static_subset.py`` (the Python that compiles), ``static_purity.py`` (what makes a
compile cache stale), ``static_calls.py`` (how NKI is called) and ``static_flow.py`` (registers, cores);
``static_source.py`` finds the functions that are kernel code. Nothing is imported or run. What needs values
or types is checked while a kernel runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from numtrn.interp import static_calls, static_flow, static_purity, static_subset
from numtrn.interp.hazards import known_levels
from numtrn.interp.static_source import Report, read

__all__ = ["Finding", "check_file", "check_source", "main"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found in a source.

    Attributes
    ----------
    hazard
        ``"H1"`` to ``"H43"``.
    file, line, column
        Where, counted from 1.
    message
        The rule, what was found, and what to do.
    level
        ``"error"`` or ``"warning"``.
    """

    hazard: str
    file: str
    line: int
    column: int
    message: str
    level: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.level}: {self.hazard}: {self.message}"


def check_source(
    text: str, file: str = "<kernel>", levels: Mapping[str, str] | None = None
) -> tuple[Finding, ...]:
    r"""Check Python source that holds kernels, in the order of its lines.

    Parameters
    ----------
    text
        The source.
    file
        What findings call it.
    levels
        Hazard to ``"error"``, ``"warning"`` or ``"off"``; otherwise each finding has its own level.

    Examples
    --------
    >>> source = "import nki\n@nki.jit\ndef kernel(x):\n    return [i for i in x]"
    >>> print(check_source(source, "kernel.py")[0])  # doctest: +ELLIPSIS
    kernel.py:4:12: error: H32: kernels keep to documented Python; found a list comprehension; ...
    """
    known_levels(levels or {})
    return _check(text, file, levels or {})[0]


def _check(text: str, file: str, levels: Mapping[str, str]) -> tuple[tuple[Finding, ...], int]:
    """Findings, and how many functions are kernel code."""
    try:
        source = read(ast.parse(text, file))
    except SyntaxError as error:
        wrong = Report("H32", None, f"a kernel is Python source; found {error.msg}")
        return (_finding(wrong, file, "error", error.lineno or 1, error.offset or 1),), 0
    found: dict[Finding, None] = {}
    for check in (static_subset.check, static_purity.check, static_calls.check, static_flow.check):
        for report in check(source):
            level = levels.get(report.hazard, report.level)
            if level != "off":
                assert report.node is not None
                found[_finding(report, file, level, report.node.lineno, report.node.col_offset + 1)] = None
    ordered = sorted(found, key=lambda finding: (finding.line, finding.column, finding.hazard))
    return tuple(ordered), len(source.kernels)


def check_file(path: Path | str, levels: Mapping[str, str] | None = None) -> tuple[Finding, ...]:
    """Check a file; see `check_source`."""
    return check_source(Path(path).read_text(encoding="utf-8"), str(path), levels)


def main(files: Iterable[str], levels: Mapping[str, str] | None = None) -> tuple[list[str], int]:
    """Lines to print, and the exit status: 1 if there is an error, 2 if a file cannot be read."""
    known_levels(levels or {})
    lines: list[str] = []
    errors = warnings = functions = count = 0
    for file in files:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return [*lines, f"numtrn check: takes files of Python source; {file}: {error}"], 2
        findings, kernels = _check(text, file, levels or {})
        lines += map(str, findings)
        functions += kernels
        errors += sum(finding.level == "error" for finding in findings)
        warnings += sum(finding.level == "warning" for finding in findings)
        count += 1
    lines.append(f"files {count}, functions of kernels {functions}, errors {errors}, warnings {warnings}")
    return lines, 1 if errors else 0


def _finding(report: Report, file: str, level: str, line: int, column: int) -> Finding:
    return Finding(
        hazard=report.hazard, file=file, line=line, column=column, message=report.message, level=level
    )
