"""What a probe of a device found, where it is kept, and which calls it speaks against.

The probe itself is `numtrn.probe`. A verdict holds for one target, device, SDK and set of kernels; it is
found again only for the same. Without a verdict nothing is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from numtrn import cache as store
from numtrn.targets import Target, detect
from numtrn.targets.load import sources_hash
from numtrn.version import __version__

__all__ = ["NEEDS", "Finding", "Subject", "Verdict", "keep", "kept", "refusals", "subject", "subject_of"]

SUMS = "fp32 sums in PSUM"
SCALAR_CAST = "fp32 to int32 by ScalarE"
VECTOR_CAST = "fp32 to int32 by VectorE"
BYTES = "bytes to bf16"
ADDS = "int32 adds by GpSimd"
BITS = "int32 shifts and masks by VectorE"
TRANSPOSES = "transposes by TensorE"
TF32 = "tf32 of 11-bit values"
FP16 = "fp16 products"

NEEDS: dict[str, tuple[str, ...]] = {
    "digits": (SUMS, SCALAR_CAST, VECTOR_CAST, BYTES, ADDS, BITS, TRANSPOSES),
    "tfloat32x3": (TF32,),
    "float16x3": (FP16,),
}
"""Properties that each kind of product rests on: ``"digits"`` for float64 and complex128 at full precision,
and precisions by name."""

PURPOSES = {
    "digits": "float64 accuracy by exact digits",
    "tfloat32x3": "precision='tfloat32x3'",
    "float16x3": "precision='float16x3'",
}

OUTCOMES = ("exact", "wrong", "not run", "seen")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one group of vectors showed.

    Attributes
    ----------
    name
        Of the property; in `NEEDS`, or an observation on which nothing rests.
    outcome
        ``"exact"``; ``"wrong"``; ``"not run"`` where the target raised; ``"seen"`` for an observation.
    seen
        How many values were compared; or the first wrong one, where, and what was expected.
    """

    name: str
    outcome: str
    seen: str

    @property
    def good(self) -> bool:
        """Whether nothing speaks against the property."""
        return self.outcome in ("exact", "seen")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What a verdict is about.

    Attributes
    ----------
    target, chip
        Names.
    device
        Driver, architecture and serial number where they are published; of the interpreter NumPy's version.
    sdk
        ``"nki <version>"`` or ``"embedded <numtrn version>"``.
    kernels
        Hash of all kernel sources.
    """

    target: str
    chip: str
    device: str
    sdk: str
    kernels: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """All findings about one subject.

    Attributes
    ----------
    subject
        What was probed.
    findings
        In the order of the probe.
    when
        Date and time in UTC.
    """

    subject: Subject
    findings: tuple[Finding, ...]
    when: str

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Findings that speak against the device."""
        return tuple(finding for finding in self.findings if not finding.good)

    @property
    def complete(self) -> bool:
        """Whether every property was judged; only such a verdict is kept."""
        return all(finding.outcome != "not run" for finding in self.findings)

    def refusals(self) -> dict[str, str]:
        """Why each key of `NEEDS` that a wrong property bars is refused."""
        wrong = {finding.name: finding for finding in self.findings if finding.outcome == "wrong"}
        return {
            need: _reason(need, wrong[names[0]])
            for need, properties in NEEDS.items()
            if (names := [name for name in properties if name in wrong])
        }


def _reason(need: str, finding: Finding) -> str:
    return (
        f"the probe of this device found {finding.name} wrong ({finding.seen}); {PURPOSES[need]} needs them. "
        "`python -m numtrn doctor --probe` probes it again"
    )


def subject(target: Target) -> Subject:
    """What a probe of this target is about; nothing is started to find out."""
    return subject_of(target.name, target.chip.name)


@cache
def subject_of(target: str, chip: str) -> Subject:
    """The same, of names."""
    embedded = target == "interpreter"
    return Subject(
        target=target,
        chip=chip,
        device=f"numpy {np.__version__}" if embedded else detect.device_identity(),
        sdk=f"embedded {__version__}" if embedded else f"nki {detect.package('nki').version}",
        kernels=sources_hash(),
    )


def keep(verdict: Verdict) -> str:
    """Keep a verdict for later blocks; gives a note on where, or why not."""
    if not verdict.complete:
        return "not kept: it says nothing about properties that could not be run"
    return store.write(_name(verdict.subject), asdict(verdict))


def kept(target: Target) -> tuple[Verdict | None, str]:
    """The verdict kept for a target as it is now, and a note on where it is or why there is none."""
    wanted = subject(target)
    body, note = store.read(_name(wanted))
    if body is None:
        return None, note
    verdict = _restored(body)
    if verdict is None:
        return None, f"{note}, but of another version of numtrn"
    changed = [name for name, value in asdict(wanted).items() if value != getattr(verdict.subject, name)]
    if changed:
        return None, f"{note}, but of other {' and '.join(changed)}"
    return verdict, note


_known: dict[Subject, tuple[tuple[int, ...], Mapping[str, str]]] = {}


def refusals(target: Target) -> Mapping[str, str]:
    """Why kinds of products are refused on a target, by key of `NEEDS`; empty without a verdict.

    The file is read when it has changed, and otherwise only looked up.
    """
    about = subject(target)
    state = store.signature(_name(about))
    if state is None:
        return {}
    known = _known.get(about)
    if known is None or known[0] != state:
        verdict, _ = kept(target)
        known = _known[about] = state, {} if verdict is None else verdict.refusals()
    return known[1]


@cache
def _name(about: Subject) -> str:
    """One file for each target, chip and device, so that old kernels and SDKs leave nothing behind."""
    device = hashlib.sha256(about.device.encode()).hexdigest()[:8]
    return f"probe-{about.target}-{about.chip}-{device}.json"


def _restored(body: Any) -> Verdict | None:
    """A verdict from its record; None where that has another form, or lacks a property."""
    try:
        findings = tuple(Finding(**finding) for finding in body["findings"])
        verdict = Verdict(subject=Subject(**body["subject"]), findings=findings, when=body["when"])
    except (TypeError, KeyError):
        return None
    texts = [verdict.when, *asdict(verdict.subject).values(), *(finding.seen for finding in findings)]
    needed = {name for names in NEEDS.values() for name in names}
    right = all(isinstance(text, str) for text in texts) and all(
        finding.outcome in OUTCOMES and isinstance(finding.name, str) for finding in findings
    )
    return verdict if right and needed <= {finding.name for finding in findings} else None
