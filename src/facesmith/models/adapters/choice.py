"""Which adapters are laid on a base, and how much of each; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facesmith.errors import UserError
from facesmith.models.adapters.card import AdapterCard


@dataclass(frozen=True)
class Choice:
    """Adapters of one base. folders, cards: of each. weights: how much of each. scale: of all together."""

    folders: tuple[Path, ...]
    cards: tuple[AdapterCard, ...]
    weights: tuple[float, ...]
    scale: float

    @property
    def name(self) -> str:
        """For marks and metadata: identity, scene, the tensors' hash and the share of each."""
        parts = [
            f"{card.identity}/{card.scene.name} {card.weights[:12]} x {weight * self.scale:g}"
            for card, weight in zip(self.cards, self.weights, strict=True)
        ]
        return ", ".join(parts)

    @property
    def slug(self) -> str:
        """For file names: the scenes."""
        words = "_".join(card.scene.name for card in self.cards)
        return "".join(letter if letter.isalnum() or letter in "_-" else "-" for letter in words.lower())

    def facts(self) -> dict[str, Any]:
        """Give what decides the result, for keys of caches."""
        return {"adapters": [card.weights for card in self.cards], "weights": self.weights, "scale": self.scale}

    def require_base(self, sha256: str, path: Path) -> None:
        """Make sure that every adapter was made for the model at `path`.

        Raises:
            UserError: one was not; says for which.
        """
        for folder, card in zip(self.folders, self.cards, strict=True):
            if card.base.sha256 != sha256:
                raise UserError(
                    f"adapter={folder}: was made for {card.base.path} (weights {card.base.sha256[:12]}), not for "
                    f"{path} ({sha256[:12]}); give its own base"
                )


def choose(folders: Path | Sequence[Path] | None, weights: Sequence[float] | None, scale: float) -> Choice | None:
    """Read the cards of the adapters that were given; None where none was. weights: None for equal shares.

    Raises:
        UserError: a folder is no adapter, there are as many weights as adapters not, or the bases differ.
    """
    if folders is None:
        return None
    given = (folders,) if isinstance(folders, Path) else tuple(folders)
    if not given:
        return None
    if weights is not None and len(weights) != len(given):
        raise UserError(f"adapter_weights: {len(weights)} weights for {len(given)} adapters; give one for each")
    cards = tuple(map(AdapterCard.read, given))
    for folder, card in zip(given, cards, strict=True):
        if card.base.sha256 != cards[0].base.sha256:
            raise UserError(
                f"adapter={folder}: was made for {card.base.path} (weights {card.base.sha256[:12]}), {given[0]} for "
                f"{cards[0].base.path} ({cards[0].base.sha256[:12]}); only adapters of one base can be mixed"
            )
    shares = tuple(weights) if weights is not None else (1 / len(given),) * len(given)
    return Choice(given, cards, shares, scale)
