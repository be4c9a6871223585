"""How the memory of numtrn arrays goes to others: DLPack capsules and pickles."""

from __future__ import annotations

from typing import Any

import numpy as np

from numtrn.array.core import Core
from numtrn.array.devices import CPU, checked
from numtrn.request import Array as HostArray

__all__ = ["HOST", "capsule", "restored"]

HOST = (1, 0)
"""DLPack's name of host memory: kDLCPU, device 0."""
VERSIONED = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
"""Whether this NumPy's export knows versions of DLPack."""


def capsule(
    x: Core,
    stream: Any,
    max_version: tuple[int, int] | None,
    dl_device: tuple[Any, int] | None,
    copy: bool | None,
) -> Any:
    """A DLPack capsule of an array's host memory.

    Parameters
    ----------
    stream
        None: the host has none.
    max_version
        The newest version that the consumer knows; None: before versions.
    dl_device
        None, or (1, 0), the host.
    copy
        Whether the consumer gets memory of its own; False and None share it.

    Raises
    ------
    BufferError
        For another device than the host, or memory or a dtype that DLPack cannot describe.
    ValueError
        For a stream.
    """
    if stream is not None:
        raise ValueError(f"host memory has no streams; got stream={stream!r}. Leave it out")
    if dl_device is not None and tuple(map(int, dl_device)) != HOST:
        raise BufferError(f"numtrn arrays go out as host memory, dl_device={HOST}; got {tuple(dl_device)}")
    data = x._values("DLPack").copy() if copy else x._exported("DLPack")
    return data.__dlpack__(max_version=max_version) if VERSIONED else data.__dlpack__()


def restored(kind: type[Core], data: HostArray, device: str) -> Core:
    """An array from its pickle.

    Raises
    ------
    TargetUnavailableError
        Where its device is not there.
    """
    array, where = kind.__new__(kind), checked(device)
    if data.base is not None and where != CPU:
        data = data.copy()
    Core.__init__(array, data, where, owned=data.base is None)
    return array
