"""Engines for the tests of numtrn.precision: an exact one, and a strict model of bf16 products in fp32.

Both cut their operands block by block, in either order of memory.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

from numtrn.precision import Block
from numtrn.request import MIRRORED

ROUNDINGS = {"float32": 24, "tfloat32": 11, "bfloat16": 8}
PEAK, PEAK_SUM = 128, 256


def rounded(x: np.ndarray, operand_dtype: str) -> np.ndarray:
    """x as the engine sees it, in float32: ties to even."""
    x = np.asarray(x)
    assert x.dtype == np.float32
    if operand_dtype == "float32":
        return x
    if operand_dtype == "float16":
        return x.astype(np.float16).astype(np.float32)
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

    def product(self, lhs, rhs, operand_dtype, structure="general"):
        self.calls.append(operand_dtype)
        batch, _, k = lhs.shape
        assert lhs.dtype == rhs.dtype == np.float32
        assert rhs.shape[:2] == (batch, k)
        result = np.matmul(
            rounded(lhs, operand_dtype).astype(np.float64), rounded(rhs, operand_dtype).astype(np.float64)
        )
        return result.astype(np.float32)

    def least(self, lhs, rhs):
        self.calls.append("least")
        a, b = (np.stack([self.magnitudes(side, i) for i in range(side.batch)]) for side in (lhs, rhs))
        product = self.product(a, b.transpose(0, 2, 1), "bfloat16")
        return float(product.min()), float(np.min(product, where=product > 0, initial=np.float32(3e38)))

    def magnitudes(self, side, i):
        whole = np.full((side.rows, side.k), np.nan, np.float32)
        for ks in blocks(side.k, self.k):
            for rows in blocks(side.rows, self.rows):
                bits = side.block(i, rows, ks)
                assert bits.dtype == np.uint16
                whole[rows, ks] = (bits.astype(np.uint32) << 16).view(np.float32)
        return whole

    def digits(self, words, part, i):
        """All digits of one matrix: (slices, rows, k) int64."""
        size = 8 if words.slices <= 8 else 16
        whole = np.full((words.rows, words.k, size), 99, np.int8)
        for ks in blocks(words.k, self.k):
            for rows in blocks(words.rows, self.rows):
                shape = rows.stop - rows.start, ks.stop - ks.start, size
                if words.k_is_fast:
                    out = np.empty(shape, np.int8)
                else:
                    out = np.empty((shape[1], shape[0], size), np.int8).transpose(1, 0, 2)
                words.cut(part, i, rows, ks, out)
                whole[rows, ks] = out
        return whole[:, :, : words.slices][:, :, ::-1].transpose(2, 0, 1).astype(np.int64)

    def words(self, lhs, rhs, structure="general"):
        self.calls.append(f"words {lhs.slices}")
        assert (lhs.batch, lhs.k, lhs.slices, lhs.parts) == (rhs.batch, rhs.k, rhs.slices, rhs.parts)
        for i in range(lhs.batch):
            p, q = ([self.digits(x, part, i) for part in range(x.parts)] for x in (lhs, rhs))
            sums = [limbs(self.diagonals(*pair, PEAK)) for pair in zip(p, q, strict=True)]
            if lhs.parts == 2:
                sums.append(limbs(self.diagonals(p[0] + p[1], q[0] + q[1], PEAK_SUM)))
            for rows in blocks(lhs.rows, self.rows):
                if structure in MIRRORED:
                    for columns in blocks(rows.stop, self.rows):
                        yield Block(i, rows, columns, tuple(limb[rows][:, :, columns] for limb in sums))
                else:
                    yield Block(i, rows, slice(0, rhs.rows), tuple(limb[rows] for limb in sums))

    def diagonals(self, p, q, peak):
        """D[t] (slices, rows, columns) of digits (slices, rows, k)."""
        s = len(p)
        assert max(np.abs(p).max(), np.abs(q).max()) <= peak
        assert p.shape[2] * s * peak**2 < 2**53
        exact = p.astype(np.float64), q.astype(np.float64)
        return np.stack(
            [sum((exact[0][j] @ exact[1][t - j].T).astype(np.int64) for j in range(t + 1)) for t in range(s)]
        )


class StrictEngine(ExactEngine):
    """What the device does: bf16 operands, one fp32 addition after the other, groups that stay exact."""

    def product(self, lhs, rhs, operand_dtype, structure="general"):
        self.calls.append(operand_dtype)
        a, b = rounded(lhs, operand_dtype), rounded(rhs, operand_dtype)
        total = np.zeros((lhs.shape[0], lhs.shape[1], rhs.shape[2]), np.float32)
        for start in range(0, lhs.shape[2], 128):  # a column of the array adds 128 products, then PSUM
            part = np.zeros_like(total)
            for k in range(start, min(start + 128, lhs.shape[2])):
                part += a[:, :, k, None] * b[:, None, k, :].reshape(len(b), 1, -1)
            total += part
        return total

    def diagonals(self, p, q, peak):
        s = len(p)
        result = np.zeros((s, p.shape[1], q.shape[1]), np.int64)
        group = 2**24 // peak**2
        for t in range(s):
            left = np.concatenate([p[j].T for j in range(t + 1)]).astype(np.float32)
            right = np.concatenate([q[t - j].T for j in range(t + 1)]).astype(np.float32)
            for start in range(0, len(left), group):
                bank = np.zeros(result.shape[1:], np.float32)
                for k in range(start, min(start + group, len(left))):
                    bank += left[k, :, None] * right[k]
                assert np.abs(bank).max() <= 2**24
                result[t] += bank.astype(np.int64)
        return result


def limbs(diagonals):
    """Sum over t of D[t] 256^-t in limbs of 24 bits (rows, limbs, columns), the first one signed."""
    s = len(diagonals)
    count = 1 + -(-(s - 1) // 3)
    digits, carry = [], 0
    for t in range(3 * (count - 1), 0, -1):
        total = (diagonals[t] if t < s else 0) + np.asarray(carry)
        digits.append(total & 255)
        carry = total >> 8
    digits.append(diagonals[0] + carry)
    digits.reverse()
    shape = diagonals.shape[1:]
    words = [digits[0]] + [
        sum(np.broadcast_to(digits[t + i], shape) << (16 - 8 * i) for i in range(3))
        for t in range(1, 3 * (count - 1), 3)
    ]
    return np.stack(words, axis=1)
