"""Measure how steady an occluder's masks are along a film, and whether a hand is masked in its first frame.

    python benchmarks/occluder_film.py [occluder=<xseg .onnx>]

By default the occluder that ships with the package, on `WolfgangLanger_Pexels.mp4`, whose woman takes a hand to her
face in frame 58 and away by frame 233. Prints the change from frame to frame that the landmarks' motion does not
explain, of the masks that a swap gets and of the bare outline; the share of the outline that is hidden around the first
frame with the hand; and CPU milliseconds a face.
"""

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry.alignment import transform_points
from facesmith.faces.geometry.masks import outline_mask
from facesmith.methods.occluder.metrics import flicker
from facesmith.models.onnx.occlusion import GENERAL, Occluder
from film_steadiness import watch

FILM: Final = "WolfgangLanger_Pexels.mp4"
HAND: Final = slice(58, 233)  # frames
PARTS: Final = {"whole film": slice(None), "before the hand": slice(0, 56), "hand": HAND, "after it": slice(240, None)}
GOAL: Final = 0.02


def main() -> None:
    """Predict and print."""
    given = [one.removeprefix("occluder=") for one in sys.argv[1:] if one.startswith("occluder=")]
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    occluder = Occluder(Path(given[-1] if given else GENERAL), "occluder")
    side = occluder.size
    with closing(MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)) as analyzer:
        film = watch(FILM, analyzer, side)
    pairs = zip(film.smooth, film.matrices, strict=True)
    points = np.stack([transform_points(face.landmarks, matrix) for face, matrix in pairs])
    crops = film.crops(film.frames, side)
    begun = time.process_time()
    masks = np.concatenate([occluder(crop[None], side, one[None]) for crop, one in zip(crops, points, strict=True)])
    spent = (time.process_time() - begun) / len(masks)
    outlines = np.stack([outline_mask(one, side) for one in points])
    for name, part in PARTS.items():
        both = [flicker(each[part], points[part, :, :2], np.zeros(len(each[part]), int)) for each in (masks, outlines)]
        print(f"{name}: unexplained change {both[0]:.4f} (goal {GOAL}), of the outline alone {both[1]:.4f}")
    for frame in range(HAND.start - 2, HAND.start + 4):
        hidden = 1 - (masks[frame] > 0)[outlines[frame] > 0.5].mean()
        print(f"frame {frame}: {hidden:.3f} of the outline hidden")
    print(f"{1e3 * spent:.1f} CPU-ms a face")


if __name__ == "__main__":
    main()
