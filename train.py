"""`python train.py ...` in a checkout: the command `facesmith train`."""

import sys

from facesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
