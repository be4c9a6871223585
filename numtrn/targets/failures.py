"""What the compiler and the runtime say when they fail, as numtrn's exceptions. Decides nothing.

Exceptions of nki, torch_xla and the runtime have no documented types: only codes and words are documented,
so these are looked for. Sources, in ``aws-neuron/aws-neuron-sdk``:

* STATUS ``neuron-runtime/api/nrt_status.rst``, TROUBLE ``neuron-runtime/nrt-troubleshoot.rst``,
* NRTPY ``neuron-runtime/nrtpy/nrtpy-troubleshooting.rst``, CODES ``compiler/error-codes/``,
* ASYNC ``neuron-runtime/api/nrt-async-api-best-practices.rst``,
* MEMORY ``neuron-runtime/explore/device-memory.rst``,
* TORCH ``archive/appnotes/torch-neuronx/introducing-pytorch-2-7.rst``.

The form ``nrt_...: status=4`` is that of messages quoted in ``vllm-project/vllm`` issue 12443 and
``aws-neuron/aws-neuron-samples`` issue 96.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from numtrn.errors import (
    DeviceLostError,
    KernelCompileError,
    KernelError,
    KernelTimeoutError,
    OutOfBoundsError,
    ResourceExhaustedError,
    VersionMismatchError,
)

__all__ = ["FAILURES", "STATUS", "UNRECOVERABLE", "Failure", "diagnose", "translated"]

STATUS = {
    1: "NRT_FAILURE",
    2: "NRT_INVALID",
    3: "NRT_INVALID_HANDLE",
    4: "NRT_RESOURCE",
    5: "NRT_TIMEOUT",
    6: "NRT_HW_ERROR",
    7: "NRT_QUEUE_FULL",
    9: "NRT_LOAD_NOT_ENOUGH_NC",
    10: "NRT_UNSUPPORTED_NEFF_VERSION",
    11: "NRT_FAIL_HOST_MEM_ALLOC",
    13: "NRT_UNINITIALIZED",
    14: "NRT_CLOSED",
    15: "NRT_QUEUE_EMPTY",
    101: "NRT_EXEC_UNIT_UNRECOVERABLE",
    1002: "NRT_EXEC_BAD_INPUT",
    1003: "NRT_EXEC_COMPLETED_WITH_NUM_ERR",
    1004: "NRT_EXEC_COMPLETED_WITH_ERR",
    1005: "NRT_EXEC_NC_BUSY",
    1006: "NRT_EXEC_OOB",
    1100: "NRT_COLL_PENDING",
    1200: "NRT_EXEC_HW_ERR_COLLECTIVES",
    1201: "NRT_EXEC_HW_ERR_HBM_UE",
    1202: "NRT_EXEC_HW_ERR_NC_UE",
    1203: "NRT_EXEC_HW_ERR_DMA_ABORT",
    1204: "NRT_EXEC_SW_NQ_OVERFLOW",
    1205: "NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE",
    1206: "NRT_NETWORK_PROXY_FAILURE",
}
"""Codes of the runtime (STATUS)."""

UNRECOVERABLE = (DeviceLostError, KernelTimeoutError, VersionMismatchError)
"""After these a target is not tried again in this process (ASYNC: a terminal state until the runtime is
initialised again, most likely by starting the application again)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One cause of failures, and how it is told.

    Attributes
    ----------
    error
        The exception that it becomes.
    what
        The cause in words.
    codes
        Names of status codes.
    texts
        Parts of messages.
    advice
        What to do.
    source
        Where codes, texts and advice are documented.
    """

    error: type[KernelError]
    what: str
    codes: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    advice: str
    source: str


AGAIN = "start the process again, since the runtime does not recover in this one"

FAILURES = (
    Failure(
        error=VersionMismatchError,
        what="parts of the Neuron SDK do not fit each other",
        codes=("NRT_UNSUPPORTED_NEFF_VERSION",),
        texts=(
            "NCC_EVRF065",
            "unsupported NKI version",
            "NEFF version mismatch",
            "requires Neuron Driver version",
            "is not compatible with the installed aws-neuron",
            "Unsupported hardware operator code",
            "Unable to determine Neuron Driver version",
        ),
        advice="update the driver, the runtime library, neuronx-cc, nki and torch-neuronx to one release of"
        " the SDK, delete what is in the compile cache, and start again",
        source="STATUS; CODES EVRF065; TROUBLE, application fails to start, unsupported NEFF version",
    ),
    Failure(
        error=VersionMismatchError,
        what="the program libneuronpjrt-path of libneuronxla is not found",
        texts=("libneuronpjrt-path",),
        advice="activate the environment that has libneuronxla, so that its bin directory is on PATH, and"
        " install the libneuronxla that fits torch-neuronx",
        source="TORCH",
    ),
    Failure(
        error=KernelCompileError,
        what="the compiler refused the kernel",
        texts=("NCC_", "neuronx-cc compilation failed", "cached failed neff"),
        advice="this program is not compiled again in this process; report it with the message above"
        " (python -m numtrn doctor), and delete its entry in the compile cache before another try",
        source="CODES; about-neuron/arch/neuron-features/neuron-caching.rst",
    ),
    Failure(
        error=OutOfBoundsError,
        what="the kernel reached outside of its tensors",
        codes=("NRT_EXEC_OOB",),
        texts=("due to out-of-bound access",),
        advice="this is a fault of the kernel: report it with the shapes;"
        " NEURON_RT_DBG_DUMP_INPUTS_ON_ERR=1006 keeps the inputs of the launch",
        source="STATUS; TROUBLE, execution fails at out-of-bound access; NRTPY",
    ),
    Failure(
        error=DeviceLostError,
        what="another process holds the NeuronCores, or there are fewer than asked for",
        codes=("NRT_EXEC_NC_BUSY", "NRT_LOAD_NOT_ENOUGH_NC"),
        texts=("NeuronCore(s) not available", "Could not open the nd"),
        advice="end the other process (neuron-ls shows it), or give this one cores of its own with"
        " NEURON_RT_VISIBLE_CORES; then start again",
        source="STATUS; TROUBLE, Neuron Core is in use; neuron-runtime/guides/configuration-guide.rst",
    ),
    Failure(
        error=DeviceLostError,
        what="the device failed",
        codes=(
            "NRT_HW_ERROR",
            "NRT_EXEC_UNIT_UNRECOVERABLE",
            "NRT_EXEC_HW_ERR_COLLECTIVES",
            "NRT_EXEC_HW_ERR_HBM_UE",
            "NRT_EXEC_HW_ERR_NC_UE",
            "NRT_EXEC_HW_ERR_DMA_ABORT",
            "NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE",
            "NRT_UNINITIALIZED",
            "NRT_CLOSED",
        ),
        texts=("Uncorrectable memory error", "Uncorrectable HBM memory error", "is in an abort state"),
        advice=f"{AGAIN}; if it comes again, reload the driver or reboot, and after an uncorrectable memory"
        " error stop and start the instance",
        source="STATUS; ASYNC; TROUBLE, hardware errors",
    ),
    Failure(
        error=KernelTimeoutError,
        what="the launch did not end in time",
        codes=("NRT_TIMEOUT", "NRT_EXEC_SW_NQ_OVERFLOW"),
        texts=("execution timeout",),
        advice=f"{AGAIN}; NEURON_RT_EXEC_TIMEOUT is the time allowed in seconds (30), and if it is not a"
        " matter of time the instance is to be replaced",
        source="STATUS; TROUBLE, hang on compute; neuron-runtime/guides/configuration-guide.rst",
    ),
    Failure(
        error=ResourceExhaustedError,
        what="there is no memory left for the launch",
        codes=("NRT_RESOURCE", "NRT_FAIL_HOST_MEM_ALLOC", "NRT_QUEUE_FULL"),
        texts=("RESOURCE_EXHAUSTED", "Allocation Failure", "Failed to allocate"),
        advice="keep fewer arrays on the device, end other processes on it, or compute in smaller pieces;"
        " neuron-top shows its memory",
        source="STATUS; MEMORY; TROUBLE, insufficient memory",
    ),
)
"""The first that fits counts; of a message with a status code, the code alone."""

NAMED = re.compile(r"\bNRT_[A-Z_]+\b")
NUMBERED = re.compile(r"(?:\bstatus(?: code)?[=: ]+|\berr: |\berror code )(\d+)")


def diagnose(message: str) -> Failure | None:
    """The cause that a message tells of, or None."""
    codes = [name for name in NAMED.findall(message) if name in STATUS.values()]
    if not codes:
        codes = [STATUS[int(number)] for number in NUMBERED.findall(message) if int(number) in STATUS]
    for failure in FAILURES:
        if any(code in failure.codes for code in codes):
            return failure
    for failure in FAILURES:
        if any(text in message for text in failure.texts):
            return failure
    return None


def translated(raw: Exception, kernel: str) -> KernelError | None:
    """What a launch raised, as numtrn's exception; None where nothing documented is found in it."""
    if isinstance(raw, KernelError):
        return raw
    said = f"{type(raw).__name__}: {raw}"
    found = diagnose(said)
    if found is None:
        return None
    return found.error(
        f"{found.what} (kernel {kernel or 'of an earlier launch'}): {said}. Next: {found.advice}"
    )
