"""Double of ``nki.language``: the interpreter's."""

import sys

from numtrn import interp

sys.modules[__name__] = interp.modules["nki.language"]
