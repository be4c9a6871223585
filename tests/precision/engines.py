"""Engines for the tests of numtrn.precision: an exact one, and a strict model of bf16 products in fp32.

Both check every digit block they read: integers, no larger than promised, exact in bf16.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

ROUNDINGS = {"float32": 24, "tfloat32": 11, "bfloat16": 8}


def rounded(x: np.ndarray, operand_dtype: str) -> np.ndarray:
    """x as the engine sees it, in float32: ties to even."""
    x = np.asarray(x)
    assert x.dtype == np.float32
    if operand_dtype == "float32":
        return x
    if operand_dtype == "bfloat16":
        return x.astype(ml_dtypes.bfloat16).astype(np.float32)
    bits = np.ascontiguousarray(x).view(np.uint32)
    drop = np.uint32(24 - ROUNDINGS[operand_dtype])
    half = ((bits >> drop) & np.uint32(1)) + np.uint32((1 << (int(drop) - 1)) - 1)
    return ((bits + half) >> drop << drop).view(np.float32)


def blocks(extent: int, step: int) -> list[slice]:
    return [slice(i, min(i + step, extent)) for i in range(0, extent, step)]


class ExactEngine:
    """Digits in blocks of the given extents, multiplied exactly; plain products in float64, rounded once."""

    def __init__(self, rows: int = 100, k: int = 1000) -> None:
        self.rows, self.k = rows, k
        self.calls: list[str] = []

    def product(self, lhs, rhs, operand_dtype):
        self.calls.append(operand_dtype)
        batch, _, k = lhs.shape
        assert lhs.dtype == rhs.dtype == np.float32
        assert rhs.shape[:2] == (batch, k)
        result = np.matmul(
            rounded(lhs, operand_dtype).astype(np.float64), rounded(rhs, operand_dtype).astype(np.float64)
        )
        return result.astype(np.float32)

    def planes(self, digits, i):
        """All planes of one matrix: (k, slices, rows) float32."""
        planes = np.full((digits.k, digits.slices, digits.rows), np.nan, np.float32)
        for ks in blocks(digits.k, self.k):
            for rows in blocks(digits.rows, self.rows):
                planes[ks, :, rows] = checked(digits, digits.block(i, rows, ks), ks, rows)
        return planes

    def diagonals(self, lhs, rhs):
        self.calls.append(f"diagonals {lhs.slices}")
        assert (lhs.batch, lhs.k, lhs.slices) == (rhs.batch, rhs.k, rhs.slices)
        s = lhs.slices
        result = np.zeros((s, lhs.batch, lhs.rows, rhs.rows), np.int64)
        assert lhs.k * s * lhs.peak * rhs.peak < 2**53
        for i in range(lhs.batch):
            p = self.planes(lhs, i).astype(np.float64)
            q = self.planes(rhs, i).astype(np.float64)
            for t in range(s):
                for left in range(t + 1):
                    result[t, i] += (p[:, left].T @ q[:, t - left]).astype(np.int64)
        return result


class StrictEngine(ExactEngine):
    """What the device does: bf16 operands, one fp32 addition after the other, groups that stay exact."""

    def product(self, lhs, rhs, operand_dtype):
        self.calls.append(operand_dtype)
        a, b = rounded(lhs, operand_dtype), rounded(rhs, operand_dtype)
        total = np.zeros((lhs.shape[0], lhs.shape[1], rhs.shape[2]), np.float32)
        for start in range(0, lhs.shape[2], 128):  # a column of the array adds 128 products, then PSUM
            part = np.zeros_like(total)
            for k in range(start, min(start + 128, lhs.shape[2])):
                part += a[:, :, k, None] * b[:, None, k, :].reshape(len(b), 1, -1)
            total += part
        return total

    def diagonals(self, lhs, rhs):
        self.calls.append(f"diagonals {lhs.slices}")
        s = lhs.slices
        result = np.zeros((s, lhs.batch, lhs.rows, rhs.rows), np.int64)
        group = 2**24 // (lhs.peak * rhs.peak)
        for i in range(lhs.batch):
            p, q = self.planes(lhs, i), self.planes(rhs, i)
            for t in range(s):
                left = np.concatenate([p[:, j] for j in range(t + 1)])
                right = np.concatenate([q[:, t - j] for j in range(t + 1)])
                for start in range(0, len(left), group):
                    bank = np.zeros(result.shape[2:], np.float32)
                    for k in range(start, min(start + group, len(left))):
                        bank += left[k, :, None] * right[k]
                    assert np.abs(bank).max() <= 2**24
                    result[t, i] += bank.astype(np.int64)
        return result


def checked(digits, block, ks, rows):
    """A digit block that keeps its promises."""
    assert block.dtype == np.float32
    assert block.shape == (ks.stop - ks.start, digits.slices, rows.stop - rows.start)
    assert np.array_equal(block, np.rint(block))
    assert np.abs(block).max() <= digits.peak
    assert np.array_equal(block.astype(ml_dtypes.bfloat16).astype(np.float32), block)
    return block
