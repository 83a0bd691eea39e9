"""List adapters: python -m facesmith.adapters runs/ [base=<model>]"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from facesmith.errors import UserError
from facesmith.models.adapters.card import AdapterCard
from facesmith.models.adapters.store import WEIGHTS, find_adapters

_USAGE = """\
python -m facesmith.adapters runs/                 every adapter under a folder
python -m facesmith.adapters profiles/ada.json     those that a profile lists
python -m facesmith.adapters runs/ base=ada.onnx   those that were made for a model
"""
_FIGURES = (("judge_distance", "judge"), ("nme", "moved"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    places = [argument for argument in given if not argument.startswith("base=")]
    bases = [argument.removeprefix("base=") for argument in given if argument.startswith("base=")]
    if len(places) != 1 or len(bases) > 1 or places[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return int(bool(given) and places != ["-h"] and places != ["--help"])
    try:
        found = list(find_adapters(Path(places[0])))
        if bases:
            sha256 = _hash(Path(bases[0]))
            found = [one for one in found if one[1].base.sha256 == sha256]
        _tell(found, f" for {bases[0]}" if bases else "", places[0])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _hash(path: Path) -> str:
    from facesmith.models.adapters.lora import base_hash
    from facesmith.models.adapters.merge import load_network  # imports torch

    return base_hash(load_network(path))


def _tell(found: Sequence[tuple[Path, AdapterCard]], which: str, place: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not found:
        console.print(f"no adapter{which} in {place}", markup=False)
        return
    for folder, card in found:
        size = (folder / WEIGHTS).stat().st_size / 1e6 if (folder / WEIGHTS).is_file() else 0.0
        figures = "".join(f"  {title} {_shown(card, name)}" for name, title in _FIGURES if _shown(card, name))
        console.print(
            f"{card.identity}/{card.scene.name}  rank {card.rank}, {card.steps} steps, {size:.1f} MB{figures}\n"
            f"    for {card.base.path} ({card.base.sha256[:12]})\n    {folder}",
            markup=False,
        )
    console.print("judge, moved: base -> adapter on the scene's held-out tail; lower is better", markup=False)


def _shown(card: AdapterCard, name: str) -> str:
    before, after = (card.figures.get(f"{prefix}_holdout/{name}") for prefix in ("base", "val"))
    return f"{before:.3f} -> {after:.3f}" if before is not None and after is not None else ""


if __name__ == "__main__":
    sys.exit(main())
