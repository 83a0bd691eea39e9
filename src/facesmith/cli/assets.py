"""`facesmith assets`: download the named assets and print where each came from."""

import sys
from collections.abc import Sequence

from facesmith.cli.arguments import read_arguments, wants_help
from facesmith.config.schema import AssetsConfig
from facesmith.config.settings import Settings
from facesmith.errors import UserError
from facesmith.terminal import make_console, print_line

_HELP = """\
Download weights and demo media, and print licence, source and path of each.

  facesmith assets                             all whose content is recorded
  facesmith assets yunet.onnx sface.onnx       these

keys
  names=[a,b]      the same, as a list
  assets.dir=      your own folder of weights, tried before every other source
"""


class AssetsCommandConfig(Settings):
    """Settings of `facesmith assets`."""

    names: list[str]
    """Names of assets; none: every file with a recorded hash."""
    assets: AssetsConfig


def main(given: Sequence[str]) -> int:
    """Fetch the named assets, or every file with a recorded hash, and print where each came from.

    Raises:
        UserError: Some could not be fetched, one line each, after all others were.
    """
    if wants_help(given):
        print(_HELP, end="")
        return 0
    config = read_arguments(given, AssetsCommandConfig, words="names", conf="assets")
    from facesmith.assets import fetch_with_source, use_directory
    from facesmith.assets.catalog import ASSETS

    use_directory(config.assets.dir)
    console, failed = make_console(), list[str]()
    for name in config.names or [name for name, asset in ASSETS.items() if asset.sha256]:
        try:
            path, source = fetch_with_source(name)
        except UserError as error:
            failed.append(str(error))
            continue
        print_line(f"{name}  {ASSETS[name].licence}; from {source}", console)
        print_line(f"    {path}", console)
    if failed:
        raise UserError("\n".join(failed))
    return 0


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["assets", *sys.argv[1:]]))
