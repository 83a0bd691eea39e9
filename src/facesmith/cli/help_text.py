"""Help that fits the terminal: lines are broken between words, below where their description begins."""

import contextlib
import io
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator

_TITLE = re.compile(r"\s*\S.*?\s{2,}(?=\S)")  # what stands before a description


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
        sys.stdout.write(wrap_help(printed.getvalue(), shutil.get_terminal_size().columns))
        sys.stdout.flush()


def wrap_help(text: str, width: int) -> str:
    """Break long lines between words; a command is left whole, to be copied.

    Args:
        text: Lines, of which some are a name and, after two spaces or more, its description.
        width: Columns of the terminal.
    """
    lines: list[str] = []
    for line in text.splitlines():
        title = _TITLE.match(line)
        command = line.lstrip().startswith("facesmith ") and title is None
        if len(line) <= width or command:
            lines.append(line)
            continue
        described = title is not None and title.end() < width // 2
        indent = title.end() if title is not None and described else len(line) - len(line.lstrip())
        lines += textwrap.wrap(
            line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
        )
    return "".join(f"{line}\n" for line in lines)
