"""The ways to launch a kernel on Neuron hardware: TorchNeuron, torch_xla, and ``nki`` alone.

All call the jitted kernel, which gives its results back; what it is called with differs
(``aws-neuron/aws-neuron-sdk: nki/api/nki/__init__.py``, jit):

* ``native``: tensors of the device "neuron" of TorchNeuron, the native backend of PyTorch, where they stay
  (``frameworks/torch/pytorch-native-overview.rst``);
* ``torch``: tensors of torch_xla's device, where they stay (``nki/guides/framework_custom_op.rst``);
* ``nki``: NumPy arrays; operands and results cross with every launch.

Of TorchNeuron, a closed beta, it is documented that kernels are called with its tensors as they are, without
``@nki_op``, which serves ``torch.compile`` (the overview's appendix); that native kernels return tensors
(``release-notes/components/nki.rst``, bug fixes); that work is queued, that each device keeps its order, and
that copies to the host wait for it (the overview, eager mode). Not documented, and assumed: that compile-time
integers go by position as everywhere, that a launch runs on the device of its operands, and that its errors
show with the first value that is asked for. Nor is it whether "adaptive eager execution", which fuses queued
operators, touches kernels: the overview promises the same numbers, but programs may be others than counted.

Which one is taken, and what failures mean, is `numtrn.targets.neuron`'s. Untried: no device was at hand.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np

from numtrn.errors import TargetUnavailableError
from numtrn.request import Array
from numtrn.targets import detect
from numtrn.targets.load import load_kernel
from numtrn.targets.tensors import from_tensor, to_tensor

__all__ = [
    "LAUNCHERS",
    "Launcher",
    "NativeLauncher",
    "NkiLauncher",
    "TorchLauncher",
    "jitted",
    "nki_modules",
    "problem",
]


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
"""Held while a launch is recorded or queued: with torch_xla, what another thread records meanwhile would be
part of the program; with TorchNeuron no document says that several threads may trace kernels at once. What is
queued runs on all cores at once."""


class Launcher(Protocol):
    """How arrays and launches reach the device.

    Attributes
    ----------
    resident
        Whether operands and results stay on the device between launches.
    several
        Whether it reaches more cores than the first one. Otherwise ``core`` is 0.
    twins
        As of `numtrn.targets.base.Target`.
    """

    name: str
    resident: bool
    several: bool
    twins: bool

    def send(self, array: Array, core: int) -> Any:
        """What a launch on a core takes of an array."""
        ...

    def run(
        self, kernel: str, values: Sequence[Any], parameters: Sequence[int], core: int
    ) -> tuple[Any, ...]:
        """Launch on what was sent; give its results, which may still be computed."""
        ...

    def bring(self, value: Any) -> Array:
        """A result as an array; waits for it."""
        ...


class NkiLauncher:
    """``nki`` alone with NumPy arrays."""

    name = "nki"
    resident = several = False
    twins = True

    def __init__(self) -> None:
        _one_core()

    def send(self, array: Array, core: int) -> Array:
        """The array, C-contiguous."""
        return np.ascontiguousarray(array)

    def run(
        self, kernel: str, values: Sequence[Any], parameters: Sequence[int], core: int
    ) -> tuple[Any, ...]:
        """Compile where need be, execute, wait."""
        return _tuple(jitted(kernel, detect.launch_cores())(*values, *parameters))

    def bring(self, value: Any) -> Array:
        """The result, which is on the host."""
        return np.asarray(value)


class TorchLauncher:
    """torch_xla with device tensors."""

    name = "torch"
    resident = True
    several = twins = False  # what is given twice is one input of the graph, and the graph another

    def __init__(self) -> None:
        _one_core()
        _compiled_for_one_core()
        importlib.import_module("torch_neuronx")  # registers the device
        self._xla = importlib.import_module("torch_xla")
        self._device = self._xla.device()

    def send(self, array: Array, core: int) -> Any:
        """A tensor on the device."""
        return to_tensor(array).to(self._device)

    def run(
        self, kernel: str, values: Sequence[Any], parameters: Sequence[int], core: int
    ) -> tuple[Any, ...]:
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


class NativeLauncher:
    """TorchNeuron with tensors of the devices ``neuron:0``, ``neuron:1`` ..., the cores of this process."""

    name = "native"
    resident = several = twins = True

    def __init__(self) -> None:
        _one_core()
        _compiled_for_one_core()
        self._torch = importlib.import_module("torch")  # first, as PyTorch loads what registers devices
        importlib.import_module("torch_neuronx")  # kernels need it (the overview's FAQ)
        self._cores = self._torch.accelerator.device_count()

    def send(self, array: Array, core: int) -> Any:
        """A tensor on the core's device."""
        return to_tensor(array).to(self._device(core))

    def run(
        self, kernel: str, values: Sequence[Any], parameters: Sequence[int], core: int
    ) -> tuple[Any, ...]:
        """Queue the kernel on the device of its operands, which is made the current one meanwhile."""
        with _recording, self._current(core):
            return _tuple(jitted(kernel, detect.launch_cores())(*values, *parameters))

    def bring(self, value: Any) -> Array:
        """Wait for a result and copy it to the host."""
        return from_tensor(value.cpu())

    def _device(self, core: int) -> Any:
        """A core's device.

        Raises
        ------
        TargetUnavailableError
            Where the process has no such core.
        """
        if core >= self._cores:
            raise TargetUnavailableError(
                f"cores={core + 1} or more were asked for, and TorchNeuron gives this process {self._cores}; "
                "ask for no more, or see NEURON_RT_VISIBLE_CORES and NEURON_RT_NUM_CORES"
            )
        return self._torch.device("neuron", core)

    @contextmanager
    def _current(self, core: int) -> Iterator[None]:
        """PyTorch's current device of this thread, and then the caller's again."""
        accelerator = self._torch.accelerator
        before = accelerator.current_device_index()
        if before == core:
            yield
            return
        accelerator.set_device_index(core)
        try:
            yield
        finally:
            accelerator.set_device_index(before)


LAUNCHERS: dict[str, type[Launcher]] = {
    "native": NativeLauncher,
    "torch": TorchLauncher,
    "nki": NkiLauncher,
}
"""In the order of preference: torch_xla is of PyTorch 2.9 and before, and is in no release since 2.32
(``frameworks/torch/about/index.rst``, ``setup/pytorch/manual.rst``), and without torch nothing stays on the
device. Which of the first two it is, the installed torch-neuronx decides: one package is either."""


def problem(name: str) -> str:
    """Why a launcher cannot be used here, or an empty string; nothing is imported."""
    found = [detect.nki_problem()]
    if name == "torch":
        found.append(detect.torch_problem())
    if name == "native":
        found.append(detect.native_problem())
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
