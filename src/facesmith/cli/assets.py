"""`facesmith assets`: download the named assets and print where each came from."""

import sys
from collections.abc import Sequence

from facesmith.cli.arguments import read_arguments, wants_help
from facesmith.config.schema import AssetsConfig
from facesmith.config.settings import Settings

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
    """Fetch the named assets, or every file with a recorded hash, and print where each came from."""
    if wants_help(given):
        print(_HELP, end="")
        return 0
    config = read_arguments(given, AssetsCommandConfig, words="names", conf="assets")
    from rich.console import Console
    from rich.table import Table

    from facesmith.assets import fetch_with_source, use_directory
    from facesmith.assets.catalog import ASSETS

    use_directory(config.assets.dir)
    table = Table("name", "licence", "source", "path")
    for name in config.names or [name for name, asset in ASSETS.items() if asset.sha256]:
        path, source = fetch_with_source(name)
        table.add_row(name, ASSETS[name].licence, source, str(path))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["assets", *sys.argv[1:]]))
