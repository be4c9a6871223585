"""What this machine has of the Neuron SDK, found without importing or starting any of it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

__all__ = ["Package", "device_identity", "neuron_devices", "nki_problem", "package"]

PLACEHOLDERS = {"nki": "0.3.0", "torch-neuronx": "2.9", "neuronx-cc": "2.0"}
"""Packages whose PyPI namesakes are empty, and the first real version we need.

The real ones come from AWS's own package index (``aws-neuron/aws-neuron-sdk:
nki/get-started/quickstart-implement-run-kernel.rst``); PyPI holds ``nki`` 0.0.x, ``torch-neuronx`` 1.0 and
``neuronx-cc`` 1.0, placeholders without code.
"""


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


def package(name: str) -> Package:
    """What is installed under ``name``, told apart from the placeholder of that name."""
    needed = PLACEHOLDERS[name]
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Package(
            name=name,
            version=None,
            problem=f"{name} is not installed; install {name}>={needed} from AWS's Neuron package index",
        )
    if _release(version) < _release(needed) or not util.find_spec(name.replace("-", "_")):
        return Package(
            name=name,
            version=version,
            problem=(
                f"{name} {version} is the empty placeholder from PyPI; uninstall it and install "
                f"{name}>={needed} from AWS's Neuron package index"
            ),
        )
    return Package(name=name, version=version, problem="")


def nki_problem() -> str:
    """Why kernels cannot be compiled here, or an empty string."""
    return package("nki").problem


def neuron_devices(root: str = "/dev") -> tuple[str, ...]:
    """Device files of the Neuron driver, such as ``/dev/neuron0``."""
    found = Path(root).glob("neuron[0-9]*")
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


def device_identity(root: str = "/sys") -> str:
    """What tells this machine's first Neuron device from another, in one line; only files are read."""
    found = [f"host {platform.node()}"]
    for name, file in DEVICE_FILES.items():
        try:
            text = Path(root, file).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            continue
        found.append(f"{name} {text[:80]}")
    return ", ".join(found)


def _release(version: str) -> tuple[int, ...]:
    """Leading numbers of a version, enough to tell a placeholder from a release."""
    numbers: list[int] = []
    for part in version.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
