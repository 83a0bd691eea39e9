"""What landmarks tell a network about a crop: where on a face each pixel lies, what belongs there, and the outline."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.faces.geometry import topology
from facesmith.models.swapper.layers import in_full_precision
from facesmith.models.swapper.mesh_geometry import MovingLeastSquares, mask_outline, weigh_visible
from facesmith.models.swapper.mesh_warp import WARP_LANDMARKS

_NODES: Final = 32  # of the grid on which places are computed; they are smooth
_REFERENCE_SIZE: Final = 64
_REFERENCE_CHANNELS: Final = 6  # the first three begin as a mean face
_RIM: Final = 2 / 128  # halves of the crop
_REACH: Final = 1.5  # canonical places are clamped to this

PLANES: Final = 2 + _REFERENCE_CHANNELS + 1
"""Planes per crop: canonical x and y, the reference, the outline."""


class LandmarkPlanes(nn.Module):
    """Turn landmarks into planes that a network sees beside the picture.

    Each pixel gets its place on a canonical face (moving least squares), the value of a learnt reference picture at
    that place, and whether it lies in the outline of the landmarks, raised over the forehead. A network that is told
    where eyes, mouth and chin should be needs fewer people to learn what is not one of them.

    Args:
        forehead: Extension of the outline above the landmarks, as a share of their height above the brows.
    """

    canonical: Tensor
    normals: Tensor

    def __init__(self, forehead: float) -> None:
        super().__init__()
        self.forehead = forehead
        self.register_buffer("canonical", torch.zeros(topology.LANDMARKS, 3))
        self.register_buffer("normals", torch.zeros(topology.LANDMARKS, 3))
        self.warp = MovingLeastSquares(torch.zeros(len(WARP_LANDMARKS), 2), _NODES)
        shape = (1, _REFERENCE_CHANNELS, _REFERENCE_SIZE, _REFERENCE_SIZE)
        coarse = torch.randn(1, _REFERENCE_CHANNELS, 8, 8)
        self.reference = nn.Parameter(F.interpolate(coarse, shape[2:], mode="bicubic", align_corners=False))
        self.register_buffer("rows", torch.tensor(WARP_LANDMARKS), persistent=False)
        self.register_buffer("oval", torch.tensor(topology.OVAL), persistent=False)
        self.register_buffer("brows", torch.tensor(topology.BROWS), persistent=False)
        self.register_buffer("mouth", torch.tensor(topology.MOUTH), persistent=False)

    @torch.no_grad()
    def set_face(self, canonical: Tensor, normals: Tensor, picture: Tensor) -> None:
        """Set the canonical face.

        Args:
            canonical: (478,3) places of the landmarks, -1..1 from edge to edge.
            normals: (478,3) outward normals there.
            picture: (3,T,T) RGB 0..1, a mean face in canonical coordinates.
        """
        self.canonical.copy_(canonical)
        self.normals.copy_(normals)
        self.warp.canonical.copy_(canonical[self.get_buffer("rows"), :2])
        small = F.interpolate(picture[None], (_REFERENCE_SIZE, _REFERENCE_SIZE), mode="area")
        self.reference[:, :3] = (small - small.mean()) / small.std().clamp_min(1e-3)

    @in_full_precision
    def forward(self, landmarks: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Compute the planes of crops.

        Args:
            landmarks: (N,478,3), -1..1 from edge to edge of the crop, depth in the same unit.
            size: Side of the planes in px.

        Returns:
            Planes (N,PLANES,size,size), and the outline alone (N,1,size,size) in 0..1.
        """
        rows = self.get_buffer("rows")
        chosen = landmarks[:, rows]
        weights = weigh_visible(chosen, self.canonical[rows], self.normals[rows])
        places = self.warp(chosen[..., :2], weights)
        places = F.interpolate(places, size=(size, size), mode="bilinear", align_corners=False)
        places = places.clamp(-_REACH, _REACH)
        reference = self.reference.expand(landmarks.shape[0], -1, -1, -1)
        seen = F.grid_sample(reference, places.permute(0, 2, 3, 1), align_corners=False)
        outline = mask_outline(self._raise_forehead(landmarks), size, _RIM)
        return torch.cat([places, seen, outline], 1), outline

    def _raise_forehead(self, landmarks: Tensor) -> Tensor:
        """Return the mesh and the outline's points moved up above the brows, (N,P,2)."""
        mesh = landmarks[:, : topology.MESH, :2]
        brows = landmarks[:, self.get_buffer("brows"), :2].mean(1, keepdim=True)
        up = brows - landmarks[:, self.get_buffer("mouth"), :2].mean(1, keepdim=True)
        up = up / up.square().sum(-1, keepdim=True).add(1e-9).sqrt()
        oval = landmarks[:, self.get_buffer("oval"), :2]
        above = ((oval - brows) * up).sum(-1, keepdim=True).clamp_min(0)
        return torch.cat([mesh, oval + self.forehead * above * up], 1)


def to_unit(landmarks: Tensor, size: int) -> Tensor:
    """Bring landmarks (N,478,3) in px of a crop, (0,0) the centre of its first pixel, to -1..1 from edge to edge."""
    return torch.cat([(landmarks[..., :2] + 0.5) * (2 / size) - 1, landmarks[..., 2:] * (2 / size)], -1)
