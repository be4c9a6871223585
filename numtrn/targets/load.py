"""Load a kernel's source for a given ``nki``: the real one, or the embedded interpreter's.

The source runs with an ``__import__`` of its own that answers ``nki`` and its submodules from a mapping
and refuses everything else, so nothing enters ``sys.modules`` and a kernel can depend on nothing but NKI.
"""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from types import ModuleType
from typing import Any

__all__ = ["kernel_names", "load_kernel", "sources_hash"]

PACKAGE = "numtrn_kernels"


def kernel_names() -> tuple[str, ...]:
    """Names of the kernels that are installed."""
    files = resources.files(PACKAGE).iterdir()
    names = (file.name.removesuffix(".py") for file in files if file.name.endswith(".py"))
    return tuple(sorted(name for name in names if not name.startswith("_")))


@cache
def sources_hash() -> str:
    """Hash of the names and sources of all kernels, which changes when any of them does."""
    found = hashlib.sha256()
    for name in kernel_names():
        source = resources.files(PACKAGE).joinpath(f"{name}.py").read_bytes()
        found.update(f"{name} {len(source)}\n".encode() + source)
    return found.hexdigest()


def load_kernel(name: str, modules: Mapping[str, ModuleType]) -> Callable[..., Any]:
    """The kernel ``name`` of the file ``name``, decorated by the given ``nki``.

    Parameters
    ----------
    name
        Of a file in ``kernels/`` and of the kernel in it.
    modules
        ``"nki"``, ``"nki.isa"`` and ``"nki.language"``, and what else the kernel may import.

    Raises
    ------
    ImportError
        When the kernel imports anything else.
    FileNotFoundError
        When there is no such kernel.
    """
    file = resources.files(PACKAGE).joinpath(f"{name}.py")

    def import_nki(module: str, *_: Any) -> ModuleType:
        if module not in modules:
            allowed = ", ".join(sorted(modules))
            raise ImportError(f"kernels/{name}.py imports {module!r}; a kernel may import {allowed} only")
        return modules["nki"]

    namespace: dict[str, Any] = {
        "__name__": f"{PACKAGE}.{name}",
        "__file__": str(file),
        "__builtins__": {**vars(builtins), "__import__": import_nki},
    }
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), namespace)
    kernel: Callable[..., Any] = namespace[name]
    return kernel
