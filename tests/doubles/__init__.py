"""Doubles of the Neuron SDK: packages to install in a directory, and a host with a root of its own.

`install` makes a directory to put on ``PYTHONPATH`` (or ``sys.path``), in which ``nki``, ``torch_xla`` and
``torch_neuronx`` are found with the versions asked for, by import and by ``importlib.metadata``. What the
doubles refuse stands in ``site/neuron_double.py``, ``site/nki`` and ``site/torch_xla``. Fixtures are in
``tests/doubles/fixtures.py``.
"""

from __future__ import annotations

from importlib import util
from pathlib import Path

__all__ = ["PLACEHOLDERS", "VERSIONS", "fake_root", "has_torch", "install"]

HERE = Path(__file__).parent
VERSIONS = ("0.3.0", "0.5.0", "0.6.0")
"""Of nki, whose signatures the doubles have."""

PLACEHOLDERS = {"nki": "0.0.1", "torch-neuronx": "1.0.0", "neuronx-cc": "1.0.0"}
"""Empty packages of these names, as PyPI has them."""


_TORCH = util.find_spec("torch") is not None  # before any stand-in is installed


def has_torch() -> bool:
    """Whether real torch is installed here."""
    return _TORCH


def install(
    site: Path,
    nki: str | None = "0.6.0",
    torch: bool = True,
    versions: dict[str, str] | None = None,
    standin: bool | None = None,
    native: bool = False,
) -> Path:
    """Install the doubles in a directory.

    Parameters
    ----------
    site
        The directory, which is made.
    nki
        Its version, or None for none.
    torch
        Whether torch_xla and torch_neuronx are there too.
    versions
        Of other distributions (name: version), which are metadata only, such as ``neuronx-cc`` or
        ``libneuronxla``; also overrides of those of torch_xla and torch-neuronx.
    standin
        Whether torch is the stand-in; by default where real torch is missing.
    native
        Whether torch_neuronx is TorchNeuron, and there is no torch_xla.
    """
    site.mkdir(parents=True, exist_ok=True)
    found = {"neuronx-cc": "2.22.12471.0", **(versions or {})}
    _link(site, "site/neuron_double.py")
    _link(site, "site/neuron_tensors.py")
    _link(site, "site/sitecustomize.py")
    if nki is not None:
        _link(site, "site/nki")
        found["nki"] = nki
    if torch and native:
        _link(site, "native/torch_neuronx")
        found = {"torch-neuronx": NATIVE, **found}
    elif torch:
        _link(site, "site/torch_xla")
        _link(site, "site/torch_neuronx")
        found = {"torch-neuronx": "2.9.0.2.11", "torch-xla": "2.9.0", "libneuronxla": "2.2.14584", **found}
    if torch and (standin if standin is not None else not has_torch()):
        _link(site, "standin/torch")
        found = {"torch": "2.10.0" if native else "2.9.0", **found}
    for name, version in found.items():
        describe(site, name, version, ENTRY if native and name == "torch-neuronx" else "")
    return site


NATIVE = "2.10.0.3.0"
"""A version of TorchNeuron; which ones the closed beta has is not public."""

ENTRY = "[torch.backends]\ntorch_neuronx = torch_neuronx:_autoload\n"
"""How a package says that PyTorch shall load its device (PyTorch's documentation, extensions that load by
themselves), which TorchNeuron does (``aws-neuron/aws-neuron-sdk:
frameworks/torch/pytorch-native-overview.rst``)."""


def describe(site: Path, name: str, version: str, entries: str = "") -> None:
    """Metadata of a distribution, with its entry points."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entries:
        (folder / "entry_points.txt").write_text(entries)


def _link(site: Path, source: str) -> None:
    link = site / Path(source).name
    if not link.exists():
        link.symlink_to(HERE / source)


def fake_root(
    root: Path, devices: int = 1, chip: str = "trn2", cores: int = 8, programs: tuple[str, ...] = ()
) -> Path:
    """A file system with what the driver shows: ``dev/``, ``sys/``, and ``bin/`` with empty programs.

    ``aws-neuron/aws-neuron-sdk: tools/neuron-sys-tools/neuron-sysfs-user-guide.rst``.
    """
    architecture = {"trn1": "NCv2", "trn2": "NCv3", "trn3": "NCv4"}[chip]
    for name in ("dev", "sys", "bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number in range(devices):
        (root / f"dev/neuron{number}").touch()
        home = root / f"sys/devices/virtual/neuron_device/neuron{number}"
        files = {
            "core_count": str(cores),
            "info/architecture/arch_type": architecture,
            "info/architecture/device_name": chip.capitalize(),
            "info/architecture/instance_type": f"{chip}.48xlarge",
            "info/serial_number": f"{number:016x}",
        }
        for file, text in files.items():
            (home / file).parent.mkdir(parents=True, exist_ok=True)
            (home / file).write_text(f"{text}\n")
        for core in range(cores):
            for counter in ("status/success", "other_info/nc_time_in_use"):
                file = home / f"neuron_core{core}/stats/{counter}/total"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("0\n")
    if devices:
        (root / "sys/module/neuron").mkdir(parents=True, exist_ok=True)
        (root / "sys/module/neuron/version").write_text("2.26.5.0\n")
    for program in programs:
        (root / "bin" / program).write_text("#!/bin/sh\nexit 1\n")
        (root / "bin" / program).chmod(0o755)
    return root
