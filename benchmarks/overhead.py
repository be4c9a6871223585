"""What catching costs one call: a table of nanoseconds (see docs/overhead.md).

    python benchmarks/overhead.py [--rounds 200] [--calls 1000] [--size 4] [--cpu 1]

Columns: the call alone, before anything is installed; then what is added with the layers installed and no
block open, with a block open in another thread only, inside a block for which the call is too small, and
inside one where the Python callback is asked and declines. The states take turns, and the least time of each
counts. BLAS runs in one thread.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
import timeit
from collections.abc import Callable

import numpy as np
import scipy
import scipy.linalg.blas as sb

from numtrn import block, intercept
from numtrn.intercept import cblas, dispatchers, einsum, fblas, matmul
from numtrn.options import Options
from numtrn.session import Session

LAYERS = (matmul, fblas, cblas, einsum, dispatchers)
HUGE = 1e30
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")


def calls(size: int) -> dict[str, Callable[[], object]]:
    a, f = np.ones((size, size)), np.ones((size, size), order="F")
    t = np.ones((size, size, size))
    return {
        "a @ b": lambda: a @ a,
        "np.dot": lambda: np.dot(a, a),
        "a.dot": lambda: a.dot(a),
        "dgemm": lambda: sb.dgemm(1.0, f, f),
        "dsyrk": lambda: sb.dsyrk(1.0, f),
        "np.einsum": lambda: np.einsum("ij,jk->ik", a, a),
        "optimize=": lambda: np.einsum("ij,jk->ik", a, a, optimize=True),
        "3-D np.dot": lambda: np.dot(t, a),
        "3-D inner": lambda: np.inner(t, a),
        "tensordot": lambda: np.tensordot(t, a, 1),
        "multi_dot": lambda: np.linalg.multi_dot([a, a, a]),
    }


class State:
    """Layers in place or not, with a thread gate of the given least work, with a block or not."""

    def __init__(self, installed: bool, min_work: float | None = None, with_block: bool = True) -> None:
        self.installed, self.min_work, self.with_block = installed, min_work, with_block
        self.token: intercept.Token | None = None

    def __enter__(self) -> None:
        for layer in LAYERS:
            layer.install() if self.installed else layer.uninstall()
        if self.min_work is None:
            return
        self.token = intercept.enter(self.min_work)
        opened = block.OpenBlock(
            options=Options(),
            target=None,  # type: ignore[arg-type]
            session=Session("interpreter", "trn2"),
            min_work=self.min_work,
            gate=self.token,
        )
        block.variable.set(opened if self.with_block else None)

    def __exit__(self, *_: object) -> None:
        if self.token is not None:
            block.variable.set(None)
            intercept.leave(self.token)


class ElsewhereOnly(State):
    """A block is open in another thread: the dispatchers hold ours, and this thread is not asked."""

    def __init__(self) -> None:
        super().__init__(installed=True)

    def __enter__(self) -> None:
        super().__enter__()
        inside, self.leave = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.stay, args=(inside,))
        self.thread.start()
        inside.wait()

    def stay(self, inside: threading.Event) -> None:
        """Keep a gate open until told."""
        token = intercept.enter(HUGE)
        inside.set()
        self.leave.wait()
        intercept.leave(token)

    def __exit__(self, *_: object) -> None:
        self.leave.set()
        self.thread.join()


class AskedInVain(State):
    """The thread's gate is open, but the block is that of another task: the callback declines."""

    def __init__(self) -> None:
        super().__init__(installed=True, min_work=0.0, with_block=True)

    def __enter__(self) -> None:
        super().__enter__()
        opened = block.variable.get()
        assert opened is not None
        # Above every call, and the thread's gate is not: asked, and declined by the block.
        opened.min_work = HUGE


STATES = {
    "call alone": State(installed=False),
    "installed, no block": State(installed=True),
    "in another thread": ElsewhereOnly(),
    "in a block, too small": State(installed=True, min_work=HUGE),
    "asked, declines": AskedInVain(),
}


def measure(call: Callable[[], object], rounds: int, count: int) -> dict[str, float]:
    """Least time of one call in each state, in ns."""
    best = dict.fromkeys(STATES, float("inf"))
    timer = timeit.Timer(call)
    for _ in range(rounds):
        for name, state in STATES.items():
            with state:
                best[name] = min(best[name], timer.timeit(count) / count * 1e9)
    return best


def entering(count: int) -> float:
    """Least time to open and close a gate, in ns."""
    return (
        min(timeit.repeat(lambda: intercept.leave(intercept.enter(1e6)), number=count, repeat=20))
        / count
        * 1e9
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--size", type=int, default=4)
    parser.add_argument("--cpu", type=int, default=1)
    options = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # which BLAS reads when it is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    if hasattr(os, "sched_setaffinity") and options.cpu in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {options.cpu})
    for layer in intercept.install():
        if not layer.on:
            print(f"{layer.name} is off: {layer.reason}")
    gc.disable()
    n = options.size
    print(f"NumPy {np.__version__}, SciPy {scipy.__version__}, {n} x {n} float64; ns, added after column one")
    print(f"{'':12}" + "".join(f"{name:>24}" for name in STATES))
    for name, call in calls(n).items():
        best = measure(call, options.rounds, options.calls)
        alone = best.pop("call alone")
        print(
            f"{name:12}{alone:24.0f}" + "".join(f"{value - alone:+24.0f}" for value in best.values()),
            flush=True,
        )
    print(f"opening and closing a gate: {entering(options.calls):.0f} ns")


if __name__ == "__main__":
    main()
