"""A contraction of several operands as steps, each a product for a kernel or work for the host.

The order is `numtrn.plan.path`'s; who computes a step is decided in `numtrn.plan.decide`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from numtrn.plan.contraction import Folding, fold
from numtrn.plan.cost import Prediction
from numtrn.plan.path import Order
from numtrn.plan.records import Plan
from numtrn.precision import Scheme
from numtrn.request import Contraction, shape_text

__all__ = ["ContractionPlan", "Stage", "Undecided", "walk"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Undecided:
    """One step before it is known who computes it.

    Attributes
    ----------
    places
        Of its operands, in the list as it is then; its result goes to the end.
    request
        The step as a contraction of its own.
    folding
        The product that it is; None where it is none.
    why_none
        What it is instead, and why it stays on the host; empty for a product.
    """

    places: tuple[int, ...]
    request: Contraction
    folding: Folding | None
    why_none: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One step and who computes it.

    Attributes
    ----------
    places, request
        As of an `Undecided`.
    kind
        What a chemist calls it.
    work
        Multiply-adds.
    plan
        Of a product for a kernel; None for the host.
    reason
        Why it is the host's; empty for a kernel's.
    """

    places: tuple[int, ...]
    request: Contraction
    kind: str
    work: int
    plan: Plan | None
    reason: str

    def __str__(self) -> str:
        shapes = shape_text(self.request.shapes)
        text = f"{self.kind} {self.request.subscripts}, {shapes}, {self.work:,} multiply-adds"
        if self.plan is None:
            return f"{text}: NumPy, {self.reason}"
        copied = self.plan.folding.copied if self.plan.folding is not None else 0
        copies = f", {copied:,} bytes copied on the host" if copied else ""
        return f"{text}: kernel {self.plan.kernel}, {self.plan.prediction}{copies}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractionPlan:
    """What will be done for a contraction of several operands.

    Attributes
    ----------
    request
        What was asked.
    order
        In which order the operands are taken, and the largest intermediate result.
    stages
        At least one of which has a kernel.
    target, chip
        Where.
    prediction
        Of the kernels' steps; published figures, no measurement.
    reason
        Why kernels, in words and figures.
    shapes
        As of a `numtrn.plan.Plan`.
    """

    request: Contraction
    order: Order
    stages: tuple[Stage, ...]
    target: str
    chip: str
    prediction: Prediction
    reason: str
    shapes: str = "fine"
    cores: int = 1

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Of the kernels' steps."""
        return tuple(step.plan for step in self.stages if step.plan is not None)

    @property
    def largest(self) -> Plan:
        """The kernel step of the most multiply-adds."""
        return max(self.plans, key=lambda plan: plan.gemm.work)

    @property
    def kernel(self) -> str:
        """Name of the kernel of the largest step."""
        return self.largest.kernel

    @property
    def scheme(self) -> Scheme:
        """The precision scheme of the largest step."""
        return self.largest.scheme

    @property
    def work(self) -> int:
        """Multiply-adds of all steps."""
        return sum(step.work for step in self.stages)

    @property
    def loop_work(self) -> int:
        """Multiplications of NumPy's single loop, which multiplies all operands in each turn."""
        return self.request.work * (len(self.request.shapes) - 1)

    @property
    def copied(self) -> int:
        """Bytes of operands copied on the host."""
        return sum(plan.folding.copied for plan in self.plans if plan.folding is not None)

    @property
    def numpy_seconds(self) -> float | None:
        """Nothing is predicted for NumPy's loop."""
        return None

    @property
    def bound(self) -> float:
        """Promised componentwise error in units of u |A||B||C|..., to first order in u."""
        return sum(step_bound(step, self.scheme) for step in self.stages)

    @property
    def measure(self) -> str:
        """What `bound` is a multiple of, beside the unit."""
        return "".join(
            f"|{letter}|"
            for letter, _ in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", self.request.shapes, strict=False)
        )

    @property
    def scales(self) -> str:
        """What the underflow of an outcome is a multiple of."""
        return "absolute"

    def __str__(self) -> str:
        kernels, all_ = len(self.plans), len(self.stages)
        given = ", in the order given" if self.request.path is not None else ""
        lines = [
            f"{self.request.function} {self.request.dtype} {self.request.subscripts}, "
            f"{shape_text(self.request.shapes)}: {kernels} of {all_} steps by kernels",
            f"  reason    {self.reason}",
            f"  order     {self.work:,} multiply-adds in place of {self.loop_work:,} of a single loop{given}",
            f"  memory    largest intermediate result {self.order.largest:,} elements, "
            f"allowed {self.order.limit:,}; {self.copied:,} bytes copied on the host",
            *(f"  step {number:<4} {step}" for number, step in enumerate(self.stages, 1)),
            f"  scheme    {self.scheme.name}: {self.scheme.description}",
            f"  promise   |error| <= {self.bound:.4g} {self.scheme.unit_text} {self.measure}, componentwise",
            f"  target    {self.target}, {self.chip}",
            f"  predicted {self.prediction} (kernels, {self.prediction.source})",
        ]
        return "\n".join(lines)


HOST_COMPLEX = 3
"""What complex arithmetic multiplies a bound by, rounded up: N. Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.6."""


def step_bound(step: Stage, scheme: Scheme) -> float:
    """Bound of one step in units of the scheme; the host's n products and sums round n + operands times."""
    if step.plan is not None:
        return step.plan.bound
    return host_bound(step.request, scheme)


def host_bound(request: Contraction, scheme: Scheme) -> float:
    """The same of a step that NumPy computes, in whatever order it adds."""
    inputs, output = request.subscripts.split("->")
    summed = set(inputs) - set(output) - {","}
    terms = prod(request.extents[label] for label in summed)
    factor = HOST_COMPLEX if scheme.complex else 1
    return factor * (terms + len(request.shapes)) * scheme.own_unit / scheme.unit


def walk(request: Contraction, order: Order) -> Iterator[Undecided]:
    """The steps of an order, each as a contraction of what there is then."""
    inputs, output = request.subscripts.split("->")
    item = np.dtype(request.dtype).itemsize
    strides = request.strides or tuple(_in_c_order(shape, item) for shape in request.shapes)
    same = request.same or tuple(range(len(request.shapes)))
    operands = [
        _Known(*known) for known in zip(inputs.split(","), request.shapes, strides, same, strict=True)
    ]
    for number, places in enumerate(order.path):
        taken = [operands[place] for place in places]
        for place in sorted(places, reverse=True):
            del operands[place]
        is_last = number == len(order.path) - 1
        needed = set(output).union(*(operand.term for operand in operands))
        labels = dict.fromkeys("".join(known.term for known in taken))
        term = output if is_last else "".join(label for label in labels if label in needed)
        step = _step(request, taken, term, places, free=not is_last)
        term = step.request.subscripts.split("->")[1]
        shape = tuple(max(extents_of(taken, label)) for label in term)
        operands.append(_Known(term, shape, _in_c_order(shape, item), -number - 1))
        yield step


@dataclass(frozen=True, slots=True)
class _Known:
    """An operand or an intermediate result: labels, shape, strides, and which array it is."""

    term: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    identity: int


def extents_of(known: list[_Known], label: str) -> list[int]:
    """Extents that a label has in each operand that has it."""
    return [size for one in known for name, size in zip(one.term, one.shape, strict=True) if name == label]


def _step(
    request: Contraction, taken: list[_Known], term: str, places: tuple[int, ...], *, free: bool
) -> Undecided:
    """A step; where nobody has asked for an order of its result (``free``) it has the product's own."""
    identities = [known.identity for known in taken]
    asked = replace(
        request,
        subscripts=f"{','.join(known.term for known in taken)}->{term}",
        shapes=tuple(known.shape for known in taken),
        strides=tuple(known.strides for known in taken),
        same=tuple(identities.index(identity) for identity in identities),
        path=None,
    )
    if len(taken) != 2:
        return Undecided(
            places=places, request=asked, folding=None, why_none=f"{len(taken)} operands at once"
        )
    folded = fold(asked)
    if isinstance(folded, str):
        return Undecided(places=places, request=asked, folding=None, why_none=folded)
    if free:
        own = folded.batch + folded.left + folded.right
        asked = replace(asked, subscripts=f"{asked.subscripts.split('->')[0]}->{own}")
        folded = fold(asked)
        assert isinstance(folded, Folding)
    return Undecided(places=places, request=asked, folding=folded, why_none="")


def _in_c_order(shape: tuple[int, ...], item: int) -> tuple[int, ...]:
    return tuple(item * prod(shape[axis + 1 :]) for axis in range(len(shape)))
