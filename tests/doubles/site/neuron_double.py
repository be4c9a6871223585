"""The Neuron runtime and compiler as the documentation describes them, for the doubles of nki and torch_xla.

It computes with `numtrn.interp`, keeps the compile cache, counts compilations and launches, and fails on
demand with the runtime's own codes and texts. Sources are paths in ``aws-neuron/aws-neuron-sdk``:

* status codes and words: ``neuron-runtime/api/nrt_status.rst``; the form "NRT Error NAME(code): text":
  ``neuron-runtime/nrtpy/nrtpy-troubleshooting.rst``, ``tutorial-debug-neff-nrtpy.rst``;
* after a fatal failure every call fails (101): ``neuron-runtime/api/nrt-async-api-best-practices.rst``;
* texts of out of bounds, hang, versions: ``neuron-runtime/nrt-troubleshoot.rst``; of memory:
  ``neuron-runtime/explore/device-memory.rst``;
* compiler codes: ``compiler/error-codes/``;
* cache key (shapes, dtypes, compile-time values), pure kernels: ``nki/get-started/nki-language-guide.rst``;
  directories, failed programs: ``about-neuron/arch/neuron-features/neuron-caching.rst``;
* LNC: ``nki/api/nki/__init__.py`` (jit), ``nki/get-started/about/lnc.rst``,
  ``neuron-runtime/explore/device-memory.rst`` (trn2's default is 2).

Environment of the double: ``NEURON_DOUBLE_CHIP`` the chip that is there (trn2); ``NEURON_DOUBLE_FAIL``
failures, "kind", "kind@3" (third launch or compilation) or "kind@3*2" (third and fourth), several with
commas; ``NEURON_DOUBLE_LOG`` a file that gets a JSON line for each event; ``NEURON_DOUBLE_BYTES`` the
device's memory; ``NEURON_DOUBLE_ROOT`` the root below which detection looks for ``dev`` and ``sys``, in
processes that find ``sitecustomize`` of the double.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import threading
import types
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from numtrn import interp
from numtrn.interp.importing import TARGETS
from numtrn.machine import CHIPS

STATUS = {
    "NRT_FAILURE": 1,
    "NRT_INVALID": 2,
    "NRT_RESOURCE": 4,
    "NRT_TIMEOUT": 5,
    "NRT_HW_ERROR": 6,
    "NRT_UNSUPPORTED_NEFF_VERSION": 10,
    "NRT_EXEC_UNIT_UNRECOVERABLE": 101,
    "NRT_EXEC_OOB": 1006,
    "NRT_EXEC_HW_ERR_HBM_UE": 1201,
    "NRT_EXEC_HW_ERR_NC_UE": 1202,
    "NRT_EXEC_HW_ERR_DMA_ABORT": 1203,
}

_FATAL_STATE = "(FATAL-RT-UNDEFINED-STATE)"
LAUNCH_FAILURES = {
    "out_of_bounds": (
        "NRT_EXEC_OOB",
        "failed to run scatter/gather (indirect memory copy), due to out-of-bound access",
    ),
    "resource_exhausted": (
        "NRT_RESOURCE",
        "Failed to allocate 4.000GB (alignment: none, usage: tensors) on ND 0:NC 0",
    ),
    "device_lost": (
        "NRT_EXEC_HW_ERR_NC_UE",
        f"{_FATAL_STATE} [ND 0][NC 0] Uncorrectable memory error is detected, metadata: 0x16",
    ),
    "timeout": (
        "NRT_TIMEOUT",
        f"{_FATAL_STATE} execution timeout (30000 ms) on Neuron Device 0 NC 0, model model.neff, waiting for"
        " execution completion notification",
    ),
    "neff_version": ("NRT_UNSUPPORTED_NEFF_VERSION", "NEFF version mismatch supported: 1.1 received: 2.0"),
}
"""What the runtime says of each, when it executes or loads a program."""

COMPILE_FAILURES = {
    "compile_error": "[NCC_EOOM001] The combined memory needed for the model tensors exceeds the"
    " high-bandwidth memory limit.",
    "version_mismatch": "[NCC_EVRF065] NKI kernel '{kernel}' was traced with an unsupported NKI version.",
}
"""What the compiler says of each."""

FATAL = ("device_lost", "timeout")
"""After these the execution unit answers nothing any more."""

WIDE = ("float64", "int64", "uint64", "complex64", "complex128")
"""Not among the dtypes of NKI (``nki/api/nki.api.shared.rst``, supported data types)."""


class RuntimeFailure(RuntimeError):
    """What the runtime raises, by its documented text; launchers cannot import the class."""


class CompilerFailure(RuntimeError):
    """What the compiler raises, by its documented text."""


class Misuse(RuntimeError):
    """What the documentation refuses."""


def runtime_failure(status: str, text: str) -> RuntimeFailure:
    return RuntimeFailure(f"NRT Error {status}({STATUS[status]}): {text}")


@dataclass
class Injected:
    """A failure to come: of which kind, at which launch or compilation (counted from 1), how often."""

    kind: str
    at: int = 1
    times: int = 10**9
    kernel: str | None = None
    core: int | None = None
    seen: int = 0

    def due(self, kernel: str, core: int) -> bool:
        if self.kernel not in (None, kernel) or self.core not in (None, core):
            return False
        self.seen += 1
        return self.at <= self.seen < self.at + self.times


def _from_environment() -> list[Injected]:
    found = []
    for item in filter(None, os.environ.get("NEURON_DOUBLE_FAIL", "").split(",")):
        kind, _, rest = item.partition("@")
        at, _, times = rest.partition("*")
        found.append(Injected(kind, int(at or 1), int(times or (1 if at else 10**9))))
    return found


@dataclass
class Device:
    """State of the one device of this process.

    Attributes
    ----------
    compiled
        Programs that the compiler ran for, in order; those found in a cache are not among them.
    launched
        Kernels executed, in order.
    cores
        Of each of them the core.
    eager
        Operations of PyTorch's own that TorchNeuron executed.
    simulated
        Kernels that ``nki.simulate`` ran, with the value of NKI_PRECISE_FP and the chip.
    transfers
        Bytes sent to the device and brought back.
    peak, bytes
        Of tensors on the device.
    """

    compiled: list[str] = field(default_factory=list)
    launched: list[str] = field(default_factory=list)
    cores: list[int] = field(default_factory=list)
    eager: list[str] = field(default_factory=list)
    simulated: list[tuple[str, str, str]] = field(default_factory=list)
    transfers: dict[str, int] = field(default_factory=lambda: {"to": 0, "from": 0})
    failures: list[Injected] = field(default_factory=_from_environment)
    capacity: int = field(default_factory=lambda: int(os.environ.get("NEURON_DOUBLE_BYTES", 2**62)))
    bytes: int = 0
    peak: int = 0
    dead: bool = False
    lnc: int | None = None
    known: dict[str, str] = field(default_factory=dict)
    """The in-memory cache: program to "" or the failure."""
    globals_seen: dict[str, object] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(
        self,
        kind: str,
        at: int = 1,
        times: int = 10**9,
        kernel: str | None = None,
        core: int | None = None,
    ) -> None:
        """Inject a failure from now on."""
        assert kind in LAUNCH_FAILURES or kind in COMPILE_FAILURES, kind
        self.failures.append(Injected(kind, at, times, kernel, core))

    def start(self) -> int:
        """Initialise the runtime: cores per logical core are fixed from then on."""
        if self.lnc is None:
            chip = chip_of_device()
            told = os.environ.get("NEURON_LOGICAL_NC_CONFIG", "2" if chip != "trn1" else "1")
            if told not in ("1", "2") or (told == "2" and chip == "trn1"):
                raise runtime_failure("NRT_INVALID", f"NEURON_LOGICAL_NC_CONFIG={told} on {chip}")
            self.lnc = int(told)
        return self.lnc

    def compile(self, key: str, kernel: str) -> None:
        """Compile a program, or find it in a cache."""
        with self.lock:
            if key not in self.known:
                self.known[key] = self._compiled(key, kernel)
            if self.known[key]:
                raise CompilerFailure(self.known[key])

    def _compiled(self, key: str, kernel: str) -> str:
        file = _cache_file(key)
        if file is not None and file.exists():
            return str(json.loads(file.read_text())["failure"])
        self.compiled.append(key)
        event("compile", kernel=kernel, program=key)
        failure = self._injected(COMPILE_FAILURES, kernel)
        text = COMPILE_FAILURES[failure].format(kernel=kernel) if failure else ""
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
            part.write_text(json.dumps({"kernel": kernel, "failure": text}))
            part.replace(file)
        return text

    def execute(self, kernel: str, core: int = 0) -> None:
        """Count an execution, or fail."""
        with self.lock:
            if self.dead:
                raise runtime_failure(
                    "NRT_EXEC_UNIT_UNRECOVERABLE", "nrt_execute: execution unit is in a fatal state"
                )
            self.launched.append(kernel)
            self.cores.append(core)
            event("launch", kernel=kernel, core=core)
            kind = self._injected(LAUNCH_FAILURES, kernel, core)
            if kind:
                self.dead = kind in FATAL
                raise runtime_failure(*LAUNCH_FAILURES[kind])
            _drivers_count(core)

    def _injected(self, kinds: dict[str, object], kernel: str, core: int = 0) -> str | None:
        mine = [failure for failure in self.failures if failure.kind in kinds]
        due = [failure.kind for failure in mine if failure.due(kernel, core)]
        return due[0] if due else None

    def allocate(self, count: int) -> None:
        """Device memory for a tensor."""
        with self.lock:
            if self.dead:
                raise runtime_failure("NRT_EXEC_UNIT_UNRECOVERABLE", "nrt_tensor_allocate")
            if self.bytes + count > self.capacity:
                raise RuntimeFailure('nrt_tensor_allocate status=4 message="Allocation Failure"')
            self.bytes += count
            self.peak = max(self.peak, self.bytes)

    def release(self, count: int) -> None:
        with self.lock:
            self.bytes -= count


def event(what: str, **about: object) -> None:
    """Append to the log, for other processes to read."""
    path = os.environ.get("NEURON_DOUBLE_LOG")
    if path:
        with Path(path).open("a") as file:
            file.write(json.dumps({"event": what, "pid": os.getpid(), **about}) + "\n")


MICROSECONDS = 250
"""What the driver says each execution took."""


def _drivers_count(core: int) -> None:
    """One execution more in the driver's files below ``NEURON_DOUBLE_ROOT``, if that is set."""
    root = os.environ.get("NEURON_DOUBLE_ROOT")
    if not root:
        return
    stats = Path(root, "sys/devices/virtual/neuron_device/neuron0", f"neuron_core{core}", "stats")
    for name, more in (("status/success", 1), ("other_info/nc_time_in_use", MICROSECONDS)):
        file = stats / name / "total"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{int(file.read_text()) + more if file.exists() else more}\n")


device = Device()


def reset() -> Device:
    """A fresh process: nothing in memory, the device alive; the cache on disk stays."""
    device.__init__()  # type: ignore[misc]
    return device


def visible_cores() -> int:
    """Logical cores of this process (``neuron-runtime/guides/configuration-guide.rst``).

    Those of ``NEURON_RT_VISIBLE_CORES``, else ``NEURON_RT_NUM_CORES``, else all of the driver's files.
    """
    visible = os.environ.get("NEURON_RT_VISIBLE_CORES", "")
    if visible:
        low, _, high = visible.partition("-")
        return int(high or low) - int(low) + 1
    asked = int(os.environ.get("NEURON_RT_NUM_CORES", "0"))
    root = os.environ.get("NEURON_DOUBLE_ROOT", "")
    counts = Path(root, "sys/devices/virtual/neuron_device").glob("neuron*/core_count") if root else ()
    return asked or sum(int(count.read_text()) for count in counts) // device.start() or 1


def version() -> tuple[int, ...]:
    """Of the nki that is installed."""
    return tuple(int(part) for part in metadata.version("nki").split("+")[0].split(".")[:3])


def chip_of_device() -> str:
    return os.environ.get("NEURON_DOUBLE_CHIP", "trn2")


def chip_named(name: str) -> str:
    return TARGETS.get(name, name)


def _cache_file(key: str) -> Path | None:
    place = os.environ.get("NEURON_COMPILE_CACHE_URL")
    if not place:
        return None  # the documented default is a directory of the whole machine, which tests leave alone
    return Path(place, "neuronxcc-2.22.0.0+double", f"MODULE_{key[:20]}+d41d8cd9", "model.neff")


# ---- Kernels ----


def check_pure(function: types.FunctionType) -> None:
    """Refuse closures, and globals that changed since the first call: neither is in the cache's key."""
    if getattr(function, "__closure__", None):
        raise Misuse(
            f"kernel {function.__name__} is a closure; kernels are pure functions of their arguments"
        )
    name = f"{function.__module__}.{function.__qualname__}.{id(function)}"
    now = _globals(function, set())
    before = device.globals_seen.setdefault(name, now)
    if before != now:
        raise Misuse(f"a global of kernel {function.__name__} changed between calls: stale results")


def _globals(function: types.FunctionType, done: set[int]) -> dict[str, str]:
    """Values of the globals that a kernel and its helpers read."""
    found: dict[str, str] = {}
    if id(function) in done:
        return found
    done.add(id(function))
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, types.FunctionType):
            found |= _globals(value, done)
        elif isinstance(value, (int, float, str, tuple, list, dict, set, np.ndarray)):
            found[f"{function.__name__}:{name}"] = repr(value)
    return found


def check_values(values: list[object]) -> None:
    """Arguments other than tensors (``nki/migration/index.rst``: no lists)."""
    for value in values:
        if isinstance(value, list):
            raise Misuse("kernel arguments may not be lists since NKI 0.3.0; use a tuple")
        if isinstance(value, (np.generic, complex)):
            raise Misuse(f"compile-time values are Python's own; got {type(value).__name__}")


def check_array(array: np.ndarray) -> None:
    if array.dtype.name in WIDE:
        raise Misuse(f"NKI has no {array.dtype.name} tensors")
    if not array.flags.c_contiguous:
        raise Misuse("non-contiguous kernel inputs are not specified; pass a contiguous array")


def program_key(function: types.FunctionType, arguments: inspect.BoundArguments, lnc: int) -> str:
    """Kernel, shapes, dtypes, compile-time values, cores; and of which nki and chip."""
    text = [function.__name__, _source(function), metadata.version("nki"), chip_of_device(), str(lnc)]
    for name, value in arguments.arguments.items():
        of_tensor = isinstance(value, np.ndarray)
        text.append(f"{name}={value.shape}{value.dtype.name}" if of_tensor else f"{name}={value!r}")
    return f"{function.__name__}-{hashlib.sha256(' '.join(text).encode()).hexdigest()}"


def _source(function: types.FunctionType) -> str:
    return hashlib.sha256(function.__code__.co_code + repr(function.__code__.co_consts).encode()).hexdigest()


def compute(
    kernel: object, arrays: list[object], named: dict[str, object], chip: str
) -> tuple[np.ndarray, ...]:
    """What the kernel gives; what the interpreter refuses is a compile error."""
    short = ".".join(str(part) for part in version()[:2])
    try:
        run = interp.simulate(kernel, arrays, chip=CHIPS[chip], version=short, keywords=named)  # type: ignore[arg-type]
    except interp.KernelFault as fault:
        raise CompilerFailure(f"[NCC_EARG001] {fault}") from fault
    return run.outputs if isinstance(run.outputs, tuple) else (run.outputs,)
