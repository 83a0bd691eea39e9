"""Ways to spoil a good swap on purpose, as broken media, settings and losses do. Used by `spoilt_swaps.py`."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facesmith.faces.geometry import masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.colour import match_colour
from facesmith.faces.geometry.thin_plate import compute_warp_maps, fit_similarity, resample
from facesmith.models.recognisers import SFace
from facesmith.models.swapper.generator import composite

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Swap:
    """One swapped face: its target (one row), its truth, the raw face, the mask and the composite, (S,S,3) or (S,S)."""

    name: str
    person: str
    target: AlignedFaces
    truth: Pixels
    raw: Pixels
    mask: Pixels
    composite: Pixels
    hull: Pixels

    @property
    def points(self) -> Floats:
        """(478,3) px of the target."""
        return self.target.landmarks[0]

    def with_face(self, raw: NDArray[np.floating] | Pixels, mask: Pixels | None = None) -> "Swap":
        """Return the swap with another face under the mask."""
        face, kept = to_bytes(raw), self.mask if mask is None else mask
        return replace(self, raw=face, mask=kept, composite=blend(face, kept, self.target.images[0]))


@dataclass(frozen=True)
class Material:
    """What faces are spoilt with: the frames of all people, all swaps, and hands as of `read_hands`."""

    people: Mapping[str, AlignedFaces]
    swaps: Sequence[Swap]
    hands: Sequence[tuple[AlignedFaces, Floats]]

    def others(self, swap: Swap) -> list[Swap]:
        """Return the swaps of the same person into other targets."""
        return [other for other in self.swaps if other.person == swap.person and other.name != swap.name]


Spoiler = Callable[[Swap, Material, np.random.Generator], Swap | None]


def to_bytes(picture: NDArray[np.floating] | Pixels) -> Pixels:
    """Round to bytes."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def blend(raw: Pixels, mask: Pixels, target: Pixels) -> Pixels:
    """Composite as exported files do."""
    face, under = (torch.from_numpy(one[None]).permute(0, 3, 1, 2) / 127.5 - 1 for one in (raw, target))
    shown = composite(face, torch.from_numpy(mask[None, None]) / 255, under)[0]
    return to_bytes(((shown[0] + 1) * 127.5).permute(1, 2, 0).numpy())


def shift(swap: Swap, _: Material, random: np.random.Generator) -> Swap:
    """Put the face beside its place, by 4 to 7 px of 128."""
    unit, angle = len(swap.raw) / 128, random.uniform(0, 2 * np.pi)
    x, y = random.uniform(4, 7) * unit * np.array([np.cos(angle), np.sin(angle)])
    matrix, side = np.array([[1, 0, x], [0, 1, y]], np.float32), (len(swap.raw),) * 2
    raw = cv2.warpAffine(swap.raw, matrix, side, borderMode=cv2.BORDER_REFLECT)
    return swap.with_face(raw, np.asarray(cv2.warpAffine(swap.mask, matrix, side), np.uint8))


def tint(a: float, b: float, lightness: float = 0.0) -> Spoiler:
    """Return what moves the face in CIELAB."""

    def spoil(swap: Swap, _: Material, random: np.random.Generator) -> Swap:
        return swap.with_face(_move(swap.raw, np.array([lightness, a, b], np.float32) * random.uniform(0.7, 1.2)))

    return spoil


def tint_patches(swap: Swap, _: Material, random: np.random.Generator) -> Swap:
    """Tint one half of the face green and the other violet, with a soft border of a random direction."""
    size, angle = len(swap.raw), random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    side = np.tanh(4 * (x * np.cos(angle) + y * np.sin(angle)))[..., None]
    return swap.with_face(_move(swap.raw, (side * np.array([0, 14, -10])).astype(np.float32)))


def blur(swap: Swap, _: Material, random: np.random.Generator) -> Swap:
    """Blur the face by 1.6 to 3 px of 128, as a net does that has learnt means."""
    return swap.with_face(cv2.GaussianBlur(swap.raw, (0, 0), random.uniform(1.6, 3) * len(swap.raw) / 128))


def average(swap: Swap, material: Material, random: np.random.Generator) -> Swap | None:
    """Replace the face by the mean of the person's unaligned faces, as nets do that have learnt only means."""
    mine = material.others(swap)
    if len(mine) < 3:
        return None
    chosen = random.permutation(len(mine))[:8]
    faces = np.mean([_place(mine[i], swap.points[:, :2] + random.normal(0, 3, 2)) for i in chosen], 0)
    return swap.with_face(_match(faces, swap))


def exchange_mouth(swap: Swap, material: Material, random: np.random.Generator) -> Swap | None:
    """Shut a mouth that the target has open, or open one that it has shut."""
    faces, gap = material.people[swap.person], _gap(swap.points)
    apart = np.flatnonzero([abs(_gap(points) - gap) > 0.07 for points in faces.landmarks])
    if not len(apart):
        return None
    return _exchange(swap, faces, int(random.choice(apart)), topology.MOUTH + topology.CHIN)


def exchange_eyes(swap: Swap, material: Material, random: np.random.Generator) -> Swap | None:
    """Shut eyes that the target has open, or open ones that it has shut."""
    faces = material.people[swap.person]
    blinks = faces.blendshapes[:, topology.EYE_BLINK].mean(1)
    apart = np.flatnonzero(np.abs(blinks - swap.target.blendshapes[0, topology.EYE_BLINK].mean()) > 0.4)
    if not len(apart):
        return None
    return _exchange(swap, faces, int(random.choice(apart)), topology.EYES + topology.IRISES)


def face_front(swap: Swap, material: Material, random: np.random.Generator) -> Swap | None:
    """Put a frontal face onto a turned head."""
    front = [other for other in material.others(swap) if abs(_turn(other) - _turn(swap)) > 0.16]
    if not front:
        return None
    return swap.with_face(_match(_place(front[random.integers(len(front))], swap.points[:, :2]), swap))


def stripes(swap: Swap, _: Material, random: np.random.Generator) -> Swap:
    """Add vertical stripes as an identity loss alone paints them: uneven, 2 to 4 px of 128 wide."""
    size = len(swap.raw)
    unit = size / 128
    wave = np.sin(np.arange(size) / unit * 2 * np.pi / random.uniform(4, 8) + random.uniform(0, 6))
    strength = cv2.GaussianBlur(random.normal(size=(size, size)), (0, 0), 10 * unit)
    strength = random.uniform(10, 18) * (0.6 + 0.4 * np.clip(strength / strength.std(), -1, 1))
    colours = np.array([1, 0.4, 1]) if random.random() < 0.5 else np.ones(3)
    return swap.with_face(swap.raw + (wave * strength)[..., None] * colours)


def attack_recogniser(swap: Swap, material: Material, random: np.random.Generator) -> Swap | None:
    """Move the pixels along the gradient of an identity loss alone (SFace), on a third of the swaps."""
    if random.random() > 0.35:
        return None
    network = _load_recogniser()
    faces = material.people[swap.person].images[::8]
    with torch.enable_grad():
        person = network.embed(_shrink(faces)).mean(0).detach()
        face = _shrink(swap.raw[None])
        moved = torch.zeros_like(face, requires_grad=True)
        optimizer = torch.optim.Adam([moved], lr=0.02)
        for _ in range(40):
            optimizer.zero_grad()
            loss = -(network.embed((face + moved).clamp(-1, 1)) @ person).mean()
            loss.backward()
            optimizer.step()
    added = torch.nn.functional.interpolate(moved.detach(), size=len(swap.raw), mode="bilinear") * 127.5
    return swap.with_face(swap.raw + added[0].permute(1, 2, 0).numpy())


def draw_fingers(swap: Swap, _: Material, random: np.random.Generator) -> Swap:
    """Draw three or four fingers of the face's skin over a cheek or the mouth."""
    size = len(swap.raw)
    unit = size / 128
    raw, before = swap.raw.astype(np.float32), swap.raw
    skin = np.median(raw[masks.skin_mask(swap.points, size) > 0.5], 0)
    where = [topology.MOUTH, [50, 101, 36], [280, 330, 266]][random.integers(3)]
    tip = swap.points[where, :2].mean(0) + random.uniform(-4, 4, 2) * unit
    down = random.uniform(0.3, 0.9) * np.pi  # the hand comes from below
    along = np.array([np.cos(down), np.sin(down)])
    across = np.array([-along[1], along[0]])
    for finger in range(random.integers(3, 5)):
        width = random.uniform(8, 10) * unit
        start = tip + across * (finger - 1.2) * 9.5 * unit + along * abs(finger - 1.3) * 5 * unit
        place = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) - start
        lengthwise, sideways = place @ along, place @ across
        away = np.where(lengthwise > 0, np.abs(sideways), np.hypot(lengthwise, sideways)) / (width / 2)
        round_ = np.sqrt(np.clip(1 - away**2, 0, 1))[..., None]
        cover = np.clip((1.08 - away) * 6, 0, 1)[..., None]
        raw = raw * (1 - cover) + skin * (0.45 + 0.6 * round_) * cover
        nail = np.hypot((lengthwise - 1 * unit) / (4 * unit), sideways / (2.6 * unit)) < 1
        raw[nail] = raw[nail] * 0.6 + np.array([225, 190, 185]) * 0.4
    drawn = cv2.GaussianBlur((raw != before).any(-1).astype(np.float32), (0, 0), unit)[..., None]
    return swap.with_face(before * (1 - drawn) + cv2.GaussianBlur(raw, (0, 0), 0.4 * unit) * drawn)


def wear_hand(swap: Swap, material: Material, random: np.random.Generator) -> Swap:
    """Lay a hand that was filmed before another's face on the swapped one."""
    faces, cover = material.hands[random.integers(len(material.hands))]
    where = compute_warp_maps(swap.points, faces.landmarks, len(swap.raw), smoothing=3e-4)[0]
    shown = cv2.remap(cover, where[..., 0], where[..., 1], cv2.INTER_LINEAR)[..., None]
    hand = _match(resample(faces.images[0], where), swap)
    return swap.with_face(swap.raw * (1 - shown) + hand * shown)


def keep_target(swap: Swap, _: Material, __: np.random.Generator) -> Swap:
    """Change nothing: the target's own face."""
    return swap.with_face(swap.target.images[0])


def _move(picture: Pixels, by: Floats) -> NDArray[np.floating]:
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) + by
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255)


def _match(picture: NDArray[np.floating] | Pixels, swap: Swap) -> Floats:
    """Bring a face to the colour and light of a swap's."""
    size = len(swap.raw)
    core = masks.skin_mask(swap.points, size)
    return match_colour(np.asarray(picture, np.float32), swap.raw, core, 0.8, 11 / 128 * size)


@functools.cache
def _load_recogniser() -> SFace:
    return SFace()


def _shrink(pictures: Pixels) -> torch.Tensor:
    """Bring (N,S,S,3) to (N,3,128,128) -1..1."""
    stack = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return torch.nn.functional.interpolate(stack, size=128, mode="area")


def _place(other: Swap, points: Floats) -> Floats:
    """Rotate, scale and move a swapped face to a target's place; its pose and expression stay."""
    three = [33, 263, 152]
    placed = fit_similarity(other.points[None, :, :2], points[:, :2])[0]
    matrix = cv2.getAffineTransform(np.ascontiguousarray(other.points[three, :2]), placed[three].astype(np.float32))
    side = (len(other.raw),) * 2
    return cv2.warpAffine(other.composite, matrix, side, borderMode=cv2.BORDER_REFLECT).astype(np.float32)


def _exchange(swap: Swap, faces: AlignedFaces, row: int, own: list[int]) -> Swap:
    """Take a part of the person's face from one of their frames; the points `own` keep that frame's shape."""
    points, size = faces.landmarks[row], len(swap.raw)
    wanted = swap.points.copy()
    moved = fit_similarity(points[None, :, :2], swap.points[:, :2])[0]
    wanted[own, :2] = moved[own] + wanted[own, :2].mean(0) - moved[own].mean(0)
    where = compute_warp_maps(wanted, points[None], size, smoothing=3e-4)[0]
    part = _match(resample(faces.images[row], where), swap)
    cover = masks.draw_hull(wanted[own], size, 8 / 128 * size, 4 / 128 * size)[..., None]
    if own[0] in topology.EYES:
        eyes = (wanted[topology.LEFT_EYE], wanted[topology.RIGHT_EYE])
        cover = np.maximum(*(masks.draw_hull(eye, size, 6 / 128 * size, 3 / 128 * size) for eye in eyes))[..., None]
    return swap.with_face(swap.raw * (1 - cover) + part * cover)


def _gap(points: Floats) -> float:
    return float(np.linalg.norm(points[13, :2] - points[14, :2]) / np.linalg.norm(points[33, :2] - points[263, :2]))


def _turn(swap: Swap) -> float:
    """Return where the nose is between the cheeks: 0 in the middle, -.5 and .5 at either."""
    left, nose, right = swap.points[[234, 1, 454], 0]
    return float((nose - left) / (right - left) - 0.5)


SPOILERS: dict[str, Spoiler] = {
    "shifted 4..7 px of 128": shift,
    "green": tint(-14, 6),
    "violet": tint(10, -16),
    "magenta": tint(16, -8),
    "olive": tint(-8, 16),
    "half green, half violet": tint_patches,
    "too dark": tint(0, 0, -16),
    "too light": tint(0, 0, 16),
    "blurred 1.6..3 px of 128": blur,
    "mean of unaligned faces": average,
    "mouth shut or open": exchange_mouth,
    "eyes shut": exchange_eyes,
    "frontal on a turned head": face_front,
    "vertical stripes": stripes,
    "pixels of an identity loss": attack_recogniser,
    "fingers, drawn": draw_fingers,
    "hand, filmed": wear_hand,
    "the target's own face": keep_target,
}
