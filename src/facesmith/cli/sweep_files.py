"""`sweep=<name>` on a command line: the sweep's own file as the primary config."""

import re
from collections.abc import Sequence
from pathlib import Path

from facesmith.config.conf_folder import folders
from facesmith.config.validation_errors import closest_match
from facesmith.errors import UserError


def expand_sweep(given: Sequence[str]) -> list[str]:
    """Replace `sweep=<name>` by the flags that make Hydra read that file first.

    Args:
        given: A command line; `sweep` names a file of `sweeps/`, or is the path of a .yaml file.

    Raises:
        UserError: No such sweep.
    """
    named = [argument for argument in given if argument.startswith("sweep=")]
    if not named:
        return list(given)
    rest = [argument for argument in given if not argument.startswith("sweep=")]
    path = _sweep_file(named[-1].partition("=")[2].strip("'\""))
    return ["--config-dir", str(path.parent), "--config-name", path.stem, *rest]


def _sweep_file(name: str) -> Path:
    places = folders("sweeps")
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name).resolve()
        raise UserError(f"sweep={name}: no such file")
    if re.fullmatch(r"[\w-]+", name):
        for folder in places:
            if (folder / f"{name}.yaml").is_file():
                return (folder / f"{name}.yaml").resolve()
    known = sorted({path.stem for folder in places for path in folder.glob("*.yaml")})
    closest = closest_match(name, known)
    mend = f"; did you mean {closest}?" if closest else ""
    raise UserError(f"sweep={name}: no such sweep; choose one of {', '.join(known)}, or give the path of a file{mend}")
