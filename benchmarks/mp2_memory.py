"""Host memory of MP2 with and without the tensor T = (ia|jb): ``python benchmarks/mp2_memory.py``.

Measured for 24 occupied, 224 virtual orbitals and 384 auxiliary functions: the most that arrays take beside
B, as `tracemalloc` counts them, of plain NumPy without a block, of the same lines on numtrn arrays, and of
`numtrn.mp2.df_energy`. What a device would hold must not count, so that launches compute nothing there
(`Absent` of benchmarks/memory.py); the fp32 kernel runs on the interpreter, whose device memory is the
host's. Then, for 64, 448 and 1536, what the plans say. ``--nocc``, ``--nvir``, ``--naux`` set another case.
"""

from __future__ import annotations

import argparse
import tracemalloc
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from memory import Absent
from tabulate import tabulate

import numtrn
from numtrn import api, mp2
from numtrn.machine import CHIPS

MEDIUM = (64, 448, 1536)
MB = 1e6


def written(b: Any, e_occ: Any, e_vir: Any) -> float:
    """The energy as chemists write it; 1/D as a numtrn array where the energies are."""
    t = np.einsum("iaQ,jbQ->iajb", b, b)
    d = e_occ[:, None, None, None] - e_vir[:, None, None] + e_occ[:, None] - e_vir
    return float(np.einsum("iajb,iajb,iajb->", t, 2 * t - t.swapaxes(1, 3), 1 / d))


def on_arrays(*inputs: Any) -> float:
    return written(*map(numtrn.asarray, inputs))


def by_function(*inputs: Any) -> float:
    return mp2.df_energy(*inputs).total


def peak(function: Callable[..., float], inputs: tuple[Any, ...]) -> int:
    """Most bytes of arrays alive at a time, beside the inputs."""
    tracemalloc.start()
    try:
        function(*inputs)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def in_block(
    function: Callable[..., float], inputs: tuple[Any, ...], *, absent: bool, **settings: Any
) -> int:
    """The same with kernels forced."""
    target = Absent(CHIPS["trn2"])
    select = (lambda *_: target) if absent else api.select
    settings = {"target": "interpreter", "min_work": 0, "strict": True} | settings
    with mock.patch.object(api, "select", select), numtrn.enabled(**settings) as session:
        found = peak(function, inputs)
    assert all(call.route == "kernel" for call in session.calls if call.work), session
    return found


def measured(nocc: int, nvir: int, naux: int) -> list[list[str]]:
    """Rows of the table of one case."""
    rng = np.random.default_rng(0)
    b = rng.standard_normal((nocc, nvir, naux)) / naux
    inputs = b, np.sort(rng.uniform(-2, -0.5, nocc)), np.sort(rng.uniform(0.1, 3, nvir))
    with numtrn.enabled(target="interpreter", min_work=0):
        on_arrays(b[:2, :3], inputs[1][:2], inputs[2][:3])  # everything is imported
    single = (b.astype(np.float32), *inputs[1:])
    found = {
        "plain NumPy, no block": peak(written, inputs),
        "numtrn arrays, float64 by kernels": in_block(on_arrays, inputs, absent=True),
        "numtrn.mp2.df_energy, float64 by kernels": in_block(by_function, inputs, absent=True),
        "numtrn.mp2.df_energy, float32, with the interpreter's": in_block(by_function, single, absent=False),
    }
    tensor = (nocc * nvir) ** 2 * 8
    return [
        [way, f"{size / MB:,.1f}", f"{size / b.nbytes:.2f}", f"{size / tensor:.2f}"]
        for way, size in found.items()
    ]


def planned(nocc: int, nvir: int, naux: int) -> list[list[str]]:
    """Rows of what plans say of a case."""
    rows = []
    for dtype in ("float64", "float32"):
        b = np.broadcast_to(np.zeros((), dtype), (nocc, nvir, naux))
        with numtrn.enabled(target="interpreter", min_work=0):
            (plan,) = mp2.explain(b, np.full(nocc, -1.0), np.full(nvir, 1.0))
        size = b.size * b.itemsize
        rows.append(
            [
                dtype,
                f"{size / MB:,.1f}",
                f"{plan.device_bytes / MB:,.1f}",
                f"{plan.device_bytes / size:.3f}",
                f"{plan.host_bytes / MB:,.1f}",
                f"{(nocc * nvir) ** 2 * b.itemsize / MB:,.0f}",
            ]
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nocc", type=int, default=24)
    parser.add_argument("--nvir", type=int, default=224)
    parser.add_argument("--naux", type=int, default=384)
    case = parser.parse_args()
    extents = case.nocc, case.nvir, case.naux
    print("measured, {} occupied, {} virtual, {} auxiliary; MB beside B:".format(*extents))
    print(
        tabulate(measured(*extents), headers=["way", "MB", "of B", "of T"], disable_numparse=True), end="\n\n"
    )
    print("planned, {} occupied, {} virtual, {} auxiliary; MB:".format(*MEDIUM))
    headers = ["dtype", "B", "on the device", "of B", "on the host beside B", "T"]
    print(tabulate(planned(*MEDIUM), headers=headers, disable_numparse=True))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
