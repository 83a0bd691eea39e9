"""Extract in a process of its own, slowly, so that a test can kill it or run beside it.

Arguments: source, root, file that gets the hash of each analysed picture, seconds to sleep at each.
"""

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ...small_media import Counting, extract_small


class Slow(Counting):
    def __call__(self, frame: np.ndarray) -> Any:
        with Path(sys.argv[3]).open("a") as seen:
            seen.write(hashlib.sha256(frame.tobytes()).hexdigest() + "\n")
        time.sleep(float(sys.argv[4]))
        return super().__call__(frame)


if __name__ == "__main__":
    extract_small(sys.argv[1], Path(sys.argv[2]), max_frames=16, analyzer=Slow)
