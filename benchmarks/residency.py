"""Bytes moved by chains of products and by a shared operand, one by one and as numtrn arrays.

    python benchmarks/residency.py [--size 1024] [--length 10]

Bytes are counted by the session (``Call.bytes``); they depend on shapes and types only, not on the machine.
"""

import argparse

import numpy as np
from tabulate import tabulate

import numtrn


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


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--length", type=int, default=10)
    given = parser.parse_args()
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
