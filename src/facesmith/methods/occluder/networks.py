"""The network that predicts masks, and pretrained weights for its encoder from a file."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facesmith import assets
from facesmith.errors import UserError

log = logging.getLogger(__name__)

SETTING: Final = "model.encoder_weights"
_FEATURES: Final = 8  # maps that a network with detail layers hands to them


def is_file(weights: str) -> bool:
    """Return whether a setting names a file or an asset, rather than weights that the library fetches."""
    return weights.startswith("asset:") or weights.endswith((".pt", ".pth"))


def load_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Load the tensors of a torch file into an encoder, in their order.

    Libraries call the layers of one and the same network by different names, but write them in the same order. What
    the file holds beyond the encoder, such as a classifier, is ignored.

    Args:
        encoder: Its weights are replaced.
        path: A torch file: a dictionary of tensors.

    Raises:
        UserError: The file is no dictionary of tensors, or its tensors have other shapes.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler lets pass whatever a strange file makes it run into
        why = " ".join(str(error).split())[:120]
        raise UserError(f"{SETTING}={path}: cannot be read ({why}); give a file of torch tensors") from None
    tensors = list(loaded.values()) if isinstance(loaded, dict) else []
    expected = encoder.state_dict()
    matches = len(tensors) >= len(expected) and all(
        isinstance(tensor, Tensor) and tensor.shape == own.shape
        for tensor, own in zip(tensors, expected.values(), strict=False)
    )
    if not matches:
        raise UserError(f"{SETTING}={path}: holds another network; choose its model.encoder, or other weights")
    encoder.load_state_dict(dict(zip(expected, tensors, strict=False)))


class MaskNetwork(nn.Module):
    """Any architecture and encoder of segmentation_models_pytorch, with two more layers at full resolution.

    The library's networks see the picture at half its size at best, while strands, rims and edges are a pixel wide.

    Args:
        architecture: The library's name of it, such as unet.
        encoder: The library's name of it, such as resnet34.
        encoder_weights: Pretrained weights: the library's name of them, such as imagenet, a torch file,
            `asset:<name>`, or None. When they are unavailable, the encoder starts from scratch with a warning.
        decoder_channels: Of the five stages of a U-Net's decoder, coarse to fine; None for the library's default.
        detail_channels: Channels of the two layers that see the picture itself beside the network's features; None for
            the library's network alone.

    Raises:
        UserError: The library has no such architecture, encoder or weights, or a file holds another network.
    """

    def __init__(
        self,
        architecture: str,
        encoder: str,
        encoder_weights: str | None = None,
        decoder_channels: Sequence[int] | None = None,
        detail_channels: int | None = None,
    ) -> None:
        super().__init__()
        extra = {"decoder_channels": tuple(decoder_channels)} if decoder_channels else {}
        maps = _FEATURES if detail_channels else 1
        arguments = {"arch": architecture, "encoder_name": encoder, "in_channels": 3, "classes": maps, **extra}
        file = encoder_weights if encoder_weights and is_file(encoder_weights) else None
        try:
            self.network = smp.create_model(encoder_weights=None if file else encoder_weights, **arguments)
            if file:
                load_encoder_weights(self.network.encoder, Path(assets.resolve(file)))
        except (KeyError, ValueError, TypeError) as error:
            why = " ".join(str(error).split())[:200]
            raise UserError(
                f"model.architecture={architecture}, model.encoder={encoder}: segmentation_models_pytorch cannot build "
                f"it ({why}); see its documentation for what there is"
            ) from None
        except (OSError, assets.UnreachableError) as error:
            log.warning(
                "model.encoder_weights=%s: unavailable (%s); the encoder starts from scratch and needs more pictures",
                encoder_weights,
                " ".join(str(error).split())[:300],
            )
            self.network = smp.create_model(encoder_weights=None, **arguments)
        self.detail = _detail_layers(detail_channels) if detail_channels else None
        self.to(memory_format=torch.channels_last)  # a fifth to a third faster on CPUs
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what pretrained encoders were fed
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The part that may be pretrained."""
        encoder: nn.Module = self.network.encoder
        return encoder

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute logits (N,1,S,S), positive where the face is visible, of (N,3,S,S) RGB in 0..1; S divides by 32."""
        pictures = (pictures - self.mean) / self.std
        logits: Tensor = self.network(pictures)
        if self.detail is not None:
            logits = self.detail(torch.cat([logits, pictures], 1))
        return logits


def _detail_layers(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(_FEATURES + 3, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, 1, 3, padding=1),
    )


class ResizedMask(nn.Module):
    """Predict masks of pictures of any size by resampling to the size the network was trained at.

    Args:
        network: Computes logits (N,1,K,K) of (N,3,K,K) RGB in 0..1.
        size: K in px; faces of another size are unlike anything the network saw in training.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute masks (N,1,S,S) in 0..1 of pictures (N,3,S,S) RGB in -1..1."""
        side = pictures.shape[-1]
        small = (pictures + 1) / 2
        if side != self.size:
            small = F.interpolate(small, size=(self.size, self.size), mode="bilinear", align_corners=False)
        visible: Tensor = self.network(small).sigmoid()
        if side != self.size:
            visible = F.interpolate(visible, size=(side, side), mode="bilinear", align_corners=False)
        return visible
