"""Pretrained weights for an encoder, from a file."""

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import segmentation_models_pytorch as smp  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith import assets
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


log = logging.getLogger(__name__)

_SUMMARY = 8  # maps that a network with details hands to its last layers


class MaskNetwork(nn.Module):
    """Any architecture and encoder of segmentation_models_pytorch: pictures (N,3,S,S) RGB 0..1 to logits (N,1,S,S).

    S is a multiple of 32. encoder_weights: the library's name of pretrained weights, such as imagenet, a torch file,
    `asset:<name>`, or None; where they cannot be had the encoder starts from scratch and says so. decoder_channels: of
    the five stages of a U-Net's decoder, coarse to fine; None for the library's own. detail: channels of two more
    layers that see the picture itself beside what the network made of it, or None: the library's networks look at the
    picture at half its size at best, and strands, rims and edges are a pixel wide.

    Raises:
        UserError: the library knows no such architecture, encoder or weights, or a file holds another network.
    """

    def __init__(
        self,
        architecture: str,
        encoder: str,
        encoder_weights: str | None = None,
        decoder_channels: Sequence[int] | None = None,
        detail: int | None = None,
    ) -> None:
        super().__init__()
        extra = {"decoder_channels": tuple(decoder_channels)} if decoder_channels else {}
        maps = _SUMMARY if detail else 1
        arguments = {"arch": architecture, "encoder_name": encoder, "in_channels": 3, "classes": maps, **extra}
        file = encoder_weights if encoder_weights and is_file(encoder_weights) else None
        try:
            self.network = smp.create_model(encoder_weights=None if file else encoder_weights, **arguments)
            if file:
                load_encoder(self.network.encoder, Path(assets.resolve(file)))
        except (KeyError, ValueError, TypeError) as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(
                f"model.architecture={architecture}, model.encoder={encoder}: segmentation_models_pytorch cannot build "
                f"it ({why}); see its documentation for what there is"
            ) from None
        except (OSError, assets.UnreachableError) as error:
            log.warning(
                "model.encoder_weights=%s: cannot be had (%s); the encoder starts from scratch and needs more pictures",
                encoder_weights,
                " ".join(str(error).split())[:300],
            )
            self.network = smp.create_model(encoder_weights=None, **arguments)
        self.detail = _detail(detail) if detail else None
        self.to(memory_format=torch.channels_last)  # a fifth to a third faster on CPUs
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what pretrained encoders were fed
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The part that may come pretrained."""
        encoder: nn.Module = self.network.encoder
        return encoder

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits: positive where the face is visible."""
        pictures = (pictures - self.mean) / self.std
        logits: Tensor = self.network(pictures)
        if self.detail is not None:
            logits = self.detail(torch.cat([logits, pictures], 1))
        return logits


def _detail(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(_SUMMARY + 3, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, 1, 3, padding=1),
    )


class Visible(nn.Module):
    """A finished mask of pictures of any size: (N,1,S,S) 0..1 of (N,3,S,S) RGB -1..1.

    network: logits of (N,3,K,K) RGB 0..1. size: K, the px it was trained at; a face of twice the size is another
    thing to it.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, pictures: Tensor) -> Tensor:
        """Return what is visible of the face, 0..1."""
        side = pictures.shape[-1]
        small = (pictures + 1) / 2
        if side != self.size:
            small = F.interpolate(small, size=(self.size, self.size), mode="bilinear", align_corners=False)
        visible: Tensor = self.network(small).sigmoid()
        if side != self.size:
            visible = F.interpolate(visible, size=(side, side), mode="bilinear", align_corners=False)
        return visible
