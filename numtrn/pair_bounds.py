r"""How far pair sums of MP2 may be from exact ones: computed for each call from norms, at O(o v x) cost.

Let T be the exact integrals of a pair (i, j), t = T + E what was computed, D_ab its denominators, all of one
sign, and ||M||^2 the weighted norm sum_ab M_ab^2 / |D_ab|, so that |d| = ||T||^2.

1. |E_ab| <= c |B_ia||B_jb| + w, norms over Q, with c from the promise of the product and w for what
   underflows. Products of digits promise that (`numtrn.precision.gemm`, normwise); of a promise of c |B||B|^T
   for each element it follows by Cauchy-Schwarz. So
   ||E|| <= r = (c n_i n_j + sqrt(v1 v2) w) / sqrt(Dmin), with n_i^2 = sum_a |B_ia|^2 and Dmin the least |D|.
2. | ||t||^2 - ||T||^2 | <= ||E|| (||t|| + ||T||) <= 2 r ||t|| + r^2, as ||T|| <= ||t|| + r.
3. Exchange, sum_ab T_ab T_ba / D_ab, is the inner product of T with its transpose; D is symmetric there, so
   that both have the same norm: t_ab t_ba - T_ab T_ba = t_ab E_ba + E_ab t_ba - E_ab E_ba gives
   2 r ||t|| + r^2 again, by Cauchy-Schwarz of the weighted norm.
4. The epilogue rounds, in arithmetic of unit u: D = (e_i + e_j) - (e_a + e_b) errs by
   u (|e_i| + |e_j| + |e_a| + |e_b|) + u |D|; a quotient, a product and sums over b, then over a, by
   (v1 + v2 + 3) u. With p the sum of these, relative to |D|, sums err by at most p / (1 - p) ||t||^2, the
   exchange too, as |t_ab t_ba| sums to at most ||t||^2. Of the computed d, ||t||^2 <= |d| / (1 - p).
5. With l what an operation of the epilogue may lose by underflow, t_ab / D_ab, products and sums lose up to
   2 v1 v2 (1 + n_i n_j) l; where t_ab / sqrt(D_ab) is squared instead, r grows by sqrt(v1 v2) l.

Where denominators have both signs |d| says nothing of ||t||: n_i n_j (1 + c) / sqrt(Dmin) takes its place.
The formulas themselves round, for which `SPARE` is added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from numtrn.request import Array

__all__ = ["SUBNORMAL", "Precision", "Spin", "least_denominators", "norms", "pair_errors", "scales"]

SPARE = 1 + 2.0**-20
UNIT = 2.0**-53
SUBNORMAL = float(np.finfo(np.float64).smallest_subnormal)


@dataclass(frozen=True, slots=True)
class Spin:
    """Orbitals of one spin: B (nocc, nvir, naux) of any strides, and energies in float64.

    Of given integrals B is the whole (ia|jb), of which nothing but its type is looked at.
    """

    b: Array
    e_occ: Array
    e_vir: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """Of pair sums.

    Attributes
    ----------
    relative
        c of the module's proof, (o1, o2) or one number for all; 0 where T is given.
    vanished
        w: what an integral may lose by underflow.
    unit
        u, of the epilogue.
    energies
        How many times u the energies' magnitudes enter the error of a denominator.
    more
        Added to the 3 roundings of a term of the sums.
    least
        l: what an operation of the epilogue may lose by underflow.
    """

    relative: Array | float
    vanished: float
    unit: float = UNIT
    energies: int = 1
    more: int = 0
    least: float = SUBNORMAL


def pair_errors(direct: Array, first: Spin, second: Spin, precision: Precision, scale: Array) -> Array:
    """Bounds (o1, o2) of the errors of d, and of x alike; inf where nothing can be said.

    Parameters
    ----------
    direct
        d as computed, (o1, o2).
    first, second
        The spins.
    precision
        What the products and the epilogue promise.
    scale
        n_i n_j, (o1, o2); of given integrals the norm of T itself.
    """
    with np.errstate(all="ignore"):
        v1, v2 = len(first.e_vir), len(second.e_vir)
        gap, signed = least_denominators(first, second)
        sizes = sum(np.max(np.abs(e), initial=0.0) for e in (first.e_vir, second.e_vir))
        sizes = sizes + np.abs(first.e_occ)[:, np.newaxis] + np.abs(second.e_occ)
        unit, least, root_terms = precision.unit, precision.least, np.sqrt(float(v1 * v2))
        # Dmin as computed may be that much too large.
        off = precision.energies * unit * sizes / gap + unit
        rounding = off / (1 - off) + (v1 + v2 + 3 + precision.more) * unit
        rounding = SPARE * rounding / (1 - rounding)
        root = np.sqrt(gap * (1 - off))
        apart = (precision.relative * scale + root_terms * precision.vanished) / root + root_terms * least
        size = np.sqrt(np.abs(direct) / (1 - rounding))
        if not signed:
            size = scale * (1 + precision.relative) / root
        errors = rounding * size**2 + apart * (2 * size + apart) + 2 * v1 * v2 * least * (1 + scale)
        certain = np.isfinite(errors) & (rounding < 0.5)
        bounds: Array = np.where(certain, SPARE * errors, np.inf)
        return bounds


def least_denominators(first: Spin, second: Spin) -> tuple[Array, bool]:
    """Least |e_i + e_j - e_a - e_b| of each pair, (o1, o2), and whether all denominators are negative."""
    pairs = first.e_occ[:, np.newaxis] + second.e_occ
    if not first.e_vir.size or not second.e_vir.size or not pairs.size:
        return np.full(pairs.shape, np.inf), True
    least = first.e_vir.min() + second.e_vir.min()
    if pairs.max() < least:
        return least - pairs, True
    return _nearest(pairs, first.e_vir, np.sort(second.e_vir)), False


def _nearest(pairs: Array, e_a: Array, e_b: Array) -> Array:
    """The same where signs differ: for each i, j, a the nearest of the sorted e_b."""
    found = np.full(pairs.shape, np.inf)
    for a in e_a:
        wanted = pairs - a
        place = np.searchsorted(e_b, wanted)
        for at in (np.minimum(place, len(e_b) - 1), np.maximum(place - 1, 0)):
            np.fmin(found, np.abs(wanted - e_b[at]), out=found)
    return found


def scales(first: Spin, second: Spin) -> Array:
    """n_i n_j of the module's proof, (o1, o2)."""
    with np.errstate(all="ignore"):
        product: Array = np.multiply.outer(norms(first.b), norms(second.b))
        return product


def norms(b: Array) -> Array:
    """n_i of the module's proof, (nocc,), rounded up; scaled so that squares neither overflow nor vanish."""
    found = np.zeros(len(b))
    with np.errstate(all="ignore"):
        for i, matrix in enumerate(b):
            largest = float(np.max(np.abs(matrix), initial=0.0))
            if largest > 0.0:
                scaled = matrix.astype(np.float64) / largest
                found[i] = largest * float(np.sqrt(np.einsum("aQ,aQ->", scaled, scaled)))
    grown: Array = found * (1 + UNIT * max(1, b[0].size if len(b) else 1))
    return grown
