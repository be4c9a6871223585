"""MP2 correlation energies: density-fitted, from given integrals, and by Laplace transform.

The energies are those of PySCF's ``mp.dfmp2``, ``mp.dfump2``, ``mp.MP2`` and ``mp.UMP2``, opposite-spin and
same-spin parts apart. Inside a ``with numtrn.enabled(...)`` block calls take its settings and leave their
records in its session; outside of one each call opens its own, with the settings of the environment. What the
energies are made of is `numtrn.pairs`'s; nothing is cut or multiplied here.

Frozen core is slices: ``df_energy(B[ncore:], eps_occ[ncore:], eps_vir)`` leaves ``ncore`` orbitals out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import fsum
from typing import Any, NamedTuple

import numpy as np

from numtrn import dispatch, pairs
from numtrn.api import enabled
from numtrn.block import OpenBlock, current, suspended
from numtrn.laplace import quadrature
from numtrn.pair_bounds import SUBNORMAL, Spin
from numtrn.plan import Mp2Plan, Plan, Refusal, make_plan
from numtrn.request import Array, Gemm, Mp2, Operands

__all__ = ["Mp2Energy", "Pairs", "SosEnergy", "df_energy", "energy", "explain", "laplace_sos_energy"]

UNIT = 2.0**-53

SCALED_BYTES = 64 * 2**20
"""Of B times exponentials at a time, in `laplace_sos_energy`; one orbital may have more."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """Pair energies in Eh; their sums are the parts of the energy.

    Attributes
    ----------
    opposite_spin
        (nocc, nocc); of an unrestricted reference (alpha, beta).
    same_spin
        One (nocc, nocc) of a restricted reference, else those of alpha and of beta. A pair is there as (i, j)
        and as (j, i), with half of its energy each.
    """

    opposite_spin: Array
    same_spin: tuple[Array, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mp2Energy:
    """An MP2 correlation energy in Eh.

    Attributes
    ----------
    opposite_spin, same_spin
        Its parts.
    bound
        How far `total`, and each part by itself, may be from the exact sums for the operands given; inf where
        a denominator vanishes, and where a result is not finite.
    restricted
        Whether there is one set of orbitals for both spins.
    pairs
        Pair energies, where they were asked for.
    """

    opposite_spin: float
    same_spin: float
    bound: float
    restricted: bool
    pairs: Pairs | None = None

    @property
    def total(self) -> float:
        """The MP2 correlation energy."""
        return self.opposite_spin + self.same_spin

    @property
    def scs(self) -> float:
        """Spin-component scaled, 6/5 and 1/3: S. Grimme, J. Chem. Phys. 118, 9095 (2003)."""
        return 6 / 5 * self.opposite_spin + 1 / 3 * self.same_spin

    @property
    def sos(self) -> float:
        """Scaled opposite-spin, 1.3: Y. Jung et al., J. Chem. Phys. 121, 9793 (2004)."""
        return 1.3 * self.opposite_spin


@dataclass(frozen=True, kw_only=True, slots=True)
class SosEnergy:
    """An opposite-spin energy by Laplace transform, in Eh.

    Attributes
    ----------
    opposite_spin
        The energy.
    bound
        How far it may be from the exact sum, the quadrature's share included; inf where it is not finite.
    quadrature
        That share: the proven relative error of the quadrature times the energy.
    points
        Points of the quadrature.
    """

    opposite_spin: float
    bound: float
    quadrature: float
    points: int

    @property
    def sos(self) -> float:
        """Scaled by 1.3: Y. Jung et al., J. Chem. Phys. 121, 9793 (2004)."""
        return 1.3 * self.opposite_spin


def df_energy(B: Any, eps_occ: Any, eps_vir: Any, *, axes: str = "iaQ", pairs: bool = False) -> Mp2Energy:
    """Density-fitted MP2: (ia|jb) is the sum over Q of B_iaQ B_jbQ, and is never stored as a whole.

    Parameters
    ----------
    B : array_like
        (nocc, nvir, naux) float32 or float64, or with its axes in another order; integers become float64.
        i and a may be one axis where they are neighbours: (nocc * nvir, naux), or (naux, nocc * nvir) with
        ``axes="Qia"``. Only read; no order in memory needs a copy of all of it. Of an unrestricted
        reference: a pair, alpha and beta.
    eps_occ, eps_vir : array_like
        Energies (nocc,) and (nvir,) of the orbitals in Eh; of an unrestricted reference pairs, too.
    axes
        Order of the axes of B: a permutation of ``"iaQ"``.
    pairs
        Whether pair energies are wanted.

    Returns
    -------
    Mp2Energy
        Opposite-spin and same-spin parts, and a proven bound.

    Raises
    ------
    TypeError, ValueError
        For other types and for shapes that do not fit; complex orbitals are not supported.

    Examples
    --------
    >>> import numpy as np, numtrn
    >>> B = np.arange(2 * 3 * 4).reshape(2, 3, 4) / 24
    >>> found = numtrn.mp2.df_energy(B, [-1.0, -0.5], [0.5, 1.0, 2.0])
    >>> round(found.opposite_spin, 6), found.bound < 1e-12
    (-7.088056, True)
    """
    first, second = _spins(B, eps_occ, eps_vir, axes)
    with _open_block() as block:
        return _collected(
            [_compute(block, _request("df_energy", *spins), *spins) for spins in _components(first, second)],
            pairs,
        )


def energy(ovov: Any, eps_occ: Any, eps_vir: Any, *, pairs: bool = False) -> Mp2Energy:
    """MP2 from given integrals (ia|jb).

    There is no product in it: float64 is NumPy's, in blocks, with a record that says so. With
    ``enabled(min_work=0)`` float32 goes to a kernel that makes the sums.

    Parameters
    ----------
    ovov
        (nocc, nvir, nocc, nvir) or (nocc * nvir, nocc * nvir); or one slab after the other, so that all are
        never in memory at once: what ``ovov[i]`` would be, (nvir, nocc, nvir), from a function of i or from a
        sequence, or an array on disk with either shape (h5py, zarr, ``np.memmap``), of which slabs are read.
        Of an unrestricted reference three: alpha alpha, alpha beta, beta beta.
    eps_occ, eps_vir, pairs
        As of `df_energy`.

    Returns
    -------
    Mp2Energy

    Raises
    ------
    TypeError, ValueError
        As `df_energy`.

    Examples
    --------
    >>> import numpy as np, numtrn
    >>> B = np.arange(2 * 3 * 4).reshape(2, 3, 4) / 24
    >>> slabs = lambda i: np.einsum("aQ,jbQ->ajb", B[i], B)
    >>> round(numtrn.mp2.energy(slabs, [-1.0, -0.5], [0.5, 1.0, 2.0]).opposite_spin, 6)
    -7.088056
    """
    unrestricted = _is_pair(eps_occ)
    given = _of_three(ovov) if unrestricted else (ovov,)
    orbitals = _energies(eps_occ, eps_vir, unrestricted)
    places = ((0, 0), (0, 1), (1, 1)) if unrestricted else ((0, 0),)
    with _open_block() as block:
        found = [
            _given(block, integrals, orbitals[i], orbitals[j], i == j)
            for integrals, (i, j) in zip(given, places, strict=True)
        ]
        return _collected(found if not unrestricted else [found[1], found[0], found[2]], pairs)


def explain(B: Any, eps_occ: Any, eps_vir: Any, *, axes: str = "iaQ") -> tuple[Mp2Plan | Refusal, ...]:
    """What `df_energy` would do, computing nothing: a plan, or of an unrestricted reference three.

    Parameters
    ----------
    B, eps_occ, eps_vir, axes
        As of `df_energy`; B is looked at for shape and type only.

    Returns
    -------
    tuple of Mp2Plan or Refusal
        Of an unrestricted reference alpha beta, alpha alpha, beta beta. All can be printed.
    """
    first, second = _spins(B, eps_occ, eps_vir, axes)
    with _open_block() as block:
        requests = [_request("df_energy", *spins) for spins in _components(first, second)]
        plans = [make_plan(r, block.options, block.target.name, block.refusals) for r in requests]
    return tuple(plan for plan in plans if isinstance(plan, Mp2Plan | Refusal))


def laplace_sos_energy(
    B: Any, eps_occ: Any, eps_vir: Any, *, axes: str = "iaQ", tolerance: float = 1e-8
) -> SosEnergy:
    """Opposite-spin MP2 energy in N^4: for each point t of a quadrature of 1/x a product over all (ia).

    X_PQ = sum over ia of B_iaP exp((e_i - e_a) t) B_iaQ, a symmetric product of B scaled by the square root,
    and the energy is minus the weighted sum of X_PQ^2; of an unrestricted reference of X^alpha_PQ X^beta_PQ.

    Parameters
    ----------
    B, eps_occ, eps_vir, axes
        As of `df_energy`.
    tolerance
        Relative error of the quadrature, 1e-13 to 0.1, and so of the energy: its terms have one sign.

    Returns
    -------
    SosEnergy

    Raises
    ------
    TypeError, ValueError
        As `df_energy`, and where a virtual orbital lies below an occupied one: there is no transform then.

    Examples
    --------
    >>> import numpy as np, numtrn
    >>> B = np.arange(2 * 3 * 4).reshape(2, 3, 4) / 24
    >>> found = numtrn.mp2.laplace_sos_energy(B, [-1.0, -0.5], [0.5, 1.0, 2.0])
    >>> round(found.opposite_spin, 6)
    -7.088056
    """
    first, second = _spins(B, eps_occ, eps_vir, axes)
    spins = (first,) if second is None else (first, second)
    if not all(spin.b.size for spin in spins):
        return SosEnergy(opposite_spin=0.0, bound=0.0, quadrature=0.0, points=0)
    lows, highs = zip(*(_gaps(spin) for spin in spins), strict=True)
    least, most = (sum(ends) * (2 if len(spins) == 1 else 1) for ends in (lows, highs))
    if not least > 0:
        raise ValueError(
            "laplace_sos_energy takes occupied orbitals below all virtual ones, else 1/x has no transform; "
            f"got a least denominator of {least:.3g} Eh. Use df_energy"
        )
    sums, errors = [], []
    with _open_block() as block, np.errstate(under="ignore"):  # exponentials do, and the bound knows
        rule = quadrature(least, most, tolerance)
        for point, weight in zip(rule.points, rule.weights, strict=True):
            sides = [_transformed(block, spin, float(point)) for spin in spins]
            value, error = _contracted(sides[0], sides[-1])
            sums.append(float(weight) * value)
            errors.append(float(weight) * error)
    total = _sum(np.array(sums))
    share = rule.error / (1 - rule.error) * abs(total)
    bound = _sum(np.array(errors)) + share + (len(sums) + 2) * (UNIT * abs(total) + SUBNORMAL)
    if not np.isfinite(bound):
        share = bound = float("inf")
    return SosEnergy(opposite_spin=-total, bound=bound, quadrature=share, points=len(sums))


# ---- What was given ----


@contextmanager
def _open_block() -> Iterator[OpenBlock]:
    """The open block, or one of our own; nothing that we call is caught in it."""
    block = current()
    if block is not None:
        with suspended():
            yield block
        return
    with enabled():
        opened = current()
        assert opened is not None
        with suspended():
            yield opened


def _is_pair(eps_occ: Any) -> bool:
    """Whether energies of alpha and beta were given."""
    return hasattr(eps_occ, "__len__") and len(eps_occ) == 2 and np.ndim(eps_occ[0]) == 1


def _spins(B: Any, eps_occ: Any, eps_vir: Any, axes: str) -> tuple[Spin, Spin | None]:
    """The orbitals of one spin, or of two, B (nocc, nvir, naux)."""
    if not isinstance(axes, str) or sorted(axes) != sorted("iaQ"):
        raise ValueError(f"axes is a permutation of 'iaQ': occupied, virtual, auxiliary; got {axes!r}")
    unrestricted = _is_pair(eps_occ)
    given = (B,)
    if unrestricted:
        if not hasattr(B, "__len__") or len(B) != 2:
            raise ValueError(
                f"of an unrestricted reference B is a pair, (alpha, beta), as eps_occ is; got {_counted(B)}"
            )
        given = tuple(B)
    arrays = [_real(b, "B") for b in given]
    if len({b.dtype for b in arrays}) > 1:
        arrays = [b.astype(np.float64, copy=False) for b in arrays]
    orbitals = _energies(eps_occ, eps_vir, unrestricted)
    spins = [
        Spin(_ordered(b, len(e_occ), len(e_vir), axes), e_occ, e_vir)
        for b, (e_occ, e_vir) in zip(arrays, orbitals, strict=True)
    ]
    if not unrestricted:
        return spins[0], None
    if spins[0].b.shape[2] != spins[1].b.shape[2]:
        counts = [spin.b.shape[2] for spin in spins]
        raise ValueError(f"B of alpha and of beta have one auxiliary basis; got {counts[0]} and {counts[1]}")
    return spins[0], spins[1]


def _energies(eps_occ: Any, eps_vir: Any, unrestricted: bool) -> list[tuple[Array, Array]]:
    """Occupied and virtual energies of each spin."""
    if not unrestricted:
        return [(_line(eps_occ, "eps_occ"), _line(eps_vir, "eps_vir"))]
    if not hasattr(eps_vir, "__len__") or len(eps_vir) != 2:
        raise ValueError(
            f"eps_occ is a pair, (alpha, beta), and eps_vir must be one, too; got {_counted(eps_vir)}"
        )
    return [(_line(o, "eps_occ"), _line(v, "eps_vir")) for o, v in zip(eps_occ, eps_vir, strict=True)]


def _counted(x: Any) -> str:
    return f"{type(x).__name__} of {len(x)}" if hasattr(x, "__len__") else type(x).__name__


def _line(x: Any, name: str) -> Array:
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} are real energies; got {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} has one axis, or is a pair (alpha, beta) of such; got shape {array.shape}")
    return array.astype(np.float64, copy=False)


def _real(x: Any, name: str) -> Array:
    """An array of float32 or float64."""
    array = np.asarray(x)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} is real; complex orbitals are not supported, got {array.dtype}")
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype.newbyteorder("=") == np.float16:
        return array.astype(np.float32)
    native = array.dtype.newbyteorder("=")
    if native not in (np.float32, np.float64):
        raise TypeError(f"{name} is float32, float64 or of integers; got {array.dtype}. Convert it first")
    return array.astype(native, copy=False)


def _ordered(b: Array, nocc: int, nvir: int, axes: str) -> Array:
    """B as (nocc, nvir, naux)."""
    if b.ndim == 2 and axes in ("iaQ", "Qia"):
        both = b.shape[axes.index("i") // 1 if axes == "iaQ" else 1]
        if both == nocc * nvir:
            rest = (nocc, nvir)
            b = b.reshape((*rest, b.shape[1]) if axes == "iaQ" else (b.shape[0], *rest))
    wanted = {"i": nocc, "a": nvir}
    if b.ndim != 3 or any(b.shape[axes.index(letter)] != extent for letter, extent in wanted.items()):
        names = ", ".join({"i": f"nocc = {nocc}", "a": f"nvir = {nvir}", "Q": "naux"}[x] for x in axes)
        raise ValueError(
            f"B has the axes {axes!r}, ({names}) as eps_occ and eps_vir say; got shape {b.shape}. Name the "
            "order of its axes with axes="
        )
    ordered = b.transpose([axes.index(letter) for letter in "iaQ"])
    if not ordered.shape[2]:
        raise ValueError(f"B needs auxiliary functions; got naux = 0 in shape {b.shape}")
    return ordered


def _components(first: Spin, second: Spin | None) -> list[tuple[Spin, Spin]]:
    """Opposite spin, then same spins; of a restricted reference one that is both."""
    if second is None:
        return [(first, first)]
    return [(first, second), (first, first), (second, second)]


def _request(name: str, first: Spin, second: Spin) -> Mp2:
    same = first is second
    return Mp2(
        function=f"numtrn.mp2.{name}",
        dtype=first.b.dtype.name,
        nocc=(len(first.e_occ), len(second.e_occ)),
        nvir=(len(first.e_vir), len(second.e_vir)),
        naux=first.b.shape[2],
        same=same,
        exchange=same,
    )


# ---- Sums of pairs ----


class _Sums(NamedTuple):
    """d and x of a component, and the bound of each."""

    value: Array
    errors: Array


def _compute(block: OpenBlock, request: Mp2, first: Spin, second: Spin) -> _Sums:
    """By kernels where the block's plan says so, else by NumPy in the same blocks."""
    spins = (first,) if request.same else (first, second)
    operands = Operands(inputs=tuple(x for spin in spins for x in (spin.b, spin.e_occ, spin.e_vir)))
    return _offered(block, request, operands, lambda: pairs.by_numpy(request, operands))


def _offered(
    block: OpenBlock, request: Mp2, operands: Operands, by_numpy: Callable[[], pairs.PairSums]
) -> _Sums:
    computed = dispatch.attempt_in(block, request, operands)
    if computed is not None:
        errors = computed.outcome.errors
        assert errors is not None
        return _Sums(computed.outcome.value, errors)
    return _timed(block, by_numpy)


def _timed(block: OpenBlock, by_numpy: Callable[[], pairs.PairSums]) -> _Sums:
    start = time.perf_counter()
    sums = by_numpy()
    block.session.time_last(time.perf_counter() - start)
    return _Sums(sums.value, sums.errors)


def _collected(components: Sequence[_Sums], wanted: bool) -> Mp2Energy:
    """The energy from its components: one, or opposite spin, alpha and beta."""
    with np.errstate(invalid="ignore"):  # inf - inf, which is NumPy's nan
        opposite = components[0].value[0]
        half = 0.5 if len(components) == 3 else 1.0
        same = [half * (sums.value[0] - sums.value[1]) for sums in components[-2:] if len(components) == 3]
        same = same or [components[0].value[0] - components[0].value[1]]
        apart = [half * 2 * sums.errors for sums in (components[1:] or components)]
        errors = sum(_sum(part) for part in (components[0].errors, *apart))
        parts = _sum(opposite), _sum(np.concatenate([part.ravel() for part in same]))
        rounding = 4 * UNIT * (abs(parts[0]) + sum(_sum(np.abs(part)) for part in same))
    bound = errors + rounding
    return Mp2Energy(
        opposite_spin=parts[0],
        same_spin=parts[1],
        bound=bound if np.isfinite(bound) else float("inf"),
        restricted=len(components) == 1,
        pairs=Pairs(opposite_spin=opposite.copy(), same_spin=tuple(same)) if wanted else None,
    )


def _sum(x: Array) -> float:
    """Sum, rounded once where it is finite."""
    return fsum(x.ravel().tolist()) if np.isfinite(x).all() else float(x.sum())


# ---- Given integrals ----


def _of_three(ovov: Any) -> tuple[Any, Any, Any]:
    if not isinstance(ovov, (tuple, list)) or len(ovov) != 3:
        raise ValueError(
            "of an unrestricted reference ovov is three: (alpha alpha, alpha beta, beta beta), and eps_occ a "
            f"pair; got {type(ovov).__name__}"
        )
    return ovov[0], ovov[1], ovov[2]


def _given(
    block: OpenBlock,
    integrals: Any,
    first: tuple[Array, Array],
    second: tuple[Array, Array],
    same: bool,
) -> _Sums:
    """Sums of the integrals of one pair of spins."""
    nocc, nvir = (len(first[0]), len(second[0])), (len(first[1]), len(second[1]))
    whole = not callable(integrals) and not isinstance(integrals, (list, tuple))
    # What has a shape and no ufuncs is on disk.
    whole = whole and (hasattr(integrals, "__array_ufunc__") or not hasattr(integrals, "shape"))
    slabs = None if whole else _Slabs(integrals, nocc, nvir)
    b = _whole(integrals, nocc, nvir) if slabs is None else np.empty((0,), slabs.dtype)
    request = Mp2(
        function="numtrn.mp2.energy",
        dtype=b.dtype.name,
        nocc=nocc,
        nvir=nvir,
        naux=0,
        same=same,
        exchange=same,
    )
    if slabs is not None:
        spins = Spin(b, *first), Spin(b, *second)
        dispatch.refuse_in(block, request, "slabs, one after the other: bound by reading them")
        reader = slabs
        return _timed(block, lambda: pairs.given_sums(request, *spins, reader))
    operands = Operands(inputs=(b, *first) if same else (b, *first, *second))
    return _offered(block, request, operands, lambda: pairs.by_numpy(request, operands))


def _whole(integrals: Any, nocc: tuple[int, int], nvir: tuple[int, int]) -> Array:
    """All integrals as (o1, v1, o2, v2)."""
    b = _real(integrals, "ovov")
    wanted = (nocc[0], nvir[0], nocc[1], nvir[1])
    if b.shape == (nocc[0] * nvir[0], nocc[1] * nvir[1]):
        b = b.reshape(wanted)
    if b.shape != wanted:
        raise ValueError(
            f"ovov is (ia|jb) of shape {wanted}, or of two axes of these merged, as eps_occ and eps_vir say; "
            f"got {b.shape}. Integrals in chemists' order have i, a, j, b"
        )
    return b


class _Slabs:
    """Reads one slab (v1, o2, v2) after the other, and looks at its type and shape."""

    def __init__(self, source: Any, nocc: tuple[int, int], nvir: tuple[int, int]) -> None:
        self._source, self._nocc, self._nvir = source, nocc, nvir
        self._rows = nvir[0] if len(getattr(source, "shape", ())) == 2 else 0
        if isinstance(source, (list, tuple)) and len(source) != nocc[0]:
            raise ValueError(f"ovov has a slab for each of {nocc[0]} occupied orbitals; got {len(source)}")
        self.dtype = np.dtype(np.float64)

    def __call__(self, i: int) -> Array:
        if self._rows:
            part = self._source[i * self._rows : (i + 1) * self._rows]
        else:
            part = self._source(i) if callable(self._source) else self._source[i]
        slab = _real(part, "ovov")
        wanted = (self._nvir[0], self._nocc[1], self._nvir[1])
        if slab.shape == (wanted[0], wanted[1] * wanted[2]):
            slab = slab.reshape(wanted)
        if slab.shape != wanted:
            raise ValueError(
                f"slab {i} of ovov is (ia|jb) of this i, of shape {wanted} (a, j, b); got {slab.shape}"
            )
        return slab


# ---- Laplace transform ----


class _Transformed(NamedTuple):
    """X of one spin, which errs by at most c times the products of its columns' norms, and w.

    Attributes
    ----------
    value
        X.
    relative
        c.
    vanished
        w: what an element may lose by underflow.
    """

    value: Array
    relative: float
    vanished: float


def _gaps(spin: Spin) -> tuple[float, float]:
    """Least and largest e_a - e_i."""
    return float(spin.e_vir.min() - spin.e_occ.max()), float(spin.e_vir.max() - spin.e_occ.min())


def _transformed(block: OpenBlock, spin: Spin, point: float) -> _Transformed:
    """X_PQ of a point, from pieces of B that are scaled one after the other."""
    nocc, nvir, naux = spin.b.shape
    each = max(1, SCALED_BYTES // (nvir * naux * spin.b.itemsize))
    each = -(-nocc // -(-nocc // each))
    total, worst, lost, pieces = np.zeros((naux, naux)), 0.0, 0.0, 0
    exponents = (spin.e_occ[:, np.newaxis] - spin.e_vir) * (point / 2)
    for start in range(0, nocc, each):
        part = slice(start, start + each)
        factors = np.exp(exponents[part]).astype(spin.b.dtype)
        scaled = spin.b[part] * factors[:, :, np.newaxis]
        made = _symmetric(block, scaled.reshape(-1, naux))
        total += made.value
        worst, pieces = max(worst, made.relative), pieces + 1
        lost += made.vanished + _scaling_loss(spin.b[part], scaled)
    # exp errs by its argument's error, twice for both factors; the scaled element is rounded.
    unit = float(np.finfo(spin.b.dtype).eps) / 2
    scaling = 8 * UNIT * float(np.abs(exponents).max(initial=0.0)) + 8 * unit
    return _Transformed(total, (worst + scaling + pieces * UNIT) * (1 + scaling), lost)


def _scaling_loss(b: Array, scaled: Array) -> float:
    """What an element of X may lose as factors, and elements of B times them, underflow."""
    rows, least = scaled.shape[0] * scaled.shape[1], _least(scaled)
    each: float = least * (1 + float(np.max(np.abs(b), initial=0.0)))
    largest = float(np.max(np.abs(scaled), initial=0.0))
    return float(rows) * each * (2 * largest + each)


def _least(x: Array) -> float:
    """What an operation may lose by underflow: fp32 may flush what is subnormal, NumPy's float64 does not."""
    return float(np.finfo(np.float32).tiny) if x.dtype == np.float32 else SUBNORMAL


def _symmetric(block: OpenBlock, scaled: Array) -> _Transformed:
    """The product of a matrix's transpose and itself."""
    rows, naux = scaled.shape
    vanished = rows * _least(scaled)
    request = Gemm(
        function="numtrn.mp2.laplace_sos_energy",
        dtype=scaled.dtype.name,
        m=naux,
        k=rows,
        n=naux,
        structure="syrk",
    )
    a = scaled.T[np.newaxis]
    computed = dispatch.attempt_in(block, request, Operands(inputs=(a, a.transpose(0, 2, 1))))
    if computed is not None:
        assert isinstance(computed.plan, Plan)
        outcome = computed.outcome
        relative = outcome.bound * computed.plan.scheme.unit + outcome.underflow
        return _Transformed(outcome.value[0], relative, vanished)
    start = time.perf_counter()
    value = scaled.T @ scaled
    block.session.time_last(time.perf_counter() - start)
    return _Transformed(value, (rows + 1) * float(np.finfo(scaled.dtype).eps) / 2, vanished)


def _contracted(first: _Transformed, second: _Transformed) -> tuple[float, float]:
    """Sum of X_PQ Y_PQ, and how far off it may be.

    X errs by c |b_P||b_Q| + w, and |b_P|^2 is X_PP: by Cauchy-Schwarz the sum over PQ of |Y_PQ| c |b_P||b_Q|
    is at most c |Y| tr X, Frobenius' norm, and that of |Y_PQ| w at most w naux |Y|.
    """
    naux = len(first.value)
    value = float(np.einsum("PQ,PQ->P", first.value, second.value).sum())
    norms = [float(np.linalg.norm(side.value)) for side in (first, second)]
    lost = [_lost(first), _lost(second)]
    rounding = (2 * naux + 2) * UNIT * norms[0] * norms[1] + 2 * naux**2 * SUBNORMAL
    return value, (norms[1] * lost[0] + norms[0] * lost[1] + lost[0] * lost[1] + rounding) * (1 + 2.0**-20)


def _lost(side: _Transformed) -> float:
    """Frobenius' norm of X's errors, or more."""
    naux, least = len(side.value), 1 - min(0.5, side.relative) * (1 + 2.0**-20)
    trace = float(np.trace(side.value)) + naux * side.vanished
    return float(side.relative * trace / least + naux * side.vanished)
