"""Sign a file and print by how many MB this took the process's peak memory up: peak_of_signing.py FILE."""

import resource
import sys
from pathlib import Path

from facesmith.media.provenance import Mark, sign_file

MARK = Mark(identity="ada", consent="self", model_hash=None, title="film")


def peak() -> float:
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    small, large = map(Path, sys.argv[1:])
    sign_file(small, MARK)
    before = peak()
    sign_file(large, MARK)
    print(peak() - before)
