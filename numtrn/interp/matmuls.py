"""Matmuls that were issued and not yet computed: neighbours are multiplied at once.

An ``nc_matmul`` makes all its checks when it is issued and then only enters its product here. Products
are computed before anything else looks at data or takes memory (`NkiTensor.array`, `Core.allocate`), so
that between entering a product and computing it only further products are entered. These write PSUM and
read SBUF: no operand changes meanwhile, and no kernel can tell the difference.

What is gained: of consecutive products, those that share ``moving`` and continue each other's
``stationary`` become one with more columns. BLAS then packs its operands once for several tiles. Those that
add to the same ``dst`` become one with a longer contraction only where that changes no bit: where all
numbers are integers so small that fp32 adds them exactly. Otherwise each matmul's sum is rounded and
then added, as PSUM does it.
"""

from __future__ import annotations

from math import inf, prod
from typing import Any, NamedTuple

import numpy as np

from numtrn.interp.arena import F32, Array, Matrix, aligned

__all__ = ["Matmuls", "Product"]

MOST = 64
"""Products that wait at most."""

EXACT = 2.0**24
"""fp32 holds every integer up to here."""


class Product(NamedTuple):
    """``dst = stationary.T @ moving``, or added to ``dst``: matrices one below the other."""

    dst: tuple[Matrix, ...]
    stationary: Matrix
    moving: Matrix
    add: bool
    depths: tuple[int, ...]
    """Rows of each matmul along the contraction."""

    def wider(self, other: Product) -> Product | None:
        """Both as one if ``other`` has the next columns of ``stationary``."""
        if self.moving != other.moving or self.add is not other.add:
            return None
        stationary = self.stationary.beside(other.stationary)
        if stationary is None:
            return None
        below = self.dst[-1].below(other.dst[0])
        dst = (*self.dst, *other.dst) if below is None else (*self.dst[:-1], below, *other.dst[1:])
        return Product(dst, stationary, self.moving, self.add, self.depths)

    def longer(self, other: Product) -> Product | None:
        """Both as one if ``other`` adds the next rows of the contraction."""
        if not other.add or self.dst != other.dst:
            return None
        stationary = self.stationary.below(other.stationary)
        moving = None if stationary is None else self.moving.below(other.moving)
        if stationary is None or moving is None:
            return None
        return Product(self.dst, stationary, moving, self.add, self.depths + other.depths)


class Matmuls:
    """The products of one core that are entered and not computed.

    Attributes
    ----------
    products
        In program order, neighbours joined.
    """

    __slots__ = ("_held", "_scratch", "products")

    def __init__(self) -> None:
        self.products: list[Product] = []
        self._held: list[Any] = []  # the storages, whose memory must not be given away meanwhile
        self._scratch: dict[tuple[int, ...], Array] = {}

    def enter(self, product: Product, *storages: object) -> None:
        """Add a product, whose matrices are in these storages."""
        self._held += storages
        products = self.products
        if products:
            wider = products[-1].wider(product)
            if wider is not None:
                products[-1] = wider
                return
            self._lengthen()
            if len(products) == MOST:
                self.finish()
                self._held += storages
        self.products.append(product)

    def _lengthen(self) -> None:
        """Join the last two products if they are one longer contraction."""
        products = self.products
        if len(products) > 1:
            longer = products[-2].longer(products[-1])
            if longer is not None:
                products[-2:] = [longer]

    def finish(self) -> None:
        """Compute what is entered."""
        self._lengthen()
        products, self.products = self.products, []
        sums: dict[tuple[Matrix, ...], float] = {}  # bounds of what is known to be integers
        for product in products:
            dst = [matrix.wide for matrix in product.dst]
            a, b = product.stationary.wide, product.moving.wide
            if len(product.depths) == 1 or self._exact(product, sums):
                self.multiply(dst, a, b, product.add)
                continue
            row, add = 0, product.add
            for depth in product.depths:
                self.multiply(dst, a[row : row + depth], b[row : row + depth], add)
                row, add = row + depth, True
        self._held.clear()

    def _exact(self, product: Product, sums: dict[tuple[Matrix, ...], float]) -> bool:
        """Whether all sums of a product are integers that fp32 holds, in any order."""
        before = sums.pop(product.dst, inf) if product.add else 0.0
        each = product.stationary.bound * product.moving.bound
        total = before + product.stationary.rows * each
        if not total <= EXACT:
            return False
        sums[product.dst] = total
        return True

    def multiply(self, dst: list[Array], stationary: Array, moving: Array, add: bool) -> None:
        """One product of float32 matrices into the matrices ``dst``, one below the other."""
        if not add and len(dst) == 1:
            np.matmul(stationary.T, moving, out=dst[0])
            return
        part = self.scratch((stationary.shape[1], moving.shape[1]))
        np.matmul(stationary.T, moving, out=part)
        row = 0
        for matrix in dst:
            rows = part[row : row + len(matrix)]
            row += len(matrix)
            if add:
                np.add(matrix, rows, out=matrix)
            else:
                np.copyto(matrix, rows)

    def scratch(self, shape: tuple[int, ...]) -> Array:
        """Memory for a product that is added afterwards."""
        part = self._scratch.get(shape)
        if part is None:
            part = self._scratch[shape] = aligned(prod(shape), F32).reshape(shape)
        return part
