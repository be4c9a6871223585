"""The profile of one machine: what its launches, its link and its kernels were measured to take.

Plans for that machine are made with these figures instead of the published ones (`chip`). Measuring is
`numtrn.doctor`'s affair. A profile holds for one device, SDK, launcher and set of kernels; it is found again
only for the same, and without one nothing changes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

from numtrn import cache as store
from numtrn.machine import CHIPS, Chip
from numtrn.targets import detect
from numtrn.targets.base import seen
from numtrn.verdict import Subject, subject_of

__all__ = ["LIMITS", "Figures", "Profile", "chip", "keep", "kept", "plausible", "published", "way"]

LIMITS: dict[str, tuple[float, float]] = {
    "launch_seconds": (0.0, 10.0),
    "link_in_bytes_per_second": (1e6, 1e13),
    "link_out_bytes_per_second": (1e6, 1e13),
    "kernel_factors": (0.02, 50.0),
}
"""Least and largest value of each figure that is believed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was measured; None where it could not be told.

    Attributes
    ----------
    launch_seconds, link_in_bytes_per_second, link_out_bytes_per_second
        As of `numtrn.machine.Chip`.
    kernel_factors
        By name of a kernel: what its published time is to be multiplied by.
    """

    launch_seconds: float | None = None
    link_in_bytes_per_second: float | None = None
    link_out_bytes_per_second: float | None = None
    kernel_factors: Mapping[str, float] = field(default_factory=dict)

    def applied(self, published: Chip, when: str) -> Chip:
        """A chip with these figures in place of the published ones."""
        names = [name for name in LIMITS if name != "kernel_factors"]
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if not found and not self.kernel_factors:
            return published
        factors = tuple(sorted(self.kernel_factors.items()))
        return replace(published, **found, kernel_factors=factors, measured=when[:10])


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Figures, and of what.

    Attributes
    ----------
    subject
        Target, chip, device, SDK and kernels.
    launcher
        How kernels were launched, which their times depend on; see `way`.
    figures
        What was measured.
    when
        Date and time in UTC.
    """

    subject: Subject
    launcher: str
    figures: Figures
    when: str


def keep(profile: Profile) -> str:
    """Keep a profile for later blocks; gives a note on where, or why not."""
    return store.write(_name(profile.subject, profile.launcher), asdict(profile))


def kept(target: str, chip: str, launcher: str) -> tuple[Profile | None, str]:
    """The profile kept for a target as it is now, and a note on where it is or why there is none.

    Damaged files are set aside with a warning; see `numtrn.cache.read`.
    """
    wanted = subject_of(target, chip)
    body, note = store.read(_name(wanted, launcher))
    if body is None:
        return None, note
    profile = _restored(body)
    if profile is None:
        return None, f"{note}, but it is not one that this version of numtrn writes"
    now = {**asdict(wanted), "launcher": launcher}
    then = {**asdict(profile.subject), "launcher": profile.launcher}
    changed = [name for name, value in now.items() if value != then[name]]
    if changed:
        return None, f"{note}, but of other {' and '.join(changed)}"
    return profile, note


_known: dict[tuple[Subject, str], tuple[tuple[int, ...], Chip]] = {}


def published(name: str, target: str) -> Chip:
    """Published facts of a chip for plans on a target; see `numtrn.targets.base.seen`."""
    return seen(CHIPS[name]) if target == "neuron" else CHIPS[name]


def chip(name: str, target: str) -> Chip:
    """Facts of a chip for plans on a target: those of this machine's profile, else published ones.

    The profile's file is read when it has changed, and otherwise only looked up.

    Parameters
    ----------
    name
        Of the chip.
    target
        Only ``"neuron"`` has a profile: times elsewhere are not a device's.
    """
    facts = published(name, target)
    if target != "neuron":
        return facts
    about, launcher = subject_of(target, name), way(_launcher(), detect.launch_cores())
    state = store.signature(_name(about, launcher))
    if state is None:
        return facts
    known = _known.get((about, launcher))
    if known is None or known[0] != state:
        profile, _ = kept(target, name, launcher)
        used = facts if profile is None else profile.figures.applied(facts, profile.when)
        known = _known[about, launcher] = state, used
    return known[1]


def plausible(name: str, value: float | None) -> float | None:
    """A figure, or None where it is none that is believed."""
    if value is None:
        return None
    least, most = LIMITS[name]
    return value if math.isfinite(value) and least <= value <= most else None


def way(launcher: str, lnc: int) -> str:
    """How kernels are launched, as profiles name it: by what, and on how many physical cores together."""
    return launcher if lnc == 1 else f"{launcher}-lnc{lnc}"


@cache
def _launcher() -> str:
    """The launcher of this process; it is looked for once."""
    from numtrn.targets.neuron import chosen  # here, because most blocks need none of it

    return chosen()


@cache
def _name(about: Subject, launcher: str) -> str:
    """One file for each target, launcher, chip and device."""
    device = hashlib.sha256(about.device.encode()).hexdigest()[:8]
    return f"profile-{about.target}-{launcher}-{about.chip}-{device}.json"


def _restored(body: Any) -> Profile | None:
    """A profile from its record; None where that has another form, or figures that are not believed."""
    try:
        profile = Profile(
            subject=Subject(**body["subject"]),
            launcher=body["launcher"],
            figures=Figures(**body["figures"]),
            when=body["when"],
        )
        texts = [profile.when, profile.launcher, *asdict(profile.subject).values()]
        right = all(isinstance(text, str) for text in texts) and _believed(profile.figures)
    except (TypeError, KeyError, AttributeError):
        return None
    return profile if right else None


def _believed(figures: Figures) -> bool:
    """Whether all figures are numbers within their limits."""
    given = [(name, getattr(figures, name)) for name in LIMITS if name != "kernel_factors"]
    given += [("kernel_factors", value) for value in figures.kernel_factors.values()]
    return all(
        value is None or (type(value) in (int, float) and plausible(name, value) is not None)
        for name, value in given
    )
