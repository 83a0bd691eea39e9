"""Locate `conf/` and `sweeps/`, for all commands."""

from pathlib import Path

import facesmith
from facesmith.errors import UserError

_PACKAGE = Path(facesmith.__file__).parent


def folders(name: str) -> list[Path]:
    """List the folders of this name that exist, first come first served.

    Args:
        name: `conf` or `sweeps`.

    Returns:
        In this order: in the working folder, in the checkout, in the installed package.
    """
    places = [Path.cwd() / name, _PACKAGE.parents[1] / name, _PACKAGE / name]
    return list(dict.fromkeys(place.resolve() for place in places if place.is_dir()))


def conf_folder(config: str) -> Path:
    """Find the folder that holds a primary config.

    Args:
        config: Its name, such as `train`.

    Returns:
        The first of `folders("conf")` that holds `<config>.yaml`.

    Raises:
        UserError: None of them does.
    """
    for folder in folders("conf"):
        if (folder / f"{config}.yaml").is_file():
            return folder
    raise UserError(f"conf/{config}.yaml: not found; install facesmith anew, or run this in its checkout")
