"""Biometric files are their owner's only, whatever the umask."""

import logging
from pathlib import Path
from typing import Final

from facesmith.files import replacing

log = logging.getLogger(__name__)

FOLDER: Final = 0o700
FILE: Final = 0o600


def private_folder(path: Path) -> None:
    """Make a folder, or take an existing one, that only its owner may enter; parents are made as usual.

    A folder of somebody else stays as it is, with a warning.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=FOLDER, exist_ok=True)
    _restrict(path, FOLDER)


def make_private(tree: Path) -> None:
    """Give a folder and everything in it to its owner alone."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            _restrict(path, FOLDER if path.is_dir() else FILE)


def write_private_text(path: Path, text: str) -> None:
    """Write text (UTF-8) atomically, at no moment readable by anyone but its owner; a new folder is private too."""
    if not path.parent.exists():
        private_folder(path.parent)
    with replacing(path) as temporary:
        temporary.chmod(FILE)
        temporary.write_text(text, encoding="utf-8", newline="")


def _restrict(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o777 == mode:
        return
    try:
        path.chmod(mode)
    except PermissionError:
        log.warning("%s: belongs to somebody else, who must keep it private (chmod %o)", path, mode)
