"""A swapper for one person that needs no training to place a face: its geometry is MediaPipe's mesh.

The landmarks of the target say where each pixel lies in the person's canonical picture (moving least squares, Schaefer
et al. 2006), and which of the person's pictures fit its eyes, its mouth and its pose best. Colour, light and sharpness
are read off the target's skin. What no picture of the person shows inside the mouth is the target's own.
"""

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from facesmith.faces.geometry import topology
from facesmith.models.landmarks.face_mesh import Blendshapes, FaceMesh
from facesmith.models.swapper.colour import ColourTransfer, from_opponent, match_detail, opponent
from facesmith.models.swapper.generator import LandmarkGenerator, SwapOutput
from facesmith.models.swapper.layers import in_full_precision, resize, shrink
from facesmith.models.swapper.mesh_geometry import (
    MovingLeastSquares,
    mask_outline,
    measure_eyes,
    measure_lips,
    measure_stretch,
    own_proportions,
    weigh_visible,
)
from facesmith.models.swapper.relight import Relight

_FEATURES: Final = {*topology.EYES, *topology.BROWS, *topology.MOUTH}
# all of eyes, brows and lips and every fourth of the rest warp as all of them do, at half the cost
WARP_LANDMARKS: Final = (*sorted(_FEATURES | set(range(0, topology.MESH, 4))), *topology.IRISES)
_EYES, _MOUTH, _REST = range(3)
PARTS: Final = 3
# eyes with brows, mouth, the rest: whose shape counts, how much, and whose expression
_PART_LANDMARKS: Final = (
    topology.EYES + topology.BROWS + topology.IRISES,
    topology.MOUTH,
    list(range(topology.MESH)),
)
_SHAPE_COUNTS: Final = (0.3, 0.3, 1.0)  # other people's eyes and mouths have other shapes at the same expression
_PART_BLENDSHAPES: Final = (
    topology.BROW_BLENDSHAPES + topology.EYE_BLENDSHAPES,
    topology.MOUTH_BLENDSHAPES,
    topology.BROW_BLENDSHAPES + topology.SMILE_BLENDSHAPES,
)
_EXPRESSION_COUNTS: Final = 0.27
# of a pixel of the person's picture for one of the target: below this a turned head's side fades to the target
_SMEARED, _SHARP = 0.15, 0.35
_TRUNK: Final = 64  # px at which colour and light are compared
_MASK: Final = 128  # px at which masks are drawn; their rims are soft
_CLAMP: Final = 6.0
_NO_FACE, _SURE = 0.8, 0.95  # how surely a crop shows a face (a real one: .9999): below nothing is swapped
_TIE: Final = 1e-4  # of a picture's share: where more are alike than are mixed, the mixture is still one
_RIM: Final = 6 / 128  # over which the mask rises within the outline; halves of the crop
_MOUTH_RIM, _MOUTH_REACH = 0.02, 0.015  # likewise inside the lips, and how far it reaches over them
# lips that much further apart than in the chosen picture, or so other an expression: the target's mouth shows inside
_PARTED, _PARTED_MORE = 0.03, 0.11
_CLOSED: Final = 0.06
_UNLIKE, _UNLIKE_MORE = 0.045, 0.075

# eyes that much more shut than in the chosen picture: the target's lids show, so far around the eye
_SHUT, _SHUT_MORE = 0.3, 0.6
_LID_RIM, _LID_REACH = 0.06, 0.05


class MeshWarp(LandmarkGenerator):
    """K pictures of the person in canonical coordinates, chosen by the target's mesh, warped, lit and masked.

    The identity is baked in: `source` is ignored. The pictures are buffers (`set_pictures`), so a checkpoint and an
    exported file hold recognisable pictures of the person.

    Args:
        size: Side in px of the crops it is meant for, a multiple of 64; others of any such side are accepted.
        pictures: K.
        picture_size: Side T in px of the stored pictures.
        sharpness: How decidedly the best picture is preferred: the temperature's inverse, in halves of the crop.
        mixed: How many pictures are mixed for eyes, for mouth and for the rest.
        proportions: Share of the person's own proportions, 0..1; the rest is the target's.
        channels: Of the network that learns what the colour transfer misses of the light, at 32, 16 and 8 px.
    """

    size_step = _TRUNK
    adaptable = ("relight",)
    pictures: Tensor
    shapes: Tensor
    expressions: Tensor
    lips: Tensor
    eyes: Tensor
    mean: Tensor
    contrast: Tensor
    spread: Tensor
    regions: Tensor
    core: Tensor
    alpha: Tensor
    rest: Tensor
    normals: Tensor
    moved: Tensor

    def __init__(
        self,
        size: int,
        pictures: int,
        picture_size: int,
        sharpness: float,
        mixed: int,
        proportions: float,
        channels: Sequence[int],
    ) -> None:
        super().__init__()
        if size % _TRUNK or picture_size % _TRUNK:
            raise ValueError(f"size and picture_size must be multiples of {_TRUNK}, got {size} and {picture_size}")
        side, points = picture_size, len(WARP_LANDMARKS)
        self.template, self.size, self.embedding_size = "arcface_128", size, None
        self.count, self.picture_size = pictures, picture_size
        self.sharpness, self.mixed, self.proportions = sharpness, min(mixed, pictures), proportions
        self.mesh = FaceMesh()
        self.expression = Blendshapes()
        self.warp = MovingLeastSquares(torch.zeros(points, 2))
        self.colour = ColourTransfer()
        self.relight = Relight(channels)
        self.register_buffer("pictures", torch.zeros(pictures, 3, side, side, dtype=torch.uint8))
        self.register_buffer("shapes", torch.zeros(PARTS, pictures, topology.LANDMARKS, 2))
        self.register_buffer("expressions", torch.zeros(PARTS, pictures, len(topology.BLENDSHAPES)))
        self.register_buffer("lips", torch.zeros(pictures))
        self.register_buffer("eyes", torch.zeros(pictures, 2))
        self.register_buffer("mean", torch.zeros(pictures, 3, 1, 1))
        self.register_buffer("contrast", torch.ones(pictures, 3, 1, 1))
        self.register_buffer("spread", torch.ones(1, 3, 1, 1))
        soft = min(side, _MASK)  # what is smooth needs no more
        self.register_buffer("regions", torch.zeros(PARTS, 1, soft, soft))
        self.register_buffer("core", torch.zeros(1, 1, soft, soft))
        self.register_buffer("alpha", torch.zeros(1, 1, soft, soft))
        self.register_buffer("rest", torch.eye(3).repeat(-(-points // 3), 1)[:points])
        self.register_buffer("normals", torch.zeros(points, 3))
        self.register_buffer("moved", torch.zeros(points, topology.LANDMARKS))
        self.register_buffer("members", _shares(_PART_LANDMARKS, topology.LANDMARKS), persistent=False)
        self.register_buffer("traits", _shares(_PART_BLENDSHAPES, len(topology.BLENDSHAPES)), persistent=False)
        self.register_buffer("shape_counts", torch.tensor(_SHAPE_COUNTS)[:, None], persistent=False)
        self.register_buffer("warp_landmarks", torch.tensor(WARP_LANDMARKS), persistent=False)

    @torch.no_grad()
    def set_pictures(
        self,
        pictures: Tensor,
        landmarks: Tensor,
        expressions: Tensor,
        canonical: Tensor,
        normals: Tensor,
        regions: Tensor,
        core: Tensor,
        alpha: Tensor,
    ) -> None:
        """Set the person's pictures.

        Args:
            pictures: (K,T,T,3) uint8 RGB in canonical coordinates.
            landmarks: (3,K,478,2) of the frames that eyes, mouth and the rest come from, -1..1 from edge to edge.
            expressions: (3,K,52) blendshapes of these frames.
            canonical: (478,3) canonical places of the landmarks, -1..1, depth in the same unit.
            normals: (478,3) outward normals there.
            regions: (2,T,T) in 0..1, eyes with brows and mouth.
            core: (T,T) in 0..1, the skin that colour is measured on.
            alpha: (T,T) in 0..1, the face's outline with a soft rim.

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
        whole = whole / whole.sum(0, keepdim=True).clamp_min(1e-3)
        soft = self.alpha.shape[-1]
        for buffer, plane in ((self.regions, whole[:, None]), (self.core, core), (self.alpha, alpha)):
            buffer.copy_(F.adaptive_avg_pool2d(plane.view(-1, 1, side, side), soft))
        for part in range(PARTS):
            self.shapes[part].copy_(self._centred(landmarks[part])[:, part])
        self.expressions.copy_(expressions)
        self.lips.copy_(measure_lips(landmarks[_MOUTH]))
        self.eyes.copy_(measure_eyes(landmarks[_EYES]))
        self.rest.copy_(canonical[list(WARP_LANDMARKS)])
        self.normals.copy_(normals[list(WARP_LANDMARKS)])
        self.warp.canonical.copy_(self.rest[:, :2])
        self.moved.copy_(own_proportions(canonical, WARP_LANDMARKS, self.proportions))

    @torch.no_grad()
    def find_landmarks(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Find landmarks and presence by the face mesh, see `LandmarkGenerator.find_landmarks`."""
        landmarks, presence = self.mesh((target + 1) / 2)
        return landmarks, ((presence - _NO_FACE) / (_SURE - _NO_FACE)).clamp(0, 1)

    @in_full_precision
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
            of each picture is in eyes, mouth and the rest; learned (N,3,S,S), what `relight` added, opponent colours.
        """
        size = int(target.shape[-1])
        if landmarks is None:
            landmarks, presence = self.find_landmarks(target)
        points = landmarks[..., :2] * (2 / size) - 1
        mix, odd_mouth = self._mix(points)
        picture = self._mixed(mix)
        coarse = self._canonical_places(landmarks * (2 / size) - 1)
        outline = mask_outline(points[:, : topology.MESH], _TRUNK, _RIM)
        colours = opponent(target)
        seen = shrink(colours, _TRUNK)
        with torch.no_grad():
            small = resize(coarse, _TRUNK, "bicubic")
            face = _sample_at(shrink(picture, _TRUNK), small)
            skin = _sample_at(shrink(self.core, _TRUNK), small, "zeros") * outline
            stretch, offset = self.colour(seen, face, skin, self.spread)
        learned = resize(self.relight(seen, face * stretch.exp()[..., None, None], offset, skin), size, "bicubic")
        flow = resize(coarse, size, "bicubic")
        lit = _sample_at(picture, flow) * stretch.exp()[:, :, None, None] + resize(offset, size, "bicubic") + learned
        lit = match_detail(lit, colours, resize(skin, size, "bilinear"))
        lit = lit + (colours - lit) * self._not_pictured(points, mix, odd_mouth, size)
        mask = self._mask(coarse, outline, size)
        if presence is not None:
            mask = mask * presence[:, None, None, None]
        made = from_opponent(lit)
        made = made if self.training else made.clamp(-1, 1)
        return SwapOutput(made, mask, {"flow": flow, "mix": mix, "learned": learned})

    def _not_pictured(self, points: Tensor, mix: Tensor, odd_mouth: Tensor, size: int) -> Tensor:
        """Find what the target shows and no picture does: the inside of a mouth, the lids of shut eyes.

        Args:
            points: (N,478,2), -1..1.
            mix: (N,3,K).
            odd_mouth: (N,) in 0..1, how far the chosen mouth is from the target's inside.
            size: Side S in px.

        Returns:
            (N,1,S,S) in 0..1.
        """
        inner = mask_outline(points[:, topology.LIPS_INNER], min(size, _MASK), _MOUTH_RIM, _MOUTH_REACH)
        opened = (mix[:, _EYES, :, None] * self.eyes[None]).sum(1)
        shut = ((opened - measure_eyes(points) - _SHUT) / (_SHUT_MORE - _SHUT)).clamp(0, 1)  # (N,2)
        eyes = points[:, topology.EYES].view(-1, len(topology.LEFT_EYE), 2)
        lids = mask_outline(eyes, _TRUNK, _LID_RIM, _LID_REACH).view(-1, 2, _TRUNK, _TRUNK) * shut[..., None, None]
        left, right = resize(lids, size, "bilinear").split(1, 1)
        return resize(inner, size, "bilinear") * odd_mouth[:, None, None, None] + left + right

    def _mask(self, coarse: Tensor, outline: Tensor, size: int) -> Tensor:
        """Draw the mask (N,1,size,size): where both the person's outline and the target's are, and nothing smears."""
        side = min(size, _MASK)
        flow = resize(coarse, side, "bicubic")
        inside = _sample_at(shrink(self.alpha, side), flow, "zeros") * resize(outline, side, "bicubic").clamp(0, 1)
        known = ((measure_stretch(coarse) - _SMEARED) / (_SHARP - _SMEARED)).clamp(0, 1)
        smooth = _sample_at(shrink(self.regions[_REST], side), flow)  # lips and lids stretch as they open
        inside = inside * (1 - smooth * (1 - resize(known, side, "bilinear")))
        return resize(inside, size, "bilinear")

    def _canonical_places(self, landmarks: Tensor) -> Tensor:
        """Warp by the landmarks (N,478,3), -1..1: (N,2,nodes,nodes)."""
        weights = weigh_visible(landmarks[:, self.get_buffer("warp_landmarks")], self.rest, self.normals)
        irises = len(topology.IRISES)
        # under a lid there is no iris to follow
        opened = measure_eyes(landmarks[..., :2]).clamp_min(1e-3).repeat_interleave(irises // 2, -1)
        weights = torch.cat([weights[:, :-irises], weights[:, -irises:] * opened], -1)
        places: Tensor = self.warp(self.moved @ landmarks[..., :2], weights)
        return places

    def _mix(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Compare the target's mesh with that of each picture, part by part.

        Args:
            points: (N,478,2), -1..1.

        Returns:
            (N,3,K), rows sum to 1; and (N,) in 0..1, how far the chosen mouth is from the target's inside.
        """
        difference = (self._centred(points)[:, :, None] - self.shapes[None]).abs().mean(-1)  # (N,3,K,478)
        shape = (difference * self.get_buffer("members")[None, :, None]).sum(-1)
        unlike = (self.expression(points)[:, None, None] - self.expressions[None]).abs()  # (N,3,K,52)
        expression = (unlike * self.get_buffer("traits")[None, :, None]).sum(-1)
        score = -self.sharpness * (shape * self.get_buffer("shape_counts") + _EXPRESSION_COUNTS * expression)
        mix = self._keep_best(torch.softmax(score, -1))
        mouth = mix[:, _MOUTH]
        gap, pictured = measure_lips(points), (mouth * self.lips).sum(-1)
        odd = (mouth * expression[:, _MOUTH]).sum(-1)
        parted = ((gap - pictured - _PARTED) / (_PARTED_MORE - _PARTED)).clamp(0, 1)
        unlike_inside = ((odd - _UNLIKE) / (_UNLIKE_MORE - _UNLIKE)).clamp(0, 1)
        # teeth must not show between lips that are shut
        shut = ((pictured - gap - _PARTED) / (_PARTED_MORE - _PARTED)).clamp(0, 1) * (1 - gap / _CLOSED).clamp(0, 1)
        return mix, torch.maximum(torch.maximum(parted, unlike_inside), shut)

    def _keep_best(self, mix: Tensor) -> Tensor:
        """Keep the largest of each row (...,K) by how much they exceed the next: no step where two are equal."""
        if self.mixed >= self.count:
            return mix
        following = mix.topk(self.mixed + 1, -1).values[..., -1:]
        kept = (mix - following).clamp_min(0) + _TIE * mix
        return kept / kept.sum(-1, keepdim=True)

    def _centred(self, points: Tensor) -> Tensor:
        """Return the landmarks (N,478,2) relative to the middle of each part: (N,3,478,2)."""
        middle = (points[:, None] * self.get_buffer("members")[None, :, :, None]).sum(2, keepdim=True)
        return points[:, None] - middle

    def _mixed(self, mix: Tensor) -> Tensor:
        """Mix the pictures (N,3,T,T), in opponent colours of zero mean and unit spread on the skin."""
        weights, rows = mix.topk(self.mixed, -1)  # (N,3,m)
        weights = weights / weights.sum(-1, keepdim=True)
        chosen = rows.flatten()
        # opponent colours are linear in RGB: one product with a small matrix converts, evens out and mixes
        side = self.picture_size
        rgb = self.pictures[chosen].float().view(-1, PARTS, self.mixed * 3, side * side)
        matrix, shift = self._evening()
        share = weights[..., None, None]
        mixer = (matrix[chosen].view(-1, PARTS, self.mixed, 3, 3) * share).transpose(2, 3).flatten(3)
        offset = (shift[chosen].view(-1, PARTS, self.mixed, 3, 1) * share).sum(2)
        even = (mixer @ rgb + offset).clamp(-_CLAMP, _CLAMP) * resize(self.regions, side, "bilinear").view(
            1, PARTS, 1, -1
        )
        # added one by one: in onnxruntime a sum over this axis takes four times as long
        eyes, mouth, rest = even.unbind(1)
        return (eyes + mouth + rest).view(-1, 3, side, side)

    def _evening(self) -> tuple[Tensor, Tensor]:
        """Return what makes opponent colours of zero mean and unit spread of bytes: (K,3,3) and (K,3)."""
        axes = opponent(torch.eye(3, device=self.mean.device)[..., None, None])[..., 0, 0].T
        contrast, mean = self.contrast.flatten(1), self.mean.flatten(1)
        white = axes.sum(1)
        return contrast[..., None] * axes / 127.5, -(white + mean) * contrast


def _shares(parts: Sequence[Sequence[int]], count: int) -> Tensor:
    """Return (parts, count): each row is an average over its members."""
    rows = torch.zeros(len(parts), count)
    for row, members in zip(rows, parts, strict=True):
        row[list(members)] = 1 / len(members)
    return rows


def _sample_at(picture: Tensor, places: Tensor, padding: str = "border") -> Tensor:
    picture = picture.expand(places.shape[0], -1, -1, -1)
    grid = places.permute(0, 2, 3, 1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode=padding, align_corners=False)
