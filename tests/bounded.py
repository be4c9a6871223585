"""Values in higher precision that know how far numtrn may be from them: the promises of docs/precision.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDE = {"float32": np.float64, "float64": np.longdouble}
TERMS = {"float32": np.inf, "float64": 256}
"""Of K terms of a product, so many count in the bound at most."""


@dataclass(eq=False)
class Bounded:
    """What an array should hold, in the next wider type, and how far off it may be, element by element.

    Attributes
    ----------
    dtype
        Of the array.
    value, off
        Exact but for rounding in the wider type, and a bound of |array - value|.
    """

    dtype: np.dtype
    value: np.ndarray
    off: np.ndarray

    @classmethod
    def of(cls, array):
        """An array that is what it is."""
        value = np.array(array, WIDE[array.dtype.name])
        return cls(array.dtype, value, np.zeros_like(value))

    @property
    def mT(self):
        """The transposes."""
        return Bounded(self.dtype, self.value.swapaxes(-1, -2), self.off.swapaxes(-1, -2))

    def copy(self):
        """The same, to be changed."""
        return Bounded(self.dtype, self.value.copy(), self.off.copy())

    def __setitem__(self, key, value):
        self.value[key], self.off[key] = value, 0

    def __matmul__(self, other):
        """A product by kernels or NumPy: (K + 1) u |A||B|; what is subnormal may vanish on the way."""
        k = self.value.shape[-1]
        left, right = np.abs(self.value), np.abs(other.value)
        most_left, most_right = left + self.off, right + other.off
        sizes = most_left @ most_right
        before = self.off @ most_right + left @ other.off
        lost = k * np.finfo(self.dtype).tiny * (1 + most_left.max() + most_right.max())
        value = self.value @ other.value
        return self._made(value, before + (min(k, TERMS[self.dtype.name]) + 1) * self._unit * sizes + lost, k)

    def __add__(self, other):
        """A sum in the dtype."""
        off = self.off + other.off
        value = self.value + other.value
        return self._made(value, off + self._unit * (np.abs(value) + off), 1)

    def sum(self, axis):
        """Of n elements, in the dtype and in any order: n u times the sum of their sizes."""
        off, n = self.off.sum(axis), self.value.shape[axis]
        sizes = np.abs(self.value).sum(axis) + off
        return self._made(self.value.sum(axis), off + n * self._unit * sizes, n)

    @property
    def _unit(self):
        return np.finfo(self.dtype).eps / 2

    def _made(self, value, off, terms):
        """A result, whose own rounding is in the bound: of sums of so many terms in the wider type."""
        grown = 1 + (terms + 2) * np.finfo(WIDE[self.dtype.name]).eps / self._unit
        return Bounded(self.dtype, value, off * grown)

    def check(self, got):
        """Raise AssertionError where an array is further off than promised, or of another shape or dtype."""
        got = np.asarray(got)
        assert (got.dtype, got.shape) == (self.dtype, self.value.shape)
        wrong = ~(np.abs(got - self.value) <= self.off)
        assert not wrong.any(), (
            f"{wrong.sum()} of {wrong.size} elements are off by up to "
            f"{np.nanmax(np.abs(got - self.value)[wrong]):.2g}, where {self.off[wrong].min():.2g} is promised"
        )
