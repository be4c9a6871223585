"""Devices of numtrn arrays: their names, and which may meet in one call. Nothing is moved here."""

from __future__ import annotations

from numtrn.options import from_environment
from numtrn.targets import select

__all__ = ["CPU", "DEVICES", "agree", "checked"]

CPU = "cpu"
DEVICES = (CPU, "interpreter:0", "simulator:0", "neuron:0")


def checked(device: object) -> str:
    """The name of a device that can be used here; None is the host.

    Raises
    ------
    ValueError
        For an unknown name; the message has the known ones.
    TargetUnavailableError
        Where the simulator or the hardware is not there.
    """
    if device is None or device == CPU:
        return CPU
    if not isinstance(device, str) or device not in DEVICES:
        known = ", ".join(map(repr, DEVICES))
        raise ValueError(f"device is one of {known}; got {device!r}")
    target = device.partition(":")[0]
    select(target, from_environment().chip)
    return device


def agree(device: str, other: str) -> None:
    """Refuse arrays of two devices in one call.

    Raises
    ------
    ValueError
        Where they differ.
    """
    if device != other:
        raise ValueError(
            f"arrays of one call must be on one device; got {device!r} and {other!r}. "
            f"Move one of them: x.to_device({device!r})"
        )
