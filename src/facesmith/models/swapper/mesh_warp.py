"""A swapper for one person that needs no training to place a face: its geometry is MediaPipe's mesh.

The landmarks of the target say where each pixel lies in the person's canonical picture (moving least squares, Schaefer
et al. 2006), and which of the person's pictures fit its eyes, its mouth and its pose best. The colour and the light are
read off the target's skin.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.faces.geometry import topology
from facesmith.models.landmarks.face_mesh import FaceMesh
from facesmith.models.swapper.colour import ColourTransfer, from_opponent, opponent
from facesmith.models.swapper.generator import LandmarkGenerator, SwapOutput
from facesmith.models.swapper.layers import conv_block, pixel_centres, resize, shrink

# every third point of the mesh warps as all of them do, at a third of the cost
WARP_LANDMARKS: Final = tuple(range(0, topology.MESH, 3))
# by what the pictures for eyes with brows, for the mouth and for the rest are chosen
REGION_LANDMARKS: Final = (
    tuple(topology.EYES + topology.BROWS + topology.IRISES),
    tuple(topology.MOUTH),
    tuple(range(topology.MESH)),
)
REGIONS: Final = len(REGION_LANDMARKS)
_TRUNK: Final = 64  # px at which colour and light are compared
_MASK: Final = 128  # px at which the mask is drawn; its rims are soft
_CLAMP: Final = 6.0
_NEAR: Final = 3e-4  # of (half the crop)^2: keeps weights finite where a pixel is a landmark
_STIFFNESS: Final = 1e-5
# cosine between a landmark's normal and the view, from which it counts: a hidden one must not pull at what hides it
_TURNED_AWAY, _TURNED_TO = -0.1, 0.2
_HIDDEN_WEIGHT: Final = 1e-6
_DIRECTIONS: Final = 64  # in which the outline of the landmarks is measured
_NO_FACE, _SURE = 0.8, 0.95  # how surely a crop shows a face (a real one: .9999): below nothing is swapped
_RIM: Final = 6 / 128  # over which the mask rises within the outline; halves of the crop


class MovingLeastSquares(nn.Module):
    """Move a grid of a crop into canonical coordinates so that landmarks meet their canonical places.

    At each node the affine map that moves the landmarks with the least squared error, near ones counting most, is
    solved in closed form from moments: one product of (nodes, points) with eleven columns.

    Args:
        canonical: (P,2) canonical places of the landmarks, -1..1 from edge to edge.
        nodes: Nodes of the grid along a side.
    """

    canonical: Tensor
    places: Tensor

    def __init__(self, canonical: Tensor, nodes: int = 32) -> None:
        super().__init__()
        at = (torch.arange(nodes) + 0.5) * (2 / nodes) - 1
        places = torch.stack([at[None].expand(nodes, nodes), at[:, None].expand(nodes, nodes)], -1)
        self.nodes = nodes
        self.register_buffer("canonical", canonical.float())
        self.register_buffer("places", places.reshape(-1, 2), persistent=False)

    def forward(self, landmarks: Tensor, weights: Tensor) -> Tensor:
        """Compute the canonical place of each node.

        Args:
            landmarks: (N,P,2) in the crop, -1..1 from edge to edge.
            weights: (N,P) in 0..1, how much each landmark counts.

        Returns:
            (N,2,nodes,nodes) x and y, -1..1.
        """
        to, at = self.canonical.expand_as(landmarks), self.places
        squared = (at * at).sum(-1)[None, :, None] + (landmarks * landmarks).sum(-1)[:, None]
        squared = squared - 2 * (at[None] @ landmarks.transpose(1, 2))
        near = squared.clamp_min(0) + _NEAR
        share = weights[:, None] / (near * near.sqrt())  # (N,nodes^2,P), 1 / distance^3
        share = share / share.sum(-1, keepdim=True)
        qx, qy, cx, cy = landmarks[..., 0], landmarks[..., 1], to[..., 0], to[..., 1]
        columns = torch.stack([qx, qy, cx, cy, qx * qx, qx * qy, qy * qy, qx * cx, qx * cy, qy * cx, qy * cy], -1)
        mx, my, kx, ky, xx, xy, yy, xkx, xky, ykx, yky = (share @ columns).unbind(-1)
        a, b, c = xx - mx * mx + _STIFFNESS, xy - mx * my, yy - my * my + _STIFFNESS
        x, y = at[None, :, 0] - mx, at[None, :, 1] - my
        determinant = a * c - b * b
        u, v = (c * x - b * y) / determinant, (a * y - b * x) / determinant
        moved_x = u * (xkx - mx * kx) + v * (ykx - my * kx) + kx
        moved_y = u * (xky - mx * ky) + v * (yky - my * ky) + ky
        return torch.stack([moved_x, moved_y], 1).view(-1, 2, self.nodes, self.nodes)


class Relight(nn.Module):
    """Learn what of a scene's colour and light a smooth transfer misses: shadows, and the person's own skin.

    What it adds is as coarse as 16 cells a side, so it cannot bring the target's features back.

    Args:
        channels: At 32, 16 and 8 px.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.stem = conv_block(10, fine, 2)
        self.down = nn.ModuleList([conv_block(fine, middle, 2), conv_block(middle, coarse, 2)])
        self.up = conv_block(coarse + middle, middle, 1)
        self.offset = nn.Conv2d(middle, 3, 3, padding=1)
        self.stretch = nn.Linear(coarse, 3)
        for parameter in (*self.offset.parameters(), *self.stretch.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, seen: Tensor, face: Tensor, offset: Tensor, skin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what is added to the transfer.

        Args:
            seen: (N,3,64,64) the target in opponent colours.
            face: (N,3,64,64) the warped pictures with their contrast, before the offset.
            offset: (N,3,16,16) of the transfer.
            skin: (N,1,64,64) in 0..1.

        Returns:
            Log contrast (N,3) and offset (N,3,16,16).
        """
        lit = face + resize(offset, int(face.shape[-1]), "bicubic")
        fine = self.stem(torch.cat([seen, lit, seen - lit, skin], 1))
        middle = self.down[0](fine)
        coarse = self.down[1](middle)
        joined = self.up(torch.cat([F.interpolate(coarse, scale_factor=2.0, mode="nearest"), middle], 1))
        return self.stretch(coarse.mean((2, 3))), self.offset(joined)


class MeshWarp(LandmarkGenerator):
    """K pictures of the person in canonical coordinates, chosen by the target's mesh, warped, lit and masked.

    The identity is baked in: `source` is ignored. The pictures are buffers (`set_pictures`), so a checkpoint and an
    exported file hold recognisable pictures of the person.

    Args:
        size: Side in px of the crops it is meant for, a multiple of 64; others of any such side are accepted.
        pictures: K.
        picture_size: Side T in px of the stored pictures.
        sharpness: How decidedly the best picture is preferred: the temperature's inverse, in halves of the crop.
        mixed: How many pictures are mixed for a region.
        channels: Of the network that learns what the colour transfer misses of the light, at 32, 16 and 8 px.
    """

    size_step = _TRUNK
    adaptable = ("relight",)
    pictures: Tensor
    shapes: Tensor
    mean: Tensor
    contrast: Tensor
    spread: Tensor
    regions: Tensor
    core: Tensor
    alpha: Tensor
    usable: Tensor
    rest: Tensor
    normals: Tensor

    def __init__(
        self, size: int, pictures: int, picture_size: int, sharpness: float, mixed: int, channels: Sequence[int]
    ) -> None:
        super().__init__()
        if size % _TRUNK or picture_size % _TRUNK:
            raise ValueError(f"size and picture_size must be multiples of {_TRUNK}, got {size} and {picture_size}")
        side = picture_size
        self.template, self.size, self.embedding_size = "arcface_128", size, None
        self.count, self.picture_size = pictures, picture_size
        self.sharpness, self.mixed = sharpness, min(mixed, pictures)
        self.mesh = FaceMesh()
        self.warp = MovingLeastSquares(torch.zeros(len(WARP_LANDMARKS), 2))
        self.colour = ColourTransfer()
        self.relight = Relight(channels)
        self.register_buffer("pictures", torch.zeros(pictures, 3, side, side, dtype=torch.uint8))
        self.register_buffer("shapes", torch.zeros(REGIONS, pictures, topology.LANDMARKS, 2))
        self.register_buffer("usable", torch.ones(REGIONS, pictures))
        self.register_buffer("mean", torch.zeros(pictures, 3, 1, 1))
        self.register_buffer("contrast", torch.ones(pictures, 3, 1, 1))
        self.register_buffer("spread", torch.ones(1, 3, 1, 1))
        self.register_buffer("regions", torch.zeros(REGIONS, 1, side, side))
        self.register_buffer("core", torch.zeros(1, 1, side, side))
        self.register_buffer("alpha", torch.zeros(1, 1, side, side))
        self.register_buffer("rest", torch.eye(3).repeat(len(WARP_LANDMARKS) // 3, 1))
        self.register_buffer("normals", torch.zeros(len(WARP_LANDMARKS), 3))
        members = torch.zeros(REGIONS, topology.LANDMARKS)
        for region, chosen in enumerate(REGION_LANDMARKS):
            members[region, list(chosen)] = 1 / len(chosen)
        self.register_buffer("members", members, persistent=False)
        self.register_buffer("warp_landmarks", torch.tensor(WARP_LANDMARKS), persistent=False)

    @torch.no_grad()
    def set_pictures(
        self,
        pictures: Tensor,
        landmarks: Tensor,
        canonical: Tensor,
        normals: Tensor,
        regions: Tensor,
        core: Tensor,
        alpha: Tensor,
        usable: Tensor,
    ) -> None:
        """Set the person's pictures.

        Args:
            pictures: (K,T,T,3) uint8 RGB in canonical coordinates.
            landmarks: (K,478,2) of the frame each was taken from, in its crop, -1..1 from edge to edge.
            canonical: (478,3) canonical places of the landmarks, -1..1, depth in the same unit.
            normals: (478,3) outward normals there.
            regions: (2,T,T) in 0..1, eyes with brows and mouth.
            core: (T,T) in 0..1, the skin that colour is measured on.
            alpha: (T,T) in 0..1, the face's outline with a soft rim.
            usable: (K,3) whether eyes, mouth and the rest of each picture show the person and nothing else.

        Raises:
            ValueError: Count or size are not those the network was made for.
        """
        count, _, side, _ = self.pictures.shape
        if pictures.shape[:3] != (count, side, side):
            raise ValueError(f"pictures must be {(count, side, side, 3)}, got {tuple(pictures.shape)}")
        stored = pictures.permute(0, 3, 1, 2)
        colours = opponent(stored.float() / 127.5 - 1)
        weight = core[None, None] / core.sum()
        mean = (colours * weight).sum((2, 3), keepdim=True)
        spread = ((colours - mean) ** 2 * weight).sum((2, 3), keepdim=True).sqrt().clamp_min(1e-3)
        self.pictures.copy_(stored)
        self.mean.copy_(mean)
        self.contrast.copy_(1 / spread)
        self.spread.copy_(spread.mean(0, keepdim=True))
        whole = torch.cat([regions, (1 - regions.sum(0, keepdim=True)).clamp_min(0)])
        self.regions.copy_((whole / whole.sum(0, keepdim=True).clamp_min(1e-3))[:, None])
        self.core.copy_(core[None, None])
        self.alpha.copy_(alpha[None, None])
        self.usable.copy_(usable.T.float())
        self.rest.copy_(canonical[list(WARP_LANDMARKS)])
        self.normals.copy_(normals[list(WARP_LANDMARKS)])
        self.warp.canonical.copy_(self.rest[:, :2])
        self.shapes.copy_(self._centred(landmarks).transpose(0, 1))

    @torch.no_grad()
    def find_landmarks(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Find landmarks and presence by the face mesh, see `LandmarkGenerator.find_landmarks`."""
        landmarks, presence = self.mesh((target + 1) / 2)
        return landmarks, ((presence - _NO_FACE) / (_SURE - _NO_FACE)).clamp(0, 1)

    def forward(
        self,
        target: Tensor,
        source: Tensor | None = None,
        landmarks: Tensor | None = None,
        presence: Tensor | None = None,
    ) -> SwapOutput:
        """Swap target crops.

        Args:
            target: (N,3,S,S) RGB in -1..1.
            source: Ignored.
            landmarks: (N,478,3) of the crops in px, pixel centres at .5; found here where None.
            presence: (N,) in 0..1, how much of the swap is shown; 1 where landmarks are given without it.

        Returns:
            The face, its mask, and aux: flow (N,2,S,S), place in the canonical picture -1..1; mix (N,3,K), how much
            of each picture is in eyes, mouth and the rest.
        """
        size = int(target.shape[-1])
        if landmarks is None:
            landmarks, presence = self.find_landmarks(target)
        points = landmarks[..., :2] * (2 / size) - 1
        mix = self._mix(points)
        picture = self._mixed(mix)
        chosen = landmarks[:, self.get_buffer("warp_landmarks")] * (2 / size)
        coarse = self.warp(chosen[..., :2] - 1, weigh_visible(chosen, self.rest, self.normals))
        outline = mask_outline(points[:, : topology.MESH], _TRUNK)
        seen = shrink(target, _TRUNK)
        with torch.no_grad():
            small = resize(coarse, _TRUNK, "bicubic")
            face = _sample_at(shrink(picture, _TRUNK), small)
            skin = _sample_at(shrink(self.core, _TRUNK), small, "zeros") * outline
            stretch, offset = self.colour(opponent(seen), face, skin, self.spread)
        stretch_more, offset_more = self.relight(opponent(seen), face * stretch.exp()[..., None, None], offset, skin)
        stretch, offset = stretch + stretch_more, resize(offset, size, "bicubic") + resize(offset_more, size, "bicubic")
        flow = resize(coarse, size, "bicubic")
        lit = _sample_at(picture, flow) * stretch.exp()[:, :, None, None] + offset
        mask_flow = resize(coarse, _MASK, "bicubic")
        mask = _sample_at(shrink(self.alpha, _MASK), mask_flow, "zeros") * resize(outline, _MASK, "bicubic").clamp(0, 1)
        mask = resize(mask, size, "bilinear")
        if presence is not None:
            mask = mask * presence[:, None, None, None]
        made = from_opponent(lit)
        return SwapOutput(made if self.training else made.clamp(-1, 1), mask, {"flow": flow, "mix": mix})

    def _mix(self, points: Tensor) -> Tensor:
        """Compare the target's mesh (N,478,2) with that of each picture, region by region: (N,3,K), rows sum to 1."""
        shape = self._centred(points)  # (N,3,P,2)
        difference = (shape[:, :, None] - self.shapes[None]).abs().mean(-1)  # (N,3,K,P)
        distance = (difference * self.get_buffer("members")[None, :, None]).sum(-1)
        score = -self.sharpness * distance + (self.usable[None] - 1) * 1e4
        best = score.topk(self.mixed, -1).values[..., -1:]
        return torch.softmax(score.masked_fill(score < best, float("-inf")), -1)

    def _centred(self, points: Tensor) -> Tensor:
        """Return the landmarks (N,P,2) relative to the middle of each region: (N,3,P,2)."""
        middle = (points[:, None] * self.get_buffer("members")[None, :, :, None]).sum(2, keepdim=True)
        return points[:, None] - middle

    def _mixed(self, mix: Tensor) -> Tensor:
        """Mix the pictures (N,3,T,T), in opponent colours of zero mean and unit spread on the skin."""
        weights, rows = mix.topk(self.mixed, -1)  # (N,3,m)
        chosen = rows.flatten()
        # opponent colours are linear in RGB: one product with a small matrix converts, evens out and mixes
        side = self.picture_size
        rgb = self.pictures[chosen].float().view(-1, REGIONS, self.mixed * 3, side * side)
        matrix, shift = self._evening()
        share = weights[..., None, None]
        mixer = (matrix[chosen].view(-1, REGIONS, self.mixed, 3, 3) * share).transpose(2, 3).flatten(3)
        offset = (shift[chosen].view(-1, REGIONS, self.mixed, 3, 1) * share).sum(2)
        even = (mixer @ rgb + offset).clamp(-_CLAMP, _CLAMP) * self.regions.view(1, REGIONS, 1, -1)
        # added one by one: in onnxruntime a sum over this axis takes four times as long
        eyes, mouth, rest = even.unbind(1)
        return (eyes + mouth + rest).view(-1, 3, side, side)

    def _evening(self) -> tuple[Tensor, Tensor]:
        """Return what makes opponent colours of zero mean and unit spread of bytes: (K,3,3) and (K,3)."""
        axes = opponent(torch.eye(3, device=self.mean.device)[..., None, None])[..., 0, 0].T
        contrast, mean = self.contrast.flatten(1), self.mean.flatten(1)
        white = axes.sum(1)
        return contrast[..., None] * axes / 127.5, -(white + mean) * contrast


def mask_outline(landmarks: Tensor, size: int) -> Tensor:
    """Draw the convex outline of landmarks with a soft rim inside.

    Args:
        landmarks: (N,P,2), -1..1 from edge to edge.
        size: Side of the mask in px.

    Returns:
        (N,1,size,size) in 0..1.
    """
    angle = torch.arange(_DIRECTIONS, dtype=landmarks.dtype, device=landmarks.device) * (2 * math.pi / _DIRECTIONS)
    directions = torch.stack([angle.cos(), angle.sin()])
    reach = (landmarks @ directions).amax(1)  # (N,directions)
    places = pixel_centres(size, landmarks).permute(1, 2, 0).reshape(-1, 2)
    depth = (reach[:, None] - (places @ directions)[None]).amin(-1).view(-1, 1, size, size)
    rise = (depth / _RIM).clamp(0, 1)
    return rise * rise * (3 - 2 * rise)


def weigh_visible(landmarks: Tensor, canonical: Tensor, normals: Tensor) -> Tensor:
    """Weigh landmarks by whether they face the viewer: a turned head's far cheek must not pull at its nose.

    Args:
        landmarks: (N,P,3) in any unit, the nearer the smaller z.
        canonical: (P,3) the same landmarks of the face at rest.
        normals: (P,3) outward, of the face at rest.

    Returns:
        (N,P), from next to nothing for one that is turned away to 1.
    """
    rest = canonical - canonical.mean(0)
    moved = landmarks - landmarks.mean(1, keepdim=True)
    # the linear map of the head as a whole; normals move by its cofactors, whatever its scale
    covariance = torch.stack(_cofactors(rest.T @ rest), -1)
    x, y, z = (moved.transpose(1, 2) @ rest @ covariance.T).unbind(-1)
    cofactors = torch.stack(_cofactors(torch.stack([x, y, z], -1)), -1)
    turned = normals @ cofactors.transpose(1, 2)
    facing = -turned[..., 2] / turned.square().sum(-1).add(1e-12).sqrt()
    return ((facing - _TURNED_AWAY) / (_TURNED_TO - _TURNED_AWAY)).clamp(_HIDDEN_WEIGHT, 1.0)


def _cofactors(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the columns of a (...,3,3) matrix's cofactors: its inverse transposed, times its determinant."""
    x, y, z = matrix.unbind(-1)
    return _cross(y, z), _cross(z, x), _cross(x, y)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a.roll(-1, -1) * b.roll(1, -1) - a.roll(1, -1) * b.roll(-1, -1)


def _sample_at(picture: Tensor, places: Tensor, padding: str = "border") -> Tensor:
    picture = picture.expand(places.shape[0], -1, -1, -1)
    grid = places.permute(0, 2, 3, 1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode=padding, align_corners=False)
