"""fp32 products with a structure, and triangular solves, by the kernels that make use of it.

A problem within one launch is one launch. Larger ones are cut into pieces along the structured matrix: those
on its diagonal go to the kernel, those beside it are plain products. Only layouts are known here: stacked
blocks of a triangle, as ``rank_k``, ``symm``, ``trmm`` and ``trsm`` read and write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from numtrn.plan.ladder import Cutting
from numtrn.plan.tiling import Tiling
from numtrn.precision.inverses import choose_inverses
from numtrn.request import Array, Structure, k_is_fast
from numtrn.targets import Resident

__all__ = ["STORED", "STRUCTURES", "Launcher", "multiply", "solve"]

STRUCTURES: tuple[Structure, ...] = ("syrk", "syr2k", "symm", "trmm")
"""Those that kernels of plain operands make use of."""

FLOAT32 = np.dtype(np.float32)

STORED: dict[str, Any] = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
"""How operands of an engine type lie in memory; float32 otherwise."""


class Launcher(Protocol):
    """What is needed of an engine.

    Attributes
    ----------
    copied
        Bytes that the host made of operands, where a launch could not take them as they lie.
    cutting
        How launches are cut.
    """

    copied: int
    cutting: Cutting

    def launch(self, t: Tiling, arrays: Sequence[Array | Resident], dtype: Any) -> Array:
        """One launch of a tiling."""
        ...

    def taken(self, block: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | Resident:
        """A block stacked along its rows: itself, packed with zeros around, or what the target has of it."""
        ...

    def product(self, lhs: Array, rhs: Array, operand_dtype: str) -> NDArray[np.float32]:
        """A product without structure."""
        ...


def multiply(
    launcher: Launcher, lhs: Array, rhs: Array, operand_dtype: str, structure: Structure
) -> NDArray[np.float32]:
    """Product of lhs (batch, m, k) and rhs (batch, k, n) of one of the `STRUCTURES`.

    See `numtrn.request.Structure` for what they say of the operands.
    """
    if structure in ("syrk", "syr2k"):
        return _rank_k(launcher, lhs, rhs, operand_dtype, 2 if structure == "syr2k" else 1)
    value = np.empty((*lhs.shape[:2], rhs.shape[2]), np.float32)
    for i in range(lhs.shape[0]):
        value[i] = _sided(launcher, lhs[i], rhs[i], operand_dtype, structure)
    return value


# ---- C = A A^T, C = X Y^T + Y X^T ----


def _rank_k(
    launcher: Launcher, lhs: Array, rhs: Array, operand_dtype: str, parts: int
) -> NDArray[np.float32]:
    batch, n, k = lhs.shape
    dtype = _stored(operand_dtype)
    tf32, fast = operand_dtype == "tfloat32", k_is_fast(lhs, rhs)[0]
    t = launcher.cutting.rank_k(batch, n, k // parts, parts, dtype.itemsize, tf32, fast)
    value = np.empty((batch, n, n), np.float32)
    for rows in _pieces(n, t.m):
        for i in _pieces(batch, t.batch):
            value[i, rows, rows] = _on_diagonal(launcher, t, lhs[i, rows], parts, dtype, fast)
        if rows.start:
            before = slice(0, rows.start)
            beside = launcher.product(lhs[:, rows], rhs[:, :, before], operand_dtype)
            value[:, rows, before] = beside
            value[:, before, rows] = beside.swapaxes(1, 2)
    return value


def _on_diagonal(
    launcher: Launcher, t: Tiling, lhs: Array, parts: int, dtype: np.dtype[Any], fast: bool
) -> Array:
    """A piece (batch, rows, rows) on the diagonal, both triangles, of sums over all of k."""
    batch, rows, k = lhs.shape
    operands = lhs.reshape(batch, rows, parts, k // parts).swapaxes(1, 2)
    total = np.zeros((batch, rows, rows), np.float32 if k // parts <= t.k else np.float64)
    for ks in _pieces(k // parts, t.k):
        block, shape = operands[..., ks], (t.batch, parts, t.m, t.k)
        if not fast:
            block, shape = block.swapaxes(2, 3), (t.batch, parts, t.k, t.m)
        blocks = launcher.launch(t, (launcher.taken(block, shape, dtype),), np.float32)
        total += _unstacked(t, blocks)[:batch, :rows, :rows]
    lower = np.tril(total)
    whole: Array = lower + np.tril(total, -1).swapaxes(1, 2)
    return whole.astype(np.float32, copy=False)


# ---- C = S B, C = L B ----


def _sided(launcher: Launcher, lhs: Array, rhs: Array, operand_dtype: str, structure: Structure) -> Array:
    """One product with a symmetric or lower triangular left operand; sums of several pieces in float64."""
    m, n = rhs.shape
    dtype = _stored(operand_dtype)
    tile = launcher.cutting.symm if structure == "symm" else launcher.cutting.trmm
    t = tile(m, n, dtype.itemsize, operand_dtype == "tfloat32")
    total = np.empty((m, n), np.float32 if m <= t.m else np.float64)
    for rows in _pieces(m, t.m):
        stacked = _stacked(t, lhs[rows, rows], transposed=structure == "trmm").astype(dtype, copy=False)
        launcher.copied += stacked.nbytes
        for columns in _pieces(n, t.n):
            right = launcher.taken(rhs[rows, columns], (t.m, t.n), dtype)
            part = launcher.launch(t, (stacked, right), np.float32)
            total[rows, columns] = part[: rows.stop - rows.start, : columns.stop - columns.start]
        beside = [slice(0, rows.start)] + ([slice(rows.stop, m)] if structure == "symm" else [])
        for ks in beside:
            if ks.stop > ks.start:
                total[rows] += launcher.product(lhs[None, rows, ks], rhs[None, ks], operand_dtype)[0]
    return total.astype(np.float32, copy=False)


# ---- X = L^-1 B ----


def solve(launcher: Launcher, factor: Array, columns: Array, limit: float) -> NDArray[np.float32] | None:
    """Solve with a lower triangular matrix that fits one launch.

    Parameters
    ----------
    launcher
        Launches.
    factor
        (m, m) float32, zeros above the diagonal.
    columns
        (m, n) float32.
    limit
        The backward error to keep, in units of u |L||X|, u = 2^-24.

    Returns
    -------
    ndarray or None
        The solution (m, n); None where no inverses are known to keep the limit.
    """
    m, n = columns.shape
    size = launcher.cutting.trsm(m, n).m
    inverses = choose_inverses(factor, limit, size)
    if inverses is None:
        return None
    t = launcher.cutting.trsm(m, n, inverses.edge)
    padded = _padded(factor, (size, size), FLOAT32)
    np.fill_diagonal(padded[m:, m:], 1)
    stacked = _stacked(t, padded, transposed=True)
    launcher.copied += stacked.nbytes
    value = np.empty((m, n), np.float32)
    for part in _pieces(n, t.n):
        right = launcher.taken(columns[:, part], (size, t.n), FLOAT32)
        solution = launcher.launch(t, (stacked, inverses.inverses_t, right), np.float32)
        value[:, part] = solution[:m, : part.stop - part.start]
    return value


# ---- Layouts ----


def _blocks(t: Tiling) -> list[tuple[slice, slice]]:
    """Rows and columns of the blocks on and below the diagonal, in the order in which they are stacked."""
    parts = [slice(start, start + t.block_m) for start in range(0, t.m, t.block_m)]
    return [(rows, columns) for row, rows in enumerate(parts) for columns in parts[: row + 1]]


def _stacked(t: Tiling, matrix: Array, *, transposed: bool) -> Array:
    """Blocks on and below the diagonal below each other, each transposed where wanted; zeros around."""
    edge, blocks = t.block_m, _blocks(t)
    stacked = np.zeros((len(blocks), edge, edge), np.float32)
    for place, (rows, columns) in zip(stacked, blocks, strict=True):
        block = matrix[rows, columns]
        (place.T if transposed else place)[: block.shape[0], : block.shape[1]] = block
    return stacked.reshape(-1, edge)


def _unstacked(t: Tiling, stacked: Array) -> Array:
    """The lower triangle (batch, m, m) of stacked blocks; what lies above its blocks is undefined."""
    edge = t.block_m
    spread = stacked.reshape(t.batch, -1, edge, edge)
    whole = np.empty((t.batch, t.m, t.m), np.float32)
    for number, (rows, columns) in enumerate(_blocks(t)):
        place = whole[:, rows, columns]
        place[...] = spread[:, number, : place.shape[1], : place.shape[2]]
    return whole


def _pieces(extent: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, extent)) for start in range(0, extent, size)]


def _padded(matrix: Array, shape: tuple[int, int], dtype: np.dtype[Any]) -> Array:
    """A matrix with zeros below and beside it."""
    padded = np.zeros(shape, dtype)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    return padded


def _stored(operand_dtype: str) -> np.dtype[Any]:
    stored: np.dtype[Any] = np.dtype(STORED.get(operand_dtype, np.float32))
    return stored
