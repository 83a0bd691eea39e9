"""Selection of adapters to merge into a base, with weights; without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facesmith.errors import UserError
from facesmith.models.adapters.card import AdapterCard


@dataclass(frozen=True)
class AdapterSpec:
    """Adapters of one base, to be merged together.

    Attributes:
        folders: Folder of each adapter.
        cards: Card of each adapter.
        weights: Share of each adapter; they need not sum to 1.
        scale: Factor of all adapters together; 0 is the base itself.
    """

    folders: tuple[Path, ...]
    cards: tuple[AdapterCard, ...]
    weights: tuple[float, ...]
    scale: float

    @property
    def name(self) -> str:
        """Return identity, scene, hash of the tensors and share of each adapter, for marks and metadata."""
        parts = [
            f"{card.identity}/{card.scene.name} {card.weights[:12]} x {weight * self.scale:g}"
            for card, weight in zip(self.cards, self.weights, strict=True)
        ]
        return ", ".join(parts)

    @property
    def slug(self) -> str:
        """Return the scenes' names, for file names."""
        words = "_".join(card.scene.name for card in self.cards)
        return "".join(letter if letter.isalnum() or letter in "_-" else "-" for letter in words.lower())

    @property
    def metadata(self) -> dict[str, str]:
        """Return the ONNX metadata_props of a model that the adapters were merged into."""
        return {"adapter": self.name, "adapter_base": self.cards[0].base.sha256}

    def facts(self) -> dict[str, Any]:
        """Return what decides the merged weights, for the keys of caches."""
        return {"adapters": [card.weights for card in self.cards], "weights": self.weights, "scale": self.scale}

    def require_base(self, sha256: str, path: Path) -> None:
        """Check that every adapter was trained on this base.

        Args:
            sha256: Hash of the base's weights, see `lora.base_hash`.
            path: File of the base, for the error.

        Raises:
            UserError: An adapter was trained on another base.
        """
        for folder, card in zip(self.folders, self.cards, strict=True):
            if card.base.sha256 != sha256:
                raise UserError(
                    f"adapter={folder}: was made for {card.base.path} (weights {card.base.sha256[:12]}), not for "
                    f"{path} ({sha256[:12]}); give its own base"
                )


def load_adapters(
    folders: Path | Sequence[Path] | None, weights: Sequence[float] | None, scale: float
) -> AdapterSpec | None:
    """Read the cards of adapters that are to be merged together.

    Args:
        folders: One adapter folder, several, or none.
        weights: Share of each adapter; None for equal shares.
        scale: Factor of all adapters together.

    Returns:
        The adapters, None where none was given.

    Raises:
        UserError: A folder is no adapter, the number of weights differs from the number of adapters, or the adapters
            have different bases.
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
    return AdapterSpec(given, cards, shares, scale)
