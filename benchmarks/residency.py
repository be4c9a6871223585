"""Bytes moved by chains of products and by a shared operand, one by one and as numtrn arrays.

    python benchmarks/residency.py [--size 1024] [--length 10]
    python benchmarks/residency.py --demo [--molecule water] [--shapes few]
    python benchmarks/residency.py --pairs [--molecule water] [--shapes few]

Bytes are counted by the session (``Call.bytes``); they depend on shapes and types only, not on the machine.
``--demo`` gives those of the demo's molecules with and without ``keep=True``, call by call, beside the bytes
of operands that went to the target before, the same to the last bit: what a cache without limits would save
of what launches are given. ``--pairs`` gives them for the same integrals pair by pair, B[i] @ B[j].T, as MP2
is written where memory is short. Benzene takes some minutes.
"""

import argparse
import hashlib
from unittest import mock

import numpy as np
from tabulate import tabulate

import numtrn
from numtrn import api, data, demo
from numtrn.machine import CHIPS
from numtrn.targets.interpreter import Interpreter


def moved(session):
    """Bytes of all calls of a session."""
    return sum(call.bytes for call in session.calls)


def chain(matrices, make):
    """The product of all matrices from the left; the session, and the values."""
    with numtrn.enabled(target="interpreter", min_work=0) as session:
        product = make(matrices[0])
        for matrix in matrices[1:]:
            product = product @ make(matrix)
        values = np.asarray(product)
    return session, values


def shared(matrices, make, **options):
    """Products of the first matrix with each of the others."""
    with numtrn.enabled(target="interpreter", min_work=0, **options) as session:
        first = make(matrices[0])
        values = [np.asarray(first @ make(matrix)) for matrix in matrices[1:]]
    return session, np.array(values)


class Watched(Interpreter):
    """Notes what is sent, and what of it was sent before."""

    def __init__(self):
        super().__init__(CHIPS["trn2"])
        self.sent = self.again = 0
        self._known = set()

    def place(self, array, core=0):
        """As the interpreter's."""
        self._note(array)
        return super().place(array, core)

    def keep(self, kernel, arrays, parameters, core=0):
        """As the interpreter's; arrays among the operands are sent for this launch."""
        for array in arrays:
            if isinstance(array, np.ndarray):
                self._note(array)
        return super().keep(kernel, arrays, parameters, core)

    def _note(self, array):
        contents = hashlib.blake2b(np.ascontiguousarray(array).view(np.uint8)).digest()
        what = array.shape, array.dtype.str, contents
        self.sent += array.nbytes
        self.again += array.nbytes if what in self._known else 0
        self._known.add(what)


def of_the_demo(molecule, keep, shapes):
    """Lines of the table: bytes of each kind of call of one molecule, named by its first one, and of all."""
    target, kinds, before = Watched(), {}, [0, 0]
    record = numtrn.Session.record

    def noted(session, call):
        kind = call.function, call.shapes[0][0] > 1 and call.shapes[0]
        name = f"{call.function.rpartition('.')[2]} {' . '.join('x'.join(map(str, s)) for s in call.shapes)}"
        _, sums = kinds.setdefault(kind, (name, np.zeros(5, int)))
        sent, again = target.sent - before[0], target.again - before[1]
        before[:] = target.sent, target.again
        sums += (1, call.bytes, sent, again, call.saved)
        record(session, call)

    with (
        mock.patch.object(api, "select", return_value=target),
        mock.patch.object(numtrn.Session, "record", noted),
    ):
        demo.run(data.load(molecule), target="interpreter", min_work=0, keep=keep, shapes=shapes)
    rows = [(name, *sums) for name, sums in kinds.values()]
    return [*rows, ("all", *np.sum([row[1:] for row in rows], axis=0))]


def the_demo(molecules, shapes):
    """Print a table for each molecule."""
    headers = ["calls", "number", "MB moved", "operands", "the same again", "there already"]
    for molecule in molecules:
        for keep in (False, True):
            rows = [
                (name, number, *(f"{count / 1e6:.2f}" for count in counts))
                for name, number, *counts in of_the_demo(molecule, keep, shapes)
            ]
            print(f"{molecule}, keep={keep}, shapes={shapes!r}")
            print(tabulate(rows, headers=headers, disable_numparse=True), end="\n\n", flush=True)


def pair_by_pair(molecules, shapes):
    """Print bytes of (ia|jb) for each pair i >= j of the demo's occupied orbitals, with and without keep."""
    rows = []
    for molecule in molecules:
        b = fitted(data.load(molecule))
        sessions, values = [], []
        for keep in (False, True):
            with numtrn.enabled(target="interpreter", min_work=0, keep=keep, shapes=shapes) as session:
                values.append([b[i] @ b[j].T for i in range(len(b)) for j in range(i + 1)])
            sessions.append(session)
        plain, kept = (f"{moved(session) / 1e6:.2f}" for session in sessions)
        there = sum(call.saved for call in sessions[1].calls)
        equal = all(x.tobytes() == y.tobytes() for x, y in zip(*values, strict=True))
        rows.append([molecule, len(values[0]), plain, kept, f"{there / 1e6:.2f}", "yes" if equal else "NO"])
    headers = ["molecule", "products", "MB moved", "MB with keep=True", "there already", "equal bits"]
    print(tabulate(rows, headers=headers, disable_numparse=True))


def fitted(molecule):
    """B[i, a, Q] of a molecule of the demo, one orbital after the other in memory."""
    occupied = molecule.coefficients[:, molecule.ncore : molecule.nocc]
    virtual = molecule.coefficients[:, molecule.nocc :]
    b = demo.fit(demo.transform(molecule.integrals(), occupied, virtual), molecule.metric)
    return np.ascontiguousarray(b.transpose(1, 2, 0))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--demo", action="store_true", help="bytes of the demo instead")
    parser.add_argument("--pairs", action="store_true", help="bytes of the demo's pairs, one by one, instead")
    parser.add_argument("--molecule", choices=data.MOLECULES, help="of the demo (default: all)")
    parser.add_argument("--shapes", choices=("fine", "few"), default="fine", help="of the demo's launches")
    given = parser.parse_args()
    if given.demo or given.pairs:
        molecules = [given.molecule] if given.molecule else data.MOLECULES
        (the_demo if given.demo else pair_by_pair)(molecules, given.shapes)
        return
    rng = np.random.default_rng(0)
    rows = []
    for dtype in (np.float32, np.float64):
        shape = (given.length + 1, given.size, given.size)
        matrices = (rng.standard_normal(shape) / given.size**0.5).astype(dtype)

        def private(x):
            return numtrn.asarray(x, copy=True)

        def plain(x):
            return x

        plain_chain, expected = chain(matrices, plain)
        ours, values = chain(matrices, private)
        rows.append(row(f"chain of {given.length}", dtype, matrices, plain_chain, ours, values, expected))
        one_by_one, expected = shared(matrices, plain)
        for name, (session, values) in {
            f"{given.length} with one operand, numtrn arrays": shared(matrices, private),
            f"{given.length} with one operand, keep=True": shared(matrices, plain, keep=True),
        }.items():
            rows.append(row(name, dtype, matrices, one_by_one, session, values, expected))
    print(tabulate(rows, headers=["products", "dtype", "MB one by one", "MB", "in matrices", "equal bits"]))


def row(name, dtype, matrices, before, after, values, expected):
    """One line of the table."""
    size = matrices[0].nbytes
    equal = values.tobytes() == expected.tobytes()
    megabytes = [f"{moved(session) / 1e6:.1f}" for session in (before, after)]
    return [name, np.dtype(dtype).name, *megabytes, f"{moved(after) / size:.2f}", "yes" if equal else "NO"]


if __name__ == "__main__":
    main()
