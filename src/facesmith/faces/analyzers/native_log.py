"""Keeps what MediaPipe's C++ side prints on every start out of the user's console."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# absl's own severity prefixes, and TensorFlow Lite's two lines at start; errors and all else pass.
_NOISE: Final = re.compile(rb"^([WI]\d{4} |INFO: Created TensorFlow|WARNING: (All log|Logging before))")


@contextmanager
def filter_stderr() -> Iterator[None]:
    """Inside, the process's standard error is kept back; at the end all but MediaPipe's chatter is printed.

    It has no switch for that: its warnings go to the file descriptor from native threads.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            kept.seek(0)
            for line in kept:
                if not _NOISE.match(line):
                    os.write(2, line)
