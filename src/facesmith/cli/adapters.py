"""`facesmith adapters`: list the adapters under a folder, of a profile, or for a model."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facesmith.cli.arguments import read_arguments, wants_help
from facesmith.config.settings import PathSetting, Settings
from facesmith.terminal import make_console, print_line

if TYPE_CHECKING:
    from facesmith.models.adapters.card import AdapterCard

_HELP = """\
List adapters: identity, scene, size, figures, and the model each was made for.

  facesmith adapters runs/                 every adapter under a folder
  facesmith adapters profiles/ada.json     those that a profile lists
  facesmith adapters runs/ base=ada.onnx   those that were made for a model
"""
_FIGURES = (("judge_distance", "judge"), ("nme", "moved"))


class AdaptersConfig(Settings):
    """Settings of `facesmith adapters`."""

    place: PathSetting
    """A folder, or a profile."""
    base: PathSetting | None = None
    """A model; only adapters that were made for it are listed."""


def main(given: Sequence[str]) -> int:
    """List what the arguments ask for."""
    if wants_help(given):
        print(_HELP, end="")
        return 0
    config = read_arguments(given, AdaptersConfig, words="place")
    from facesmith.models.adapters.store import find_adapters  # imports torch

    found = list(find_adapters(config.place))
    if config.base is not None:
        sha256 = _hash(config.base)
        found = [one for one in found if one[1].base.sha256 == sha256]
    _print(found, f" for {config.base}" if config.base else "", config.place)
    return 0


def _hash(path: Path) -> str:
    from facesmith.models.adapters.lora import base_hash
    from facesmith.models.adapters.merge import load_network

    return base_hash(load_network(path))


def _print(found: Sequence[tuple[Path, "AdapterCard"]], which: str, place: Path) -> None:
    from facesmith.models.adapters.store import WEIGHTS

    console = make_console()
    if not found:
        print_line(f"no adapter{which} in {place}", console)
        return
    for folder, card in found:
        size = (folder / WEIGHTS).stat().st_size / 1e6 if (folder / WEIGHTS).is_file() else 0.0
        figures = "".join(f"  {title} {_shown(card, name)}" for name, title in _FIGURES if _shown(card, name))
        print_line(
            f"{card.identity}/{card.scene.name}  rank {card.rank}, {card.steps} steps, {size:.1f} MB{figures}\n"
            f"    for {card.base.path} ({card.base.sha256[:12]})\n    {folder}",
            console,
        )
    print_line("judge, moved: base -> adapter on the scene's held-out tail; lower is better", console)


def _shown(card: "AdapterCard", name: str) -> str:
    before, after = (card.figures.get(f"{prefix}_holdout/{name}") for prefix in ("base", "val"))
    return f"{before:.3f} -> {after:.3f}" if before is not None and after is not None else ""


if __name__ == "__main__":
    from facesmith.cli import main as command_line

    sys.exit(command_line.main(["adapters", *sys.argv[1:]]))
