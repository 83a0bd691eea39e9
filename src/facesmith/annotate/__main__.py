"""`python -m facesmith.annotate ...`: the command `facesmith annotate`."""

import sys

from facesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["annotate", *sys.argv[1:]]))
