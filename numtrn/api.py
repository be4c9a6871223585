"""The public entry points: open a block, and ask what would become of a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numtrn import array, dispatch, intercept
from numtrn.block import OpenBlock, current, variable
from numtrn.options import UNSET, from_environment, resolve
from numtrn.plan import AnyPlan, Refusal, make_plan, threshold
from numtrn.residency import Shelf
from numtrn.session import Session
from numtrn.targets import Counters, Target, select
from numtrn.verdict import refusals

__all__ = ["asarray", "enabled", "explain"]

asarray = array.asarray


class enabled:  # noqa: N801 - a context manager, named as it reads in a with statement
    """Open a block in which NumPy's and SciPy's matrix products go to NKI kernels.

    ``with numtrn.enabled() as session:`` catches calls on plain arrays in this thread and task only;
    each entry gives its own `Session`. Blocks nest, an instance can be entered again, and it decorates
    functions. Calls of an inner block are recorded in the outer sessions too.

    Parameters
    ----------
    target : {"auto", "neuron", "simulator", "interpreter"}, default "auto"
        Where kernels run: Neuron hardware, the official simulator, or the embedded interpreter.
        ``"auto"`` takes hardware where there is some, else the interpreter.
    chip : {"trn1", "trn2", "trn3"}, default "trn2"
        Generation that plans, predictions and the interpreter assume. On hardware it is the device's own.
    precision : {"full", "fast", "float32", "tfloat32x3", "float16x3", "tfloat32", "bfloat16"} or float
        ``"full"`` gives at least the accuracy of the dtype's own BLAS. A number p from 2 to 2^40 allows
        errors of p u |A||B|, u the dtype's unit roundoff; ``"fast"`` is 2^14 for float64 and complex128.
        The other names are the operand type of the matrix engine: faster and less accurate, for those who
        ask for it (``docs/precision.md``).
    min_work : int or None, default None
        Multiply-adds below which a call stays with NumPy. 0: everything that a kernel can do. None: the
        plan decides; on hardware by predicted times, elsewhere from a million multiply-adds on.
    strict : bool, default False
        Raise when a kernel fails, instead of warning and computing with NumPy.
    verify : bool, default False
        Compute every kernel call with NumPy too, and raise when they differ by more than promised.
    keep : int or bool, default False
        Bytes of operands of plain arrays that stay on the target for later calls of the block, the least
        recently used leaving first; True: 4 GiB. An operand is known again by a fingerprint of its contents,
        so one that has been changed is sent again. Operands that are numtrn arrays stay without it.

    cores : int or None, default None
        Most NeuronCores that the launches of one call are spread over; results are the same bits for any
        number. None: one. On hardware as many of them are used as are there and are predicted to be faster,
        where the launcher reaches several (TorchNeuron).

    Raises
    ------
    TypeError, ValueError
        For an unknown value; the message names the allowed ones.
    TargetUnavailableError
        When the target cannot be used on this machine.
    KernelError
        At the start of a strict block whose target has failed for good in this process.

    Notes
    -----
    A setting left out is taken from ``NUMTRN_TARGET``, ``NUMTRN_CHIP``, ``NUMTRN_PRECISION``,
    ``NUMTRN_MIN_WORK``, ``NUMTRN_STRICT``, ``NUMTRN_VERIFY``, ``NUMTRN_KEEP`` or ``NUMTRN_CORES`` where that
    is set.

    Threads started inside a block, and pools, run NumPy's own code. A generator suspended inside a block
    leaves the block open for its consumer until it is resumed or closed.

    Examples
    --------
    >>> import numpy as np, numtrn
    >>> a = np.ones((200, 200))
    >>> with numtrn.enabled(target="interpreter") as session:
    ...     c = a @ a
    >>> session.counts["kernel"], float(c[0, 0])
    (1, 200.0)
    """

    def __init__(
        self,
        target: str = UNSET,
        chip: str = UNSET,
        precision: str | float = UNSET,
        min_work: int | None = UNSET,
        strict: bool = UNSET,
        verify: bool = UNSET,
        keep: int | bool = UNSET,
        shapes: str | None = UNSET,
        cores: int | None = UNSET,
    ) -> None:
        self._options = resolve(
            target=target,
            chip=chip,
            precision=precision,
            min_work=min_work,
            strict=strict,
            verify=verify,
            keep=keep,
            shapes=shapes,
            cores=cores,
        )
        self._target = select(self._options.target, self._options.chip, self._options.cores)
        # On hardware the chip is the device's.
        self._options = replace(
            self._options.on(self._target.cores, self._target.chip.lnc), chip=self._target.chip.name
        )
        self._opened: list[OpenBlock] = []

    def __enter__(self) -> Session:
        dispatch.announce(self._target.name, self._options.strict)
        layers = intercept.install()
        parent = current()
        least = threshold(self._options, self._target.name)
        probed = refusals(self._target)
        gate = intercept.enter(least)
        session = Session(
            self._target.name,
            self._target.chip.name,
            parent=parent.session if parent else None,
            small=functools.partial(intercept.small_calls, gate),
            blind=[f"{layer.name}: {layer.reason}" for layer in layers if not layer.on],
            counters=functools.partial(_counted_since, self._target, self._target.counters),
        )
        block = OpenBlock(
            options=self._options,
            target=self._target,
            session=session,
            min_work=least,
            refusals=probed,
            parent=parent,
            gate=gate,
            lent=Shelf(self._options.keep) if self._options.keep else None,
        )
        self._opened.append(block)
        variable.set(block)
        return session

    def __exit__(self, *_: object) -> None:
        block = self._newest_here()
        block.alive = False
        block.lent = None
        block.session.settle()
        intercept.leave(block.gate)
        if variable.get() is block:
            variable.set(current())

    def _newest_here(self) -> OpenBlock:
        """The block to close: this context's newest of ours, or the newest one anywhere.

        The latter when a generator that opened it is closed in another thread or context.
        """
        block = variable.get()
        while block is not None and block not in self._opened:
            block = block.parent
        if block is None and not self._opened:
            raise RuntimeError("this block is not open: `with` enters it before it leaves it")
        if block is None:
            return self._opened.pop()
        self._opened.remove(block)
        return block

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function, so that each call of it runs in a block of its own.

        Raises
        ------
        TypeError
            For coroutine functions and generators, whose bodies run after the call has returned.
        """
        later = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        if any(kind(function) for kind in later):
            raise TypeError(
                f"numtrn.enabled decorates plain functions; {function.__name__} is a coroutine "
                "or a generator, whose body runs after the call. Write `with numtrn.enabled():` inside it"
            )

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside

    def __repr__(self) -> str:
        return f"<numtrn.enabled {self._options}>"


def _counted_since(target: Target, before: Counters) -> Counters:
    """What a target did since a block was opened."""
    return target.counters.since(before)


def explain(function: Callable[..., Any], *args: Any, **kwargs: Any) -> AnyPlan | Refusal:
    """Say what would become of a call, computing nothing.

    Uses the settings of the open block; outside one, the environment's and the defaults.

    Parameters
    ----------
    function
        A NumPy or SciPy function that numtrn catches: ``np.matmul``, ``np.einsum``,
        ``scipy.linalg.blas.dsyrk``, ...
    *args, **kwargs
        As the call would have them. Arrays are looked at for shape and dtype only.

    Returns
    -------
    Plan, ContractionPlan, BlockedPlan, Mp2Plan or Refusal
        All can be printed, and say why.

    Raises
    ------
    TypeError, ValueError
        Where the call itself would be wrong.

    Examples
    --------
    >>> import numpy as np, numtrn
    >>> print(type(numtrn.explain(np.matmul, np.ones((3, 3)), np.ones((3, 3)))).__name__)
    Refusal
    """
    block = current()
    if block is not None:
        options, target, probed = block.options, block.target.name, block.refusals
    else:
        options = from_environment()
        chosen = select(options.target, options.chip, options.cores)
        options = options.on(chosen.cores, chosen.chip.lnc)
        target, probed = chosen.name, refusals(chosen)
    return make_plan(array.asked(function, args, kwargs), options, target, probed)
