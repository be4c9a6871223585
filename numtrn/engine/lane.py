"""One core of a target: what is launched there, moved there and counted.

What stays on the target between calls is looked up here, too (`numtrn.residency`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np

from numtrn.errors import KernelError
from numtrn.plan.ladder import Cutting
from numtrn.plan.tiling import Tiling
from numtrn.precision.threads import go_on
from numtrn.request import Array
from numtrn.residency import Source, owner_of, place_name
from numtrn.targets import Resident, Target
from numtrn.targets.base import Program, program_of
from numtrn.targets.programs import record_of

__all__ = ["Lane"]


class Lane:
    """Launches kernels on one core of a target and counts what it did.

    Parameters
    ----------
    target
        Where kernels run.
    memories
        Of operands: what is made of their pieces stays on the target.
    shapes
        Of launches; see `numtrn.options.Options`.
    cores
        Most cores that a cutting may ask for.
    core
        Which core this is.

    Attributes
    ----------
    cutting
        How launches are cut.
    place_name
        What arrays call the memory of the target that its core has.
    twins
        As of the target: else planes of both sides of A A^T are made, so that few programs stay few.
    launches, bytes
        Kernel launches, and bytes moved to the target and back.
    saved
        Bytes of operands that were not moved, because the target had them.
    programs, compiled
        Distinct programs of these launches, and how many of them this machine is not known to have compiled.
    copied
        Bytes that the host made of operands of plain products, where a launch could not take them as they
        lie: of another dtype, of an extent that is not the launch's, or with gaps in memory.
    """

    def __init__(
        self,
        target: Target,
        memories: Sequence[Source] = (),
        shapes: str = "fine",
        cores: int = 1,
        core: int = 0,
    ) -> None:
        self._target = target
        self.cutting = Cutting(shapes, target.chip, cores, timed=target.name == "neuron")
        self._memories = memories
        self._on = {"core": core} if core else {}
        self._core = core
        self.hbm = target.chip.hbm_of(core)
        self.place_name = place_name(target.name, self.hbm)
        self.twins = target.twins
        self.launched: Counter[int] = Counter()
        self.bytes = 0
        self.saved = 0
        self.programs: dict[Program, None] = {}
        self.compiled = 0
        self.copied = 0

    @property
    def launches(self) -> int:
        """Kernel launches on all cores."""
        return self.launched.total()

    @property
    def core_launches(self) -> tuple[int, ...]:
        """Those on each core, from core 0 on."""
        return tuple(self.launched[core] for core in range(max(self.launched, default=-1) + 1))

    def add(self, other: Lane) -> None:
        """Count what another lane did as this one's."""
        self.launched += other.launched
        self.bytes += other.bytes
        self.saved += other.saved
        self.copied += other.copied
        self.programs |= other.programs
        self.compiled += other.compiled

    def taken(self, block: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | Resident:
        """A matrix, or a stack of matrices, as a launch takes it: stacked along the rows.

        Of a numtrn array it is what the target has of it, and else stays there. Otherwise, where it lies so,
        it is a read-only view of what the caller owns; else packed, zeros around, and counted as copied.
        """
        return self.sent(block, ("matrix", shape, dtype.str), partial(self._laid_out, block, shape, dtype))

    def sent(self, piece: Array, made: Hashable, make: Callable[[], Array]) -> Array | Resident:
        """What launches take of a piece of an operand: what the target has of it, or what is made now.

        Where the piece is a numtrn array's own memory, that stays on the target.

        Parameters
        ----------
        piece
            A view.
        made
            Names what is made of it; with the piece it says all that this depends on.
        make
            Makes it.
        """
        memory = owner_of(self._memories, piece)
        if memory is None:
            return make()
        found = memory.get(self.place_name, piece, made)
        if found is not None:
            self.saved += found.bytes
            resident: Resident = found.resident
            return resident
        array = make()
        resident = self.place(array)
        memory.keep(self.place_name, piece, made, resident, array.nbytes)
        return resident

    def known(self, piece: Array, made: Hashable) -> Resident | None:
        """What the target has of a piece of a numtrn array, made in that way by an earlier call."""
        memory = owner_of(self._memories, piece)
        found = None if memory is None else memory.get(self.place_name, piece, made)
        if found is None:
            return None
        self.saved += found.bytes
        resident: Resident = found.resident
        return resident

    def _laid_out(self, block: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        if block.shape == shape and block.dtype == dtype and block.flags.c_contiguous and block.flags.aligned:
            view = block.reshape(-1, shape[-1])
            view.flags.writeable = False
            return view
        packed = padded(block, shape, dtype)
        self.copied += packed.nbytes
        return packed

    def place(self, array: Array) -> Resident:
        """Send an array to the target, for several launches."""
        self.bytes += array.nbytes
        return self._target.place(array, **self._on)

    def keep(
        self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]
    ) -> tuple[Resident, ...]:
        """Launch a kernel whose results stay on the target."""
        self._count(arrays)
        kept = self._target.keep(kernel, arrays, parameters, **self._on)
        self._note(kernel, arrays, parameters)
        return kept

    def fetch(self, resident: Resident) -> Array:
        """What a kernel left on the target."""
        found = self._target.fetch(resident)
        self.bytes += found.nbytes
        return found

    def launch(self, t: Tiling, arrays: Sequence[Array | Resident], dtype: Any) -> Array:
        """One launch of a tiling, whose result must be of its shape and of the dtype.

        Raises
        ------
        KernelError
            When it is not.
        """
        self._count(arrays)
        part = self.checked(t, self._target.launch(t.kernel, arrays, t.parameters, **self._on), dtype)
        self._note(t.kernel, arrays, t.parameters)
        self.bytes += part.nbytes
        return part

    def checked(self, t: Tiling, part: Array, dtype: Any) -> Array:
        """A launch's result, if it is of the tiling's shape and of the dtype.

        Raises
        ------
        KernelError
            When it is not.
        """
        if part.shape != t.result_shape or part.dtype != dtype:
            raise KernelError(
                f"kernel {t.kernel} must give {t.result_shape} {np.dtype(dtype).name}; target "
                f"{self._target.name} gave {part.shape} {part.dtype.name}"
            )
        return part

    def _note(self, kernel: str, arrays: Sequence[Array | Resident], parameters: Sequence[int]) -> None:
        program = program_of(kernel, arrays, parameters)
        if program not in self.programs:
            self.programs[program] = None
            self.compiled += record_of(self._target).add(program)

    def _count(self, arrays: Sequence[Array | Resident]) -> None:
        go_on()
        self.launched[self._core] += 1
        self.bytes += sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))


def padded(block: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A stack of matrices in an array of the launch's shape, zeros around; stacked along the rows."""
    packed = np.empty(shape, dtype) if block.shape == shape else np.zeros(shape, dtype)
    packed[tuple(slice(extent) for extent in block.shape)] = block
    return packed.reshape(-1, shape[-1])
