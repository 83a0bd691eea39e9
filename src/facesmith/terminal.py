"""Lines that fit the terminal: prose breaks between words, commands stay ready to paste, names stay whole."""

import os
import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Final

from facesmith.errors import escape_controls

if TYPE_CHECKING:
    from rich.console import Console

_TITLE: Final = re.compile(r"\s*\S.*?\s{2,}(?=\S)")
"""What stands before a description."""
_WORD: Final = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")
"""Of a shell's command line."""


def make_console() -> "Console":
    """Return a console of standard output for `print_line` and for bars."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def print_line(line: str, console: "Console", style: str = "") -> None:
    """Print a line so that it fits the terminal; without one it stays whole.

    Args:
        line: Text without markup.
        console: Where to.
        style: Of rich, such as `bold` or `red`.
    """
    fitting = wrap_text(line, console.width) if console.is_terminal else line
    console.print(fitting, style=style, markup=False, highlight=False, soft_wrap=True)


def print_error(line: str) -> None:
    """Print a line to standard error so that it fits the terminal; without one it stays whole.

    Args:
        line: Text.
    """
    line = "\n".join(map(escape_controls, line.split("\n")))
    width = shutil.get_terminal_size().columns
    print(wrap_text(line, width) if sys.stderr.isatty() else line, file=sys.stderr)


def wrap_text(text: str, width: int) -> str:
    """Break long lines: prose between words, below where a description begins; a command as a shell reads it.

    Args:
        text: Lines, of which some are a name and, after two spaces or more, its description.
        width: Columns of the terminal.
    """
    return "\n".join(_wrap_line(line, width) for line in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    title = _TITLE.match(line)
    if title is None and line.lstrip().startswith("facesmith "):
        return _fold_command(line, width)
    described = title is not None and title.end() < width // 2
    indent = title.end() if title is not None and described else len(line) - len(line.lstrip())
    broken = textwrap.wrap(line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(_pull_left(one, width) for one in broken)


def _pull_left(line: str, width: int) -> str:
    """Return a line with less indentation where it is too long, so that a long name or address stays whole."""
    text = line.lstrip()
    return line if len(line) <= width else " " * max(0, width - len(text)) + text


def _fold_command(line: str, width: int) -> str:
    """Continue a command on further lines, with backslashes; Windows has no such mark that all its shells know."""
    if os.name == "nt":
        return line
    indent = line[: len(line) - len(line.lstrip())]
    words = _WORD.findall(line)
    lines = [f"{indent}{words[0]}"]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + len("  \\") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"{indent}    {word}")
    return " \\\n".join(_pull_left(one, width - len(" \\")) for one in lines)
