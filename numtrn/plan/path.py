"""In which order a contraction of several operands takes them, two at a time, and what that costs.

The finders are opt_einsum's (D. Smith and J. Gray, J. Open Source Softw. 3, 753 (2018)), under the limit that
NumPy's own paths keep by default: no intermediate result larger than the largest operand or the result. Small
ones are always allowed, so that small contractions need not be computed all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

from numtrn.request import Contraction

__all__ = ["Order", "Pairing", "order", "pairings"]


ALWAYS_ALLOWED = 2**17
"""Elements that an intermediate result may always have, unless the call sets a limit: 1 MiB of float64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """One step of an order.

    Attributes
    ----------
    places
        Of the operands it takes, in the list as it is then; its result goes to the end.
    terms
        Their labels.
    kept
        Labels of its result, each once.
    """

    places: tuple[int, ...]
    terms: tuple[str, ...]
    kept: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """An order of contraction.

    Attributes
    ----------
    path
        Places of the operands at each step.
    largest
        Elements of the largest intermediate result; 0 of a single step.
    limit
        Most elements that one may have.
    """

    path: tuple[tuple[int, ...], ...]
    largest: int
    limit: int


@lru_cache(maxsize=1024)
def order(request: Contraction) -> Order:
    """The order of a contraction: as given, or as the finder has it.

    Raises
    ------
    ValueError
        For a given path that does not contract every operand.
    """
    inputs, output = request.subscripts.split("->")
    extents = request.extents
    sizes = [prod(shape) for shape in request.shapes]
    limit = request.memory_limit
    if limit is None:
        limit = max(*sizes, prod(extents[label] for label in output), ALWAYS_ALLOWED)
    limit = max(1, limit)  # opt_einsum's least
    path = _checked(request.path, len(sizes)) if request.path is not None else _found(request, limit)
    results = [
        prod(extents[label] for label in pairing.kept)
        for pairing in pairings(inputs.split(","), output, path)
    ]
    return Order(path=path, largest=max(results[:-1], default=0), limit=limit)


def pairings(terms: list[str], output: str, path: tuple[tuple[int, ...], ...]) -> list[Pairing]:
    """The steps of a path; a label is summed in the first step after which nothing has it."""
    left = [frozenset(term) for term in terms]
    written = list(terms)
    steps = []
    for number, places in enumerate(path):
        taken = tuple(written[place] for place in places)
        for place in sorted(places, reverse=True):
            del left[place], written[place]
        needed = frozenset(output).union(*left) if number < len(path) - 1 else frozenset(output)
        kept = frozenset("".join(taken)) & needed
        steps.append(Pairing(places=places, terms=taken, kept=kept))
        left.append(kept)
        written.append("".join(sorted(kept)))
    return steps


def _found(request: Contraction, limit: int) -> tuple[tuple[int, ...], ...]:
    """Asked of opt_einsum, whose ``"auto"`` is optimal for few operands and greedy for many."""
    if len(request.shapes) <= 2:
        return (tuple(range(len(request.shapes))),)
    # Imported where used: a block without einsum need not pay for it.
    from opt_einsum import contract_path

    path, _ = contract_path(
        request.subscripts, *request.shapes, shapes=True, optimize=request.finder, memory_limit=limit
    )
    return tuple(tuple(int(place) for place in places) for places in path)


def _checked(path: tuple[tuple[int, ...], ...], count: int) -> tuple[tuple[int, ...], ...]:
    left = count
    for places in path:
        if not places or len(set(places)) < len(places) or not all(0 <= place < left for place in places):
            raise ValueError(
                f"a step of a path takes different operands of the {left} there are; got {places}"
            )
        left += 1 - len(places)
    if left != 1:
        raise ValueError(f"a path leaves one result; {path} leaves {left} of {count} operands")
    return path
