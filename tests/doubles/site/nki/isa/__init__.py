"""Double of ``nki.isa``: the interpreter's."""

import sys

from numtrn import interp

sys.modules[__name__] = interp.modules["nki.isa"]
