"""`python -m facesmith.sweep ...`: the command `facesmith sweep`."""

import sys

from facesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
