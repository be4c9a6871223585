r"""Inverses of the diagonal tiles of a triangular matrix, and what a solve with them can promise.

``kernels/trsm.py`` solves L X = B by tiles of t <= 128 rows. With L from here on for one tile L_ii of the
diagonal, W = fl(L^-1) in fp32, and T = fl(B_i - sum over j < i of L_ij X_j), it computes

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

*All tiles.* T differs from B_i - sum L_ij X_j by u |T| and the error of a sum of n' = t i products, i from 0:

    |B - L X| <= c u |L||X|,    c = the largest g_n' / u and (1 + u) (h + k) / (1 - h) / u + 1 of all tiles,

about max(n, t + 3 + h / u), where substitution has n (N. J. Higham, Accuracy and Stability of Numerical
Algorithms, theorem 8.5). All this without over- and underflow. Nothing is promised for a tile with a zero on
its diagonal, NaN, Inf, nonzero elements below 2^-126, or an inverse beyond float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Inverses", "diagonal_inverses"]

TILE = 128
U = 2.0**-24
TINY = 2.0**-126
ROUNDED = 2.0**-40
"""More than float64 loses, relative to magnitudes, in the few dot products of 128 elements made here."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Inverses:
    """Inverted diagonal tiles with what they promise.

    Attributes
    ----------
    inverses_t
        (size, tile) float32: below each other, the inverse of each tile, transposed.
    bounds
        (tiles,) For each tile c with |T - L X| <= c u |L||X|, u = 2^-24, T, L and X as in the head of this
        module; inf where none is proved.
    spreads
        (tiles,) For each tile d with |T - L X|_p <= k (|L||X|)_p + d u m s_p, where k, the row scales s and m of
        each column are those of the head; inf where none is proved.
    """

    inverses_t: NDArray[np.float32]
    bounds: Doubles
    spreads: Doubles

    @property
    def bound(self) -> float:
        """The c of |B - L X| <= c u |L||X|, for the solve with all tiles; inf where none is proved."""
        rows = self.inverses_t.shape[1]
        sums = [_gamma(rows * i) / U for i in range(len(self.bounds))]
        subtracted = [0.0] + [1.0] * (len(self.bounds) - 1)
        tiles = (1 + U) * self.bounds + subtracted
        return float(max(*sums, *tiles))

    @property
    def spread(self) -> float:
        """The largest of ``spreads``."""
        return float(self.spreads.max())


def diagonal_inverses(lower: NDArray[np.float32], size: int | None = None, unit: bool = False) -> Inverses:
    """Invert the diagonal tiles of a lower triangular matrix and bound the error of a solve with them.

    Parameters
    ----------
    lower
        (n, n) float32 of any strides; elements above the diagonal are not read.
    size
        Order with padding, for which the diagonal continues with ones: up to 128 a power of two, else a
        multiple of 128; by default n rounded up.
    unit
        Whether the diagonal is taken to be ones and not read.

    Returns
    -------
    Inverses
        Its bounds are inf where the values of a tile allow none; nothing is raised for them.
    """
    n = lower.shape[0]
    if lower.dtype != np.float32 or lower.shape != (n, n) or n < 1:
        raise ValueError(f"lower must be a square float32 matrix; got {lower.dtype} of shape {lower.shape}")
    if size is None:
        size = 1 << (n - 1).bit_length() if n < TILE else -(-n // TILE) * TILE
    rows = min(TILE, size)
    if size < n or size % rows or rows & (rows - 1):
        raise ValueError(
            f"size must be a power of two up to 128, or a multiple of 128, from n = {n}; got {size}"
        )
    tiles = _diagonal(lower, size, rows, unit)
    with np.errstate(all="ignore"):
        inverses, usable = _inverted(tiles)
        bounds, spreads = _bounds(tiles, inverses.astype(np.float64))
    bounds[~usable] = spreads[~usable] = np.inf
    inverses_t = np.ascontiguousarray(inverses.transpose(0, 2, 1)).reshape(size, rows)
    return Inverses(inverses_t=inverses_t, bounds=bounds, spreads=spreads)


def _diagonal(lower: NDArray[np.float32], size: int, rows: int, unit: bool) -> Doubles:
    """The diagonal tiles (tiles, rows, rows), padded with the identity."""
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
    """Bound and spread of each tile, in units of u; names as in the head of this module."""
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
