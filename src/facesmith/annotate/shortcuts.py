"""What can be done on the page, by button and by key: the one place for it."""

import json
from typing import Final, NamedTuple


class Command(NamedTuple):
    """A thing to do. name: of its button on the page. keys: as browsers call them, `Ctrl+` before where it is held."""

    name: str
    keys: tuple[str, ...]
    what: str


COMMANDS: Final = (
    Command("previous", ("ArrowLeft", "a"), "previous frame"),
    Command("next", ("ArrowRight", "d"), "next frame"),
    Command("untouched", ("n",), "next frame nobody has looked at"),
    Command("keep", ("Enter", "s"), "keep this mask as it is, and go on"),
    Command("brush", ("b",), "brush: paint visible face"),
    Command("eraser", ("e",), "eraser: take away what covers it"),
    Command("smaller", ("[",), "smaller brush"),
    Command("larger", ("]",), "larger brush"),
    Command("undo", ("Ctrl+z",), "undo"),
    Command("redo", ("Ctrl+y", "Ctrl+Z"), "redo"),
    Command("interpolate", ("i",), "fill the frames between painted ones"),
    Command("onion", ("o",), "onion skin: the neighbours' outlines"),
    Command("hull", ("h",), "start again from the hull"),
    Command("predict", ("m",), "start again from what the occluder sees"),
)

_SHOWN: Final = {"ArrowLeft": "←", "ArrowRight": "→", "Enter": "↵", "Ctrl+Z": "Ctrl+Shift+Z"}


def shown(command: Command) -> list[str]:
    """Give a command's keys as a person reads them."""
    return [
        _SHOWN.get(key) or "+".join(part.upper() if len(part) == 1 else part for part in key.split("+"))
        for key in command.keys
    ]


def as_json() -> str:
    """Give which key calls which command, for the page's script."""
    return json.dumps({key: command.name for command in COMMANDS for key in command.keys})


def as_markdown() -> str:
    """Give the table for the documentation."""
    rows = [f"| {' or '.join(f'`{key}`' for key in shown(one))} | {one.what} |" for one in COMMANDS]
    return "\n".join(["| key | |", "|---|---|", *rows])
