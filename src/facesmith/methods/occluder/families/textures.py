"""Random textures for synthetic occluders, and photographed hands."""

import functools
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from facesmith.methods.occluder.families.drawing import Picture, random_colour

# Photographs without faces that come with scikit-image; those for validation are never trained on.
_TRAINING_PHOTOS = ("brick", "cat", "coffee", "coins", "grass", "moon", "page", "rocket")
_HELD_OUT_PHOTOS = ("gravel", "hubble_deep_field", "immunohistochemistry", "retina")
# Hands of training pictures and of npm's fingerpose (MIT), see docs/occluder_general.md; two are for validation.
_HANDS = Path(__file__).resolve().parent.parent / "general" / "hands"
_HELD_OUT_HANDS = ("04", "09")


class RandomTextures:
    """Source of random textures: patches of photographs, patterns and plain colours; and of hands.

    Args:
        held_out: Use the photographs that are kept for validation, and none of those for training.
    """

    def __init__(self, held_out: bool = False) -> None:
        self.photos = _HELD_OUT_PHOTOS if held_out else _TRAINING_PHOTOS
        self.hands = [path for path in sorted(_HANDS.glob("*.png")) if (path.stem in _HELD_OUT_HANDS) == held_out]

    def __call__(self, size: int, rng: Generator) -> Picture:
        """Return a random texture, (size,size,3) RGB float32 in 0..255."""
        kind = rng.choice(["photo", "stripes", "checks", "grain", "plain"], p=[0.45, 0.12, 0.1, 0.18, 0.15])
        if kind == "photo":
            return _patch(str(rng.choice(self.photos)), size, rng)
        first, second = random_colour(rng), random_colour(rng)
        share = {"stripes": _stripes, "checks": _checks, "grain": _grain, "plain": _plain}[kind](size, rng)[..., None]
        return np.asarray(first * share + second * (1 - share), np.float32)

    def hand(self, rng: Generator) -> NDArray[np.uint8]:
        """Return a photographed hand, cut out: (h,w,4) RGBA uint8, up to 200 px."""
        return _read_hand(self.hands[rng.integers(len(self.hands))])


@functools.cache
def _read_hand(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA"))


@functools.cache
def _photo(name: str) -> NDArray[np.uint8]:
    picture = getattr(skimage.data, name)()
    return np.ascontiguousarray(picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2))


def _patch(name: str, size: int, rng: Generator) -> Picture:
    photo = _photo(name)
    side = int(rng.uniform(0.15, 0.7) * min(photo.shape[:2]))
    top, left = (int(rng.integers(0, extent - side)) for extent in photo.shape[:2])
    patch = cv2.resize(photo[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    patch = np.rot90(patch, int(rng.integers(4)))
    tinted = patch.astype(np.float32) * rng.uniform(0.6, 1.3, 3)
    return np.asarray(np.clip(tinted, 0, 255), np.float32)


def _stripes(size: int, rng: Generator) -> NDArray[np.float32]:
    y, x = np.mgrid[0:size, 0:size] / size
    angle, count = rng.uniform(0, np.pi), rng.uniform(3, 25)
    wave = np.sin(2 * np.pi * count * (x * np.cos(angle) + y * np.sin(angle)))
    return np.asarray(np.clip(wave * rng.uniform(1, 6) + 0.5, 0, 1), np.float32)


def _checks(size: int, rng: Generator) -> NDArray[np.float32]:
    return np.asarray(np.clip((_stripes(size, rng) + _stripes(size, rng)) / 2, 0, 1), np.float32)


def _grain(size: int, rng: Generator) -> NDArray[np.float32]:
    field = np.zeros((size, size), np.float32)
    for octave in range(2, 7):
        rough = rng.normal(0, 1, (2**octave, 2**octave)).astype(np.float32)
        field += np.asarray(cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC), np.float32) / 1.6**octave
    return np.asarray(np.clip(field * rng.uniform(0.5, 1.5) + 0.5, 0, 1), np.float32)


def _plain(size: int, rng: Generator) -> NDArray[np.float32]:
    return np.full((size, size), rng.uniform(0, 1), np.float32)
