"""Pretrained weights for an encoder, from a file."""

import pickle
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from facesmith.errors import UserError

SETTING: Final = "model.encoder_weights"


def is_file(weights: str) -> bool:
    """Say whether a setting names a file or an asset, and not weights that a library fetches by their name."""
    return weights.startswith("asset:") or weights.endswith((".pt", ".pth"))


def load_encoder(encoder: nn.Module, path: Path) -> None:
    """Fill an encoder with the tensors of a torch file, in their order.

    Libraries call the layers of one and the same network by different names, but write them in the same order. What
    the file holds beyond the encoder, such as a classifier, is left out.

    Raises:
        UserError: the file is no dictionary of tensors, or its tensors have other shapes.
    """
    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{SETTING}={path}: cannot be read ({why}); give a file of torch tensors") from None
    tensors = list(given.values()) if isinstance(given, dict) else []
    wanted = encoder.state_dict()
    fits = len(tensors) >= len(wanted) and all(
        isinstance(tensor, Tensor) and tensor.shape == own.shape
        for tensor, own in zip(tensors, wanted.values(), strict=False)
    )
    if not fits:
        raise UserError(f"{SETTING}={path}: holds another network; choose its model.encoder, or other weights")
    encoder.load_state_dict(dict(zip(wanted, tensors, strict=False)))
