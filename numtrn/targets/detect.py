"""What this machine has of the Neuron SDK, found without importing or starting any of it.

Only files, metadata of packages, PATH and the environment are read. `machine` gives all of it in one
record; what it comes to for each target is `numtrn.targets.availability`'s affair.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

__all__ = [
    "Device",
    "Machine",
    "Package",
    "Work",
    "device_chip",
    "device_identity",
    "is_native",
    "launch_cores",
    "lnc_problem",
    "logical_cores",
    "machine",
    "native_problem",
    "neuron_devices",
    "nki_problem",
    "package",
    "torch_problem",
    "visible_cores",
    "work",
]

DEV, SYS = "/dev", "/sys"
"""Roots of device files and of what the driver publishes."""

PLACEHOLDERS = {"nki": "0.3.0", "torch-neuronx": "2.9", "neuronx-cc": "2.0"}
"""Packages whose PyPI namesakes are empty, and the first real version we need.

The real ones come from AWS's own package index (``aws-neuron/aws-neuron-sdk:
nki/get-started/quickstart-implement-run-kernel.rst``); PyPI holds ``nki`` 0.0.x, ``torch-neuronx`` 1.0 and
``neuronx-cc`` 1.0, placeholders without code.
"""

MODULES = {"torch-xla": "torch_xla", "neuronx-cc": "neuronxcc"}
"""Modules of packages whose name does not tell."""

PACKAGES = ("nki", "neuronx-cc", "torch", "torch-xla", "torch-neuronx", "libneuronxla")

PROGRAMS = ("neuronx-cc", "neuron-ls", "neuron-top", "libneuronpjrt-path")
"""Looked for on PATH. torch_neuronx asks the last one, of libneuronxla, where its library lies; without it
nothing runs (``aws-neuron/aws-neuron-sdk: archive/appnotes/torch-neuronx/introducing-pytorch-2-7.rst``).
"""

VARIABLES = (
    "NEURON_RT_VISIBLE_CORES",
    "NEURON_RT_NUM_CORES",
    "NEURON_LOGICAL_NC_CONFIG",
    "NEURON_PLATFORM_TARGET_OVERRIDE",
    "NEURON_COMPILE_CACHE_URL",
    "NEURON_CC_FLAGS",
    "NEURON_RT_EXEC_TIMEOUT",
    "NEURON_RT_STOCHASTIC_ROUNDING_EN",
    "NKI_SIMULATOR",
    "NKI_PRECISE_FP",
    "PJRT_DEVICE",
    "NUMTRN_LAUNCHER",
)

ARCHITECTURES = {"2": "trn1", "3": "trn2", "4": "trn3"}
"""Chips by the last character of the driver's ``arch_type``: "NCv2", "v3" (``aws-neuron/aws-neuron-sdk:
tools/neuron-sys-tools/neuron-sysfs-user-guide.rst``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One Neuron package as installed here.

    Attributes
    ----------
    name, version
        Of the distribution; the version is None where it is not installed.
    problem
        Why it cannot be used, and what to do; empty when it can.
    """

    name: str
    version: str | None
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """One Neuron device, as its driver describes it; None where it does not.

    Attributes
    ----------
    file
        Such as ``/dev/neuron0``.
    chip
        ``"trn1"``, ``"trn2"``, ``"trn3"``.
    cores
        Physical NeuronCores.
    architecture, instance
        The driver's words.
    """

    file: str
    chip: str | None
    cores: int | None
    architecture: str | None
    instance: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """All that was found.

    Attributes
    ----------
    devices
        In the order of their numbers.
    driver
        Its version, None without one.
    packages
        By name of the distribution.
    programs
        By name; the path, or None where PATH has none.
    environment
        Variables that matter and are set.
    cores
        Logical NeuronCores that this process may use; None where that is not known.
    lnc
        Physical cores of a logical one, as the environment says or the chip defaults.
    native
        Whether torch-neuronx is TorchNeuron.
    """

    devices: tuple[Device, ...]
    driver: str | None
    packages: Mapping[str, Package]
    programs: Mapping[str, str | None]
    environment: Mapping[str, str]
    cores: int | None
    lnc: int
    native: bool = False


def package(name: str) -> Package:
    """What is installed under ``name``, told apart from the placeholder of that name."""
    needed = PLACEHOLDERS.get(name, "0")
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        wanted = f"{name}>={needed}" if name in PLACEHOLDERS else name
        return Package(
            name=name,
            version=None,
            problem=f"{name} is not installed; install {wanted} from AWS's Neuron package index",
        )
    if name == "torch-neuronx" and is_native():
        needed = "0"  # the beta has versions of its own
    if _release(version) < _release(needed) or not _importable(name):
        return Package(name=name, version=version, problem=_unusable(name, version, needed))
    return Package(name=name, version=version, problem="")


def _unusable(name: str, version: str, needed: str) -> str:
    if name not in PLACEHOLDERS:
        return f"{name} {version} has no module {_module(name)}; install it again"
    return (
        f"{name} {version} is the empty placeholder from PyPI; uninstall it and install "
        f"{name}>={needed} from AWS's Neuron package index"
    )


def _module(name: str) -> str:
    return MODULES.get(name, name.replace("-", "_"))


def _importable(name: str) -> bool:
    """Whether Python finds the module, without importing it."""
    try:
        return bool(util.find_spec(_module(name)))
    except (ImportError, ValueError):  # a module in sys.modules may have no spec
        return _module(name) in sys.modules


def nki_problem() -> str:
    """Why kernels cannot be compiled here, or an empty string."""
    return package("nki").problem


def is_native() -> bool:
    """Whether the installed torch-neuronx is TorchNeuron, and not the one of torch_xla, which has its name.

    TorchNeuron registers its device by itself, as PyTorch lets packages that declare an entry point in the
    group "torch.backends" (``aws-neuron/aws-neuron-sdk: frameworks/torch/pytorch-native-overview.rst``, FAQ;
    ``frameworks/torch/about/index.rst``).
    """
    try:
        found = metadata.distribution("torch-neuronx").entry_points
    except metadata.PackageNotFoundError:
        return False
    return any(entry.group == "torch.backends" for entry in found)


NATIVE_TORCH = (2, 10)
"""The first PyTorch that TorchNeuron is for (``frameworks/torch/about/index.rst``)."""


def native_problem() -> str:
    """Why kernels cannot be launched with tensors of TorchNeuron, beside nki; or an empty string."""
    torch, neuronx = package("torch"), package("torch-neuronx")
    found = [one.problem for one in (torch, neuronx) if one.problem]
    if found:
        return "; ".join(found)
    if not is_native():
        return (
            f"torch-neuronx {neuronx.version} is the one of torch_xla, and not TorchNeuron, which is a "
            "closed beta; NUMTRN_LAUNCHER=torch launches with torch_xla"
        )
    if _release(torch.version or "") < NATIVE_TORCH:
        return f"TorchNeuron is for torch>=2.10; torch {torch.version} is installed"
    return ""


def torch_problem() -> str:
    """Why kernels cannot be launched with device tensors of torch_xla, beside nki; or an empty string."""
    if is_native():
        return "torch-neuronx is TorchNeuron, without torch_xla; NUMTRN_LAUNCHER=native launches with it"
    problems = [package(name).problem for name in ("torch", "torch-xla", "torch-neuronx")]
    found = [problem for problem in problems if problem]
    if found:
        return "; ".join(found)
    if program("libneuronpjrt-path") is None:
        beside = Path(sys.executable).parent / "libneuronpjrt-path"
        where = f"it lies in {beside.parent}" if beside.exists() else "install the libneuronxla that fits"
        return (
            "libneuronpjrt-path is not on PATH, and torch_neuronx needs it: activate the environment, so "
            f"that its bin directory is on PATH ({where})"
        )
    chosen = os.environ.get("PJRT_DEVICE", "NEURON")
    if chosen != "NEURON":
        return f"PJRT_DEVICE={chosen} makes torch_xla use another device; unset it, or set it to NEURON"
    return ""


def program(name: str) -> str | None:
    """Path of a program that would be started by this name."""
    return shutil.which(name)


def neuron_devices(root: str | None = None) -> tuple[str, ...]:
    """Device files of the Neuron driver, such as ``/dev/neuron0``, in the order of their names."""
    found = Path(root or DEV).glob("neuron[0-9]*")
    return tuple(sorted(str(path) for path in found))


DEVICE_FILES = {
    "driver": "module/neuron/version",
    "architecture": "devices/virtual/neuron_device/neuron0/info/architecture/arch_type",
    "device": "devices/virtual/neuron_device/neuron0/info/architecture/device_name",
    "instance": "devices/virtual/neuron_device/neuron0/info/architecture/instance_type",
    "serial": "devices/virtual/neuron_device/neuron0/info/serial_number",
}
"""Below /sys; drivers differ in which they have (``aws-neuron/aws-neuron-sdk:
tools/neuron-sys-tools/neuron-sysfs-user-guide.rst``)."""


def device_identity(root: str | None = None) -> str:
    """What tells this machine's first Neuron device from another, in one line; only files are read."""
    found = [f"host {platform.node()}"]
    for name, file in DEVICE_FILES.items():
        text = _text(Path(root or SYS, file))
        if text is not None:
            found.append(f"{name} {text[:80]}")
    return ", ".join(found)


def device_chip(root: str | None = None) -> str | None:
    """The chip of the first device, where the driver says so."""
    return _chip(_text(Path(root or SYS, DEVICE_FILES["architecture"])))


def _chip(architecture: str | None) -> str | None:
    return ARCHITECTURES.get(architecture[-1:]) if architecture else None


def machine(dev: str | None = None, sys_root: str | None = None) -> Machine:
    """Everything about this machine; nothing is imported or started.

    Parameters
    ----------
    dev, sys_root
        Other roots than ``/dev`` and ``/sys``.
    """
    devices = tuple(_device(file, sys_root or SYS) for file in neuron_devices(dev))
    lnc = logical_cores(devices[0].chip if devices else None)
    return Machine(
        devices=devices,
        driver=_text(Path(sys_root or SYS, DEVICE_FILES["driver"])),
        packages={name: package(name) for name in PACKAGES},
        programs={name: program(name) for name in PROGRAMS},
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        cores=_counted_cores(devices, lnc),
        lnc=lnc,
        native=is_native(),
    )


def _device(file: str, root: str) -> Device:
    home = Path(root, "devices/virtual/neuron_device", Path(file).name)
    architecture = _text(home / "info/architecture/arch_type")
    cores = _text(home / "core_count")
    return Device(
        file=file,
        chip=_chip(architecture),
        cores=int(cores) if cores and cores.isdigit() else None,
        architecture=architecture,
        instance=_text(home / "info/architecture/instance_type"),
    )


def logical_cores(chip: str | None) -> int:
    """Physical cores of a logical NeuronCore: ``NEURON_LOGICAL_NC_CONFIG``, else 2, but 1 on trn1.

    ``aws-neuron/aws-neuron-sdk: about-neuron/arch/neuron-features/logical-neuroncore-config.rst``.
    """
    told = os.environ.get("NEURON_LOGICAL_NC_CONFIG", "")
    if told.isdigit():
        return int(told)
    return 1 if chip in (None, "trn1") else 2


def launch_cores() -> int:
    """Physical cores that run each launch together, in this process.

    What ``NEURON_LOGICAL_NC_CONFIG`` says; 1 where nobody set it, which launchers then do.
    """
    return 2 if os.environ.get("NEURON_LOGICAL_NC_CONFIG") == "2" else 1


def lnc_problem(chip: str | None) -> str:
    """Why ``NEURON_LOGICAL_NC_CONFIG`` cannot be served on a chip, or an empty string."""
    told = os.environ.get("NEURON_LOGICAL_NC_CONFIG", "")
    if told in ("", "1"):
        return ""
    if told != "2":
        return f"NEURON_LOGICAL_NC_CONFIG takes 1 or 2; got {told!r}; set it before this process starts"
    if chip == "trn1":
        return (
            "NEURON_LOGICAL_NC_CONFIG=2 joins pairs of cores, which trn1 does not; set it to 1 before this "
            "process starts"
        )
    return ""


def visible_cores() -> int | None:
    """Logical cores that this process may use, joined as it says; None where that is not known."""
    return _counted_cores(tuple(_device(file, SYS) for file in neuron_devices()), launch_cores())


def _counted_cores(devices: tuple[Device, ...], lnc: int) -> int | None:
    """Logical cores of this process: visible ones go before their number, of which 0 means all.

    ``aws-neuron/aws-neuron-sdk: neuron-runtime/guides/configuration-guide.rst``.
    """
    visible = os.environ.get("NEURON_RT_VISIBLE_CORES", "")
    if visible:
        return _range(visible)
    number = os.environ.get("NEURON_RT_NUM_CORES", "0")
    if number.isdigit() and int(number):
        return int(number)
    counts = [device.cores for device in devices]
    if not counts or None in counts:
        return None
    return sum(count or 0 for count in counts) // lnc


def _range(text: str) -> int | None:
    """How many cores ``"0"``, ``"2-5"`` or ``"3-5,6"`` are; None for anything else."""
    count = 0
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if not low.isdigit() or (high and not high.isdigit()):
            return None
        count += int(high or low) - int(low) + 1
    return count


@dataclass(frozen=True, slots=True)
class Work:
    """What the driver has counted for all cores and processes.

    Attributes
    ----------
    executions
        That ended well.
    seconds
        On the cores; None where the driver does not say.
    """

    executions: int
    seconds: float | None


def work(root: str | None = None) -> Work | None:
    """The driver's counters; None where it has none.

    ``stats/status/success/total`` and ``stats/other_info/nc_time_in_use/total``, in microseconds, of each
    core (``aws-neuron/aws-neuron-sdk: tools/neuron-sys-tools/neuron-sysfs-user-guide.rst``).
    """
    cores = sorted(Path(root or SYS, "devices/virtual/neuron_device").glob("neuron*/neuron_core*/stats"))
    done = [_number(core / "status/success/total") for core in cores]
    if not done or all(count is None for count in done):
        return None
    times = [_number(core / "other_info/nc_time_in_use/total") for core in cores]
    known = [time for time in times if time is not None]
    return Work(sum(count or 0 for count in done), sum(known) / 1e6 if known else None)


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None


def _text(path: Path) -> str | None:
    """Contents of a small file without the blanks around; None where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _release(version: str) -> tuple[int, ...]:
    """Leading numbers of a version, enough to tell a placeholder from a release."""
    numbers: list[int] = []
    for part in version.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
