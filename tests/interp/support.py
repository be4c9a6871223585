"""Running small kernels, and checking that one is refused where it says ``# refused``."""

import linecache

import pytest

from numtrn.interp import Checks, KernelFault, modules, simulate
from numtrn.machine import CHIPS

nki, nisa, nl, nt = (modules[name] for name in ("nki", "nki.isa", "nki.language", "nki.typing"))


def run(kernel, *arguments, chip="trn2", levels=None):
    return simulate(kernel, arguments, chip=CHIPS[chip], checks=levels and Checks(levels=levels)).outputs


def refused(rule, *words, kernel, arguments=(), chip="trn2"):
    """The kernel is refused for ``rule``, with these words, at its line marked ``# refused``."""
    with pytest.raises(KernelFault) as caught:
        run(kernel, *arguments, chip=chip)
    message = str(caught.value)
    assert caught.value.rule == rule, message
    for word in words:
        assert str(word) in message, message
    file, line = caught.value.where.rsplit(":", 1)
    assert caught.value.where in message
    assert "# refused" in linecache.getline(file, int(line)), message
    return message


def sbuf(shape, dtype=nl.float32):
    return nl.ndarray(shape, dtype=dtype, buffer=nl.sbuf)  # refused, in tests of allocation


def psum(shape, dtype=nl.float32):
    return nl.ndarray(shape, dtype=dtype, buffer=nl.psum)  # refused, in tests of allocation


def hbm(shape, dtype=nl.float32):
    return nl.ndarray(shape, dtype=dtype, buffer=nl.shared_hbm)


def filled(shape, dtype=nl.float32, value=1.0):
    tile = sbuf(shape, dtype)
    nisa.memset(dst=tile, value=value)
    return tile


def loaded(array, dtype=None):
    """An argument in SBUF, cast by the DMA if another dtype is given."""
    tile = sbuf(array.shape, dtype or array.dtype)
    nisa.dma_copy(dst=tile, src=array)
    return tile


def stored(tile):
    """A tile of SBUF as an output."""
    out = hbm(tile.shape, tile.dtype)
    nisa.dma_copy(dst=out, src=tile)
    return out


def evicted(bank):
    """A tile of PSUM as an output."""
    tile = sbuf(bank.shape, bank.dtype)
    nisa.tensor_copy(dst=tile, src=bank)
    return stored(tile)


def product(a, b, accumulate=False):
    """``a.T @ b`` in a new bank."""
    bank = psum((a.shape[1], b.shape[1]))
    nisa.nc_matmul(dst=bank, stationary=a, moving=b, accumulate=accumulate)
    return bank
