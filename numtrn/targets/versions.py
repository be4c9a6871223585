"""Versions of NKI from 0.3.0 to 0.6.0, and the differences that matter to the launchers. Facts only.

Sources are in ``aws-neuron/aws-neuron-sdk``: RN is ``release-notes/components/nki.rst``, MIG
``nki/migration/index.rst``, SIM ``nki/guides/nki_simulator.rst``, JIT ``nki/api/nki/__init__.py`` (also as
it was in the history of the repository).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VERSIONS", "Version", "of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One release of NKI.

    Attributes
    ----------
    nki, sdk
        Its version, and that of the SDK that brought it.
    simulates_torch
        Whether ``nki.simulate`` takes tensors of torch beside NumPy arrays (RN 0.4.0).
    precise_default
        Value of ``NKI_PRECISE_FP`` where it is not set (RN 0.4.0; SIM).
    caches_none
        Whether a kernel called with None is found in the compile cache (RN 0.4.0, bug fixes).
    list_arguments
        Whether kernels take lists (MIG 0.3.0: no).
    jit_parameter
        What ``nki.jit`` calls its function (JIT).
    rounds_to_even
        Whether the simulator rounds float32 to integers as the device does (RN 0.6.0).
    notes
        What else bites.
    """

    nki: str
    sdk: str
    simulates_torch: bool
    precise_default: str
    caches_none: bool
    list_arguments: bool
    jit_parameter: str
    rounds_to_even: bool
    notes: tuple[str, ...] = ()


VERSIONS = (
    Version(
        nki="0.3.0",
        sdk="2.29",
        simulates_torch=False,
        precise_default="0",
        caches_none=False,
        list_arguments=False,
        jit_parameter="func",
        rounds_to_even=False,
        notes=("outputs must be nl.shared_hbm (MIG)", "bfloat16 is float32 in the simulator by default (RN)"),
    ),
    Version(
        nki="0.4.0",
        sdk="2.30",
        simulates_torch=True,
        precise_default="1",
        caches_none=True,
        list_arguments=False,
        jit_parameter="fn",
        rounds_to_even=False,
        notes=("dma_copy and dma_transpose take priority before other positional arguments (RN)",),
    ),
    Version(
        nki="0.5.0",
        sdk="2.31",
        simulates_torch=True,
        precise_default="1",
        caches_none=True,
        list_arguments=False,
        jit_parameter="fn",
        rounds_to_even=False,
        notes=("launch grids for LNC 2 are deprecated: a later release takes all cores of an LNC (RN)",),
    ),
    Version(
        nki="0.6.0",
        sdk="2.32",
        simulates_torch=True,
        precise_default="1",
        caches_none=True,
        list_arguments=False,
        jit_parameter="fn",
        rounds_to_even=True,
        notes=("instructions on more than 128 partitions are refused (RN)",),
    ),
)
"""In order of release."""


def of(version: str) -> Version:
    """Facts of an installed version: of the newest release known that is not newer than it.

    Raises
    ------
    ValueError
        For versions before 0.3.0.
    """
    wanted = _numbers(version)
    known = [entry for entry in VERSIONS if _numbers(entry.nki) <= wanted]
    if not known:
        raise ValueError(f"numtrn's kernels need nki>={VERSIONS[0].nki}; got {version}")
    return known[-1]


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split(".")[:2]
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in parts)
