"""What a block did: a record of every caught call, counts, and a table a chemist can read.

A session only collects and prints; it decides nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numtrn.request import shape_text

__all__ = ["Call", "Session"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One caught call.

    Attributes
    ----------
    function
        What the user called, such as ``"numpy.einsum"``.
    shapes, dtype
        Of the operands.
    route
        ``"kernel"`` or ``"numpy"``: who computed the result.
    kernel, scheme
        Name of the NKI kernel and of the precision scheme; None on the NumPy route.
    target, chip
        Where kernels of this block run.
    reason
        Why it went there, in words and figures.
    work
        Multiply-adds of the operation asked for; of a contraction of several operands those of the steps of
        its plan, whoever computes it.
    seconds
        Wall time of the call on this machine, host part included; None where it was not measured.
        On the interpreter this is the interpreter's own time, which says nothing about a device.
    bytes
        Operands and results moved between host and target, also by launches in vain: of a call that failed or
        was declined, and so is NumPy's. A result that stays on the target counts once it is asked for.
    launches
        Kernel launches.
    slices
        Digit planes that the data asked for (float64 and complex128), else None.
    bound
        Promised componentwise error, in words, of a kernel result; None on the NumPy route.
    contraction
        Whether the call is one that kernels are for; others are only noted.
    failed
        Whether a kernel was tried and failed, so that NumPy computed the call.
    host_work
        Multiply-adds of a contraction's steps that NumPy computed, among `work`.
    copied
        Bytes of operands that the host copied to lay them out for kernels; making words of float64 is none.
    saved
        Bytes of operands that were not moved, because the target had them from an earlier call.
    core_launches
        Launches on each core, from core 0 on; they add up to `launches`.
    programs
        Distinct programs (a kernel, its parameters, the shapes and types of its operands) of the launches.
    cold
        How many of them were compiled in this call and never before on this machine.
    """

    function: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    route: str
    reason: str
    work: int
    contraction: bool = True
    kernel: str | None = None
    scheme: str | None = None
    target: str | None = None
    chip: str | None = None
    seconds: float | None = None
    bytes: int = 0
    launches: int = 0
    slices: int | None = None
    bound: str | None = None
    failed: bool = False
    host_work: int = 0
    copied: int = 0
    saved: int = 0
    core_launches: tuple[int, ...] = ()
    programs: frozenset[Hashable] = frozenset()
    cold: int = 0

    def by_kernel(self, **figures: Any) -> Call:
        """The same call on the kernel route, with the figures of its launches."""
        return replace(self, route="kernel", **figures)


class Session:
    """The account of one block; ``print`` it, or read `calls` and `counts`.

    Parameters
    ----------
    target, chip
        Names of the target and the chip of the block.
    parent
        The session of the enclosing block: calls are recorded there too.
    small
        Gives (calls, multiply-adds) that were below the threshold and never looked at.
    blind
        What this block cannot see, in words: layers of interception that are off, each with its reason.
    counters
        Gives what the target itself counted since the block was opened (`numtrn.targets.Counters`).
    """

    def __init__(
        self,
        target: str,
        chip: str,
        parent: Session | None = None,
        small: Callable[[], tuple[int, float]] | None = None,
        blind: Sequence[str] = (),
        counters: Callable[[], Any] | None = None,
    ) -> None:
        self.target = target
        self.chip = chip
        self.blind = tuple(blind)
        self._parent = parent
        self._small = small or (lambda: (0, 0.0))
        self._counters = counters or (lambda: None)
        self._calls: list[Call] = []
        self._lock = threading.Lock()

    @property
    def small(self) -> tuple[int, float]:
        """Calls below ``min_work`` that were not looked at, and their multiply-adds."""
        return self._small()

    @property
    def counters(self) -> Any:
        """What the target counted itself while the block was open; None where it counts nothing."""
        return self._counters()

    def settle(self) -> None:
        """The block is closed: what its target counted is final."""
        final = self._counters()
        self._counters = lambda: final

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every recorded call, in order of completion."""
        with self._lock:
            return tuple(self._calls)

    @property
    def counts(self) -> Mapping[str, int]:
        """Calls by what became of them.

        ``kernel`` and ``numpy`` are the recorded calls by route; ``failed`` are those among ``numpy``
        for which a kernel was tried and failed; ``small`` are calls below ``min_work``, left with
        NumPy without being looked at and so not among `calls`.
        """
        calls = self.calls
        return {
            "kernel": sum(call.route == "kernel" for call in calls),
            "numpy": sum(call.route == "numpy" for call in calls),
            "failed": sum(call.failed for call in calls),
            "small": self._small()[0],
        }

    @property
    def kernel_share(self) -> float:
        """Share of the multiply-adds of all contractions seen that ran in kernels, 0 to 1.

        Small calls count, and so do solves and factorisations, whose multiply-adds are mostly products.
        """
        return _share(self.calls, self._small()[1])

    @property
    def programs(self) -> frozenset[Hashable]:
        """Distinct programs that were launched, and that a target which compiles has compiled."""
        return frozenset().union(*(call.programs for call in self.calls))

    def record(self, call: Call) -> None:
        """Add a call, here and in the enclosing sessions."""
        session: Session | None = self
        while session is not None:
            with session._lock:
                session._calls.append(call)
            session = session._parent

    def time_last(self, seconds: float) -> None:
        """Fill in the time of the newest record, which NumPy has computed meanwhile."""
        untimed = self._calls[-1] if self._calls else None
        if untimed is not None and untimed.seconds is None:
            self.amend(untimed, seconds=seconds)

    def amend(self, call: Call, **figures: Any) -> Call:
        """Put figures that have become known since into a record, here and in the enclosing sessions.

        Returns
        -------
        Call
            The record that is there now.
        """
        amended = replace(call, **figures)
        session: Session | None = self
        while session is not None:
            with session._lock:
                for place in reversed(range(len(session._calls))):
                    if session._calls[place] is call:
                        session._calls[place] = amended
                        break
            session = session._parent
        return amended

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: what happened until now, apart from any enclosing session."""
        small = self.small
        return {
            "target": self.target,
            "chip": self.chip,
            "blind": self.blind,
            "calls": self.calls,
            "small": small,
            "counters": self.counters,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        small = state["small"]
        self.__init__(state["target"], state["chip"], blind=state["blind"], small=lambda: small)  # type: ignore[misc]
        counters = state["counters"]
        self._counters = lambda: counters
        self._calls = list(state["calls"])

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={count}" for name, count in self.counts.items())
        return f"<numtrn.Session target={self.target} chip={self.chip} {counts}>"

    def __str__(self) -> str:
        return render(self)


def _share(calls: Iterable[Call], small_work: float) -> float:
    contractions = [call for call in calls if call.contraction]
    total = sum(call.work for call in contractions) + small_work
    kernel = sum(call.work - call.host_work for call in contractions if call.route == "kernel")
    return kernel / total if total else 0.0


def render(session: Session) -> str:
    """A session as text: a table with a row for each kind of call, and the sums below it."""
    # Imported where used: a block need not pay for a table that nobody prints.
    from tabulate import tabulate

    calls, counts = session.calls, session.counts
    table = tabulate(
        [_row(group) for group in _groups(calls)],
        headers=["function", "dtype", "calls", "largest", "multiply-adds", "where", "how and why", "s"],
        colalign=("left", "left", "right", "left", "right", "left", "left", "right"),
        maxcolwidths=[None, None, None, None, None, None, 58, None],
    )
    small_calls, small_work = session.small
    moved, saved = sum(call.bytes for call in calls), sum(call.saved for call in calls)
    there = f", {saved / 1e6:,.1f} MB there already" if saved else ""
    launches = sum(call.launches for call in calls)
    lines = [
        table if calls else "no call was caught",
        "",
        f"target {session.target}, chip {session.chip}: {counts['kernel']} calls by kernels "
        f"({launches} launches, {moved / 1e6:,.1f} MB moved{there}), {counts['numpy']} by NumPy, "
        f"{counts['failed']} failed; {small_calls} too small to look at ({small_work:,.0f} multiply-adds)",
        f"{100 * session.kernel_share:.2f} % of the multiply-adds of the contractions ran in kernels",
    ]
    if session.target != "interpreter" and session.counters is not None:
        lines.append(f"the target itself counted {session.counters}")
    if session.target == "interpreter" and counts["kernel"]:
        lines.append("times are the interpreter's on this machine; they say nothing about a device")
    if session.programs:
        lines.append(_programs(session))
    lines += [f"calls are not caught by {layer}" for layer in session.blind]
    return "\n".join(lines)


def _programs(session: Session) -> str:
    """How many programs were launched, and how many of them were new to this machine."""
    count = len(session.programs)
    if session.target != "neuron":
        return f"{count} distinct programs; the {session.target} compiles none"
    cold = sum(call.cold for call in session.calls)
    return f"{count} programs: {cold} compiled here for the first time, {count - cold} known to be compiled"


def _groups(calls: Iterable[Call]) -> Iterator[list[Call]]:
    """Calls that read alike, in order of first appearance."""
    groups: dict[tuple[Any, ...], list[Call]] = {}
    for call in calls:
        # Reasons hold figures of the single call; without them alike calls fall together.
        reason = "".join("#" if letter.isdigit() else letter for letter in call.reason)
        key = (call.function, call.dtype, call.route, call.kernel, call.slices, call.failed)
        groups.setdefault(key if call.route == "kernel" else (*key, reason), []).append(call)
    yield from groups.values()


def _row(group: list[Call]) -> list[str]:
    largest = max(group, key=lambda call: call.work)
    times = [call.seconds for call in group if call.seconds is not None]
    where = largest.kernel if largest.route == "kernel" else "numpy"
    slices = f", {largest.slices} slices" if largest.slices else ""
    how = f"{largest.scheme}{slices}" if largest.route == "kernel" else largest.reason
    return [
        largest.function,
        largest.dtype,
        f"{len(group)}",
        shape_text(largest.shapes),
        f"{sum(call.work for call in group):,}",
        where or "",
        how,
        f"{sum(times):.3f}" if times else "-",
    ]
