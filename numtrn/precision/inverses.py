r"""Inverses of the diagonal tiles of a triangular matrix, and what a solve with them can promise.

``kernels/trsm.py`` solves L X = B by parts of t rows, 128, 64 or 32. With L from here on for one t x t part
L_ii of the diagonal, W = fl(L^-1) in fp32, and T for B_i - sum over j < i of L_ij X_j, it computes

    Y = fl(W T)    P = fl(L Y)    R = fl(T - P)    D = fl(W R)    X = fl(Y + D).

A solve by plain inverses, X = Y, leaves a residual of some u |L||W||L||X|, which may be any multiple of
u |L||X|. The refinement removes it to first order. What is left is bounded here, for any order of summation.

Let u = 2^-24, g_p = p u / (1 - p u), and Gamma the diagonal matrix of g_1 ... g_t: row p of L and of W has at
most p nonzeros. Inequalities and |.| are element by element. A dot product is off by at most g_p times that
of the magnitudes, a sum or difference by u times its result:

    Y = W T + e0,    |e0| <= Gamma |W||T|
    P = L Y + e1,    |e1| <= Gamma |L||Y| <= C |T|
    D = W R + e2,    |e2| <= Gamma |W||R|
    |R| <= (1 + u) |T - L Y - e1| <= H |T|

with C = Gamma |L| (I + Gamma) |W|, S = |L| Gamma |W|, E = |I - L W| and H = (1 + u) (E + S + C). They
are known. For the residual r = T - L X: T - L Y is within u |R| of R + e1, Y + D within u |X| of X, so that

    |r| <= u |R| + |e1| + E |R| + |L||e2| + u |L||X|.

Here |Y| <= (1 + u) |X| + |D| bounds e1 by C |R| + (1 + u) g_t |L||X|. With |R| <= H |T|, |T| <= |r| + |L||X|,

    |r| <= Q (|r| + |L||X|) + k |L||X|,    Q = (E + u I + S + C) H,    k = (1 + u) g_t + u.

Q is of second order, some t^2 u^2 (|L||W|)^2; it is lower triangular and not negative.

*Componentwise.* Let h be the largest (Q |L|)_pj / |L|_pj, infinite where only the denominator is 0. Then
Q |L||X| <= h |L||X| for every X, and Q_pp <= h. If h < 1, (I - Q)^-1 = I + Q + Q^2 + ... is not negative, and

    |r| <= (h + k) / (1 - h) |L||X|.

*By rows.* A single small element of L makes h large, though it counts only where X has hardly anything but
the row of that element's column. So for row scales s_p > 0 let q be the largest (Q s)_p / s_p, and m, for a
column of X, the largest (|L||X|)_p / s_p. If q < 1, then |r|_p <= (q + k) / (1 - q) m s_p. On the right side
again, that gives

    |r|_p <= k (|L||X|)_p + q (1 + k) / (1 - q) m s_p.

The scales are the largest |L_pj / L_jj| of each row.

*All parts.* T1 = fl(B_i - P), with P the sum over the tiles of 128 rows before, of n' = 128, 256 ...
products; for all but the first part of a tile T = fl(T1 - P'), with P' that over the t' = t, 2 t ... < 128
columns before in the same tile; else T = T1. So T is off by the errors of P and P', u |T1| and u |T|, and

    |B - L X| <= c u |L||X|,    c = the largest of g_n' / u, (1 + u) g_t' / u + 1, (1 + 3 u) c' + 2 (1 + u)

with c' u = (h + k) / (1 - h): about max(n, t + 4 + h / u), where substitution has n (N. J. Higham, Accuracy
and Stability of Numerical Algorithms, theorem 8.5). h falls fast with t: for L of pivoted LU, order 300, h/u
is some 6e5, 9e2 and 1e2 with 128, 64 and 32 rows. All this without over- and underflow. Nothing is promised
for a part with a zero on its diagonal, NaN, Inf, nonzero elements below 2^-126, or an inverse beyond float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["EDGES", "Inverses", "choose_inverses", "diagonal_inverses"]

TILE = 128
EDGES = (128, 64, 32)
"""Rows that inverses may have, the fastest solve first."""

U = 2.0**-24
TINY = 2.0**-126
ROUNDED = 2.0**-40
"""More than float64 loses, relative to magnitudes, in the few dot products of 128 elements made here."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inverses:
    """Inverted parts of a diagonal, with what they promise.

    Attributes
    ----------
    inverses_t
        (size, min(size, 128)) float32, as ``kernels/trsm.py`` takes it: tiles of 128 rows below each other,
        on their diagonals the inverses, each transposed.
    edge
        Rows of an inverse.
    bounds
        (parts,) For each part c' with |T - L X| <= c' u |L||X|, u = 2^-24, T, L and X as in the head of this
        module; inf where none is proved.
    spreads
        (parts,) For each part d with |T - L X|_p <= k (|L||X|)_p + d u m s_p, where k, the row scales s and m
        of each column are those of the head; inf where none is proved.
    """

    inverses_t: NDArray[np.float32]
    edge: int
    bounds: Doubles
    spreads: Doubles

    @property
    def bound(self) -> float:
        """The c of |B - L X| <= c u |L||X|, for the solve with all parts; inf where none is proved."""
        found = 0.0
        for i, bound in enumerate(self.bounds):
            before, above = divmod(i * self.edge, TILE)
            subtracted = (before > 0) + (above > 0)
            own = (1 + 3 * U) * bound + (1 + U) * subtracted
            found = max(found, own, _gamma(before * TILE) / U, (1 + U) * _gamma(above) / U + (above > 0))
        return float(found)

    @property
    def spread(self) -> float:
        """The largest of ``spreads``."""
        return float(self.spreads.max())


def diagonal_inverses(
    lower: NDArray[np.float32], size: int | None = None, unit: bool = False, edge: int = TILE
) -> Inverses:
    """Invert the parts along the diagonal of a lower triangular matrix, and bound the error of a solve.

    Parameters
    ----------
    lower
        (n, n) float32 of any strides; elements above the diagonal are not read.
    size
        Order with padding, for which the diagonal continues with ones: up to 128 a power of two, else a
        multiple of 128; by default n rounded up.
    unit
        Whether the diagonal is taken to be ones and not read.
    edge
        Rows of a part: 128, the fastest, 64 or 32; ``size`` if that is less.

    Returns
    -------
    Inverses
        Its bounds are inf where the values of a part allow none; nothing is raised for them.
    """
    n = lower.shape[0]
    if lower.dtype != np.float32 or lower.shape != (n, n) or n < 1:
        raise ValueError(f"lower must be a square float32 matrix; got {lower.dtype} of shape {lower.shape}")
    if edge not in EDGES:
        raise ValueError(f"inverses have {', '.join(map(str, EDGES))} rows; got {edge}")
    if size is None:
        size = 1 << (n - 1).bit_length() if n < TILE else -(-n // TILE) * TILE
    rows = min(TILE, size)
    if size < n or size % rows or rows & (rows - 1):
        raise ValueError(
            f"size must be a power of two up to 128, or a multiple of 128, from n = {n}; got {size}"
        )
    edge = min(edge, size)
    parts = _diagonal(lower, size, edge, unit)
    with np.errstate(all="ignore"):
        inverses, usable = _inverted(parts)
        bounds, spreads = _bounds(parts, inverses.astype(np.float64))
    bounds[~usable] = spreads[~usable] = np.inf
    inverses_t = np.zeros((size // rows, rows // edge, edge, rows // edge, edge), np.float32)
    each = np.arange(rows // edge)
    inverses_t[:, each, :, each, :] = (
        inverses.transpose(0, 2, 1).reshape(-1, rows // edge, edge, edge).swapaxes(0, 1)
    )
    return Inverses(inverses_t=inverses_t.reshape(size, rows), edge=edge, bounds=bounds, spreads=spreads)


def choose_inverses(
    lower: NDArray[np.float32], limit: float, size: int | None = None, unit: bool = False
) -> Inverses | None:
    """The largest inverses with `Inverses.bound` up to ``limit``, or None: then a host should substitute.

    Parameters
    ----------
    lower, size, unit
        As for `diagonal_inverses`.
    limit
        The bound to keep, in units of u. No bound is less than about the order, or 40.
    """
    for edge in EDGES:
        if edge >= 2 * max(size or lower.shape[0], EDGES[-1]):
            continue
        found = diagonal_inverses(lower, size, unit, edge)
        if found.bound <= limit:
            return found
    return None


def _diagonal(lower: NDArray[np.float32], size: int, rows: int, unit: bool) -> Doubles:
    """The parts along the diagonal (parts, rows, rows), padded with the identity."""
    tiles = np.zeros((size // rows, rows, rows))
    for i, tile in enumerate(tiles):
        part = lower[i * rows : (i + 1) * rows, i * rows : (i + 1) * rows]
        tile[: len(part), : len(part)] = np.tril(part)
        np.fill_diagonal(tile[len(part) :, len(part) :], 1.0)
    if unit:
        tiles[:, np.arange(rows), np.arange(rows)] = 1.0
    return tiles


def _inverted(tiles: Doubles) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Inverses rounded to float32, subnormals to 0, and which of them may be used; zeros for the others.

    By doubling: the block below the diagonal of [[A, 0], [B, C]]^-1 is -C^-1 B A^-1.
    """
    rows = tiles.shape[1]
    wide = np.zeros_like(tiles)
    diagonal = np.arange(rows)
    wide[:, diagonal, diagonal] = 1.0 / tiles[:, diagonal, diagonal]
    half = 1
    while half < rows:
        for k in range(0, rows, 2 * half):
            first, second = slice(k, k + half), slice(k + half, k + 2 * half)
            wide[:, second, first] = -(
                wide[:, second, second] @ tiles[:, second, first] @ wide[:, first, first]
            )
        half *= 2
    inverses = wide.astype(np.float32)
    inverses[np.abs(inverses) < TINY] = 0.0
    sizes = np.abs(tiles)
    usable = np.isfinite(inverses).all(axis=(1, 2)) & np.isfinite(tiles).all(axis=(1, 2))
    usable &= ((sizes >= TINY) | (sizes == 0.0)).all(axis=(1, 2))
    inverses[~usable] = 0.0
    return inverses, usable


def _bounds(tiles: Doubles, inverses: Doubles) -> tuple[Doubles, Doubles]:
    """Bound and spread of each part, in units of u; names as in the head of this module."""
    rows = tiles.shape[1]
    identity = np.eye(rows)
    gamma = np.array([[_gamma(p)] for p in range(1, rows + 1)])
    L, W = np.abs(tiles), np.abs(inverses)
    E = np.abs(identity - tiles @ inverses) + ROUNDED * (L @ W + identity)
    S = L @ (gamma * W)
    C = gamma * (L @ ((1 + gamma) * W))
    H = (1 + U) * (E + S + C)
    final = E + U * identity + S + C
    k = (1 + U) * _gamma(rows) + U
    raised = final @ (H @ L)
    h = np.where(raised > 0, raised / L, 0.0).max(axis=(1, 2)) * (1 + ROUNDED)
    scales = (L / np.diagonal(L, axis1=1, axis2=2)[:, np.newaxis, :]).max(axis=2, keepdims=True)
    q = (final @ (H @ scales) / scales).max(axis=(1, 2)) * (1 + ROUNDED)
    bounds = np.where(h < 1, (h + k) / (1 - h) / U, np.inf)
    spreads = np.where(q < 1, q * (1 + k) / (1 - q) / U, np.inf)
    return bounds, spreads


def _gamma(terms: int) -> float:
    """Relative error of a dot product of so many terms, in any order."""
    return terms * U / (1 - terms * U)
