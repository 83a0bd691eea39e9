"""Which adapters are laid on a base, and how much of each; no torch."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from facesmith.config.adapters import LoraSettings
from facesmith.errors import UserError
from facesmith.models.adapters.card import AdapterCard
from facesmith.models.adapters.lora import add_lora, base_hash, load_state, merged
from facesmith.models.adapters.store import State, load


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
        """Return what decides the result, for keys of caches."""
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


M = TypeVar("M", bound=nn.Module)


def mixed(generator: M, choice: Choice, path: Path) -> M:
    """Return a copy of a base with the chosen adapters merged into its weights. path: of the base, for errors.

    Several add up, each times its weight: what peft's `add_weighted_adapter(combination_type="cat")` gives, but for
    convolutions and DoRA as well.

    Raises:
        UserError: an adapter was made for another base, or its folder is damaged.
    """
    choice.require_base(base_hash(generator), path)
    parts = [load(folder) for folder in choice.folders]
    if choice.weights == (1.0,):
        return _laid(generator, *parts[0], choice.scale, choice.folders[0])
    whole = copy.deepcopy(generator)
    for (state, card), weight, folder in zip(parts, choice.weights, choice.folders, strict=True):
        tuned = _laid(generator, state, card, choice.scale, folder)
        with torch.no_grad():
            for target in card.targets:
                sum_, after, before = (_weight(module, target) for module in (whole, tuned, generator))
                sum_ += weight * (after - before)
    return whole


def _laid(generator: M, state: State, card: AdapterCard, scale: float, folder: Path) -> M:
    tuned = copy.deepcopy(generator)
    settings = LoraSettings(
        rank=card.rank,
        alpha=card.alpha,
        dropout=0.0,
        rslora=card.rslora,
        dora=card.dora,
        targets=list(card.targets),
    )
    try:
        add_lora(tuned, settings)
        load_state(tuned, state)
    except UserError as error:
        raise UserError(f"adapter={folder}: does not fit {card.base.path}: {error}") from None
    done: Any = merged(tuned, scale)
    return done


def _weight(module: nn.Module, name: str) -> torch.Tensor:
    weight = module.get_submodule(name).weight
    assert isinstance(weight, torch.Tensor)
    return weight
