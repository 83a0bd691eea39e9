"""`python export.py ...` in a checkout: the command `facesmith export`."""

import sys

from facesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
