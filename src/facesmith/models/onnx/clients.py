"""Wrap a swapper or occluder as other programs run it: their layouts, value ranges and outputs."""

from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from facesmith.errors import UserError
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.models.onnx.export_spec import ExportSpec
from facesmith.models.onnx.info import (
    ARCFACE,
    ARCFACE_SIZE,
    DFM_INPUT,
    DFM_LAYOUT,
    DFM_TEMPLATE,
    FOREIGN,
    MASK,
    OUTPUT,
    SOURCE,
    TARGET,
    SwapperInfo,
    TensorLayout,
)
from facesmith.models.onnx.landmark_input import landmark_example
from facesmith.models.swapper.generator import AlignedGenerator, ExportWrapper, FixedIdentityGenerator, SwapGenerator

DFM_OUTPUTS: Final = ("out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")
XSEG_INPUT, XSEG_OUTPUT = "input", "output"
XSEG_CONTRACT: Final = "facesmith/xseg/1"
# The crop is finished: its mask only has to hold all that changed. Clients erode and blur it once more, which
# would eat into the face if it fell off as softly as the blend itself.
_STEEPNESS = 4.0


class DfmGraph(nn.Module):
    """A swapper as a `.dfm`."""

    def __init__(self, swapper: nn.Module) -> None:
        """Wrap a swapper.

        Args:
            swapper: From crops (N,3,S,S) RGB -1..1 to swapped crops and masks.
        """
        super().__init__()
        self.swapper = swapper

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Swap crops.

        Args:
            face: (N,S,S,3) BGR 0..1.

        Returns:
            Mask of the target (N,S,S,1), swapped crop (N,S,S,3) BGR 0..1, mask of the source (N,S,S,1).
        """
        picture, mask = self.swapper(_from_bgr(face))
        finished = ((picture + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).flip(-1)
        shown = (mask * _STEEPNESS).clamp(0, 1).permute(0, 2, 3, 1)
        return shown, finished, shown.clone()


class LandmarkOccluder(Protocol):
    """A module that predicts masks of crops from pictures and landmarks, such as `ResizedMask`."""

    def find_landmarks(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return landmarks (N,478,3) px, pixel centres at .5, and presence (N,) of (N,3,S,S) RGB -1..1."""
        ...

    def __call__(self, pictures: Tensor, landmarks: Tensor, presence: Tensor) -> Tensor:
        """Return masks (N,1,S,S) 0..1."""
        ...


class XsegGraph(nn.Module):
    """An occluder as one of FaceFusion's xseg models, which get a crop and nothing else: it finds landmarks itself."""

    def __init__(self, occluder: LandmarkOccluder) -> None:
        """Wrap an occluder.

        Args:
            occluder: A module.
        """
        super().__init__()
        self.occluder = occluder

    def find_landmarks(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Find landmarks (N,478,3) px and presence (N,) of (N,S,S,3) BGR 0..1."""
        return self.occluder.find_landmarks(_from_bgr(picture))

    def forward(self, picture: Tensor, landmarks: Tensor | None = None, presence: Tensor | None = None) -> Tensor:
        """Predict masks.

        Args:
            picture: (N,S,S,3) BGR 0..1.
            landmarks: (N,478,3), as `find_landmarks` returns them; found where None.
            presence: (N,), likewise; 1 where landmarks are given without it.

        Returns:
            (N,S,S,1) 0..1, 1 where the face is visible; 1 everywhere where no face is seen.
        """
        pictures = _from_bgr(picture)
        if landmarks is None:
            landmarks, presence = self.occluder.find_landmarks(pictures)
        if presence is None:
            presence = torch.ones_like(landmarks[:, 0, 0])
        return self.occluder(pictures, landmarks, presence).permute(0, 2, 3, 1)


def _from_bgr(picture: Tensor) -> Tensor:
    """Return (N,3,S,S) RGB -1..1 of (N,S,S,3) BGR 0..1."""
    return torch.flip(picture, (-1,)).permute(0, 3, 1, 2) * 2 - 1


_DFM_SIZE: Final = 256
_HYPERSWAP_SIZE: Final = 256


def spec_for(
    client: str, spec: ExportSpec, *, origin: Path, size: int | None, profile: IdentityProfile | None
) -> ExportSpec:
    """Return what to export for a client.

    Args:
        client: `facesmith`, `hyperswap` or `dfm`.
        spec: What the module exports.
        origin: The checkpoint, for errors.
        size: Side of the crops in px; None for the client's usual one.
        profile: An identity to bake into a model that takes any.

    Raises:
        UserError: The client cannot run such a model, or the profile does not fit it.
    """
    info = SwapperInfo.from_metadata(spec.metadata, origin)
    if not isinstance(spec.module, ExportWrapper):
        raise UserError(f"ckpt_path={origin}: holds no swapper that {client} can run; give a swapper's checkpoint")
    generator = spec.module.generator
    if profile is not None:
        generator, info = _with_identity(generator, info, profile, origin)
    template, size = _crop(client, info, size)
    if client == "dfm" and info.embedding_size is not None:
        raise UserError(f"to=dfm: {origin} takes any identity, a .dfm none; give profile=<identity profile .json>")
    if client == "hyperswap":
        _require_arcface(info, origin)
    tensors = DFM_LAYOUT if client == "dfm" else TensorLayout()
    swapper = ExportWrapper(_fit_crops(generator, template, size))
    takes_landmarks = client == "facesmith" and swapper.takes_landmarks
    info = replace(info, kind=client, template=template, size=size, tensors=tensors, takes_landmarks=takes_landmarks)
    if client == "dfm":
        inputs = {DFM_INPUT: torch.full((1, size, size, 3), 0.5)}
        return ExportSpec(
            DfmGraph(swapper), inputs, list(DFM_OUTPUTS), info.metadata(), pictures="bgr", mask=DFM_OUTPUTS[0]
        )
    inputs = {TARGET: torch.zeros(1, 3, size, size)}
    if info.embedding_size is not None:
        inputs[SOURCE] = nn.functional.normalize(torch.ones(1, info.embedding_size))
    optional = landmark_example() if takes_landmarks else {}
    return ExportSpec(swapper, inputs, [OUTPUT, MASK], info.metadata(), optional=optional)


def _crop(client: str, info: SwapperInfo, size: int | None) -> tuple[str, int]:
    if client == "hyperswap":
        if size not in (None, _HYPERSWAP_SIZE):
            raise UserError(f"size={size}: FaceFusion's slot is {_HYPERSWAP_SIZE} px; omit size")
        return FOREIGN["hyperswap"][0].template, _HYPERSWAP_SIZE
    if client == "dfm":
        return DFM_TEMPLATE, size or _DFM_SIZE
    return info.template, size or info.size


def _with_identity(
    generator: SwapGenerator, info: SwapperInfo, profile: IdentityProfile, origin: Path
) -> tuple[SwapGenerator, SwapperInfo]:
    if info.embedding_size is None:
        raise UserError(f"profile={profile.id}: {origin} has its identity baked in; omit profile")
    profile.require_embedder(info.embedder, info.embedding_size)
    baked = replace(
        info,
        embedding_size=None,
        identity=profile.id,
        consent=profile.consent,
        consent_note=profile.consent_note or "",
        expires=profile.expires or "",
    )
    return FixedIdentityGenerator(generator, torch.from_numpy(profile.mean)), baked


def _require_arcface(info: SwapperInfo, origin: Path) -> None:
    if info.embedding_size is None:
        return
    if (info.embedder, info.embedding_size) != (ARCFACE, ARCFACE_SIZE):
        raise UserError(
            f"to=hyperswap: {origin} takes {info.embedder} ({info.embedding_size}), FaceFusion gives {ARCFACE} "
            f"({ARCFACE_SIZE}); bake one identity in with profile=<.json>, or train with analyzer=insightface"
        )


def _fit_crops(generator: SwapGenerator, template: str, size: int) -> SwapGenerator:
    """Return the generator on these crops: at a larger size where it can run at one, else resampled."""
    step = generator.size_step
    inner = size if step is not None and size % step == 0 else generator.size
    if (template, size) == (generator.template, inner):
        return generator
    return AlignedGenerator(generator, template, size, inner)
