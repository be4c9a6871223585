"""``python -m numtrn doctor``: what works on this machine, and what is missing for the rest."""

from __future__ import annotations

import platform
from importlib import metadata

import numpy as np

from numtrn import api, intercept
from numtrn.errors import TargetUnavailableError
from numtrn.options import from_environment
from numtrn.targets import Target, availability, detect, select
from numtrn.verdict import Verdict, keep, kept
from numtrn.version import __version__

__all__ = ["main"]

LIBRARIES = ("numpy", "scipy", "ml_dtypes", "opt_einsum", "tabulate")
SIZE = 64


def main(probing: bool = False) -> int:
    """Print the report.

    Parameters
    ----------
    probing
        Whether to probe the default target first, and keep the verdict.

    Returns
    -------
    status
        1 when the default target cannot compute a product, or when the probe finds a property wrong that
        something rests on.
    """
    failed, verdict = _probe() if probing else (False, _kept())
    problem = _product_works()
    sections = {
        "versions": _versions(),
        "settings": _settings(),
        "interception": [
            f"{'on ' if layer.on else 'OFF'}  {layer.name}{'' if layer.on else ': ' + layer.reason}"
            for layer in intercept.status()
        ],
        "targets": [f"{name:12s} {problem or 'can be used'}" for name, problem in availability().items()],
        "Neuron": _neuron(),
        "probe": verdict,
        "self-test": [
            problem or "a 64 x 64 float64 product through the sliced kernel is right to the last bit"
        ],
    }
    for title, lines in sections.items():
        print(title)
        for line in lines:
            print(f"  {line}")
    return 1 if problem or failed else 0


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
    except (TypeError, ValueError) as problem:
        return [f"the environment holds a wrong setting: {problem}"]
    target = select("auto", options.chip).name
    return [f"{options}", f"target='auto' takes the {target} here"]


def _neuron() -> list[str]:
    devices = detect.neuron_devices()
    lines = [f"devices: {', '.join(devices) or 'none'}"]
    for name in detect.PLACEHOLDERS:
        found = detect.package(name)
        lines.append(found.problem or f"{found.name} {found.version}")
    return lines


def _target() -> Target:
    options = from_environment()
    return select(options.target, options.chip)


def _probe() -> tuple[bool, list[str]]:
    """Whether a property failed, and the table of all of them."""
    try:
        target = _target()
    except (TypeError, ValueError, TargetUnavailableError) as problem:
        return True, [f"no target to probe: {problem}"]
    from numtrn import probe

    found = probe.probe(target)
    lines = [*_about(found), *probe.table(found).splitlines(), keep(found)]
    return bool(found.failed), [*lines, *found.refusals().values()]


def _kept() -> list[str]:
    """What an earlier probe found."""
    try:
        found, note = kept(_target())
    except (TypeError, ValueError, TargetUnavailableError) as problem:
        return [f"no target: {problem}"]
    if found is None:
        return [f"no verdict, so nothing is refused: {note}", "`python -m numtrn doctor --probe` makes one"]
    lines = [
        f"{finding.outcome:7s} {finding.name}" for finding in found.findings if finding.outcome != "seen"
    ]
    return [*_about(found), *lines, note, *found.refusals().values()]


def _about(verdict: Verdict) -> list[str]:
    about = verdict.subject
    return [
        f"{verdict.when}: {about.target}, {about.chip}, {about.device}, {about.sdk}, "
        f"kernels {about.kernels[:12]}"
    ]


def _product_works() -> str:
    """Why a product of small integers through the default target is not exact; empty when it is."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-1000, 1000, (SIZE, SIZE)) for _ in range(2))
    try:
        with api.enabled(min_work=0, strict=True) as session:
            c = api.asarray(a.astype(float)) @ api.asarray(b.astype(float))
    except Exception as problem:
        return f"FAILED: {type(problem).__name__}: {problem}"
    if session.counts["kernel"] != 1:
        return f"FAILED: the product did not reach a kernel: {session.calls}"
    return "" if np.array_equal(np.asarray(c), a @ b) else "FAILED: the product is wrong"
