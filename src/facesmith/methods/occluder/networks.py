"""The network that predicts masks from pictures and landmarks, and pretrained weights for its encoder from a file."""

import copy
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
from facesmith.methods.occluder.landmark_planes import PLANES, LandmarkPlanes, to_unit
from facesmith.models.landmarks.face_mesh import FaceMesh

log = logging.getLogger(__name__)

SETTING: Final = "model.encoder_weights"
_FEATURES: Final = 8  # maps that the library's network hands to the layers at full resolution
_LEAST_CONTRAST: Final = 0.03  # of 0..1: a flat crop is not blown up
_CLAMP: Final = 6.0
_NO_FACE, _SURE = 0.3, 0.6  # how surely a crop shows a face: a covered one less than a free one


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
    """Any architecture and encoder of segmentation_models_pytorch, told by landmarks where the face should be.

    The picture is brought to mean and contrast of the face itself, so that skin of any tone in any light looks alike.
    Two more layers work at full resolution: the library's networks see the picture at half its size at best, while
    strands, rims and edges are a pixel wide.

    Args:
        architecture: The library's name of it, such as unet.
        encoder: The library's name of it, such as resnet34.
        encoder_weights: Pretrained weights: the library's name of them, such as imagenet, a torch file,
            `asset:<name>`, or None. When they are unavailable, the encoder starts from scratch with a warning.
        decoder_channels: Of the stages of a U-Net's decoder, coarse to fine; None for the library's default.
        detail_channels: Channels of the two layers at full resolution.
        encoder_depth: Number of the encoder's stages that are used, each at half the side of the one before.
        forehead: Extension of the outline above the landmarks, see `LandmarkPlanes`.

    Raises:
        UserError: The library has no such architecture, encoder or weights, or a file holds another network.
    """

    def __init__(
        self,
        architecture: str,
        encoder: str,
        encoder_weights: str | None = None,
        decoder_channels: Sequence[int] | None = None,
        detail_channels: int = 12,
        encoder_depth: int = 5,
        forehead: float = 0.35,
    ) -> None:
        super().__init__()
        extra = {"decoder_channels": tuple(decoder_channels)} if decoder_channels else {}
        arguments = {
            "arch": architecture,
            "encoder_name": encoder,
            "in_channels": 3,
            "classes": _FEATURES,
            "encoder_depth": encoder_depth,
            **extra,
        }
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
        _drop_unused(self.network.encoder, 1 << encoder_depth)
        _widen_input(self.network.encoder, PLANES)
        self.planes = LandmarkPlanes(forehead)
        self.detail = _detail_layers(detail_channels)
        self.to(memory_format=torch.channels_last)  # a fifth to a third faster on CPUs

    @property
    def encoder(self) -> nn.Module:
        """The part that may be pretrained."""
        encoder: nn.Module = self.network.encoder
        return encoder

    def forward(self, pictures: Tensor, landmarks: Tensor) -> Tensor:
        """Compute logits, positive where the face is visible.

        Args:
            pictures: (N,3,S,S) RGB in 0..1; S divides by 32.
            landmarks: (N,478,3), -1..1 from edge to edge, see `landmark_planes.to_unit`.

        Returns:
            (N,1,S,S).
        """
        planes, outline = self.planes(landmarks, int(pictures.shape[-1]))
        pictures = _normalize_by_face(pictures, outline)
        features = self.network(torch.cat([pictures, planes], 1))
        logits: Tensor = self.detail(torch.cat([features, pictures, outline], 1))
        return logits


def _normalize_by_face(pictures: Tensor, outline: Tensor) -> Tensor:
    """Bring pictures to mean 0 and, of their brightness, deviation 1 within the outline."""
    area = outline.sum((2, 3), keepdim=True).clamp_min(1.0)
    mean = (pictures * outline).sum((2, 3), keepdim=True) / area
    centred = pictures - mean
    grey = centred.mean(1, keepdim=True)
    deviation = ((grey * grey * outline).sum((2, 3), keepdim=True) / area + _LEAST_CONTRAST**2).sqrt()
    return (centred / deviation).clamp(-_CLAMP, _CLAMP)


def _drop_unused(encoder: nn.Module, side: int) -> None:
    """Replace layers that the encoder never runs at this depth: their weights would be saved and trained by nothing."""
    used: set[nn.Module] = set()
    hooks = [module.register_forward_hook(lambda module, *_: used.add(module)) for module in encoder.modules()]
    with torch.no_grad():
        encoder.eval()(torch.zeros(1, 3, side, side))
    encoder.train()
    for hook in hooks:
        hook.remove()
    for parent in list(encoder.modules()):
        for name, child in list(parent.named_children()):
            if not any(module in used for module in child.modules()):
                setattr(parent, name, nn.Identity())


def _widen_input(encoder: nn.Module, planes: int) -> None:
    """Let the encoder's first layer take more planes beside the picture; they count for nothing at first."""
    path, first = next((path, layer) for path, layer in encoder.named_modules() if isinstance(layer, nn.Conv2d))
    wider = copy.deepcopy(first)
    wider.in_channels = first.in_channels + planes
    weight = first.weight.detach()
    wider.weight = nn.Parameter(torch.cat([weight, weight.new_zeros(len(weight), planes, *weight.shape[2:])], 1))
    parent, _, name = path.rpartition(".")
    setattr(encoder.get_submodule(parent), name, wider)


def _detail_layers(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(_FEATURES + 4, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, 1, 3, padding=1),
    )


class ResizedMask(nn.Module):
    """Predict masks of pictures of any size by resampling to the size the network was trained at.

    Args:
        network: Computes logits (N,1,K,K) of (N,3,K,K) RGB in 0..1 and landmarks in -1..1.
        size: K in px; faces of another size are unlike anything the network saw in training.
        mesh: Finds landmarks where there are none.
    """

    def __init__(self, network: MaskNetwork, size: int, mesh: FaceMesh) -> None:
        super().__init__()
        self.network, self.size, self.mesh = network, size, mesh

    def find_landmarks(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Find the landmarks of crops (N,3,S,S) RGB in -1..1, see `FaceMesh`."""
        landmarks, presence = self.mesh((pictures + 1) / 2)
        return landmarks, presence

    def forward(self, pictures: Tensor, landmarks: Tensor, presence: Tensor) -> Tensor:
        """Compute masks.

        Args:
            pictures: (N,3,S,S) RGB in -1..1.
            landmarks: (N,478,3) px of the crop, pixel centres at .5.
            presence: (N,) in 0..1, how surely a crop shows a face: without one nothing is masked.

        Returns:
            (N,1,S,S) in 0..1.
        """
        side = pictures.shape[-1]
        small = (pictures + 1) / 2
        if side >= 2 * self.size:
            small = F.avg_pool2d(small, side // self.size)
        if small.shape[-1] != self.size:
            small = F.interpolate(small, size=(self.size, self.size), mode="bilinear", align_corners=False)
        visible: Tensor = self.network(
            small, to_unit(landmarks - landmarks.new_tensor([0.5, 0.5, 0.0]), side)
        ).sigmoid()
        if side != self.size:
            visible = F.interpolate(visible, size=(side, side), mode="bilinear", align_corners=False)
        sure = ((presence - _NO_FACE) / (_SURE - _NO_FACE)).clamp(0, 1)[:, None, None, None]
        return visible * sure + 1 - sure
