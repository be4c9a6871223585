"""``python -m numtrn doctor``: what works on this machine, what is missing for the rest, and what to do.

``--probe`` tries kernels on the target, measures it, and keeps a verdict (`numtrn.verdict`) and, of a device,
its profile (`numtrn.profile`); ``--report`` writes all of it to a file. Here it is put together and printed;
see `diagnosis`, `kinds`, `measure` and `report`.
"""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from numtrn import api, intercept, profile
from numtrn.doctor.diagnosis import diagnose, lines, of_failure
from numtrn.errors import KernelError, KernelFallbackWarning, TargetUnavailableError
from numtrn.options import from_environment
from numtrn.profile import Figures, Profile
from numtrn.targets import Target, availability, detect, select
from numtrn.verdict import Verdict, keep, kept, subject
from numtrn.version import __version__

if TYPE_CHECKING:
    from numtrn.doctor.measure import Measured

__all__ = ["main"]

LIBRARIES = ("numpy", "scipy", "ml_dtypes", "opt_einsum", "tabulate")
SIZE = 64


@dataclass(slots=True)
class _Probed:
    """What ``--probe`` found: whether something failed, lines for each section, and the report's share."""

    failed: bool = False
    sections: dict[str, list[str]] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


def main(probing: bool = False, report: str | None = None) -> int:
    """Print the report.

    Parameters
    ----------
    probing
        Whether to probe and to measure the default target first, and keep what was found.
    report
        A file to write it to.

    Returns
    -------
    status
        1 when the default target cannot compute a product, or when the probe finds a property wrong that
        something rests on; 2 where the file cannot be written; 130 after Ctrl-C, which leaves no file
        half-written.
    """
    from numtrn.doctor.report import ReportError, check, write  # here, because most runs write none

    try:
        if report is not None:
            check(Path(report))
        sections, body, failed = _examined(probing)
        for title, texts in sections.items():
            print(title)
            for text in texts:
                print(f"  {text}")
        if report is not None:
            # Tables break words, and paths in them, at their columns; what they show is in the body.
            printed = {title: texts for title, texts in sections.items() if title not in ("probe", "kernels")}
            write(Path(report), {"sections": printed, **body})
            print(f"report written to {report}; docs/hardware.md says how to send it")
    except ReportError as problem:
        print(f"numtrn doctor: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; no file is half-written", file=sys.stderr)
        return 130
    return 1 if failed else 0


def _examined(probing: bool) -> tuple[dict[str, list[str]], dict[str, Any], bool]:
    """All sections, the report's own share, and whether something failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernelFallbackWarning)  # it says what the findings say
        return _all_sections(probing)


def _all_sections(probing: bool) -> tuple[dict[str, list[str]], dict[str, Any], bool]:
    machine = detect.machine()  # before anything is started, which may set variables
    findings = diagnose(machine)
    probed = _probe() if probing else _Probed(sections={"probe": _kept(), "profile": _profile()})
    problem, error = _product_works()
    if error is not None:
        findings = (*findings, of_failure(error))
    sections = {
        "versions": _versions(),
        "settings": _settings(),
        "interception": [
            f"{'on ' if layer.on else 'OFF'}  {layer.name}{'' if layer.on else ': ' + layer.reason}"
            for layer in intercept.status()
        ],
        "targets": _targets(),
        "Neuron": lines(findings),
        **probed.sections,
        "self-test": [
            problem or "a 64 x 64 float64 product through the sliced kernel is right to the last bit"
        ],
    }
    body = {
        "when": _now(),
        "numtrn": __version__,
        "machine": _machine(machine),
        "findings": [asdict(finding) for finding in findings],
        **probed.body,
    }
    return sections, body, bool(problem) or probed.failed


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _machine(machine: detect.Machine) -> dict[str, Any]:
    """A machine for the report, without paths: of programs only whether they are there."""
    return {
        **asdict(machine),
        "programs": {name: path is not None for name, path in machine.programs.items()},
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
    }


def _versions() -> list[str]:
    found = [f"numtrn {__version__}", f"Python {platform.python_version()}, {platform.platform()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} is missing")
    return found


def _settings() -> list[str]:
    try:
        options = from_environment()
        target = select("auto", options.chip).name
    except (TypeError, ValueError, TargetUnavailableError) as problem:
        return [f"the environment holds a wrong setting: {problem}"]
    return [f"{options}", f"target='auto' takes the {target} here"]


def _targets() -> list[str]:
    try:
        return [f"{name:12s} {problem or 'can be used'}" for name, problem in availability().items()]
    except ValueError as problem:
        return [str(problem)]


def _target() -> Target:
    options = from_environment()
    return select(options.target, options.chip)


# ---- The probe ----


def _probe() -> _Probed:
    """Try kernels on the default target, measure it, and keep what was found."""
    try:
        target = _target()
    except (TypeError, ValueError, TargetUnavailableError) as problem:
        return _Probed(failed=True, sections={"probe": [f"no target to probe: {problem}"]})
    from numtrn import probe
    from numtrn.doctor import kinds

    found = probe.probe(target)
    tried = kinds.try_all(target)
    text = [*_about(found), *probe.table(found).splitlines(), keep(found), *found.refusals().values()]
    probed = _Probed(
        failed=bool(found.failed) or any(one.problem for one in tried),
        sections={"probe": text, "kernels": kinds.table(tried).splitlines()},
        body={"verdict": asdict(found), "kernels": [asdict(one) for one in tried]},
    )
    _measure(target, probed)
    return probed


def _measure(target: Target, probed: _Probed) -> None:
    """Times of a target, and the profile of a device."""
    from numtrn.doctor import measure

    try:
        measured = measure.measure(target)
    except Exception as cause:
        probed.failed = True
        probed.sections["times"] = [f"nothing was measured: {type(cause).__name__}: {cause}"]
        return
    probed.sections["times"] = measure.lines(measured)
    probed.body["measured" if measured.of_device else "wall_times_of_no_device"] = asdict(measured)
    if measured.of_device:
        probed.sections["profile"] = [_keep_profile(target, measured)]


def _keep_profile(target: Target, measured: Measured) -> str:
    if measured.figures == Figures():
        return "not kept: the times tell no figure"
    made = Profile(subject=subject(target), launcher=measured.launcher, figures=measured.figures, when=_now())
    return profile.keep(made)


# ---- What an earlier probe left ----


def _kept() -> list[str]:
    """What an earlier probe found."""
    try:
        found, note = kept(_target())
    except (TypeError, ValueError, TargetUnavailableError) as problem:
        return [f"no target: {problem}"]
    if found is None:
        return [f"no verdict, so nothing is refused: {note}", "`python -m numtrn doctor --probe` makes one"]
    texts = [
        f"{finding.outcome:7s} {finding.name}" for finding in found.findings if finding.outcome != "seen"
    ]
    return [*_about(found), *texts, note, *found.refusals().values()]


def _profile() -> list[str]:
    """The profile that plans are made with here."""
    try:
        target = _target()
    except (TypeError, ValueError, TargetUnavailableError) as problem:
        return [f"no target: {problem}"]
    if target.name != "neuron":
        return [f"plans predict from published figures; the {target.name} has no profile"]
    launcher = profile.way(str(getattr(target, "launcher", "")), target.chip.lnc)
    found, note = profile.kept(target.name, target.chip.name, launcher)
    if found is None:
        return [
            f"no profile, so plans predict from published figures: {note}",
            "`python -m numtrn doctor --probe` makes one",
        ]
    return [f"of {found.when}: plans predict from its figures", *_figures(found), note]


def _figures(found: Profile) -> Sequence[str]:
    figures = asdict(found.figures)
    factors = figures.pop("kernel_factors")
    texts = [f"{name} {value:.4g}" for name, value in figures.items() if value is not None]
    return [*texts, *(f"{name} takes {factor:.3g} of its published time" for name, factor in factors.items())]


def _about(verdict: Verdict) -> list[str]:
    about = verdict.subject
    return [
        f"{verdict.when}: {about.target}, {about.chip}, {about.device}, {about.sdk}, "
        f"kernels {about.kernels[:12]}"
    ]


# ---- Self-test ----


def _product_works() -> tuple[str, KernelError | None]:
    """Why a product of small integers through the default target is not exact, and what a kernel raised."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-1000, 1000, (SIZE, SIZE)) for _ in range(2))
    try:
        with api.enabled(min_work=0, strict=True) as session:
            c = api.asarray(a.astype(float)) @ api.asarray(b.astype(float))
    except Exception as problem:
        failure = problem if isinstance(problem, KernelError) else None
        return f"FAILED: {type(problem).__name__}: {problem}", failure
    if session.counts["kernel"] != 1:
        return f"FAILED: the product did not reach a kernel: {session.calls}", None
    right = np.array_equal(np.asarray(c), a @ b)
    return "" if right else "FAILED: the product is wrong", None
