"""Compile before the first run: ``python -m numtrn compile --for mp2 --nocc 64 --nvir 448 --naux 1536``.

Makes the plan of such a run, lists its programs, and launches those that this machine is not known to have
compiled once with zeros. What is done stays done when it is interrupted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import ml_dtypes
import numpy as np

from numtrn.errors import NumtrnError
from numtrn.options import CHIP_NAMES, TARGETS, UNSET, Options, resolve
from numtrn.plan import Refusal, make_plan
from numtrn.plan.programs import programs_of
from numtrn.request import Array, Mp2
from numtrn.targets import Target, select
from numtrn.targets.programs import Program, compiles, record_of

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Run the command; gives its exit status: 0, 1 where a program failed, 2 for wrong arguments."""
    known = _parser().parse_args(argv)
    try:
        options = _options(known)
        target = select(options.target, options.chip)
        options = replace(options, lnc=target.chip.lnc)
        programs = _programs(_request(known), options, target.name)
    except (TypeError, ValueError, NumtrnError) as problem:
        print(f"numtrn compile: {problem}", file=sys.stderr)
        return 2
    record = record_of(target)
    new = [program for program in programs if program not in record]
    for program in programs:
        print(f"  {'known' if program not in new else 'new  '} {program}")
    if not compiles(target):
        print(f"{len(programs)} programs; target {target.name} runs kernels as they are: nothing to compile")
        return 0
    print(f"{len(programs)} programs, {len(new)} not known to be compiled on this machine")
    if known.dry or not new:
        return 0
    return _compile_all(new, target)


def _programs(request: Mp2, options: Options, target: str) -> tuple[Program, ...]:
    plan = make_plan(request, options, target)
    if isinstance(plan, Refusal):
        raise ValueError(f"no kernel would run: {plan.reason}")
    return programs_of(plan)


def _compile_all(programs: Sequence[Program], target: Target) -> int:
    record, done, failed = record_of(target), 0, 0
    try:
        for place, program in enumerate(programs, 1):
            start = time.perf_counter()
            print(f"{place} of {len(programs)}: {program.kernel} ...", end=" ", flush=True)
            try:
                target.keep(program.kernel, _zeros(program), program.parameters)
            except Exception as cause:  # the next one may compile
                failed += 1
                print(f"failed: {type(cause).__name__}: {cause}")
                continue
            record.add(program)
            done += 1
            print(f"{time.perf_counter() - start:.1f} s")
    except KeyboardInterrupt:
        print(f"\ninterrupted: {done} compiled and kept, {len(programs) - done} left", file=sys.stderr)
        return 130
    print(f"{done} compiled, {failed} failed")
    return 1 if failed else 0


def _zeros(program: Program) -> list[Array]:
    return [
        np.zeros(shape, ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        for shape, dtype in program.operands
    ]


def _request(known: argparse.Namespace) -> Mp2:
    """The pair energies asked for, of one spin."""
    for name in ("nocc", "nvir", "naux"):
        if getattr(known, name) < 1:
            raise ValueError(f"--{name} takes a positive number of orbitals; got {getattr(known, name)}")
    if not 0 <= known.frozen < known.nocc:
        raise ValueError(
            f"--frozen takes 0 to nocc - 1 = {known.nocc - 1} occupied orbitals to leave out; "
            f"got {known.frozen}"
        )
    nocc = known.nocc - known.frozen
    return Mp2(
        function="numtrn.mp2",
        dtype=known.dtype,
        nocc=(nocc, nocc),
        nvir=(known.nvir, known.nvir),
        naux=known.naux,
    )


def _options(known: argparse.Namespace) -> Options:
    names = ("target", "chip", "precision", "shapes")
    given = {name: UNSET if getattr(known, name) is None else getattr(known, name) for name in names}
    return resolve(**given, min_work=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m numtrn compile", description="Compile the programs of a run before the first run."
    )
    parser.add_argument("--for", dest="what", choices=("mp2",), required=True, help="what will be run")
    parser.add_argument("--nocc", type=int, required=True, help="occupied orbitals, frozen ones included")
    parser.add_argument("--nvir", type=int, required=True, help="virtual orbitals")
    parser.add_argument("--naux", type=int, required=True, help="auxiliary functions")
    parser.add_argument("--frozen", type=int, default=0, help="occupied orbitals that are left out")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--precision", metavar="NAME_OR_UNITS", help="as of numtrn.enabled")
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--chip", choices=CHIP_NAMES)
    parser.add_argument("--shapes", choices=("fine", "few"), help="default: few where the target compiles")
    parser.add_argument("--dry", action="store_true", help="list the programs, compile nothing")
    return parser
