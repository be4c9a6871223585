"""Answering ``import nki`` for code that is not ours, and calling kernels from outside kernels.

Inside `importable` the modules stand in ``sys.modules`` under NKI's names. What is imported there and got
hold of them goes when it ends, with its whole package, so that a later import meets the real NKI again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType

from numtrn.errors import NumtrnError
from numtrn.machine import CHIPS, Chip

__all__ = ["Setting", "chosen_chip", "replaced", "setting"]

TARGETS = {"inf2": "trn1", "gen2": "trn1", "gen3": "trn2", "gen4": "trn3"}
"""Other names of the chips in ``NEURON_PLATFORM_TARGET_OVERRIDE`` (``nki/api/nki/__init__.py``: jit)."""


@dataclass(frozen=True)
class Setting:
    """How kernels run that are called without saying how.

    Attributes
    ----------
    chip
        The chip to be.
    version
        NKI version to be.
    """

    chip: Chip
    version: str


_SETTING: ContextVar[Setting | None] = ContextVar("numtrn_interp_setting", default=None)


def setting() -> Setting | None:
    """What the innermost `importable` says, or None outside."""
    return _SETTING.get()


def chosen_chip() -> Chip:
    """The chip of the environment, else trn3, as the official simulator chooses (SIM)."""
    name = os.environ.get("NEURON_PLATFORM_TARGET_OVERRIDE", "trn3")
    chip = CHIPS.get(TARGETS.get(name, name))
    if chip is None:
        raise NumtrnError(f"NEURON_PLATFORM_TARGET_OVERRIDE must name a chip; got {name!r}")
    return chip


def _ours(name: str) -> bool:
    return name == "nki" or name.startswith("nki.")


def _holders(names: set[str], modules: Mapping[str, ModuleType]) -> set[str]:
    """Top-level packages with a module among ``names`` that holds one of ``modules`` or a name of theirs."""
    held = {id(module) for module in modules.values()}
    packages = set()
    for name in names:
        values = list(vars(sys.modules[name]).values()) if name in sys.modules else []
        if any(id(value) in held or type(value).__module__.startswith("numtrn.interp") for value in values):
            packages.add(name.partition(".")[0])
    return packages - {__name__.partition(".")[0]}


@contextmanager
def replaced(modules: Mapping[str, ModuleType], how: Setting) -> Iterator[None]:
    """Put ``modules`` into ``sys.modules``; put back what was there, and drop what was built on them."""
    before = dict(sys.modules)
    hidden = {name: module for name, module in before.items() if _ours(name)}
    for name in hidden:
        del sys.modules[name]
    sys.modules.update(modules)
    token = _SETTING.set(how)
    try:
        yield
    finally:
        _SETTING.reset(token)
        fresh = {name for name in sys.modules if name not in before and not _ours(name)}
        packages = _holders(fresh, modules)
        for name in list(sys.modules):
            if _ours(name) or (name in fresh and name.partition(".")[0] in packages):
                del sys.modules[name]
        sys.modules.update(hidden)
