"""Blocks in which PySCF goes through numtrn."""

from __future__ import annotations

from numtrn import api
from numtrn.block import current
from numtrn.pyscf import reach, replacements
from numtrn.session import Session

__all__ = ["enabled"]


class enabled(api.enabled):  # noqa: N801 - as `numtrn.enabled`
    """Open a block as `numtrn.enabled` does, which reaches PySCF's MP2 energies and products in C too.

    In this thread and task only; PySCF's background threads, and all others, run PySCF's own code. While a
    block is open anywhere, a dozen of PySCF's functions have ours before them; with the last one, whatever
    ended it, they are as they were.

    Parameters
    ----------
    target, chip, precision, min_work, strict, verify
        As of `numtrn.enabled`.

    Raises
    ------
    ModuleNotFoundError
        On entering, where PySCF is not installed.
    NumtrnError
        On entering, where this PySCF lacks a function that numtrn replaces, or has it otherwise.

    Examples
    --------
    >>> import numtrn.pyscf
    >>> from pyscf import gto, mp, scf
    >>> molecule = gto.M(atom="He 0 0 0", basis="6-31g", verbose=0)
    >>> with numtrn.pyscf.enabled() as session:
    ...     energy = mp.dfmp2.DFMP2(scf.RHF(molecule).run()).run().e_corr
    >>> round(float(energy), 4)
    -0.0112
    """

    def __enter__(self) -> Session:
        replacements.hold()
        try:
            session = super().__enter__()
        except BaseException:
            replacements.release()
            raise
        block = current()
        assert block is not None
        reach.add(block)
        session.blind += replacements.blind()
        return session

    def __exit__(self, *error: object) -> None:
        was_open = bool(self._opened)
        try:
            super().__exit__(*error)
        finally:
            if was_open:
                reach.drop_closed()
                replacements.release()

    def __repr__(self) -> str:
        return f"<numtrn.pyscf.enabled {self._options}>"
