"""Every exception and warning that numtrn raises, and nothing else.

An error names the rule, the value received, and what to do next.
"""

from __future__ import annotations

__all__ = [
    "CacheWarning",
    "DenominatorError",
    "DeviceLostError",
    "KernelCompileError",
    "KernelError",
    "KernelFallbackWarning",
    "KernelHazardWarning",
    "KernelTimeoutError",
    "NumtrnError",
    "OutOfBoundsError",
    "ResourceExhaustedError",
    "TargetUnavailableError",
    "VerificationError",
    "VersionMismatchError",
]


class NumtrnError(Exception):
    """Base of numtrn's own errors."""


class TargetUnavailableError(NumtrnError, RuntimeError):
    """The target asked for cannot run kernels on this machine; the message says what is missing."""


class KernelError(NumtrnError, RuntimeError):
    """A kernel failed to load, to launch, or to give its results back (raised under ``strict=True``).

    Subclasses name the cause where the compiler's or the runtime's own words tell it.
    """


class KernelCompileError(KernelError):
    """The compiler refused a kernel for these shapes; this program is not compiled again in this process."""


class OutOfBoundsError(KernelError):
    """A kernel reached outside of its tensors on the device."""


class ResourceExhaustedError(KernelError):
    """The device, or the host for it, has no memory left for a launch."""


class DeviceLostError(KernelError):
    """The device failed or cannot be had; it is not tried again in this process."""


class KernelTimeoutError(KernelError):
    """A launch did not end in time; the device is not tried again in this process."""


class VersionMismatchError(KernelError):
    """Parts of the Neuron SDK do not fit each other; the target is not tried again in this process."""


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
