"""`python -m facesmith.provenance ...`: the command `facesmith provenance`."""

import sys

from facesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["provenance", *sys.argv[1:]]))
