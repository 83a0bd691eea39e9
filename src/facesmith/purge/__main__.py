"""`python -m facesmith.purge ...`: the command `facesmith purge`."""

import sys

from facesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["purge", *sys.argv[1:]]))
