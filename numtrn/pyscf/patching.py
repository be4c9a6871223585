"""Single objects of PySCF's that go through numtrn from now on: `patch`, `unpatch` and `session`.

The mark is an attribute, as PySCF keeps all else, so that copies, pickles, scanners and conversions to other
kinds of mean field carry it. PySCF's functions stay replaced for as long as a mark lives.
"""

from __future__ import annotations

import weakref
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

from numtrn.block import current
from numtrn.options import UNSET
from numtrn.pyscf import reach, replacements
from numtrn.pyscf.blocks import enabled
from numtrn.pyscf.replacements import Original, register
from numtrn.session import Session

__all__ = ["patch", "session", "unpatch"]

T = TypeVar("T")

MARK = "_numtrn"
SESSION = "_numtrn_session"


class Mark:
    """What a patched object carries: settings for the blocks that it opens."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        replacements.hold()
        weakref.finalize(self, replacements.release).atexit = False

    def __reduce__(self) -> tuple[type[Mark], tuple[dict[str, Any]]]:
        return Mark, (self.settings,)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"<patched by numtrn.pyscf.patch({given})>"


def patch(
    solver: T,
    *,
    target: str = UNSET,
    chip: str = UNSET,
    precision: str | float = UNSET,
    min_work: int | None = UNSET,
    strict: bool = UNSET,
    verify: bool = UNSET,
    keep: int | bool = UNSET,
) -> T:
    """Make an MP2 object, or every MP2 object of a mean field, go through numtrn.

    Its ``kernel`` and ``run`` then run inside the open block, or where none is open in one of their own; see
    `session` for the account of that one.

    Parameters
    ----------
    solver
        An MP2 object (``MP2``, ``DFMP2``, ``UMP2``, ``DFUMP2``), or a mean field, however the MP2 objects
        are then made of it: ``mp.MP2(field)``, ``field.DFMP2()``, ... Patching again replaces the settings.
    target, chip, precision, min_work, strict, verify, keep
        Of the blocks, as of `numtrn.enabled`.

    Returns
    -------
    The same object.

    Raises
    ------
    TypeError, ValueError, TargetUnavailableError
        For any other object; for settings as `numtrn.enabled`.
    ModuleNotFoundError, NumtrnError
        As `enabled`.
    """
    given: dict[str, Any] = {
        "target": target,
        "chip": chip,
        "precision": precision,
        "min_work": min_work,
        "strict": strict,
        "verify": verify,
        "keep": keep,
    }
    settings = {name: value for name, value in given.items() if value is not UNSET}
    enabled(**settings)  # tells of wrong settings now
    mark = Mark(settings)
    if not isinstance(solver, _kinds()):
        raise TypeError(
            "numtrn.pyscf.patch takes an MP2 object or a mean field of PySCF; "
            f"got {type(solver).__module__}.{type(solver).__qualname__}"
        )
    setattr(solver, MARK, mark)
    return solver


def unpatch(solver: T) -> T:
    """Undo `patch`, for this object and not for its copies.

    Returns
    -------
    The same object.

    Raises
    ------
    ValueError
        Where the object itself is not patched; an MP2 object goes through numtrn by its mean field too.
    """
    if MARK not in vars(solver):
        raise ValueError(
            f"numtrn.pyscf.unpatch takes an object that was patched; this {type(solver).__name__} was not. "
            "If its mean field was, unpatch that"
        )
    delattr(solver, MARK)
    return solver


def session(solver: Any) -> Session:
    """The account of a patched MP2 object's last run in a block of its own.

    Raises
    ------
    ValueError
        Where there has been none.
    """
    found = vars(solver).get(SESSION)
    if not isinstance(found, Session):
        raise ValueError(
            f"numtrn.pyscf.session takes a patched MP2 object that has run outside any block; this "
            f"{type(solver).__name__} has not. Inside a block, read the block's session"
        )
    return found


def _kinds() -> tuple[type, ...]:
    return import_module("pyscf.mp.mp2").MP2Base, import_module("pyscf.scf.hf").SCF


def _mark(solver: Any) -> Mark | None:
    """The mark of an MP2 object, or of its mean field."""
    mark = vars(solver).get(MARK) or vars(solver._scf).get(MARK)
    return mark if isinstance(mark, Mark) else None


@register("pyscf.mp.mp2", "MP2Base.kernel", parameters="self")
@register("pyscf.mp.dfmp2", "DFRMP2.kernel", parameters="self")
@register("pyscf.mp.dfump2", "DFUMP2.kernel", parameters="self")
def _run(original: Original) -> Original:
    @wraps(original)
    def kernel(self: Any, *args: Any, **kwargs: Any) -> Any:
        mark = _mark(self)
        if mark is None or reach.here() is not None:
            return original(self, *args, **kwargs)
        block = current()
        if block is not None:
            with reach.adopted(block):
                return original(self, *args, **kwargs)
        with enabled(**mark.settings) as opened:
            setattr(self, SESSION, opened)
            return original(self, *args, **kwargs)

    return kernel
