"""NumPy and SciPy code, unchanged, on AWS Trainium.

Inside ``with numtrn.enabled():`` calls on plain arrays (``@``, ``np.dot``, ``np.einsum``,
``scipy.linalg.blas.dgemm``, ...) go, where their shapes and types are eligible, to NKI kernels on Neuron
hardware or on a simulator; the rest goes to NumPy, and the session says which and why.

Nothing but this file is imported before the first use of a name (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numtrn import array_api, interp, mp2
    from numtrn.api import asarray, enabled, explain
    from numtrn.array import Array
    from numtrn.errors import (
        DeviceLostError,
        KernelCompileError,
        KernelError,
        KernelFallbackWarning,
        KernelTimeoutError,
        NumtrnError,
        OutOfBoundsError,
        ResourceExhaustedError,
        TargetUnavailableError,
        VerificationError,
        VersionMismatchError,
    )
    from numtrn.plan import BlockedPlan, ContractionPlan, Mp2Plan, Plan, Refusal
    from numtrn.session import Call, Session
    from numtrn.version import __version__

__all__ = [
    "Array",
    "BlockedPlan",
    "Call",
    "ContractionPlan",
    "DeviceLostError",
    "KernelCompileError",
    "KernelError",
    "KernelFallbackWarning",
    "KernelTimeoutError",
    "Mp2Plan",
    "NumtrnError",
    "OutOfBoundsError",
    "Plan",
    "Refusal",
    "ResourceExhaustedError",
    "Session",
    "TargetUnavailableError",
    "VerificationError",
    "VersionMismatchError",
    "__version__",
    "array_api",
    "asarray",
    "enabled",
    "explain",
    "interp",
    "mp2",
]

_HOMES = {
    "numtrn.api": ("asarray", "enabled", "explain"),
    "numtrn.array": ("Array",),
    "numtrn.errors": (
        "DeviceLostError",
        "KernelCompileError",
        "KernelError",
        "KernelFallbackWarning",
        "KernelTimeoutError",
        "NumtrnError",
        "OutOfBoundsError",
        "ResourceExhaustedError",
        "TargetUnavailableError",
        "VerificationError",
        "VersionMismatchError",
    ),
    "numtrn.plan": ("BlockedPlan", "ContractionPlan", "Mp2Plan", "Plan", "Refusal"),
    "numtrn.session": ("Call", "Session"),
    "numtrn.version": ("__version__",),
}
"""Names by the module that has them."""

_MODULES = ("array_api", "interp", "mp2")
"""Modules that are there without an import of their own."""


def __getattr__(name: str) -> Any:
    """A public name at its first use; afterwards it is an ordinary global."""
    if name in _MODULES:
        return import_module(f"numtrn.{name}")
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(home), name)
            return value
    raise AttributeError(f"module 'numtrn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
