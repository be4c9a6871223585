"""NumPy and SciPy code, unchanged, on AWS Trainium.

Inside ``with numtrn.enabled():`` calls on plain arrays (``@``, ``np.dot``, ``np.einsum``,
``scipy.linalg.blas.dgemm``, ...) go, where their shapes and types are eligible, to NKI kernels on Neuron
hardware or on a simulator; the rest goes to NumPy, and the session says which and why.
"""

from numtrn.api import asarray, enabled, explain
from numtrn.array import Array
from numtrn.errors import (
    KernelError,
    KernelFallbackWarning,
    NumtrnError,
    TargetUnavailableError,
    VerificationError,
)
from numtrn.plan import BlockedPlan, ContractionPlan, Plan, Refusal
from numtrn.session import Call, Session
from numtrn.version import __version__

__all__ = [
    "Array",
    "BlockedPlan",
    "Call",
    "ContractionPlan",
    "KernelError",
    "KernelFallbackWarning",
    "NumtrnError",
    "Plan",
    "Refusal",
    "Session",
    "TargetUnavailableError",
    "VerificationError",
    "__version__",
    "asarray",
    "enabled",
    "explain",
]
