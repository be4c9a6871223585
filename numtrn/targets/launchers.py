"""The two ways to launch a kernel on Neuron hardware: ``nki`` alone, and torch_xla with device tensors.

``nki``: a jitted kernel called with NumPy arrays is compiled and executed; operands and results cross with
every launch (``aws-neuron/aws-neuron-sdk: nki/api/nki/__init__.py``, jit). ``torch``: operands are tensors of
the XLA device, where results stay; launches are asynchronous (``nki/guides/framework_custom_op.rst``). Which
one is taken, and what failures mean, is `numtrn.targets.neuron`'s. Untried: no device was at hand.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

from numtrn.request import Array
from numtrn.targets import detect
from numtrn.targets.load import load_kernel
from numtrn.targets.tensors import from_tensor, to_tensor

__all__ = ["LAUNCHERS", "Launcher", "NkiLauncher", "TorchLauncher", "jitted", "nki_modules", "problem"]


def nki_modules() -> dict[str, Any]:
    """The real ``nki`` modules, as kernels import them."""
    names = ("nki", "nki.isa", "nki.language")
    return {name: importlib.import_module(name) for name in names}


@cache
def jitted(name: str, lnc: int = 1) -> Callable[..., Any]:
    """A kernel with the real ``nki``, to be launched on so many physical cores together."""
    kernel: Any = load_kernel(name, nki_modules())
    return kernel if lnc == 1 else kernel[lnc]  # type: ignore[no-any-return]


_recording = threading.Lock()
"""Held while a program is recorded: what another thread records meanwhile would be part of it."""


class Launcher(Protocol):
    """How arrays and launches reach the device."""

    name: str
    resident: bool
    """Whether operands and results stay on the device between launches."""

    def send(self, array: Array) -> Any:
        """What a launch takes of an array."""
        ...

    def run(self, kernel: str, values: Sequence[Any], parameters: Sequence[int]) -> tuple[Any, ...]:
        """Launch on what was sent; give its results, which may still be computed."""
        ...

    def bring(self, value: Any) -> Array:
        """A result as an array; waits for it."""
        ...


class NkiLauncher:
    """``nki`` alone with NumPy arrays."""

    name = "nki"
    resident = False

    def __init__(self) -> None:
        _one_core()

    def send(self, array: Array) -> Array:
        """The array, C-contiguous."""
        return np.ascontiguousarray(array)

    def run(self, kernel: str, values: Sequence[Any], parameters: Sequence[int]) -> tuple[Any, ...]:
        """Compile where need be, execute, wait."""
        return _tuple(jitted(kernel, detect.launch_cores())(*values, *parameters))

    def bring(self, value: Any) -> Array:
        """The result, which is on the host."""
        return np.asarray(value)


class TorchLauncher:
    """torch_xla with device tensors."""

    name = "torch"
    resident = True

    def __init__(self) -> None:
        _one_core()
        _compiled_for_one_core()
        importlib.import_module("torch_neuronx")  # registers the device
        self._xla = importlib.import_module("torch_xla")
        self._device = self._xla.device()

    def send(self, array: Array) -> Any:
        """A tensor on the device."""
        return to_tensor(array).to(self._device)

    def run(self, kernel: str, values: Sequence[Any], parameters: Sequence[int]) -> tuple[Any, ...]:
        """Start the kernel as a program of its own.

        torch_xla compiles all that is recorded until a sync as one program. Without this one each sequence of
        launches would be another program (``about-neuron/arch/neuron-features/neuron-caching.rst``: the
        location of the sync changes the graph).
        """
        with _recording:
            given = _tuple(jitted(kernel, detect.launch_cores())(*values, *parameters))
            self._xla.sync()
        return given

    def bring(self, value: Any) -> Array:
        """Wait for a result and copy it to the host."""
        return from_tensor(value.cpu())


LAUNCHERS: dict[str, Callable[[], Launcher]] = {"torch": TorchLauncher, "nki": NkiLauncher}
"""In the order of preference."""


def problem(name: str) -> str:
    """Why a launcher cannot be used here, or an empty string; nothing is imported."""
    found = [detect.nki_problem()]
    if name == "torch":
        found.append(detect.torch_problem())
    if os.environ.get("NKI_SIMULATOR") == "1":
        found.append("NKI_SIMULATOR=1 sends every kernel to the simulator on this host; unset it")
    found.append(detect.lnc_problem(detect.device_chip()))
    return "; ".join(filter(None, found))


def _one_core() -> None:
    """Have the runtime give single cores unless it is told otherwise: the default of trn2 and trn3 is two.

    A launch must say what the runtime was told, which reads it once
    (``nki/api/nki/__init__.py``, jit; ``about-neuron/arch/neuron-features/logical-neuroncore-config.rst``).
    """
    os.environ.setdefault("NEURON_LOGICAL_NC_CONFIG", "1")


def _compiled_for_one_core() -> None:
    """The same for graphs, whose compiler is told by a flag (``nki/guides/use-neuron-profile.rst``)."""
    flags = os.environ.get("NEURON_CC_FLAGS", "")
    if "lnc" not in flags and "logical-nc-config" not in flags and detect.device_chip() != "trn1":
        os.environ["NEURON_CC_FLAGS"] = f"{flags} --lnc={detect.launch_cores()}".strip()


def _tuple(given: Any) -> tuple[Any, ...]:
    return given if isinstance(given, tuple) else (given,)
