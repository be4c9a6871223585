"""Run kernels that others wrote on the embedded interpreter, against NumPy.

    OUTSIDE_TRNBLAS=<trnblas wheel, or folder with the package> \
    OUTSIDE_NEURON_SDK=<checkout of aws-neuron-sdk> python compat/outside_kernels/run.py [--chip trn2]

Nothing of theirs is kept here. What is not at hand is skipped, with the reason. Without the first variable
the installed trnblas is taken, if there is one. The exit code is 0 when everything that ran is right.
"""

import argparse
import sys
import time

import numpy as np
from cases import SDK, TRNBLAS
from others import AbsentError, sdk_kernels, trnblas_kernels
from tabulate import tabulate

from numtrn import interp
from numtrn.interp.faults import allowing
from numtrn.machine import CHIPS


def cases(chip):
    """Every case, as (where from, name, function that runs it)."""
    for case in TRNBLAS:
        yield "trnblas", case, trnblas_kernels
    for path, listed in SDK.items():
        for case in listed:
            yield f"SDK {path.partition('/')[0]}", case, lambda path=path: sdk_kernels(path)


def needed(kernel, arguments, chip):
    """The fewest rules to let pass, found one by one, and the outputs."""
    passed = []
    while True:
        try:
            with allowing(*passed):
                return passed, interp.simulate(kernel, arguments, chip=chip).outputs
        except interp.KernelFault as fault:
            hazard = interp.HAZARDS.get(fault.rule)
            if fault.rule in passed or hazard is None or not hazard.then:
                raise
            passed.append(fault.rule)


def judge(case, kernels, chip):
    """One row: right or not, the rules let pass, the largest error."""
    arguments, wanted = case.make(np.random.default_rng(7))
    start = time.perf_counter()
    try:
        passed, got = needed(getattr(kernels, case.kernel), arguments, chip)
    except interp.KernelFault as fault:
        expected = case.refused is not None and fault.rule == case.refused
        return expected, "refused as expected" if expected else "REFUSED", str(fault)[:90], ""
    seconds = time.perf_counter() - start
    got = case.read(got)
    scale = float(np.abs(wanted).max())
    error = float(np.abs(got - wanted).max()) / scale
    right = case.refused is None and error <= case.tolerance and set(passed) <= set(case.hazards)
    return right, "right" if right else "WRONG", ", ".join(passed), f"{error:.1e} in {seconds:.2f} s"


def main(argv=None):
    """Run what is at hand and print a table; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chip", default="trn2", choices=sorted(CHIPS))
    options = parser.parse_args(argv)
    chip = CHIPS[options.chip]
    rows, fine = [], True
    with interp.importable(chip=chip):
        for source, case, load in cases(chip):
            try:
                kernels = load()
            except AbsentError as reason:
                rows.append((source, case.title, "skipped", str(reason), ""))
                continue
            right, verdict, hazards, figures = judge(case, kernels, chip)
            fine = fine and right
            rows.append((source, case.title, verdict, hazards, figures))
    print(tabulate(rows, headers=("from", "kernel", "result", "rules let pass", "largest relative error")))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
