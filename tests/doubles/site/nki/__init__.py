"""Double of ``nki``: ``jit`` and ``simulate`` in the signature of the installed version.

Sources (``aws-neuron/aws-neuron-sdk``): ``nki/api/nki/__init__.py`` (jit, simulate),
``nki/guides/nki_simulator.rst``, ``nki/migration/index.rst``, ``release-notes/components/nki.rst``
(0.2: a call without arguments; 0.3: lists, mode, platform_target; 0.4: torch in the simulator).
"""

from __future__ import annotations

import inspect
import os
import sys
import types
from importlib import metadata
from typing import Any

import neuron_double as double
import numpy as np
from neuron_double import Misuse

from numtrn import interp

__version__ = metadata.version("nki")
OLD = double.version() < (0, 4)
PRECISE_BY_DEFAULT = "0" if OLD else "1"


class Kernel:
    """What ``nki.jit`` returns; ``kernel[2]`` runs on two cores."""

    def __init__(self, func: types.FunctionType, lnc: int = 1) -> None:
        self.func = func
        self.lnc = lnc
        self.__name__ = func.__name__

    def __getitem__(self, lnc: Any) -> Kernel:
        if not isinstance(lnc, int) or lnc not in (1, 2):
            raise Misuse(f"the brackets hold one number of cores, 1 or 2; got {lnc!r}")
        return Kernel(self.func, lnc)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if os.environ.get("NKI_SIMULATOR") == "1":
            return simulate(self)(*args, **kwargs)
        if not args and not kwargs:
            raise Misuse("a kernel cannot be called without arguments")
        double.check_values([*args, *kwargs.values()])
        double.check_pure(self.func)
        tensors = [value for value in (*args, *kwargs.values()) if _is_torch(value)]
        if not tensors:
            return self._standalone(args, kwargs)
        if any(isinstance(value, np.ndarray) for value in (*args, *kwargs.values())):
            raise Misuse("a kernel takes the tensors of one framework; got NumPy arrays beside torch tensors")
        return _framework(tensors).call_kernel(self, args, kwargs)

    def _standalone(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        arrays = [value for value in (*args, *kwargs.values()) if isinstance(value, np.ndarray)]
        if not arrays:
            raise Misuse("no argument is a tensor, so no framework can be told")
        for array in arrays:
            double.check_array(array)
        self.check_cores()
        key = self.program(args, kwargs)
        outputs = double.compute(self.inner(), [*args], kwargs, self.target())
        double.device.compile(key, self.__name__)
        count = sum(array.nbytes for array in (*arrays, *outputs))
        double.device.allocate(count)
        try:
            double.device.execute(self.__name__)
        finally:
            double.device.release(count)
        double.device.transfers["to"] += sum(array.nbytes for array in arrays)
        double.device.transfers["from"] += sum(array.nbytes for array in outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def check_cores(self) -> None:
        config = double.device.start()
        if self.lnc != config:
            raise double.runtime_failure(
                "NRT_INVALID", f"kernel[{self.lnc}] was launched with NEURON_LOGICAL_NC_CONFIG={config}"
            )

    def target(self) -> str:
        told = os.environ.get("NEURON_PLATFORM_TARGET_OVERRIDE")
        chip = double.chip_of_device()
        if told and double.chip_named(told) != chip:
            raise double.runtime_failure("NRT_FAILURE", f"a NEFF for {told} does not load on {chip}")
        return chip

    def program(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        bound = inspect.signature(self.func).bind(*args, **kwargs)
        bound.apply_defaults()
        return double.program_key(self.func, bound, self.lnc)

    def inner(self) -> Any:
        marked = interp.modules["nki"].jit(self.func)
        return marked[self.lnc]


def _is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _framework(tensors: list[Any]) -> Any:
    """Whose tensors these are; that of the installed one where it is the CPU's, which it refuses."""
    native = any(tensor.device.type == "neuron" for tensor in tensors)
    for name in ("torch_neuronx", "torch_xla") if native else ("torch_xla", "torch_neuronx"):
        found = sys.modules.get(name)
        if hasattr(found, "call_kernel"):
            return found
    raise Misuse("a kernel is launched with tensors of a Neuron device, of torch_xla or TorchNeuron")


def _jitted(function: Any, options: dict[str, Any]) -> Kernel:
    if isinstance(function, Kernel):
        return function
    if not isinstance(function, types.FunctionType):
        raise Misuse(f"nki.jit decorates a function; got {function!r}")
    wrong = sorted(set(options) - {"mode"})
    if wrong:
        raise Misuse(f"nki.jit does not take {', '.join(wrong)}")
    return Kernel(function)


if OLD:

    def jit(func: Any = None, mode: Any = None, **kwargs: Any) -> Any:
        """0.3: ``mode`` is ignored, ``platform_target`` an error."""
        return _jitted(func, kwargs) if func is not None else lambda f: _jitted(f, kwargs)

else:

    def jit(fn: Any = None, **kwargs: Any) -> Any:
        """0.4 and later."""
        return _jitted(fn, kwargs) if fn is not None else lambda f: _jitted(f, kwargs)


def simulate(kernel: Any) -> Any:
    """Run on the CPU: NumPy arrays; CPU tensors of torch since 0.4."""
    marked = kernel if isinstance(kernel, Kernel) else Kernel(kernel)

    def run(*args: Any, **kwargs: Any) -> Any:
        precise = os.environ.get("NKI_PRECISE_FP", PRECISE_BY_DEFAULT)
        chip = double.chip_named(os.environ.get("NEURON_PLATFORM_TARGET_OVERRIDE", "trn3"))
        if precise != "1":
            raise Misuse(
                "NKI_PRECISE_FP is not 1: bfloat16 would be held as float32, which nobody wants here"
            )
        double.check_values([*args, *kwargs.values()])
        torched = any(_is_torch(value) for value in (*args, *kwargs.values()))
        if torched and OLD:
            raise Misuse("nki.simulate takes NumPy arrays only before 0.4.0")
        back = _from_torch if torched else (lambda value: value)
        double.device.simulated.append((marked.__name__, precise, chip))
        double.event("simulate", kernel=marked.__name__, chip=chip)
        named = {name: back(value) for name, value in kwargs.items()}
        outputs = double.compute(marked.inner(), [back(value) for value in args], named, chip)
        if torched:
            from neuron_tensors import from_array

            outputs = tuple(from_array(output) for output in outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    return run


def _from_torch(value: Any) -> Any:
    if not _is_torch(value):
        return value
    from neuron_tensors import to_array

    if value.device.type != "cpu":
        raise Misuse("nki.simulate takes tensors of the CPU")
    return to_array(value)


from nki import isa, language, typing  # noqa: E402, F401
