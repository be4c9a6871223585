"""How a triangular solve or a Cholesky factorisation is cut: blocks on the diagonal, updates between them.

Both halve their matrix until a block is left that the host takes, or that a kernel solves whole; everything
between is products. Halves are powers of two times the block, so that few shapes are compiled. Functions of
plain integers; the arithmetic is `numtrn.blocked`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from numtrn.plan.cost import Prediction
from numtrn.precision import Scheme, choose
from numtrn.request import Cholesky, Solve, Structure, shape_text

__all__ = [
    "BLOCK",
    "BLOCKS",
    "BlockedPlan",
    "Diagonal",
    "Step",
    "Update",
    "direct_bound",
    "halves",
    "largest_block",
    "levels",
    "promise",
    "steps",
]

BLOCK = 128
"""Order of a block on the diagonal, by default. The host's share of the multiply-adds is then 128 / n.

Updates are more accurate than the host's blocks: Cholesky factors of RBF kernels of order 300 err by 24, 17
and 11 u with blocks of 256, 128 and 64, SciPy's by 17 (``benchmarks/backward.py``)."""

BLOCKS = (128, 256, 512, 1024)
"""Orders to choose from where times are known."""

COMPLEX = 3
"""What complex arithmetic multiplies a bound by, rounded up: N. Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.6."""

DIVISION = 5
"""Least substitution that a complex bound is for: with an inverse of its diagonal, times `COMPLEX`."""

SMALL, ALLOWED = 40, 8
"""No bound of the kernel's solves is less than about 40 units, and 8 are allowed over the order."""


@dataclass(frozen=True, slots=True)
class Update:
    """One product (m, k) by (k, n) between blocks."""

    m: int
    k: int
    n: int
    structure: Structure = "general"

    @property
    def work(self) -> int:
        """Multiply-adds."""
        outputs = self.m * self.n if self.structure == "general" else self.n * (self.n + 1) // 2
        return outputs * self.k


@dataclass(frozen=True, slots=True)
class Diagonal:
    """One block (n, n) on a diagonal: solved with for so many columns, or factorised where there are none."""

    n: int
    columns: int = 0

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return self.n * (self.n + 1) // 2 * self.columns if self.columns else self.n**3 // 6


Step: TypeAlias = Update | Diagonal


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockedPlan:
    """What will be done for a solve or a factorisation: blocks, updates, precision scheme, predicted times.

    Attributes
    ----------
    request
        What was asked.
    scheme
        How operands of an update become what TensorE multiplies; the sums of an update, shorter than the
        order, may have a cheaper one, see `scheme_of`.
    kernel
        ``"trsm"`` where a solve may be that kernel's, else the kernel of the updates.
    block
        Order of the blocks on the diagonal that are left to the host.
    direct
        Largest order that the kernel solves whole, where the data allow it; 0 where it does not.
    steps
        Products between the blocks and blocks on the diagonal, and how often each occurs.
    precision
        As asked for.
    target, chip, prediction, numpy_seconds, reason, shapes
        As of a `numtrn.plan.Plan`; the blocks' time on the host counts as fixed.
    """

    request: Solve | Cholesky
    scheme: Scheme
    kernel: str
    block: int
    direct: int
    steps: tuple[tuple[Step, int], ...]
    precision: str | float
    target: str
    chip: str
    prediction: Prediction
    numpy_seconds: float | None
    reason: str
    shapes: str = "fine"
    cores: int = 1

    @property
    def bound(self) -> float:
        """Promised componentwise backward error in units of u `measure`, where no update is NumPy's."""
        return self.promised()

    def promised(self, by_numpy: int = 0) -> float:
        """The same where NumPy made updates, of sums of up to so many products.

        Sums over blocks meet disjoint parts of |T||X|, so that the worst of them counts once: a product, or
        a solve of a block by the classical bound of its order; each subtraction rounds once more, and so
        does alpha. The kernel's solves keep `direct_bound` or are the host's (`numtrn.precision.inverses`). A
        factor L is solved for below the diagonal after as many updates again. What a solve leaves of Y in
        T1 Y = B adds to |T1| times what the next one leaves of X in T2 X = Y.
        """
        return promise(self.request, self.scheme, self.block, self.direct, by_numpy)

    def scheme_of(self, k: int) -> Scheme:
        """The scheme of an update with sums of k products, with no more digits than the plan allows."""
        scheme = choose(self.scheme.dtype, self.precision, k)
        least, most = scheme.minimum_slices(k), self.scheme.maximum_slices
        if least is None or most is None:
            return scheme
        return replace(scheme, maximum_slices=max(least, most))

    @property
    def measure(self) -> str:
        """What `bound` is a multiple of, beside the unit."""
        if isinstance(self.request, Cholesky):
            return "|L||L^H|"
        return "|T||X|" if len(self.request.factors) == 1 else "|T1||T2||X|"

    @property
    def scales(self) -> str:
        """What the underflow of an outcome is a multiple of."""
        if isinstance(self.request, Cholesky):
            return "max|L_i| max|L_j|"
        if len(self.request.factors) == 1:
            return "max|T_i| max|X_j|"
        return "(max|T1_i| max|Y_j| + |T1| max|T2_i| max|X_j|), Y = T2 X"

    def __str__(self) -> str:
        updates = [(step, count) for step, count in self.steps if isinstance(step, Update)]
        products = sum(count for _, count in updates)
        work = sum(update.work * count for update, count in updates)
        blocks = f"on the host in blocks of {self.block}"
        if self.direct:
            blocks = f"by kernel trsm up to order {self.direct} where the data allow it, else {blocks}"
        lines = [
            f"{self.request.function} {self.request.dtype} {shape_text(self.request.shapes)}: kernel",
            f"  reason    {self.reason}",
            f"  diagonal  {blocks}",
            f"  updates   {products} products, {work:,} multiply-adds",
            f"  scheme    {self.scheme.name}: {self.scheme.description}",
            f"  promise   backward error <= {self.bound:g} {self.scheme.unit_text} {self.measure}, "
            "componentwise",
            f"  target    {self.target}, {self.chip}",
            f"  predicted {self.prediction} ({self.prediction.source})",
        ]
        if self.numpy_seconds is not None:
            lines.append(f"  SciPy     {self.numpy_seconds * 1e3:.3g} ms predicted from NumPy's speed here")
        return "\n".join(lines)


def direct_bound(n: int) -> float:
    """What the kernel is allowed for a solve of order n, in units of u |L||X|; substitution has n + 1."""
    return max(n, SMALL) + ALLOWED


def promise(request: Solve | Cholesky, scheme: Scheme, block: int, direct: int, by_numpy: int = 0) -> float:
    """The bound of a plan of these parts; see `BlockedPlan.promised`."""
    # The host rounds to the dtype, whatever the updates are made in.
    rounding, mixed = scheme.own_unit / scheme.unit, COMPLEX if scheme.complex else 1
    on_host = max(block, by_numpy) + 1
    if scheme.complex:
        on_host = max(on_host, DIVISION)
    worst = max(scheme.bound(halves(request.n, block)), on_host * rounding) * mixed
    if direct:
        worst = max(worst, direct_bound(min(request.n, direct)))
    subtractions = levels(request.n, block) * rounding * (1 + worst * scheme.unit)
    if isinstance(request, Cholesky):
        return 2 * (worst + subtractions) + rounding
    solved = worst + subtractions + mixed * rounding
    return solved if len(request.factors) == 1 else solved * (2 + solved * scheme.unit)


def largest_block(n: int, block: int = BLOCK) -> int:
    """The block for a matrix of order n: at most half of it, so that there is something to multiply.

    >>> largest_block(1500), largest_block(255), largest_block(3)
    (128, 64, 1)
    """
    while 2 * block > n:
        block //= 2
    return block


def halves(n: int, block: int) -> int:
    """Rows above the cut of a matrix of more than ``block`` rows: the most of block, 2 block, 4 block ...

    >>> halves(1500, 256), halves(1024, 256), halves(257, 256)
    (1024, 512, 256)
    """
    upper = block
    while 2 * upper < n:
        upper *= 2
    return upper


def levels(n: int, block: int) -> int:
    """Cuts that a row may lie below, one after another."""
    if n <= block:
        return 0
    upper = halves(n, block)
    return 1 + max(levels(upper, block), levels(n - upper, block))


def steps(request: Solve | Cholesky, block: int, direct: int) -> tuple[tuple[Step, int], ...]:
    """What a request takes, and how often."""
    if isinstance(request, Cholesky):
        found = Counter(_cholesky_steps(request.n, block, direct))
        return tuple(found.items())
    found = Counter(_solve_steps(request.n, request.columns, max(block, direct)))
    return tuple((step, count * len(request.factors)) for step, count in found.items())


def _solve_steps(n: int, columns: int, block: int) -> Iterator[Step]:
    if n <= block:
        yield Diagonal(n, columns)
        return
    upper = halves(n, block)
    yield from _solve_steps(upper, columns, block)
    yield Update(n - upper, upper, columns)
    yield from _solve_steps(n - upper, columns, block)


def _cholesky_steps(n: int, block: int, direct: int) -> Iterator[Step]:
    if n <= block:
        yield Diagonal(n)
        return
    upper = halves(n, block)
    yield from _cholesky_steps(upper, block, direct)
    yield from _solve_steps(upper, n - upper, max(block, direct))
    yield Update(n - upper, upper, n - upper, "syrk")
    yield from _cholesky_steps(n - upper, block, direct)
