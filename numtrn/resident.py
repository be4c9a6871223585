"""Carry out a float32 product whose result stays on the target, of operands that may lie there too.

The same kernel, tiling and order of sums as of any float32 product (`numtrn.precision.single`), so the same
bits. No values are needed for it: that nothing overflows follows from norms, which pass from operands to
results. Where that, or the layouts, do not suffice, the product is declined, and made the usual way.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from numtrn.engine import KernelEngine
from numtrn.errors import KernelError
from numtrn.plan import Plan
from numtrn.plan.tiling import Tiling
from numtrn.precision import Declined
from numtrn.request import Array
from numtrn.residency import Held, Matrix
from numtrn.targets import Resident

__all__ = ["MOST", "run_resident"]

MOST = 2.0**126
"""Bound of elements up to which nothing can overflow in fp32."""


def run_resident(plan: Plan, left: Matrix, right: Matrix, engine: KernelEngine) -> Held:
    """AB of matrices (batch, m, k) and (batch, k, n).

    Raises
    ------
    Declined
        Where norms do not tell that no sum overflows, or an operand does not lie on the target as the launch
        takes it.
    """
    t, gemm = plan.tilings[0], plan.gemm
    rows, columns = left.norms(), right.norms()
    if not rows.most(columns) < MOST:
        raise Declined("norms of the operands do not tell that no sum overflows")
    fast = gemm.k_is_fast
    lhs_shape = (t.batch, t.m, t.k) if fast[0] else (t.batch, t.k, t.m)
    rhs_shape = (t.batch, t.n, t.k) if fast[1] else (t.batch, t.k, t.n)
    sides = ((left, lhs_shape, fast[0]), (right, rhs_shape, not fast[1]))
    for side in sides:  # before anything is moved
        _check(*side, engine.place_name)
    lhs, rhs = (_taken(*side, engine) for side in sides)
    (resident,) = engine.keep(t.kernel, (lhs, rhs), t.parameters)
    return Held(
        resident=resident,
        place=engine.place_name,
        shape=(gemm.batch, gemm.m, gemm.n),
        padded=(t.batch, t.m, t.n),
        norms=rows.times(columns, gemm.k),
        fetch=partial(_fetched, engine, t, resident),
    )


def _check(matrix: Matrix, shape: tuple[int, int, int], as_is: bool, place: str) -> None:
    """Decline a product of which an operand does not lie on the target as the launch takes it."""
    held = matrix.held
    if held is not None and (held.padded != shape or matrix.turned is as_is or held.place != place):
        raise Declined("an operand lies on the target in another layout")


def _taken(
    matrix: Matrix, shape: tuple[int, int, int], as_is: bool, engine: KernelEngine
) -> Array | Resident:
    """An operand as a launch takes it: its rows in memory, or its columns where it is not ``as_is``."""
    if matrix.host is not None:
        block = matrix.host if as_is else matrix.host.swapaxes(1, 2)
        return engine.taken(block, shape, np.dtype(np.float32))
    assert matrix.held is not None
    engine.saved += matrix.held.nbytes
    resident: Resident = matrix.held.resident
    return resident


def _fetched(engine: KernelEngine, t: Tiling, resident: Resident) -> Array:
    """A result of one launch, which must be what the kernel promises."""
    try:
        return engine.checked(t, engine.fetch(resident), np.float32)
    except KernelError:
        raise
    except Exception as cause:
        raise KernelError(
            f"a result of kernel {t.kernel} could not be brought from {engine.place_name}: "
            f"{type(cause).__name__}: {cause}. Its operands are unchanged: compute it again, outside of the "
            "block with NumPy"
        ) from cause
