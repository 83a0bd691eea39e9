"""`python infer.py ...` in a checkout: the command `facesmith infer`."""

import sys

from facesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))
