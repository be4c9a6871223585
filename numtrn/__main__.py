"""``python -m numtrn``: see `numtrn.cli`."""

import sys

from numtrn.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
