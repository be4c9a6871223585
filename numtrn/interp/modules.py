"""The modules that a kernel imports: ``nki``, ``nki.isa``, ``nki.language``, and smaller ones.

They are module objects that never enter ``sys.modules``: whoever loads a kernel hands them to it. A name
that NKI has and this interpreter does not is refused when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType, ModuleType
from typing import Any, NoReturn

from numtrn.interp import (
    enums,
    isa_cores,
    isa_data,
    isa_gather,
    isa_indirect,
    isa_random,
    isa_register,
    isa_scalar,
    isa_scan,
    isa_select,
    isa_tensor,
    isa_vector,
    language,
    loops,
    wrappers,
)
from numtrn.interp.arguments import Annotation
from numtrn.interp.core import RUNNING, running, since
from numtrn.interp.dtypes import DTYPES
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault, missing
from numtrn.interp.importing import Setting, chosen_chip, replaced, setting
from numtrn.interp.operators import OPERATORS
from numtrn.interp.registers import NkiInstruction, NKIObject, VirtualRegister
from numtrn.interp.tensor import NkiTensor, ds
from numtrn.machine import Chip

__all__ = ["Kernel", "importable", "modules"]


class Kernel:
    """A function marked with ``nki.jit``.

    Attributes
    ----------
    function
        The function itself.
    cores
        How many run it.
    """

    def __init__(self, function: Callable[..., Any], cores: int = 1) -> None:
        self.function = function
        self.cores = cores
        self.__name__ = getattr(function, "__name__", "kernel")
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run, inside `numtrn.interp.importable`; elsewhere kernels are not called directly."""
        how = setting()
        if how is None or RUNNING.get() is not None:
            fault(
                "context",
                f"{self.__name__} is decorated with nki.jit and is not called directly: outside kernels use"
                " numtrn.interp.simulate(kernel, arguments, chip=...); inside kernels call undecorated ones",
            )
        return _simulated(self, args, kwargs)

    def with_schedule(self, edges: Sequence[tuple[str, str]]) -> Kernel:
        """The same kernel: instructions run in program order here, whatever is asked of the scheduler."""
        return self

    def __getitem__(self, cores: Any) -> Kernel:
        """The kernel on one or two cores."""
        if cores not in (1, 2):
            fault("H42", f"a kernel runs on kernel[1] or kernel[2] cores; got kernel[{cores!r}]")
        return Kernel(self.function, int(cores))


def jit(fn: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """Mark a function as a kernel; ``mode`` is ignored, as in 0.3."""
    others = [name for name in kwargs if name != "mode"]
    if others:
        fault("H41", f"nki.jit takes no options that all NKI versions have; got {', '.join(others)}")
    if fn is None:
        return jit
    return fn if isinstance(fn, Kernel) else Kernel(fn)


def simulate(kernel: Kernel | Callable[..., Any]) -> Callable[..., Any]:
    """What runs the kernel here when it is called (``nki.simulate``)."""
    marked = kernel if isinstance(kernel, Kernel) else Kernel(kernel)
    return lambda *args, **kwargs: _simulated(marked, args, kwargs)


def _simulated(kernel: Kernel, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    from numtrn.interp import run  # which needs Kernel

    how = setting() or Setting(chosen_chip(), "0.6")
    return run.simulate(kernel, args, chip=how.chip, version=how.version, keywords=kwargs).outputs


@contextmanager
def importable(*, chip: Chip | None = None, version: str = "0.6") -> Iterator[Mapping[str, ModuleType]]:
    """Answer ``import nki`` in this process, and run kernels that are called; then leave it as it was.

    Parameters
    ----------
    chip
        The chip to be; by default that of ``NEURON_PLATFORM_TARGET_OVERRIDE``, or trn3.
    version
        NKI version to be.

    Yields
    ------
    Mapping
        The modules.

    Examples
    --------
    >>> with importable():                                                  # doctest: +SKIP
    ...     import nki.language as nl
    """
    with replaced(modules, Setting(chip or chosen_chip(), version)):
        yield modules


def _get_nc_version() -> enums.nc_version:
    return enums.nc_version(running().chip.generation)


def _get_nc_sub_version() -> int:
    """First revision of the silicon (0.5)."""
    since((0, 5), "nisa.get_nc_sub_version")
    return 0


class NkiValidationError(Exception):
    """What NKI raises; here violations are kernel faults."""


def _module(name: str, members: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name, f"{name} as numtrn's interpreter has it.")

    def absent(attribute: str) -> NoReturn:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        missing(f"{name}.{attribute}")

    module.__dict__.update(members)
    module.__dict__["__getattr__"] = absent
    return module


def _public(*sources: ModuleType) -> dict[str, Any]:
    return {name: getattr(source, name) for source in sources for name in source.__all__}


_ENUMS = ("dge_mode", "dma_engine", "engine", "matmul_perf_mode", "nc_version", "oob_mode", "reduce_cmd")
_ISA = (
    isa_cores,
    isa_data,
    isa_gather,
    isa_random,
    isa_register,
    isa_scalar,
    isa_scan,
    isa_select,
    isa_vector,
)
_NOT_INSTRUCTIONS = ("accumulate", "generator", "register")


def _isa() -> ModuleType:
    members = _public(*_ISA)
    members |= {name: getattr(enums, name) for name in _ENUMS}
    members |= {f"{member.name}_engine": member for member in enums.engine if member.value in (0, 1, 2, 3, 5)}
    members |= {
        "NkiInstruction": NkiInstruction,
        "NkiValidationError": NkiValidationError,
        "VirtualRegister": VirtualRegister,
        "dma_compute": isa_indirect.dma_compute,
        "get_nc_sub_version": _get_nc_sub_version,
        "get_nc_version": _get_nc_version,
        "nc_matmul": isa_tensor.nc_matmul,
    }
    return _module("nki.isa", {name: v for name, v in members.items() if name not in _NOT_INSTRUCTIONS})


def _language() -> ModuleType:
    members: dict[str, Any] = {name: name for name in DTYPES}
    members |= OPERATORS
    members |= {
        "MemoryRegion": MemoryRegion,
        "NKIObject": NKIObject,
        "NkiTensor": NkiTensor,
        "sbuf": MemoryRegion.sbuf,
        "psum": MemoryRegion.psum,
        "hbm": MemoryRegion.private_hbm,
        "private_hbm": MemoryRegion.private_hbm,
        "shared_hbm": MemoryRegion.shared_hbm,
        "tile_size": language.TileSize(),
        "DType": str,
        "ds": ds,
        "affine_range": range,
        "sequential_range": range,
        "static_range": range,
    }
    members |= {name: value for name, value in _public(language, loops).items() if name != "TileSize"}
    members |= wrappers.FUNCTIONS
    return _module("nki.language", members)


def _all() -> Mapping[str, ModuleType]:
    isa, nl = _isa(), _language()
    typing = _module("nki.typing", {"tensor": Annotation(), "mutable_tensor": Annotation(mutable=True)})
    members = {"jit": jit, "simulate": simulate, "isa": isa, "language": nl, "typing": typing, "__path__": []}
    members["collectives"] = collectives = _module("nki.collectives", {})
    nki = _module("nki", members)
    return MappingProxyType(
        {
            "nki": nki,
            "nki.collectives": collectives,
            "nki.isa": isa,
            "nki.language": nl,
            "nki.typing": typing,
        }
    )


modules: Mapping[str, ModuleType] = _all()
"""What ``import nki``, ``import nki.isa as nisa`` and so on give a kernel."""
