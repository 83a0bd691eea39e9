"""One person's pictures as if they were of others, in other light, through other lenses."""

from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


def another_look(picture: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """Give a picture (S,S,3) uint8 RGB another skin tone, contrast, light from a side, sharpness and grain.

    Made for what is below an occluder: changed alone, the face's own colours and softness are no sign of a face.
    """
    seen = np.asarray(picture, np.float32) / 255
    tone = np.exp(rng.uniform(-0.5, 0.35) + rng.normal(0, 0.08, 3))
    gain = np.exp(rng.uniform(-0.25, 0.15) + rng.normal(0, 0.08, 3))
    seen = np.asarray(seen**tone * gain, np.float32)
    grey = (seen @ _LUMA)[..., None]
    seen = grey + (seen - grey) * rng.uniform(0.4, 1.5)
    seen = (seen - seen.mean()) * rng.uniform(0.8, 1.4) + seen.mean()
    side = len(seen)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    seen = seen * (1 + rng.uniform(0, 0.8) * (x * np.cos(angle) + y * np.sin(angle)))[..., None]
    if rng.random() < 0.6:
        seen = np.asarray(seen, np.float32)
        seen = seen + rng.uniform(0.3, 2.5) * (seen - cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.8, 2.5)))
    seen = seen + rng.normal(0, rng.uniform(0, 0.03), (side, side, 1))
    return np.asarray(np.rint(np.clip(seen, 0, 1) * 255), np.uint8)
