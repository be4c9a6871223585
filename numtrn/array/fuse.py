"""Which recorded reductions are MP2 pair energies, and what they then ask.

A reduction is brought into a normal form: a sum of products of recorded contractions, vectors, and
reciprocals of sums of vectors. It is MP2 if each summand is c T T' / D with T = <B_ia|B_jb>, T' that or the
same with a and b exchanged, and D = e_i + e_j - e_a - e_b. Whatever differs in any way is none, and is
computed tile by tile as it was written (`numtrn.array.tiles`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from typing import Any, TypeAlias

import numpy as np

from numtrn.array.record import Elementwise, Node, Product, Reshaped, Shape, Source, Transposed, groups
from numtrn.array.tiles import Reduction
from numtrn.request import Array, Mp2, Operands

__all__ = ["PairEnergies", "pair_energies"]

MOST_SUMMANDS = 64
"""A longer normal form is given up."""

Group: TypeAlias = tuple[str, ...]
"""Letters that are merged into one axis, none for an axis of 1."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class PairEnergies:
    """A reduction that is a combination of MP2's pair energies.

    Attributes
    ----------
    request, operands
        What to ask; see `numtrn.request.Mp2`.
    direct, exchange
        Factors of d and x.
    output
        Subscripts of the result, such as ``"ij->"``.
    dtype
        Of the result.
    integrals, roles
        One of its recorded contractions, and which orbital each of its axes stands for.
    """

    request: Mp2
    operands: Operands
    direct: float
    exchange: float
    output: str
    dtype: np.dtype[Any]
    integrals: Product
    roles: tuple[Group, ...]

    @property
    def question(self) -> tuple[Any, ...]:
        """What d and x depend on beside ``integrals``; hashable."""
        energies = (x.tobytes() for x in self.operands.inputs if x.ndim == 1)
        return self.roles, replace(self.request, function=""), *energies

    def value(self, sums: Array) -> Array | None:
        """The result from d and x (2, o1, o2); None where it is not finite, so that NumPy's rules decide."""
        pairs = self.direct * sums[0]
        if self.exchange:
            pairs = pairs + self.exchange * sums[1]
        if not np.all(np.isfinite(pairs)):
            return None
        return np.asarray(np.einsum(self.output, pairs)).astype(self.dtype)


class _OtherError(Exception):
    """The expression is not MP2's."""


# ---- The normal form ----


@dataclass(frozen=True, slots=True)
class _Summand:
    """A product of factors; each is hashable and says all that matters.

    ``integrals`` are (id of a `Product`, group of letters for each of its axes), ``vectors`` (key, letter),
    and ``sums`` the reciprocals: sets of ((key, letter), coefficient).
    """

    integrals: tuple[Any, ...] = ()
    vectors: tuple[Any, ...] = ()
    sums: tuple[frozenset[Any], ...] = ()

    def times(self, other: _Summand) -> _Summand:
        return _Summand(
            tuple(sorted(self.integrals + other.integrals)),
            tuple(sorted(self.vectors + other.vectors)),
            self.sums + other.sums,
        )


Polynomial: TypeAlias = dict[_Summand, float]

ONE = _Summand()


@dataclass(eq=False, slots=True)
class _Reader:
    """Brings nodes into the normal form; knows vectors by what they hold."""

    extents: Mapping[str, int]
    dtype: np.dtype[Any]
    vectors: list[Array] = field(default_factory=list)
    products: dict[int, Product] = field(default_factory=dict)
    memo: dict[Any, Polynomial] = field(default_factory=dict)

    def read(self, node: Any, axes: tuple[Group, ...]) -> Polynomial:
        if not isinstance(node, Node):
            return {ONE: _number(node)}
        if node.dtype != self.dtype:
            raise _OtherError
        key = (id(node), axes)
        if key not in self.memo:
            self.memo[key] = self._read(node, axes)
        return self.memo[key]

    def _read(self, node: Node, axes: tuple[Group, ...]) -> Polynomial:
        match node:
            case Source():
                return self._source(node, axes)
            case Product():
                self.products[id(node)] = node
                return {_Summand(integrals=((id(node), axes),)): 1.0}
            case Transposed():
                inner = tuple(axes[node.axes.index(axis)] for axis in range(len(axes)))
                return self.read(node.of, inner)
            case Reshaped():
                return self.read(node.of, self._split(node.shape, node.of.shape, axes))
            case Elementwise():
                return self._elementwise(node, axes)

    def _source(self, node: Source, axes: tuple[Group, ...]) -> Polynomial:
        letters = [letter for group in axes for letter in group]
        if len(letters) == 1 and len(axes) == len(node.shape):
            return self._vector(node.data.reshape(-1), letters[0], 1.0)
        if len(letters) == 2 and max(map(len, axes)) == 1:
            rows, columns = _difference(np.squeeze(node.data))
            return _plus(self._vector(rows, letters[0], 1.0), self._vector(columns, letters[1], -1.0))
        raise _OtherError

    def _vector(self, vector: Array, letter: str, factor: float) -> Polynomial:
        return {_Summand(vectors=((_place(self.vectors, vector), letter),)): factor}

    def _split(self, outer: Shape, inner: Shape, axes: tuple[Group, ...]) -> tuple[Group, ...]:
        """Letters of the axes of what is reshaped."""
        split: list[Group] = []
        for theirs, ours in groups(outer, inner):
            letters = [letter for axis in theirs for letter in axes[axis]]
            for axis in ours:
                group: list[str] = []
                while prod(self.extents[letter] for letter in group) < inner[axis] and letters:
                    group.append(letters.pop(0))
                if prod(self.extents[letter] for letter in group) != inner[axis]:
                    raise _OtherError
                split.append(tuple(group))
            if letters:
                raise _OtherError
        return tuple(split)

    def _elementwise(self, node: Elementwise, axes: tuple[Group, ...]) -> Polynomial:
        operation = OPERATIONS.get(node.ufunc)
        if operation is None:
            raise _OtherError
        inputs = []
        for x in node.inputs:
            last = axes[len(axes) - len(x.shape) :] if isinstance(x, Node) else ()
            fitted = tuple(
                () if isinstance(x, Node) and x.shape[k] == 1 else group for k, group in enumerate(last)
            )
            inputs.append(self.read(x, fitted))
        result = operation(*inputs)
        if len(result) > MOST_SUMMANDS or not all(c and isfinite(c) for c in result.values()):
            raise _OtherError
        return result


def _number(x: Any) -> float:
    """A real scalar of the expression."""
    if isinstance(x, (bool, np.bool_)) or not isinstance(x, (int, float, np.integer, np.floating)):
        raise _OtherError
    return float(x)


def _difference(x: Array) -> tuple[Array, Array]:
    """Vectors p and q with x[i, a] = p[i] - q[a], up to four roundings of the largest element."""
    p, q = x[:, 0], x[0, 0] - x[0, :]
    largest = np.max(np.abs(x))
    if not np.max(np.abs(x - (p[:, None] - q[None, :]))) <= 4 * np.finfo(x.dtype).eps * largest:
        raise _OtherError
    return p, q


def _place(known: list[Array], x: Array) -> int:
    """Where an array with these values stands in a list, to which it is added if there is none."""
    for place, one in enumerate(known):
        if one.shape == x.shape and (_same_memory(one, x) or np.array_equal(one, x)):
            return place
    known.append(x)
    return len(known) - 1


def _same_memory(x: Array, y: Array) -> bool:
    return (
        x.__array_interface__["data"] == y.__array_interface__["data"]
        and x.strides == y.strides
        and x.dtype == y.dtype
    )


def _plus(p: Polynomial, q: Polynomial, sign: float = 1.0) -> Polynomial:
    total = dict(p)
    for summand, factor in q.items():
        total[summand] = total.get(summand, 0.0) + sign * factor
    return total


def _times(p: Polynomial, q: Polynomial) -> Polynomial:
    if len(p) * len(q) > MOST_SUMMANDS:
        raise _OtherError
    total: Polynomial = {}
    for first, one in p.items():
        for second, other in q.items():
            summand = first.times(second)
            total[summand] = total.get(summand, 0.0) + one * other
    return total


def _reciprocal(p: Polynomial) -> Polynomial:
    """One over a number, or over a sum of vectors."""
    if list(p) == [ONE] and p[ONE] != 0:
        return {ONE: 1 / p[ONE]}
    if any(summand.integrals or summand.sums or len(summand.vectors) != 1 for summand in p):
        raise _OtherError
    return {_Summand(sums=(frozenset((s.vectors[0], factor) for s, factor in p.items()),)): 1.0}


def _power(p: Polynomial, q: Polynomial) -> Polynomial:
    if list(q) != [ONE] or q[ONE] not in (1.0, 2.0, -1.0):
        raise _OtherError
    return {1.0: p, 2.0: _times(p, p)}[q[ONE]] if q[ONE] > 0 else _reciprocal(p)


OPERATIONS: dict[np.ufunc, Callable[..., Polynomial]] = {
    np.add: _plus,
    np.subtract: lambda p, q: _plus(p, q, -1.0),
    np.multiply: _times,
    np.divide: lambda p, q: _times(p, _reciprocal(q)),
    np.negative: lambda p: {summand: -factor for summand, factor in p.items()},
    np.positive: lambda p: p,
    np.conjugate: lambda p: p,
    np.reciprocal: _reciprocal,
    np.square: lambda p: _times(p, p),
    np.power: _power,
}
"""Real arithmetic that the normal form follows."""


# ---- MP2 ----


@dataclass(frozen=True, slots=True)
class _Gaps:
    """D = e_i + e_j - e_a - e_b: for each letter the key of its energies."""

    occupied: tuple[tuple[str, int], ...]
    virtual: tuple[tuple[str, int], ...]


def pair_energies(reduction: Reduction) -> PairEnergies | None:
    """What a reduction asks if it is a combination of MP2's pair energies; None if it is not."""
    if reduction.dtype.char not in "fd":
        return None
    try:
        return _matched(reduction)
    except _OtherError:
        return None


def _matched(reduction: Reduction) -> PairEnergies:
    reader = _Reader(reduction.extents, reduction.dtype)
    total: Polynomial = {ONE: 1.0}
    for node, letters in reduction.terms:
        if len(set(letters)) != len(letters):
            raise _OtherError
        axes = tuple(
            () if extent == 1 else (letter,) for letter, extent in zip(letters, node.shape, strict=True)
        )
        total = _times(total, reader.read(node, axes))
    if not total or not all(factor and isfinite(factor) for factor in total.values()):
        raise _OtherError
    gaps = {_gaps(summand, reader.vectors)[0] for summand in total}
    if len(gaps) != 1:
        raise _OtherError
    (energies,) = gaps
    named = dict(energies.occupied + energies.virtual)
    if any(extent > 1 and letter not in named for letter, extent in reduction.extents.items()):
        raise _OtherError
    if not set(reduction.output) <= dict(energies.occupied).keys():
        raise _OtherError
    return _assembled(reduction, reader, energies, total)


def _gaps(summand: _Summand, vectors: list[Array]) -> tuple[_Gaps, float]:
    """The denominator of a summand, and what it is multiplied by there."""
    if len(summand.integrals) != 2 or summand.vectors or len(summand.sums) != 1:
        raise _OtherError
    ((first, *rest),) = (sorted(summand.sums[0]),)
    scale = abs(first[1])
    if len(rest) != 3 or any(abs(factor) != scale for _, factor in rest):
        raise _OtherError
    plus = tuple((letter, key) for (key, letter), factor in (first, *rest) if factor > 0)
    minus = tuple((letter, key) for (key, letter), factor in (first, *rest) if factor < 0)
    if len(plus) != 2 or len(minus) != 2 or len({letter for letter, _ in plus + minus}) != 4:
        raise _OtherError
    if _is_below(plus, minus, vectors):
        return _Gaps(tuple(sorted(plus)), tuple(sorted(minus))), scale
    if _is_below(minus, plus, vectors):
        return _Gaps(tuple(sorted(minus)), tuple(sorted(plus))), -scale
    raise _OtherError


def _is_below(
    lower: tuple[tuple[str, int], ...], upper: tuple[tuple[str, int], ...], vectors: list[Array]
) -> bool:
    """Whether each of these energies is finite and below each of those, so that D never vanishes."""
    low, high = (np.concatenate([vectors[key] for _, key in side]) for side in (lower, upper))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return False
    return bool(low.max() < high.min())


@dataclass(frozen=True, slots=True)
class _Integral:
    """T as (key of B, occupied letter, virtual letter), for the first and the second occupied letter."""

    first: tuple[int, str, str]
    second: tuple[int, str, str]


def _assembled(reduction: Reduction, reader: _Reader, gaps: _Gaps, total: Polynomial) -> PairEnergies:
    (i, e_i), (j, e_j) = gaps.occupied
    matrices: list[Array] = []
    read = {
        integral: _integral(reader, gaps, matrices, integral)
        for summand in total
        for integral in summand.integrals
    }
    keys = {(one.first[0], one.second[0]) for one in read.values()}
    if len(keys) != 1:
        raise _OtherError
    ((first, second),) = keys
    energies = dict(gaps.virtual)
    a = next(iter(read.values())).first[2]
    (b,) = energies.keys() - {a}
    one_spin = first == second and e_i == e_j and energies[a] == energies[b]
    direct = exchange = 0.0
    for summand, factor in total.items():
        factor /= _gaps(summand, reader.vectors)[1]
        exchanged = [read[integral].first[2] != a for integral in summand.integrals]
        if any(exchanged) and not one_spin:
            raise _OtherError
        if exchanged[0] == exchanged[1]:
            direct += factor
        else:
            exchange += factor
    if not (isfinite(direct) and isfinite(exchange)) or direct == exchange == 0:
        raise _OtherError
    spins = [(matrices[first], e_i, energies[a]), (matrices[second], e_j, energies[b])]
    inputs = [(x, reader.vectors[o], reader.vectors[v]) for x, o, v in spins[: 1 if one_spin else 2]]
    (o1, v1, naux), (o2, v2, _) = matrices[first].shape, matrices[second].shape
    request = Mp2(
        function=reduction.function,
        dtype=reduction.dtype.name,
        nocc=(o1, o2),
        nvir=(v1, v2),
        naux=naux,
        same=one_spin,
        exchange=one_spin,  # of little cost, and what the next line of the user's asks
    )
    place, axes = next(iter(read))
    role = {i: "i", j: "j", a: "a", b: "b"}
    return PairEnergies(
        request=request,
        operands=Operands(inputs=tuple(x for spin in inputs for x in spin)),
        direct=direct,
        exchange=exchange,
        output=f"{i}{j}->{reduction.output}",
        dtype=reduction.dtype,
        integrals=reader.products[place],
        roles=tuple(tuple(role[letter] for letter in group) for group in axes),
    )


def _integral(reader: _Reader, gaps: _Gaps, matrices: list[Array], integral: Any) -> _Integral:
    """T with each B as (occupied, virtual, auxiliary), known by what it holds."""
    place, axes = integral
    node = reader.products[place]
    first, second, output = node.terms
    letters = dict(zip(output, axes, strict=True))
    shared = [label for label in first if label not in output]
    if any(label not in second for label in shared) or set(first) & set(second) & set(output):
        raise _OtherError
    occupied, virtual = dict(gaps.occupied), dict(gaps.virtual)
    found = {}
    for term, operand in zip((first, second), node.operands, strict=True):
        named = [
            (letter, reader.extents[letter]) for label in term if label in output for letter in letters[label]
        ]
        if len(named) != 2 or operand.dtype != reader.dtype:
            raise _OtherError
        order = [term.index(label) for label in term if label in output]
        order += [term.index(label) for label in shared]
        matrix = operand.data.transpose(order).reshape(*(extent for _, extent in named), -1)
        if named[0][0] in virtual:
            named, matrix = named[::-1], matrix.swapaxes(0, 1)
        (o, _), (v, _) = named
        if o not in occupied or v not in virtual:
            raise _OtherError
        found[o] = (_place(matrices, matrix), o, v)
    if len(found) != 2:
        raise _OtherError
    (i, _), (j, _) = gaps.occupied
    if found[i][2] == found[j][2]:
        raise _OtherError
    return _Integral(found[i], found[j])
