"""`python -m facesmith.assets [names]`: fetch the named assets and print where each came from."""

import sys

from facesmith.assets import obtain
from facesmith.assets.catalog import ASSETS
from facesmith.errors import UserError


def main(names: list[str]) -> None:
    """Fetch the named assets, or every file of known content, and print where each came from."""
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "licence", "source", "path")
    for name in names or [name for name, asset in ASSETS.items() if asset.sha256]:
        path, source = obtain(name, progress=True)
        table.add_row(name, ASSETS[name].licence, source, str(path))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
