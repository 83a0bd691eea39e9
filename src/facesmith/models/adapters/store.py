"""Adapters on disk: a folder that peft itself reads, with a card beside."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile, KnownAdapter
from facesmith.files import make_private, make_private_folder, write_bytes, write_private_text
from facesmith.models.adapters.card import CARD, AdapterCard

WEIGHTS: Final = "adapter_model.safetensors"
CONFIG: Final = "adapter_config.json"
_PREFIX: Final = "base_model.model."  # of a peft model's own tensor names

State = Mapping[str, Tensor]


def save_adapter(folder: Path, state: State, card: AdapterCard) -> AdapterCard:
    """Write an adapter, readable by its owner only.

    The card is written last and holds the hash of the tensors, so that a half-written folder is detected.

    Args:
        folder: Where to write; it is made if need be.
        state: Tensors by name, such as `<layer>.lora_A.weight`, as `peft.get_peft_model_state_dict` returns them.
        card: The card, its `weights` still unknown.

    Returns:
        The card as it was written.
    """
    make_private_folder(folder)
    (folder / CARD).unlink(missing_ok=True)
    tensors = {f"{_PREFIX}{name}": state[name].detach().cpu().contiguous() for name in sorted(state)}
    data = safetensors.save(tensors, {"format": "pt"})
    write_bytes(folder / WEIGHTS, data)
    write_private_text(folder / CONFIG, json.dumps(_peft_config(card, state), indent=2, sort_keys=True) + "\n")
    card = replace(card, weights=hashlib.sha256(data).hexdigest())
    write_private_text(folder / CARD, card.text())
    make_private(folder)
    return card


def load_adapter(folder: Path) -> tuple[dict[str, Tensor], AdapterCard]:
    """Read an adapter.

    Args:
        folder: A folder that `save_adapter` wrote.

    Returns:
        Its tensors on the CPU, by the names `save_adapter` took, and its card.

    Raises:
        UserError: The folder holds no adapter of facesmith, or a damaged one.
    """
    card = AdapterCard.read(folder)
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != card.weights:
            raise UserError(
                f"adapter={folder}: {WEIGHTS} is not the file that {CARD} was written for; copy the whole folder"
            )
        tensors = safetensors.load(data)
    except OSError as error:
        raise UserError(
            f"adapter={folder}: {WEIGHTS} cannot be read ({error.strerror}); copy the whole folder"
        ) from None
    except SafetensorError as error:
        raise UserError(f"adapter={folder}: {WEIGHTS} is damaged ({error}); copy it again") from None
    return {name.removeprefix(_PREFIX): value for name, value in tensors.items()}, card


def _peft_config(card: AdapterCard, state: State) -> dict[str, Any]:
    from peft import LoraConfig  # takes seconds to import

    suffix = ".lora_A.weight"
    ranks = {name.removesuffix(suffix): len(value) for name, value in state.items() if name.endswith(suffix)}
    fewer = {"^" + re.escape(name): rank for name, rank in ranks.items() if rank != card.rank}
    config = LoraConfig(
        r=card.rank,
        lora_alpha=card.alpha,  # type: ignore[arg-type]  # a number is enough
        use_rslora=card.rslora,
        use_dora=card.dora,
        target_modules=list(card.targets),
        rank_pattern=fewer,
        alpha_pattern={name: card.scaling * (rank**0.5 if card.rslora else rank) for name, rank in fewer.items()},
        base_model_name_or_path=card.base.path,
        inference_mode=True,
    )
    as_dict: dict[str, Any] = config.to_dict()
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in as_dict.items()}
    return {**plain, "peft_type": "LORA", "task_type": None}


def register_in_profile(profiles: Path, folder: Path) -> Path:
    """List an adapter in its person's profile, where there is one.

    Args:
        profiles: Folder of the identity profiles.
        folder: The adapter.

    Returns:
        Path of the person's profile, which may not exist.

    Raises:
        UserError: The folder is no adapter, or the profile is damaged.
    """
    card = AdapterCard.read(folder)
    path = profiles / f"{card.identity}.json"
    if path.exists():
        entry = KnownAdapter(
            folder=str(folder.resolve()),
            scene=card.scene.name,
            scene_key=card.scene.key,
            base=card.base.path,
            base_sha256=card.base.sha256,
            rank=card.rank,
            weights=card.weights,
            created=card.created,
        )
        IdentityProfile.load(path, expired="allow").with_adapter(entry).save(path)
    return path


def find_adapters(place: Path) -> Iterator[tuple[Path, AdapterCard]]:
    """Find adapters and read their cards.

    Args:
        place: A folder, searched at every depth, or a profile (.json), whose adapters that still exist are listed.

    Yields:
        Folder and card of each adapter, the oldest first.

    Raises:
        UserError: There is no such place, or an adapter's card is damaged.
    """
    if place.suffix == ".json":
        folders = [Path(one.folder) for one in IdentityProfile.load(place, expired="allow").adapters]
        folders = [folder for folder in folders if (folder / CARD).is_file()]
    elif place.is_dir():
        folders = [path.parent for path in place.rglob(CARD)]
    else:
        raise UserError(f"{place}: no such folder; give one that holds adapters, or a profile")
    found = [(folder, AdapterCard.read(folder)) for folder in folders]
    yield from sorted(found, key=lambda one: one[1].created)
