"""Geometry by landmarks: where a pixel lies on a face, which landmarks are hidden, and what they enclose."""

import math
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facesmith.faces.geometry import topology
from facesmith.models.swapper.layers import pixel_centres

_NEAR: Final = 3e-4  # of (half the crop)^2: keeps weights finite where a pixel is a landmark
_STIFFNESS: Final = 1e-5
# cosine between a landmark's normal and the view, from which it counts: a hidden one must not pull at what hides it
_TURNED_AWAY, _TURNED_TO = -0.1, 0.2
_HIDDEN_WEIGHT: Final = 1e-6
_DIRECTIONS: Final = 64  # in which an outline is measured
_LIDS: Final = ((159, 145, 33, 133), (386, 374, 263, 362))  # upper and lower middle, corners
_SHUT, _OPEN = 0.10, 0.22  # height of an eye by its width
_WHOLES: Final = (
    topology.LEFT_EYE + topology.LEFT_IRIS,
    topology.RIGHT_EYE + topology.RIGHT_IRIS,
    topology.MOUTH,
)
_AROUND: Final = 5  # nodes over which stretch is averaged
_OUTLINE_REACH: Final = 28 / 128  # halves of the crop: within this of the outline, proportions stay the target's


class MovingLeastSquares(nn.Module):
    """Move a grid of a crop into canonical coordinates so that landmarks meet their canonical places.

    At each node the affine map that moves the landmarks with the least squared error, near ones counting most (1 /
    distance^3), is solved in closed form from moments: one product of (nodes, points) with twelve columns.

    Args:
        canonical: (P,2) canonical places of the landmarks, -1..1 from edge to edge.
        nodes: Nodes of the grid along a side.
    """

    canonical: Tensor
    places: Tensor

    def __init__(self, canonical: Tensor, nodes: int = 64) -> None:
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
        one = torch.ones_like(landmarks[..., :1])
        # |at - q|^2 as a product: few passes over (nodes^2, P) is what makes this quick
        left = torch.cat([(at * at).sum(-1, keepdim=True) + _NEAR, -2 * at, torch.ones_like(at[:, :1])], -1)
        right = torch.cat([one, landmarks, (landmarks * landmarks).sum(-1, keepdim=True)], -1)
        near = (left[None] @ right.transpose(1, 2)).clamp_min(_NEAR / 2)
        share = 1 / (near * near.sqrt())  # (N,nodes^2,P)
        q, c = landmarks, to
        products = (q[..., :1] * q, q[..., 1:] * q[..., 1:], q[..., :1] * c, q[..., 1:] * c)
        columns = torch.cat([one, q, c, *products], -1) * weights[..., None]
        moments = share @ columns
        moments = moments[..., 1:] / moments[..., :1]
        mx, my, kx, ky, xx, xy, yy, xkx, xky, ykx, yky = moments.unbind(-1)
        a, b, d = xx - mx * mx + _STIFFNESS, xy - mx * my, yy - my * my + _STIFFNESS
        x, y = at[None, :, 0] - mx, at[None, :, 1] - my
        determinant = a * d - b * b
        u, v = (d * x - b * y) / determinant, (a * y - b * x) / determinant
        moved_x = u * (xkx - mx * kx) + v * (ykx - my * kx) + kx
        moved_y = u * (xky - mx * ky) + v * (yky - my * ky) + ky
        return torch.stack([moved_x, moved_y], 1).view(-1, 2, self.nodes, self.nodes)


def measure_stretch(places: Tensor) -> Tensor:
    """Measure how much of the canonical picture there is for a pixel of the crop, in the direction that has least.

    Where a turned head shows a side that the person's pictures see at a slant, little detail is drawn over many pixels.

    Args:
        places: (N,2,nodes,nodes) canonical places x and y, -1..1, see `MovingLeastSquares`.

    Returns:
        (N,1,nodes,nodes), 1: a pixel for a pixel, 0: smeared without end; averaged over some nodes.
    """
    padded = F.pad(places, (1, 1, 1, 1), mode="replicate") * (places.shape[-1] / 4)
    x, y = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    determinant = (x[:, :1] * y[:, 1:] - x[:, 1:] * y[:, :1]).clamp_min(0)  # folded over: nothing
    squares = (x * x + y * y).sum(1, keepdim=True)
    apart = (squares * squares - 4 * determinant * determinant).clamp_min(0).sqrt()
    least = ((squares - apart) / 2).clamp_min(1e-12).sqrt()  # singular value
    return F.avg_pool2d(least, _AROUND, stride=1, padding=_AROUND // 2, count_include_pad=False)


def mask_outline(landmarks: Tensor, size: int, rim: float, grow: float = 0.0) -> Tensor:
    """Draw the convex outline of landmarks with a soft rim inside.

    Args:
        landmarks: (N,P,2), -1..1 from edge to edge.
        size: Side of the mask in px.
        rim: Over which the mask rises, halves of the crop.
        grow: How far outside of the outline it begins, halves of the crop.

    Returns:
        (N,1,size,size) in 0..1.
    """
    angle = torch.arange(_DIRECTIONS, dtype=landmarks.dtype, device=landmarks.device) * (2 * math.pi / _DIRECTIONS)
    directions = torch.stack([angle.cos(), angle.sin()])
    reach = (landmarks @ directions).amax(1)  # (N,directions)
    places = pixel_centres(size, landmarks).permute(1, 2, 0).reshape(-1, 2)
    # how far a place is below each side of the outline, as one product
    sides = torch.cat([-directions.expand(reach.shape[0], -1, -1), reach[:, None]], 1)
    depth = (F.pad(places, (0, 1), value=1.0)[None] @ sides).amin(-1).view(-1, 1, size, size)
    rise = ((depth + grow) / rim).clamp(0, 1)
    return rise * rise * (3 - 2 * rise)


def measure_eyes(landmarks: Tensor) -> Tensor:
    """Measure how open eyes are.

    Args:
        landmarks: (N,478,2) in any unit.

    Returns:
        (N,2) in 0..1, the left one in the picture first.
    """
    opened = []
    for upper, lower, outer, inner in _LIDS:
        height = (landmarks[:, upper] - landmarks[:, lower]).norm(dim=-1)
        width = (landmarks[:, outer] - landmarks[:, inner]).norm(dim=-1).clamp_min(1e-6)
        opened.append(((height / width - _SHUT) / (_OPEN - _SHUT)).clamp(0, 1))
    return torch.stack(opened, -1)


def measure_lips(landmarks: Tensor) -> Tensor:
    """Measure how far lips are apart, by the mouth's width.

    Args:
        landmarks: (...,478,2) in any unit.

    Returns:
        (...,).
    """
    corner, other = topology.LIPS_INNER[0], topology.LIPS_INNER[10]
    lower, upper = topology.LIPS_INNER[5], topology.LIPS_INNER[15]
    gap = (landmarks[..., upper, :] - landmarks[..., lower, :]).norm(dim=-1)
    return gap / (landmarks[..., corner, :] - landmarks[..., other, :]).norm(dim=-1).clamp_min(1e-6)


def own_proportions(canonical: Tensor, rows: Sequence[int], share: float) -> Tensor:
    """Make the matrix that moves a target's landmarks some way to the person's own proportions.

    The person's canonical face is laid over the target's by the best affine map of its three dimensions. Eyes and mouth
    move as wholes, so that their expression stays; the outline stays.

    Args:
        canonical: (478,3) landmarks of the person, -1..1 from edge to edge.
        rows: P landmarks that are wanted.
        share: 0..1 of the way.

    Returns:
        (P,478); its product with landmarks (478,2) are the moved ones.
    """
    count = len(canonical)
    homogeneous = torch.cat([canonical, torch.ones(count, 1)], 1).double()
    fit = homogeneous @ torch.linalg.pinv(homogeneous[: topology.MESH])
    away = torch.cat([fit, fit.new_zeros(count, count - topology.MESH)], 1) - torch.eye(count)
    for whole in _WHOLES:
        away[whole] = away[whole].mean(0)
    to_outline = torch.cdist(canonical[:, :2], canonical[topology.OVAL, :2]).amin(1)
    inside = (to_outline / _OUTLINE_REACH).clamp(0, 1).double()
    return (torch.eye(count) + share * inside[:, None] * away)[list(rows)].float()


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
