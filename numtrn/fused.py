"""Pair energies of MP2 by ``kernels/mp2_pairs.py``: layouts, launches, and sums in float64.

Direct sums d[i, j] = sum_ab T_ab^2 / D_ab and exchange sums x[i, j] = sum_ab T_ab T_ba / D_ab, with
D_ab = e_i + e_j - e_a - e_b and T_ab = (ia|jb), in fp32 arithmetic. What is cut how is decided in
`numtrn.plan.mp2_tiling`; what is promised of a result, and what else may compute it, elsewhere. Nothing the
caller owns is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from threading import Lock
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from numtrn.errors import DenominatorError, KernelError
from numtrn.plan.ladder import Cutting
from numtrn.plan.mp2_tiling import (
    KEEP_BYTES,
    PairLaunch,
    PairTiling,
    Spin,
    pair_shares,
    tile_blocks,
    tile_pairs,
)
from numtrn.plan.tiling import TILE
from numtrn.precision.threads import merged
from numtrn.request import Array
from numtrn.targets import Resident

__all__ = ["Launcher", "SpinOrbitals", "block_sums", "pair_sums"]

KERNEL = "mp2_pairs"
DIRECT_SCALE = -0.25
"""The kernel's root is -2 / sqrt(-D)."""

SpinOrbitals: TypeAlias = tuple[Array, Array, Array]
"""B (o, v, x) float32, of any strides; energies of its occupied (o,) and virtual orbitals (v,), float64."""


_Found: TypeAlias = tuple[int, int, NDArray[np.float64]]
"""Numbers of the blocks of a launch, and its sums (2, oi, oj)."""

T = TypeVar("T")


class Launcher(Protocol):
    """What is needed of an engine; see `numtrn.engine.KernelEngine`."""

    cutting: Cutting
    hbm: int

    def lanes(self, cores: int) -> AbstractContextManager[Sequence[Launcher]]:
        """One for each core."""
        ...

    def place(self, array: Array) -> Resident:
        """Send an array to the target, where it stays while the result is held."""
        ...

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """Launch a kernel whose results stay on the target."""
        ...

    def fetch(self, resident: Resident) -> Array:
        """What a kernel left there."""
        ...


def pair_sums(
    launcher: Launcher, spins: Sequence[SpinOrbitals], *, same: bool, exchange: bool, tf32: bool = False
) -> NDArray[np.float64]:
    """Direct and exchange sums of all pairs of occupied orbitals of one or two spins.

    B is sent once, and the integrals made of it never leave the chip. B of more than
    `numtrn.plan.mp2_tiling.KEEP_BYTES` is not kept whole: blocks of orbitals beyond it are sent for each
    launch. B must be finite, and T of a size whose squares fp32 can hold.

    Parameters
    ----------
    launcher
        Launches.
    spins
        B and energies: of one spin if ``same``, else of two.
    same
        Whether both spins are one; then only pairs i <= j are computed, and the result is symmetric.
    exchange
        Whether x is wanted, which needs ``same``.
    tf32
        Whether B is rounded to tf32, which TensorE multiplies four times as fast.

    Returns
    -------
    ndarray
        (2, o1, o2) float64, d and x; x is zero where it is not wanted.

    Raises
    ------
    DenominatorError
        When a denominator is not positive.
    KernelError
        When B of an orbital does not fit SBUF, or a launch gives what it must not.
    """
    first, second = spins[0], spins[0] if same else spins[1]
    if exchange and not same:
        raise ValueError("the exchange is of pairs of one spin; got exchange=True with same=False")
    nocc, nvir = (first[0].shape[0], second[0].shape[0]), (first[0].shape[1], second[0].shape[1])
    if 0 in (*nocc, *nvir, first[0].shape[2]):
        return np.zeros((2, *nocc))
    naux, spread = first[0].shape[2], launcher.cutting.spread
    t = tile_pairs(nocc, nvir, naux, same=same, exchange=exchange, tf32=tf32, **spread)
    if t is None:
        raise KernelError(
            f"B of an orbital and what is made of it must fit SBUF; got {max(nvir)} virtual orbitals and"
            f" {first[0].shape[2]} auxiliary functions; give the integrals of blocks (block_sums)"
        )
    energies = _Energies(first, second)
    blocks: dict[int, _Blocks] = {}

    def work(lane: Launcher, mine: list[tuple[int, int, PairLaunch]]) -> Generator[_Found, None, None]:
        there = blocks.setdefault(lane.hbm, _Blocks(t, (first[0], second[0])))
        for p, q, launch in mine:
            moving = there.get(lane, 0, p)
            stationary = moving if launch.triangle else there.get(lane, 0 if same else 1, q)
            table = energies.table(t, launch, p * t.blocks[0], q * t.blocks[1])
            yield p, q, _sums(_run(lane, launch, (moving, stationary, table)), t.spins[1], launch)

    total = np.zeros((2, *nocc))
    with closing(_on_cores(launcher, t, work)) as found:
        for p, q, sums in found:
            _place(total, sums, p * t.blocks[0], q * t.blocks[1], mirrored=same)
    return total


def block_sums(
    launcher: Launcher,
    integrals: Array,
    first: tuple[Array, Array],
    second: tuple[Array, Array] | None = None,
    *,
    exchange: bool,
) -> NDArray[np.float64]:
    """The same sums from given integrals, which are sent block by block.

    Parameters
    ----------
    launcher
        Launches.
    integrals
        (ia|jb) as (o1, v1, o2, v2) float32, of any strides.
    first
        Energies of the first spin's occupied and of its virtual orbitals, float64.
    second
        The same of the second; None if there is one spin, of whose pairs those i <= j are read.
    exchange
        Whether x is wanted, which needs one spin.

    Returns
    -------
    ndarray
        (2, o1, o2) float64.

    Raises
    ------
    DenominatorError
        When a denominator is not positive.
    KernelError
        When what is made of one pair does not fit SBUF, or a launch gives what it must not.
    """
    same = second is None
    if exchange and not same:
        raise ValueError("the exchange is of pairs of one spin; got exchange=True with two spins")
    o1, v1, o2, v2 = integrals.shape
    total = np.zeros((2, o1, o2))
    if 0 in integrals.shape:
        return total
    t = tile_blocks((o1, o2), (v1, v2), same=same, exchange=exchange, **launcher.cutting.spread)
    if t is None:
        raise KernelError(
            f"what is made of a pair's integrals must fit SBUF; got {v1} x {v2}; let NumPy take them"
        )
    energies = _Energies((integrals, *(second or first)), (integrals, *first))
    pairs = integrals.transpose(0, 2, 1, 3)
    turned = np.zeros((2, o2, o1))

    def work(lane: Launcher, mine: list[tuple[int, int, PairLaunch]]) -> Generator[_Found, None, None]:
        for p, q, launch in mine:
            i, j = p * t.blocks[0], q * t.blocks[1]
            block = pairs[j : j + launch.oj, i : i + launch.oi]
            packed = np.ascontiguousarray(block, np.float32).reshape(-1, v2)
            table = energies.table(t, launch, i, j)
            yield p, q, _sums(_run(lane, launch, (packed, packed, table)), t.spins[1], launch)

    with closing(_on_cores(launcher, t, work)) as found:
        for p, q, sums in found:
            _place(turned, sums, p * t.blocks[0], q * t.blocks[1], mirrored=same)
    total[:] = turned.transpose(0, 2, 1)
    return total


# ---- Launches ----


def _on_cores(
    launcher: Launcher,
    t: PairTiling,
    work: Callable[[Launcher, list[tuple[int, int, PairLaunch]]], Generator[T, None, None]],
) -> Generator[T, None, None]:
    """What comes of all launches, each on its core."""
    with launcher.lanes(t.cores) as lanes:
        shared = zip(lanes, pair_shares(t), strict=True)
        yield from merged([work(lane, mine) for lane, mine in shared])


def _run(launcher: Launcher, launch: PairLaunch, arrays: Sequence[Array | Resident]) -> Array:
    """One launch, whose result must be of its shape."""
    (resident,) = launcher.keep(KERNEL, arrays, launch.parameters)
    found = launcher.fetch(resident)
    if found.shape != launch.result_shape or found.dtype != np.float32:
        raise KernelError(
            f"kernel {KERNEL} must give {launch.result_shape} float32; got {found.shape} {found.dtype.name}"
        )
    return found


class _Blocks:
    """Blocks of B in one memory of the target, kept while they fit `KEEP_BYTES`."""

    def __init__(self, t: PairTiling, arrays: Sequence[Array]) -> None:
        self._t, self._arrays = t, arrays
        self._kept: dict[tuple[int, int], Resident] = {}
        self._left = KEEP_BYTES
        self._lock = Lock()

    def get(self, launcher: Launcher, side: int, number: int) -> Resident:
        """A block of one of the spins; of several cores one places it, and the others wait."""
        with self._lock:
            if (side, number) in self._kept:
                return self._kept[side, number]
            packed = self._packed(side, number)
            resident = launcher.place(packed)
            if packed.nbytes <= self._left:
                self._left -= packed.nbytes
                self._kept[side, number] = resident
            return resident

    def _packed(self, side: int, number: int) -> NDArray[np.float32]:
        """B of a block as the kernel reads it: (x, orbitals * width), zeros beyond the virtual orbitals."""
        block, spin = self._t.blocks[side], self._t.spins[side]
        part = self._arrays[side][number * block : (number + 1) * block]
        count, v, x = part.shape
        packed = (np.empty if v == spin.width else np.zeros)((x, count, spin.width), np.float32)
        packed[:, :, :v] = part.transpose(2, 0, 1)
        return packed.reshape(x, -1)


class _Energies:
    """Energies of both spins, shifted so that all that is added is positive where there is a gap.

    Of each spin the middle between its highest occupied and its lowest virtual orbital is taken off, in
    float64, so that core orbitals cost no digits of the others.
    """

    def __init__(self, first: SpinOrbitals, second: SpinOrbitals) -> None:
        gaps = [float(virtual.min() - occupied.max()) for _, occupied, virtual in (first, second)]
        if not sum(gaps) > 0:
            raise DenominatorError(
                "every e_a + e_b - e_i - e_j must be positive, virtual orbitals above occupied ones;"
                f" the least is {sum(gaps):.6g}; let float64 on the host take these energies"
            )
        self._virtual, self._occupied = [], []
        for _, occupied, virtual in (first, second):
            middle = (float(virtual.min()) + float(occupied.max())) / 2
            self._virtual.append(np.asarray(virtual, np.float64) - middle)
            self._occupied.append(middle - np.asarray(occupied, np.float64))

    def table(self, t: PairTiling, launch: PairLaunch, i: int, j: int) -> NDArray[np.float32]:
        """What the kernel reads, (128, v + oi + tiles): from i of the first spin, j of the second."""
        first, second = t.spins
        table = np.ones((TILE, first.v + launch.oi + second.tiles(launch.oj)), np.float32)
        table[:, : self._virtual[0].size] = self._virtual[0]
        table[:, first.v : first.v + launch.oi] = self._occupied[0][i : i + launch.oi]
        sums = self._virtual[1] + self._occupied[1][j : j + launch.oj, None]
        tiles = table[:, first.v + launch.oi :]
        whole = second.full * TILE
        tiles[:, : launch.oj * second.full] = sums[:, :whole].reshape(-1, TILE).T
        rest = sums[:, whole:]
        slot = TILE // second.pack
        for k in range(second.pack if second.rest else 0):
            part = rest[k :: second.pack]
            beyond = tiles[k * slot : k * slot + rest.shape[1], launch.oj * second.full :]
            beyond[:, : len(part)] = part.T
        return table


# ---- Sums ----


def _sums(found: Array, spin: Spin, launch: PairLaunch) -> NDArray[np.float64]:
    """(2, oi, oj) of a launch's sums of partitions; see ``kernels/mp2_pairs.py`` for their kinds."""
    oi, oj = launch.oi, launch.oj
    kinds = iter(found.reshape(TILE, -1, oi, oj).transpose(1, 0, 2, 3))
    exchange = bool(launch.parameters[8])
    total = np.zeros((2, oi, oj))
    if spin.rest:
        slot = TILE // spin.pack
        packed = next(kinds)[:, :, :: spin.pack]
        for k in range(spin.pack):
            rows = packed[k * slot : k * slot + spin.rest, :, : -(-(oj - k) // spin.pack)]
            total[0, :, k :: spin.pack] += rows.sum(axis=0, dtype=np.float64)
        if exchange:
            total[1] += next(kinds).sum(axis=0, dtype=np.float64)
    if spin.full:
        total[0] += next(kinds).sum(axis=0, dtype=np.float64)
        if exchange:
            total[1] += next(kinds).sum(axis=0, dtype=np.float64)
            if spin.v > TILE:
                total[1] += 2 * next(kinds).sum(axis=0, dtype=np.float64)
    total *= DIRECT_SCALE
    if launch.triangle:
        total = np.triu(total)
        if exchange:
            np.fill_diagonal(total[1], np.diagonal(total[0]))
    return total


def _place(total: Array, part: Array, i: int, j: int, *, mirrored: bool) -> None:
    """Put the sums of a launch where they belong, and where i and j are exchanged too."""
    _, oi, oj = part.shape
    if mirrored and i == j:
        part = part + np.triu(part, 1).swapaxes(1, 2)
    total[:, i : i + oi, j : j + oj] = part
    if mirrored and i != j:
        total[:, j : j + oj, i : i + oi] = part.swapaxes(1, 2)
