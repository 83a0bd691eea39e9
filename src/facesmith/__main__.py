"""`python -m facesmith <command> key=value ...`: the command `facesmith`, where only Python is on the path."""

import sys

from facesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
