"""Every exception and warning that numtrn raises, and nothing else.

An error names the rule, the value received, and what to do next.
"""

from __future__ import annotations

__all__ = [
    "CacheWarning",
    "DenominatorError",
    "KernelError",
    "KernelFallbackWarning",
    "KernelHazardWarning",
    "NumtrnError",
    "TargetUnavailableError",
    "VerificationError",
]


class NumtrnError(Exception):
    """Base of numtrn's own errors."""


class TargetUnavailableError(NumtrnError, RuntimeError):
    """The target asked for cannot run kernels on this machine; the message says what is missing."""


class KernelError(NumtrnError, RuntimeError):
    """A kernel failed to load, to launch, or to give its results back (raised under ``strict=True``)."""


class VerificationError(NumtrnError, ArithmeticError):
    """A kernel's result lies outside the promised bound (raised under ``verify=True``)."""


class DenominatorError(NumtrnError, ArithmeticError):
    """Orbital energies of which one e_a + e_b - e_i - e_j is not positive: no kernel divides by it."""


class KernelFallbackWarning(UserWarning):
    """A kernel failed and NumPy computed the call instead; shown once for each cause."""


class KernelHazardWarning(UserWarning):
    """A kernel relies on what a device leaves undefined; the text says how its run goes on."""


class CacheWarning(UserWarning):
    """A file of the user's cache was damaged or not the user's own, and is not used."""
