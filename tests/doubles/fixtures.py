"""Fixtures of the doubles: import them in a test module or a conftest.

``neuron_host`` gives a function that installs a host in this process, and takes it away after the test.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from numtrn.targets import detect, health
from tests.doubles import fake_root, has_torch, install

NEURON_VARIABLES = ("NKI_", "NEURON_", "PJRT_", "XLA_", "NUMTRN_LAUNCHER")
MODULES = ("nki", "torch_xla", "torch_neuronx", "neuron_double", "neuron_tensors")


@dataclass
class Host:
    """A machine with doubles installed.

    Attributes
    ----------
    site
        Where the packages lie; put it on ``PYTHONPATH`` for another process.
    root
        Of its device files.
    device
        The double's device: ``compiled``, ``launched``, ``fail(kind, at, times, kernel)``, ``capacity``.
    """

    site: Path
    root: Path
    device: Any

    def environment(self, **more: str) -> dict[str, str]:
        """For a process on this host; numtrn is found where it is found here."""
        import numtrn

        here = str(Path(numtrn.__file__).parents[1])
        paths = [str(self.site), here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}


def _forget() -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] in MODULES or (name == "torch" and not has_torch()):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def neuron_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """``neuron_host(nki="0.6.0", torch=True, devices=1, chip="trn2", ...)`` gives a `Host`.

    Detection then sees its device files and programs; the compile cache is a directory of the test.
    """
    for name in list(os.environ):
        if name.startswith(NEURON_VARIABLES):
            monkeypatch.delenv(name)
    made: list[Host] = []

    def make(
        nki: str | None = "0.6.0",
        torch: bool = True,
        devices: int = 1,
        chip: str = "trn2",
        cores: int = 8,
        programs: tuple[str, ...] = ("neuronx-cc", "neuron-ls", "libneuronpjrt-path"),
        versions: dict[str, str] | None = None,
        standin: bool | None = None,
        native: bool = False,
    ) -> Host:
        site = install(
            tmp_path / "site", nki=nki, torch=torch, versions=versions, standin=standin, native=native
        )
        root = fake_root(tmp_path / "root", devices=devices, chip=chip, cores=cores, programs=programs)
        _forget()
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("NEURON_DOUBLE_CHIP", chip)
        monkeypatch.setenv("NEURON_DOUBLE_ROOT", str(root))
        for name in ("NEURON_LOGICAL_NC_CONFIG", "NEURON_CC_FLAGS"):  # launchers may set them; undone then
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        monkeypatch.setenv("NEURON_COMPILE_CACHE_URL", str(tmp_path / "neuron-compile-cache"))
        monkeypatch.setenv("NUMTRN_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PATH", f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}")
        see(monkeypatch, root)
        device = importlib.import_module("neuron_double").reset()
        made.append(Host(site, root, device))
        return made[-1]

    yield make
    for name in ("torch_xla", "torch_neuronx"):
        if hasattr(sys.modules.get(name), "uninstall"):
            sys.modules[name].uninstall()
    _forget()
    forget_kernels()
    health.forget()


def see(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Have detection look below another root."""
    monkeypatch.setattr(detect, "DEV", str(root / "dev"))
    monkeypatch.setattr(detect, "SYS", str(root / "sys"))


def forget_kernels() -> None:
    """Kernels that were loaded with a double's nki go with it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("numtrn.targets."):
            for value in vars(module).values():
                if hasattr(value, "cache_clear") and getattr(value, "__module__", "") == name:
                    value.cache_clear()
