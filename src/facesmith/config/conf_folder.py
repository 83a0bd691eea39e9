"""Where the conf/ folder lies: one way for every entry point."""

from pathlib import Path

import facesmith
from facesmith.errors import UserError

_PACKAGE = Path(facesmith.__file__).parent


def conf_folder(config: str, script: Path | None = None) -> Path:
    """Find the folder that holds `<config>.yaml`.

    Asked in order: beside a script, in the folder one stands in, in the checkout, in the installed package.

    Raises:
        UserError: none of them holds it.
    """
    beside = [script.resolve().parent / "conf"] if script else []
    places = [*beside, Path.cwd() / "conf", _PACKAGE.parents[1] / "conf", _PACKAGE / "conf"]
    for folder in places:
        if (folder / f"{config}.yaml").is_file():
            return folder
    raise UserError(f"conf/{config}.yaml: is not here; run this in the folder of facesmith")
