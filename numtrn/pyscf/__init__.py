"""PySCF through numtrn: its MP2 energies, ``lib.einsum`` and ``lib.dot``, in unchanged user code.

    import numtrn.pyscf

    with numtrn.pyscf.enabled() as session:
        field = scf.RHF(molecule).density_fit().run()
        energy = mp.dfmp2.DFMP2(field).run()
    print(session)

PySCF computes these in C with a BLAS of its own, where `numtrn.enabled` alone does not reach. Integrals,
J and K builds in C, and what else PySCF does in C, stay PySCF's; ``docs/mp2.md`` lists what is reached.

`enabled` opens a block; `patch` and `unpatch` mark single objects. PySCF is imported when one is first used.
"""

from numtrn.pyscf import energies, products  # noqa: F401 - they register what replaces PySCF's functions
from numtrn.pyscf.blocks import enabled
from numtrn.pyscf.patching import patch, session, unpatch

__all__ = ["enabled", "patch", "session", "unpatch"]
