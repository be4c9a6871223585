"""What stands in the way of Neuron hardware on this machine, and what to do about it.

Read from `numtrn.targets.detect.Machine`, which starts nothing. Each finding is three sentences: what was
found, why it matters, what to do. Sources are in ``aws-neuron/aws-neuron-sdk``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from numtrn import cache
from numtrn.interp.importing import TARGETS
from numtrn.targets import detect, launchers, neuron
from numtrn.targets.detect import Machine, Package

__all__ = ["RELEASES", "Diagnosis", "Release", "diagnose", "lines", "of_failure"]

INDEX = "AWS's Neuron package index (docs/hardware.md, step 4)"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One finding.

    Attributes
    ----------
    level
        ``"ok"``; ``"note"``, which one may leave as it is; ``"problem"``, which keeps hardware from use.
    what, why, do
        One sentence each, the last two empty where all is well.
    """

    level: str
    what: str
    why: str = ""
    do: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """Which packages one release of the Neuron SDK brings, by the start of their versions."""

    sdk: str
    nki: str
    compiler: str
    torch: str
    driver: str


RELEASES = (
    Release(sdk="2.29", nki="0.3", compiler="2.24", torch="2.9.0.2.13", driver="2.27"),
    Release(sdk="2.30", nki="0.4", compiler="2.25", torch="2.9.0.2.14", driver="2.28"),
    Release(sdk="2.31", nki="0.5", compiler="2.26", torch="2.9.0.2.15", driver="2.29"),
    Release(sdk="2.32", nki="0.6", compiler="2.27", torch="2.9.0.2.15", driver="2.30"),
)
"""``src/helperscripts/n2-manifest.json``. 2.32 has no torch-neuronx of its own; that of 2.31 goes with it
(``setup/pytorch/manual.rst``)."""


def diagnose(machine: Machine) -> tuple[Diagnosis, ...]:
    """All findings about a machine, in the order in which they are best dealt with."""
    return tuple(finding for rule in RULES for finding in rule(machine))


def lines(findings: tuple[Diagnosis, ...]) -> list[str]:
    """The findings as text: a line for what is well, three for the rest."""
    found = []
    for finding in findings:
        found.append(f"{finding.level:8s} {finding.what}")
        if finding.why:
            found += [f"         why: {finding.why}", f"         do:  {finding.do}"]
    return found


def of_failure(error: BaseException) -> Diagnosis:
    """What a launch that failed on the device comes to; its message holds the advice, after "Next: "."""
    text, _, advice = str(error).partition(" Next: ")
    advice = advice.partition(". Without strict=True")[0].removesuffix(".")
    return Diagnosis(
        "problem",
        f"a launch on the device ended with {type(error).__name__}: {text}",
        "the packages are there and the device is seen, but it computes nothing for this process",
        advice or "report it with all of this text",
    )


# ---- Device and driver ----


def _devices(machine: Machine) -> Iterator[Diagnosis]:
    if machine.devices:
        yield Diagnosis("ok", _described(machine))
        if machine.driver is None:
            yield Diagnosis(
                "note",
                "there are device files, but no version of the driver (/sys/module/neuron/version)",
                "a driver that is not loaded, or a container without /sys, looks like this",
                "see whether `lsmod` lists neuron and `neuron-ls` lists the devices",
            )
    elif _is_real(machine.packages["nki"]):
        yield Diagnosis(
            "problem",
            "nki is installed, but no Neuron driver is loaded: no /dev/neuron*, no /sys/module/neuron",
            "the runtime reaches a device through its driver alone, so kernels run on the interpreter here",
            "on a trn1, trn2 or trn3 instance install aws-neuronx-dkms for the running kernel, and check it"
            " with `lsmod` and `neuron-ls` (docs/hardware.md, steps 2 and 3)",
        )
    else:
        yield Diagnosis(
            "note",
            "no Neuron device (/dev/neuron*) and no Neuron driver on this machine",
            "kernels run on the interpreter: the same results, at times that say nothing of a device",
            "nothing, to try numtrn; for hardware start a trn1, trn2 or trn3 instance (docs/hardware.md)",
        )


def _described(machine: Machine) -> str:
    first, count = machine.devices[0], len(machine.devices)
    chip = first.chip or f"unknown architecture {first.architecture}"
    instance = f" ({first.instance})" if first.instance else ""
    cores = f", {first.cores} physical cores each" if first.cores else ""
    return (
        f"{count} Neuron device{'s' if count > 1 else ''}: {chip}{instance}{cores}; driver {machine.driver}"
    )


def _permission(machine: Machine) -> Iterator[Diagnosis]:
    """``setup/troubleshooting.rst``: the files are to be accessible by the current user."""
    closed = [device.file for device in machine.devices if not os.access(device.file, os.R_OK | os.W_OK)]
    if closed:
        yield Diagnosis(
            "problem",
            f"{', '.join(closed)}: this user may not read and write",
            "the runtime opens the device files as the user who runs it",
            "look at `ls -l /dev/neuron*`, and give this user access; a container must be given the devices",
        )


# ---- Packages ----

WITHOUT = {
    "nki": "kernels cannot be compiled for a device, nor run by the official simulator",
    "neuronx-cc": "nki has no compiler behind it",
    "torch-neuronx": "kernels cannot be launched with device tensors, the way that keeps operands there",
}


def _packages(machine: Machine) -> Iterator[Diagnosis]:
    hopeful = bool(machine.devices)
    for name, why in WITHOUT.items():
        package, needed = machine.packages[name], f"{name}>={detect.PLACEHOLDERS[name]}"
        if not package.problem:
            of_torch = " (TorchNeuron)" if name == "torch-neuronx" and machine.native else ""
            yield Diagnosis("ok", f"{name} {package.version}{of_torch}")
        elif package.version is not None:
            yield Diagnosis(
                "problem",
                f"{name} {package.version} is the empty placeholder from PyPI",
                why,
                f"uninstall it, and install {needed} from {INDEX}",
            )
        else:
            yield Diagnosis(
                "problem" if hopeful and name == "nki" else "note",
                f"{name} is not installed",
                why,
                f"install {needed} from {INDEX}" if hopeful else f"on an instance, install it from {INDEX}",
            )


def _is_real(package: Package) -> bool:
    return not package.problem


def _release(machine: Machine) -> Iterator[Diagnosis]:
    """Packages of one release of the SDK (``compiler/error-codes/EVRF065.rst``)."""
    nki = machine.packages["nki"]
    if not _is_real(nki):
        return
    release = next((one for one in RELEASES if _starts(nki.version, one.nki)), None)
    if release is None:
        yield Diagnosis(
            "note",
            f"nki {nki.version} is newer than {RELEASES[-1].nki}, the last that numtrn was written for",
            "its rules may differ from those that the kernels were checked against",
            f"if kernels fail to compile, take nki {RELEASES[-1].nki}",
        )
        return
    yield from _mismatch(machine.packages["neuronx-cc"], release.compiler, release, "problem")
    if not machine.native:  # whose versions are not public
        yield from _mismatch(machine.packages["torch-neuronx"], release.torch, release, "note")
    if machine.driver is not None and _numbers(machine.driver) < _numbers(release.driver):
        yield Diagnosis(
            "note",
            f"driver {machine.driver} is older than the {release.driver} of Neuron {release.sdk},"
            f" which nki {nki.version} is of",
            "a runtime may refuse a driver that is older than itself",
            f"update aws-neuronx-dkms to {release.driver} if the runtime says so",
        )


def _mismatch(package: Package, expected: str, release: Release, level: str) -> Iterator[Diagnosis]:
    if _is_real(package) and not _starts(package.version, expected):
        yield Diagnosis(
            level,
            f"{package.name} {package.version} is of another release than nki: Neuron {release.sdk} has nki"
            f" {release.nki} with {package.name} {expected}",
            "parts of different releases may refuse each other, the compiler with NCC_EVRF065",
            f"install {package.name}=={expected}.* beside nki=={release.nki}.* from {INDEX}",
        )


def _starts(version: str | None, start: str) -> bool:
    return version is not None and f"{version}.".startswith(f"{start}.")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())[:2]


def _library(machine: Machine) -> Iterator[Diagnosis]:
    """``archive/appnotes/torch-neuronx/introducing-pytorch-2-7.rst``."""
    installed = _is_real(machine.packages["torch-neuronx"]) and not machine.native
    if installed and machine.programs["libneuronpjrt-path"] is None:
        beside = Path(sys.executable).parent
        there = (beside / "libneuronpjrt-path").exists()
        yield Diagnosis(
            "problem",
            "the program libneuronpjrt-path is not on PATH",
            "torch_neuronx asks it where its library lies, and fails with FileNotFoundError without it",
            "activate the environment that has libneuronxla, so that its bin directory is on PATH"
            if there
            else "install libneuronxla again, and activate the environment that has it, so that its bin"
            " directory is on PATH",
        )


# ---- Environment ----


def _visible(machine: Machine) -> Iterator[Diagnosis]:
    """``neuron-runtime/guides/configuration-guide.rst``: an index or an inclusive range."""
    asked = machine.environment.get("NEURON_RT_VISIBLE_CORES")
    counts = [device.cores for device in machine.devices]
    each = 2 if machine.environment.get("NEURON_LOGICAL_NC_CONFIG") == "2" else 1
    total = None if None in counts or not counts else sum(n or 0 for n in counts) // each
    if asked is None:
        if total:
            size = "two physical cores" if each == 2 else "one physical core"
            yield Diagnosis("ok", f"{total} NeuronCores for launches of {size} each, all visible")
        return
    wanted = _cores(asked)
    there = f"0-{total - 1}" if total else "those that neuron-ls lists"
    if wanted is None or (total is not None and max(wanted) >= total):
        what = "names no core" if wanted is None else f"names cores that are not there: there are {there}"
        yield Diagnosis(
            "problem",
            f"NEURON_RT_VISIBLE_CORES={asked} {what}",
            "the runtime gives this process the cores that it names and no others, so it starts with none",
            f"unset it, or set it to a number or a range within {there}",
        )
    else:
        yield Diagnosis("ok", f"NEURON_RT_VISIBLE_CORES={asked}: {len(wanted)} of the NeuronCores {there}")


def _cores(text: str) -> list[int] | None:
    """The cores that ``"0"``, ``"2-5"`` or ``"3-5,6"`` name; None for anything else."""
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            return None
        found += range(int(low), min(int(high or low), int(low) + 4096) + 1)
    return found or None


def _logical(machine: Machine) -> Iterator[Diagnosis]:
    """``about-neuron/arch/neuron-features/logical-neuroncore-config.rst``."""
    told = machine.environment.get("NEURON_LOGICAL_NC_CONFIG")
    flags = machine.environment.get("NEURON_CC_FLAGS", "").replace("=", " ").split()
    compiled = next((b for a, b in pairwise(flags) if a in LNC_FLAGS), None)
    chip = machine.devices[0].chip if machine.devices else None
    cores = told or "1"
    if cores not in ("1", "2") or (cores == "2" and chip == "trn1"):
        yield Diagnosis(
            "problem",
            f"NEURON_LOGICAL_NC_CONFIG={told}, which {'trn1' if cores == '2' else 'no chip'} has",
            "a logical core is one physical core, or on trn2 and trn3 two",
            "unset it, or set it to 1, before the process starts",
        )
    elif compiled not in (None, cores):
        yield Diagnosis(
            "problem",
            f"NEURON_CC_FLAGS asks for {compiled} physical cores a logical one, the runtime for {cores}",
            "a program that was compiled for another number of cores than the runtime's cannot be loaded",
            f"take --lnc and --logical-nc-config out of NEURON_CC_FLAGS, or set them to {cores}",
        )
    elif cores == "2":
        yield Diagnosis("ok", "NEURON_LOGICAL_NC_CONFIG=2: each launch is of two physical cores")


LNC_FLAGS = ("--lnc", "-lnc", "--logical-nc-config")


def _override(machine: Machine) -> Iterator[Diagnosis]:
    """``nki/guides/nki_simulator.rst`` and ``nki/api/nki/__init__.py``: the chip to compile for."""
    told = machine.environment.get("NEURON_PLATFORM_TARGET_OVERRIDE")
    chip = machine.devices[0].chip if machine.devices else None
    if told is not None and chip is not None and TARGETS.get(told, told) != chip:
        yield Diagnosis(
            "problem",
            f"NEURON_PLATFORM_TARGET_OVERRIDE={told}, and the device is a {chip}",
            "kernels are compiled for the chip that it names, and do not run on another",
            "unset it",
        )


def _simulating(machine: Machine) -> Iterator[Diagnosis]:
    if machine.devices and machine.environment.get("NKI_SIMULATOR") == "1":
        yield Diagnosis(
            "problem",
            "NKI_SIMULATOR=1 is set on a machine with a device",
            "nki then sends every kernel to the simulator on the host",
            "unset it, to use the device",
        )


# ---- What would be taken ----


def _native(machine: Machine) -> Iterator[Diagnosis]:
    """``frameworks/torch/about/index.rst``: TorchNeuron from PyTorch 2.10 on."""
    problem = detect.native_problem() if machine.native else ""
    if problem:
        yield Diagnosis(
            "note",
            problem,
            "kernels cannot be launched with its tensors, the way that keeps operands on the device",
            "install the PyTorch that this TorchNeuron was made for",
        )


def _launcher(machine: Machine) -> Iterator[Diagnosis]:
    try:
        name = neuron.chosen()
    except ValueError as problem:
        yield Diagnosis(
            "problem",
            str(problem),
            "target='neuron' has no way to launch",
            f"unset {neuron.VARIABLE}, or set it to one of them",
        )
        return
    if not machine.devices:
        return
    asked = os.environ.get(neuron.VARIABLE, "")
    if launchers.problem(name):
        yield _unusable(asked) if asked else NO_LAUNCHER
    elif name == "nki" and not asked:
        yield Diagnosis(
            "note",
            "launcher nki: kernels are called with NumPy arrays",
            "operands and results cross the link with every launch",
            "to keep them on the device, deal with TorchNeuron first, above"
            if machine.native
            else f"to keep them on the device install torch-neuronx from {INDEX}",
        )
    else:
        yield Diagnosis("ok", f"launcher {name}{LAUNCH_WAYS[name]}")


NO_LAUNCHER = Diagnosis(
    "note",
    "no launcher can be used: kernels run on the interpreter",
    "target='neuron' needs nki, alone or with PyTorch, and what stands above is in its way",
    "deal with the problems above, the first one first",
)


def _unusable(asked: str) -> Diagnosis:
    """Of a launcher that was asked for, where another can be used."""
    other = next((name for name in launchers.LAUNCHERS if not launchers.problem(name)), "")
    if not other:
        return NO_LAUNCHER
    return Diagnosis(
        "problem",
        f"{neuron.VARIABLE}={asked} cannot be used: {launchers.problem(asked)}",
        "no other launcher is tried when one is asked for, so target='neuron' has no way to launch",
        f"unset {neuron.VARIABLE}; {other} can be used",
    )


LAUNCH_WAYS = {
    "native": ": device tensors of TorchNeuron, which stay on the device",
    "torch": ": device tensors of torch_xla, which stay on the device",
    "nki": f", as {neuron.VARIABLE} asks: NumPy arrays, which cross with every launch",
}


def _directory(_: Machine) -> Iterator[Diagnosis]:
    place = Path(cache.location("x"))
    if not place.is_absolute():
        yield Diagnosis(
            "note",
            f"no cache directory: {place}",
            "verdicts of probes and the machine's profile are not kept",
            f"set {cache.VARIABLE} to an absolute path",
        )
        return
    home = next(folder for folder in place.parents if folder.exists())
    if os.access(home, os.W_OK | os.X_OK):
        yield Diagnosis("ok", f"cache directory {place.parent}")
    else:
        yield Diagnosis(
            "note",
            f"the cache directory {place.parent} cannot be written",
            "verdicts of probes and the machine's profile are not kept",
            f"set {cache.VARIABLE} to a directory that can be written",
        )


RULES: tuple[Callable[[Machine], Iterator[Diagnosis]], ...] = (
    _devices,
    _permission,
    _packages,
    _release,
    _library,
    _visible,
    _logical,
    _override,
    _simulating,
    _native,
    _launcher,
    _directory,
)
