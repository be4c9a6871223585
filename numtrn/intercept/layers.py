"""Putting the layers in place: once per process, each with a self-test, and a reason when it stays off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np

from numtrn.intercept import cblas, dispatchers, einsum, fblas, gate, matmul
from numtrn.request import Array, Contraction, Operands, Request

__all__ = ["LayerStatus", "install", "status"]


@dataclass(frozen=True, slots=True)
class LayerStatus:
    """Whether one layer of interception works.

    Attributes
    ----------
    name
        Such as ``"L1 matmul loops"``.
    on
        Whether its calls are caught inside blocks.
    reason
        Why it is off; empty when it is on.
    """

    name: str
    on: bool
    reason: str = ""


Offer = Callable[[Request, Operands], Array | None]

LAYERS = {
    "L1 matmul loops": matmul,
    "L2 SciPy's Fortran BLAS": fblas,
    "L3 NumPy's CBLAS": cblas,
    "L4 einsum": einsum,
    "L5 dispatchers": dispatchers,
}
"""Modules with ``install``, ``uninstall`` and ``probe``."""

NEEDS_NO_THUNKS = (einsum,)
NOT_YET = "not installed yet: the first block does that"

_lock = threading.Lock()
_status: tuple[LayerStatus, ...] = ()


def install() -> tuple[LayerStatus, ...]:
    """Install every layer that works here; only the first call in a process does anything.

    SciPy is imported then. Without an open block an installed layer costs a few nanoseconds for each call.

    Returns
    -------
    tuple of LayerStatus
    """
    global _status
    if not _status:
        with _lock:
            if not _status:
                gate.connect()
                _status = tuple(_install(name, layer) for name, layer in LAYERS.items())
    return _status


def status() -> tuple[LayerStatus, ...]:
    """What works, without installing anything."""
    return _status or tuple(LayerStatus(name, False, NOT_YET) for name in LAYERS)


def _install(name: str, layer: ModuleType) -> LayerStatus:
    if gate.WHY_NO_THUNKS and layer not in NEEDS_NO_THUNKS:
        return LayerStatus(name, False, gate.WHY_NO_THUNKS)
    try:
        layer.install()
        problem = _self_test(layer)
    except Exception as error:
        problem = str(error) or type(error).__name__
    if problem:
        layer.uninstall()
    return LayerStatus(name, not problem, problem)


def _self_test(layer: ModuleType) -> str:
    """What is wrong with a layer; empty when its probe calls are caught, and right, declined or not."""
    for computed_by, answer in (("us", _reference), ("the original", _decline)):
        asked: list[Request] = []
        with gate.probing(partial(_note, asked, answer)):
            results = layer.probe()
        if len(asked) != len(results):
            return f"the self-test made {len(results)} calls, of which {len(asked)} were caught"
        if not all(np.array_equal(result, expected) for result, expected in results):
            return f"a call of the self-test, computed by {computed_by}, gave a wrong result"
    return ""


def _note(asked: list[Request], answer: Offer, request: Request, operands: Operands) -> Array | None:
    asked.append(request)
    return answer(request, operands)


def _decline(_: Request, __: Operands) -> None:
    return None


def _reference(request: Request, operands: Operands) -> Array:
    """A request computed without any product of NumPy's."""
    if isinstance(request, Contraction):
        return _contracted(request.subscripts, operands.inputs)
    a, b = operands.inputs
    product: Array = (a[..., None] * b[..., None, :, :]).sum(axis=-2)
    return product


def _contracted(subscripts: str, arrays: tuple[Array, ...]) -> Array:
    """The contraction as products of elements and a sum."""
    terms, output = subscripts.split("->")
    labels = output + "".join(sorted(set(terms) - set(output) - {","}))
    product: Array = np.ones(())
    for term, array in zip(terms.split(","), arrays, strict=True):
        axes = [term.index(label) for label in labels if label in term]
        places = [axis for axis, label in enumerate(labels) if label not in term]
        product = product * np.expand_dims(array.transpose(axes), tuple(places))
    total: Array = product.sum(axis=tuple(range(len(output), len(labels))))
    return total
