"""The command line: ``python -m numtrn demo | doctor | check | compile | timeline | run``."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numtrn.api import enabled
from numtrn.errors import TargetUnavailableError
from numtrn.options import CHIP_NAMES, PRECISIONS, TARGETS, UNSET
from numtrn.version import __version__

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Run one command; gives its exit status."""
    parser = _parser()
    if list(argv[:1]) == ["demo"]:  # which reads its own options
        from numtrn import demo

        try:
            return demo.main(argv[1:])
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            return 130
    if list(argv[:1]) == ["timeline"]:  # likewise
        from numtrn import timeline

        return timeline.main(argv[1:])
    if list(argv[:1]) == ["compile"]:
        from numtrn import compiling

        return compiling.main(argv[1:])
    known = parser.parse_args(argv)
    if known.command == "doctor":
        from numtrn import doctor

        return doctor.main(probing=known.probe)
    if known.command == "check":
        return check(known)
    if known.command == "run":
        return run(known)
    parser.print_help()
    return 2


def check(known: argparse.Namespace) -> int:
    """Check kernel source; see `numtrn.interp.static`."""
    from numtrn.interp import static

    try:
        lines, status = static.main(known.files, dict(known.level))
    except ValueError as error:
        print(f"numtrn check: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return status


def run(known: argparse.Namespace) -> int:
    """Run a script unchanged, as ``__main__``, inside a block; the account goes to standard error.

    The exit status is the script's own. The account is printed also when the script raises.
    """
    try:
        block = enabled(**_settings(known))
    except (TypeError, ValueError, TargetUnavailableError) as problem:
        print(f"numtrn run: {problem}", file=sys.stderr)
        return 2
    script = Path(known.script)
    if not script.is_file():
        print(
            f"numtrn run: takes the path of a Python script; there is no file {known.script}", file=sys.stderr
        )
        return 2
    sys.argv = [str(script), *known.rest]
    sys.path[0] = str(script.resolve().parent)  # in place of the directory that `python -m` put there
    with block as session:
        try:
            runpy.run_path(str(script), run_name="__main__")
        finally:
            print(f"\n{session}", file=sys.stderr)
    return 0


def _settings(known: argparse.Namespace) -> dict[str, Any]:
    names = ("target", "chip", "precision", "min_work", "strict", "verify", "keep")
    given = {name: getattr(known, name) for name in names}
    return {name: UNSET if value is None or value is False else value for name, value in given.items()}


def _level(text: str) -> tuple[str, str]:
    hazard, _, level = text.partition("=")
    return hazard, level


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m numtrn", description="NumPy and SciPy on AWS Trainium")
    parser.add_argument("--version", action="version", version=f"numtrn {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("demo", help="DF-MP2 energies through kernels, compared with PySCF's")
    doctor_parser = commands.add_parser(
        "doctor", help="what works on this machine, and what is missing for the rest"
    )
    doctor_parser.add_argument(
        "--probe",
        action="store_true",
        help="try on the target what float64 accuracy rests on, and keep the verdict for later blocks",
    )
    check_parser = commands.add_parser(
        "check", help="read the source of NKI kernels for what a device refuses; nothing is run"
    )
    check_parser.add_argument(
        "--level",
        type=_level,
        action="append",
        default=[],
        metavar="HAZARD=LEVEL",
        help="error, warning or off for one hazard of docs/hazards.md, such as H34=off",
    )
    check_parser.add_argument("files", nargs="+", metavar="FILE")
    commands.add_parser("compile", help="compile the programs of a run before it")
    commands.add_parser("timeline", help="predicted timeline of a kernel, without computing anything")
    run_parser = commands.add_parser(
        "run", help="run a script unchanged inside a block, with an account at the end"
    )
    run_parser.add_argument("--target", choices=TARGETS)
    run_parser.add_argument("--chip", choices=CHIP_NAMES)
    names = ", ".join(PRECISIONS)
    run_parser.add_argument("--precision", metavar="NAME_OR_UNITS", help=f"{names}, or a number of units")
    run_parser.add_argument("--min-work", metavar="MULTIPLY_ADDS")
    run_parser.add_argument("--keep", metavar="BYTES", help="operands that stay on the target between calls")
    run_parser.add_argument("--strict", action="store_true", help="a kernel failure is an error")
    run_parser.add_argument("--verify", action="store_true", help="compare every kernel result with NumPy's")
    run_parser.add_argument("script")
    run_parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="args")
    return parser
