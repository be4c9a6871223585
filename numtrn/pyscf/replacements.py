"""Which functions of PySCF's have ours before them, from the first holder to the last, and as what.

Every caller looks these names up when it calls: ``lib.einsum`` and ``lib.dot``, under whatever name they
were imported, come to ``contract``, ``_dgemm`` and ``_zgemm`` of their module, and the MP2 classes to the
``kernel`` of theirs. Where no block is open in the running thread, ours only call the original.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from numtrn.errors import NumtrnError

__all__ = ["Original", "blind", "hold", "register", "release"]

Original = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Place:
    """One name in PySCF.

    Attributes
    ----------
    module
        That holds it, such as ``"pyscf.mp.mp2"``.
    name
        There, with the class before it where it belongs to one.
    parameters
        Names of its arguments that ours relies on, in order.
    replacement
        Makes ours from the original.
    """

    module: str
    name: str
    parameters: tuple[str, ...]
    replacement: Callable[[Original], Original]


@dataclass(frozen=True, slots=True)
class Placed:
    """What stands at a place, and what stood there."""

    owner: Any
    name: str
    original: Original
    ours: Original

    def put(self) -> None:
        """Put ours in place."""
        setattr(self.owner, self.name, self.ours)

    def restore(self) -> None:
        """Put the original back, unless somebody has put something else there since."""
        if vars(self.owner).get(self.name) is self.ours:
            setattr(self.owner, self.name, self.original)


_places: list[Place] = []
_lock = threading.RLock()  # a holder may be collected, and so released, at any moment
_holders = 0
_placed: list[Placed] = []


def register(
    module: str, *names: str, parameters: str
) -> Callable[[Callable[[Original], Original]], Callable[[Original], Original]]:
    """Decorate what makes a replacement with the places it is for.

    Parameters
    ----------
    module, names
        As of `Place`.
    parameters
        Names of arguments that must stand first, separated by blanks.
    """

    def add(replacement: Callable[[Original], Original]) -> Callable[[Original], Original]:
        _places.extend(Place(module, name, tuple(parameters.split()), replacement) for name in names)
        return replacement

    return add


def hold() -> None:
    """Have ours in place until as many calls of `release` have followed.

    Raises
    ------
    ModuleNotFoundError
        Where PySCF is not installed.
    NumtrnError
        Where it is not laid out as known. Nothing has been replaced then.
    """
    global _holders
    with _lock:
        if _holders == 0:
            _install()
        _holders += 1


def release() -> None:
    """End one `hold`; the last one restores PySCF."""
    global _holders
    with _lock:
        _holders -= 1
        if _holders == 0:
            _uninstall()


def blind() -> tuple[str, ...]:
    """What a block cannot see of this PySCF, in words."""
    if import_module("pyscf.lib.numpy_helper").EINSUM_BACKEND == "pytblis":
        return ("pyscf.lib.einsum: its backend pytblis computes; uninstall that for numtrn to see it",)
    return ()


def _install() -> None:
    _import_pyscf()
    found = [_find(place) for place in _places]
    try:
        for placed in found:
            _placed.append(placed)
            placed.put()
    except BaseException:
        _uninstall()
        raise


def _uninstall() -> None:
    while _placed:
        _placed[-1].restore()
        _placed.pop()


def _import_pyscf() -> None:
    try:
        import_module("pyscf")
    except ModuleNotFoundError as error:
        if error.name != "pyscf":
            raise
        raise ModuleNotFoundError(
            "numtrn.pyscf needs PySCF, which is not installed: pip install 'numtrn[pyscf]'", name="pyscf"
        ) from None


def _find(place: Place) -> Placed:
    """The original at a place, and ours for it.

    Raises
    ------
    NumtrnError
        Where there is no such function, or one with other arguments.
    """
    *path, name = place.name.split(".")
    try:
        owner: Any = import_module(place.module)
        for step in path:
            owner = getattr(owner, step)
        original = vars(owner)[name]
        parameters = tuple(inspect.signature(original).parameters)
    except (ImportError, AttributeError, KeyError, TypeError, ValueError):
        raise _unknown(place, "which this PySCF lacks") from None
    if parameters[: len(place.parameters)] != place.parameters:
        raise _unknown(place, f"which here takes ({', '.join(parameters)})")
    return Placed(owner, name, original, place.replacement(original))


def _unknown(place: Place, what: str) -> NumtrnError:
    version = getattr(import_module("pyscf"), "__version__", "of unknown version")
    return NumtrnError(
        f"numtrn.pyscf replaces {place.module}.{place.name}({', '.join(place.parameters)}, ...), {what} "
        f"({version}). It knows the layout of PySCF 2.8 to 2.14: install one of these, or use numtrn.enabled "
        "and numtrn.mp2, which need no PySCF"
    )
