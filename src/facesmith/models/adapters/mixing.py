"""Adapters taken from their folders and merged into a copy of their base."""

import copy
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from facesmith.config.lora import LoraSettings
from facesmith.errors import UserError
from facesmith.models.adapters.card import AdapterCard
from facesmith.models.adapters.choice import Choice
from facesmith.models.adapters.lora import add_lora, base_hash, load_state, merged
from facesmith.models.adapters.store import State, load

M = TypeVar("M", bound=nn.Module)


def mixed(generator: M, choice: Choice, path: Path) -> M:
    """Give a copy of a base with the chosen adapters merged into its weights. path: of the base, for errors.

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
