"""The modules that a kernel imports: ``nki``, ``nki.isa``, ``nki.language``, ``nki.typing``.

They are module objects that never enter ``sys.modules``: whoever loads a kernel hands them to it. A name
that NKI has and this interpreter does not is refused when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, NoReturn

from numtrn.interp import enums, isa_data, isa_scalar, isa_tensor, isa_vector, language
from numtrn.interp.core import running
from numtrn.interp.dtypes import DTYPES
from numtrn.interp.enums import MemoryRegion
from numtrn.interp.faults import fault
from numtrn.interp.hazards import FAILING
from numtrn.interp.operators import OPERATORS
from numtrn.interp.tensor import NKIObject, NkiTensor, ds

__all__ = ["Kernel", "modules"]


class Kernel:
    """A function marked with ``nki.jit``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", "kernel")
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: kernels are run, not called."""
        fault(
            "context",
            f"{self.__name__} is decorated with nki.jit and is not called directly: outside kernels use"
            " numtrn.interp.simulate(kernel, arguments, chip=...); inside kernels call undecorated functions",
        )

    def __getitem__(self, cores: int) -> Kernel:
        if cores != 1:
            fault("unsupported", f"this interpreter runs kernels on one core; got kernel[{cores!r}]")
        return self


def jit(fn: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    """Mark a function as a kernel."""
    if kwargs:
        fault("H41", f"nki.jit takes no options that all NKI versions have; got {', '.join(kwargs)}")
    if fn is None:
        return jit
    return fn if isinstance(fn, Kernel) else Kernel(fn)


def _get_nc_version() -> enums.nc_version:
    return enums.nc_version(running().chip.generation)


class _Annotation:
    """``nt.tensor``, which may be subscripted with a shape."""

    def __getitem__(self, shape: Any) -> _Annotation:
        return self


def _module(name: str, members: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name, f"{name} as numtrn's interpreter has it.")

    def missing(attribute: str) -> NoReturn:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if f"{name}.{attribute}" in FAILING:
            fault("H36", f"{name}.{attribute} must not be used: {FAILING[f'{name}.{attribute}']}")
        fault("unsupported", f"this interpreter does not have {name}.{attribute} yet, or NKI does not")

    module.__dict__.update(members)
    module.__dict__["__getattr__"] = missing
    return module


def _public(*sources: ModuleType) -> dict[str, Any]:
    return {name: getattr(source, name) for source in sources for name in source.__all__}


def _isa() -> ModuleType:
    names = ("dge_mode", "dma_engine", "engine", "matmul_perf_mode", "nc_version", "oob_mode", "reduce_cmd")
    members = _public(isa_data, isa_scalar, isa_vector)
    members |= {name: getattr(enums, name) for name in names}
    return _module(
        "nki.isa", members | {"nc_matmul": isa_tensor.nc_matmul, "get_nc_version": _get_nc_version}
    )


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
        "ds": ds,
        "affine_range": range,
        "sequential_range": range,
        "static_range": range,
        "ndarray": language.ndarray,
        "shared_identity_matrix": language.shared_identity_matrix,
        "program_id": language.program_id,
        "num_programs": language.num_programs,
        "program_ndim": language.program_ndim,
        "is_hbm": language.is_hbm,
        "is_on_chip": language.is_on_chip,
        "is_psum": language.is_psum,
        "is_sbuf": language.is_sbuf,
    }
    return _module("nki.language", members)


def _all() -> Mapping[str, ModuleType]:
    isa, nl = _isa(), _language()
    typing = _module("nki.typing", {"tensor": _Annotation()})
    nki = _module("nki", {"jit": jit, "isa": isa, "language": nl, "typing": typing})
    return MappingProxyType({"nki": nki, "nki.isa": isa, "nki.language": nl, "nki.typing": typing})


modules: Mapping[str, ModuleType] = _all()
"""What ``import nki``, ``import nki.isa as nisa`` and so on give a kernel."""
