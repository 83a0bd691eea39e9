"""Help that fits the terminal: lines are broken between words, below where their description begins."""

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator

from facesmith.terminal import wrap_text


@contextlib.contextmanager
def wrapping_help(wanted: bool) -> Iterator[None]:
    """Wrap what is printed meanwhile to the width of the terminal; without one it stays as it is.

    Args:
        wanted: Whether help is asked for; nothing is changed else.
    """
    if not (wanted and sys.stdout.isatty()):
        yield
        return
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        sys.stdout.write(wrap_text(printed.getvalue(), shutil.get_terminal_size().columns))
        sys.stdout.flush()
