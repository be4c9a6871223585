"""The kernels to run: arguments, what NumPy gives, and which hazards they are known to rely on.

Versions: trnblas 0.5.4 from PyPI; ``aws-neuron/aws-neuron-sdk`` at 81ce03ae, folder ``nki/examples``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

F32 = np.float32


@dataclass(frozen=True)
class Case:
    """One kernel.

    Attributes
    ----------
    title
        Name in the table.
    kernel
        Name in the module.
    make
        From a random generator: arguments, and what NumPy gives in float64.
    hazards
        Rules that it breaks and that must be let pass.
    refused
        Rule for which it must be refused, or None.
    tolerance
        Largest error allowed, relative to the largest value.
    read
        From the outputs to what is compared.
    """

    title: str
    kernel: str
    make: Callable[[np.random.Generator], tuple[tuple[Any, ...], Any]]
    hazards: tuple[str, ...] = ()
    refused: str | None = None
    tolerance: float = 1e-5
    read: Callable[[Any], Any] = lambda out: out


def normal(rng, *shape):
    """Random float32."""
    return rng.standard_normal(shape).astype(F32)


def wide(*arrays):
    """The same in float64."""
    return [array.astype(np.float64) for array in arrays]


# -- trnblas ---------------------------------------------------------------------------------------


def gemm(rng):
    """``a @ b``."""
    a, b = normal(rng, 256, 256), normal(rng, 256, 1024)
    x, y = wide(a, b)
    return (a, b), x @ y


def syrk(rng):
    """``a @ a.T``."""
    a = normal(rng, 512, 256)
    (x,) = wide(a)
    return (a,), x @ x.T


def energies(rng, occupied, virtual):
    """Orbital energies with a gap."""
    return (-1 - rng.random(occupied)).astype(F32), (1 + rng.random(virtual)).astype(F32)


def pair_energy(t, sums, virtual):
    """MP2 energy of each pair: sum over a, b of T (2 T - T^t) / denominator."""
    below = sums[:, None, None] - virtual[:, None] - virtual
    return (t * (2 * t - t.transpose(0, 2, 1)) / below).sum(axis=(1, 2))


def mp2_energy(rng, virtual=160):
    """From all amplitudes of a chunk of occupied orbitals."""
    some, occupied = 2, 3
    e_occ, e_vir = energies(rng, occupied, virtual)
    t = normal(rng, some * virtual, occupied * virtual)
    x, low, high = wide(t, e_occ, e_vir)
    blocks = x.reshape(some, virtual, occupied, virtual).transpose(0, 2, 1, 3).reshape(-1, virtual, virtual)
    sums = (low[:some, None] + low).reshape(-1)
    arguments = (t, e_occ[None, :some].copy(), e_occ[None], e_vir[:, None], e_vir[None])
    return arguments, pair_energy(blocks, sums, high).sum()


def fused(rng, virtual=256, auxiliary=256):
    """One pair, from the fitted integrals."""
    e_occ, e_vir = energies(rng, 2, virtual)
    one, other = normal(rng, virtual, auxiliary), normal(rng, virtual, auxiliary)
    x, y, low, high = wide(one, other, e_occ, e_vir)
    arguments = (one, other, e_occ.sum().reshape(1, 1), e_vir[:, None], e_vir[None])
    return arguments, pair_energy((x @ y.T)[None], low.sum()[None], high).sum()


def batched(rng, occupied=2, virtual=128, auxiliary=256):
    """All pairs."""
    e_occ, e_vir = energies(rng, occupied, virtual)
    b = normal(rng, occupied, virtual, auxiliary)
    x, low, high = wide(b, e_occ, e_vir)
    blocks = np.einsum("iax,jbx->ijab", x, x).reshape(-1, virtual, virtual)
    energy = pair_energy(blocks, (low[:, None] + low).reshape(-1), high).sum()
    return (b, e_occ[None], e_vir[:, None], e_vir[None]), energy


def chunked(rng):
    """All pairs of one orbital."""
    (b, occupied, column, row), energy = batched(rng)
    return (b[0], b, occupied[:, :1].copy(), occupied, column, row), energy


def total(out):
    """The caller's part of the reduction, in float64."""
    return np.float64(out.astype(np.float64).sum())


# A zeroed PSUM tile is accumulated on: undefined on gen2 and gen3 (ISA: nc_matmul, 0.6).
ZEROED = ("H11",)
# Partial sums are assigned to columns of a tile, t[...] = value, which no documentation describes.
ASSIGNED = ("H39",)
BOTH = ZEROED + ASSIGNED

TILES = ((64, 128), (64, 256), (64, 512), (128, 128), (128, 256), (128, 512))
TRNBLAS = [
    *(Case(f"gemm {m}x128x{n}", f"_gemm_kernel_{m}_128_{n}", gemm, ZEROED) for m, n in TILES),
    Case("syrk", "_syrk_kernel", syrk, ZEROED),
    Case("mp2 energy", "_mp2_energy_kernel", mp2_energy, ASSIGNED, tolerance=1e-4, read=total),
    Case(
        "fused gemm energy", "_fused_gemm_energy_kernel", fused, ZEROED + ASSIGNED, tolerance=1e-4, read=total
    ),
    Case("batched pair", "_batched_pair_kernel", batched, ZEROED + ASSIGNED, tolerance=1e-4, read=total),
    # It adds a tensor in HBM to a tile, which no instruction does.
    Case("chunked pair", "_j_batched_kernel", chunked, refused="memory", read=total),
]

# -- the SDK's examples ----------------------------------------------------------------------------


def transposed_gemm(m, k, n, *extra):
    """``a.T @ b``."""

    def make(rng):
        a, b = normal(rng, k, m), normal(rng, k, n)
        x, y = wide(a, b)
        return (a, b, *extra), x.T @ y

    return make


def transpose(rng):
    """Each row is a matrix to be transposed."""
    x = normal(rng, 20, 15)
    return (x, (3, 5)), x.reshape(20, 3, 5).transpose(0, 2, 1).reshape(20, 15)


def pool(rng):
    """Means of 2 x 2 squares."""
    x = normal(rng, 8, 12, 16)
    return (x, 2), x.astype(np.float64).reshape(8, 6, 2, 8, 2).mean(axis=(2, 4))


def mamba(length):
    """The state space recurrence."""

    def make(rng):
        batch, channels, states = 1, 128, 3
        delta = (0.1 * rng.random((batch, channels, length))).astype(F32)
        u = normal(rng, batch, channels, length)
        a = -rng.random((channels, states)).astype(F32)
        b, c = normal(rng, batch, states, length), normal(rng, batch, states, length)
        d, x, y, z, w = wide(delta, u, a, b, c)
        out = np.zeros(delta.shape)
        state = np.zeros((batch, channels, states))
        for t in range(length):
            decay = np.exp(d[:, :, t, None] * y)
            state = decay * state + (d * x)[:, :, t, None] * z[:, None, :, t]
            out[:, :, t] = (state * w[:, None, :, t]).sum(axis=2)
        return (delta, u, a, b, c), out

    return make


def addition(rng):
    """``a + b``."""
    a, b = normal(rng, 128, 512), normal(rng, 128, 512)
    return (a, b), np.add(*wide(a, b))


SDK = {
    "matrix_multiplication/matrix_multiplication_nki_kernels.py": [
        Case("matmul basic", "nki_matmul_basic_", transposed_gemm(64, 128, 512)),
        Case("matmul tiled", "nki_matmul_tiled_", transposed_gemm(256, 256, 1024)),
        Case("matmul hoisted", "nki_matmul_hoist_load_", transposed_gemm(256, 256, 1024)),
        Case("matmul blocked", "nki_matmul_block_free_dimension_", transposed_gemm(256, 256, 1024)),
        Case("matmul optimized", "nki_matmul_fully_optimized_", transposed_gemm(512, 512, 1024, 2, 2, 2)),
    ],
    "transpose2d/transpose2d_nki_kernels.py": [Case("transpose2d", "tensor_transpose2D_kernel_", transpose)],
    "average_pool2d/average_pool2d_nki_kernels.py": [Case("average pool", "tensor_avgpool_kernel", pool)],
    "fused_mamba/mamba_nki_kernels.py": [
        Case("mamba v1", "mamba_v1", mamba(512), tolerance=1e-5),
        Case("mamba v2", "mamba_v2", mamba(512), tolerance=1e-5),
        Case("mamba v3", "mamba_v3", mamba(1024), tolerance=1e-5),
    ],
    "tensor_addition/tensor_addition_nki_kernels.py": [Case("addition", "nki_tensor_add", addition)],
}
