"""Measure how much of an uncovered face of somebody it was not trained on an occluder finds visible.

    python benchmarks/occluder_strangers.py [occluder=<xseg .onnx>] [--sheet seen.png] [picture ...]

By default the occluder that ships with the package, on 49 faces of 19 people that it was not trained on: a group photo,
portraits, a sheet of expressions, moments of a film. Pictures may be named instead, files or asset:<name>. Prints for
each face the share of the landmarks' outline that is found visible, and of its inner part: below the brows and within
seven eighths of the outline, because hair does cover foreheads and cheeks. --sheet: a picture of all masks, to look at,
not to publish.
"""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facesmith import assets
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import Face
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.geometry.masks import outline_mask
from facesmith.media.images import read_image, write_image
from facesmith.media.video import open_video
from facesmith.media.visualization import overlay_mask
from facesmith.models.onnx.occlusion import GENERAL, Occluder

TEMPLATE: Final = "arcface_128"
FREE: Final[dict[str, range | tuple[int, ...]]] = {  # faces, by their place among those found, that nothing covers
    "t1.jpg": range(6),
    "Tom_Hanks_54745.png": (0,),
    "0-f1-su-ph.jpg": (0,),
    "0-f15-hao-ph.jpg": (0,),
    "15-f13-anc-ph.jpg": (0,),
    "45-m7-di-ph.jpg": (0,),
    "multi_face.jpg": (0, 1, 2, 4),
    "facetorch_family.jpg": (2, 3),
    "facetorch_faces.jpg": (*range(6), 7, 8, 9, 12, 13, 14, *range(16, 20), *range(21, 24)),
}
FILM: Final = "WolfgangLanger_Pexels.mp4"
MOMENTS: Final = (0, 12, 24, 36, 48, 240, 264, 288, 324, 360, 396, 432, 468)  # frames without a hand
INNER: Final = 7 / 8
GOAL, LEAST = 0.97, 0.92

Pixels = NDArray[np.uint8]


def main() -> None:
    """Predict and print."""
    given: dict[str, Any] = {"occluder": GENERAL}
    rest = sys.argv[1:]
    sheet = Path(rest.pop(rest.index("--sheet") + 1)) if "--sheet" in rest else None
    given |= dict(one.split("=", 1) for one in rest if one.startswith("occluder="))
    pictures = [one for one in rest if not one.startswith(("occluder=", "--"))]
    occluder = Occluder(Path(given["occluder"]), "occluder")
    side, inner_shares, tiles = occluder.size, [], []
    with closing(MediaPipeAnalyzer(detector_sizes=[1280, 640, 256], min_score=0.6)) as analyzer:
        found = find_named(pictures, analyzer) if pictures else find_strangers(analyzer)
        for name, pixels, face in found:
            matrix = estimate_alignment(face.keypoints, TEMPLATE, side)
            points = transform_points(face.landmarks, matrix)
            crop = warp_face(pixels, matrix, side)
            mask = occluder(crop[None], side, points[None])[0]
            outline = outline_mask(points, side) > 0.5
            inner = find_inner(points, side)
            visible = mask > 0
            inner_shares.append(float(visible[inner].mean()))
            tiles.append(overlay_mask(crop, mask))
            print(f"{name}: {visible[outline].mean():.3f} visible, inner part {inner_shares[-1]:.3f}")
    shares = np.array(inner_shares)
    print(
        f"{len(shares)} faces: inner part mean {shares.mean():.3f} (goal {GOAL}), worst {shares.min():.3f} "
        f"(goal {LEAST}), {(shares < LEAST).sum()} under {LEAST}"
    )
    if sheet:
        write_image(sheet, tile(tiles), mark=None)


def find_inner(points: NDArray[np.floating], side: int) -> NDArray[np.bool_]:
    """Return the inner part of a face, (S,S); points: (478,3) px."""
    middle = points[: topology.MESH, :2].mean(0)
    shrunk = middle + (points[:, :2] - middle) * INNER
    below = np.arange(side)[:, None] > points[topology.BROWS, 1].max()
    return np.asarray((outline_mask(shrunk, side) > 0.5) & below)


def find_named(pictures: list[str], analyzer: MediaPipeAnalyzer) -> Iterator[tuple[str, Pixels, Face]]:
    """Yield all faces of pictures."""
    for picture in pictures:
        pixels = read_image(Path(assets.resolve(picture)))
        for number, face in enumerate(analyzer(pixels)):
            yield f"{picture}, face {number}", pixels, face


def find_strangers(analyzer: MediaPipeAnalyzer) -> Iterator[tuple[str, Pixels, Face]]:
    """Yield the uncovered faces of `FREE` and of the film."""
    for picture, free in FREE.items():
        for number, (name, pixels, face) in enumerate(find_named([f"asset:{picture}"], analyzer)):
            if number in free:
                yield name.removeprefix("asset:"), pixels, face
    with open_video(assets.fetch(FILM)) as reader:
        for number, pixels in reader.frames(list(MOMENTS)):
            for face in analyzer(pixels)[:1]:
                yield f"{FILM}, frame {number}", pixels, face


def tile(pictures: list[Pixels], columns: int = 10, side: int = 160) -> Pixels:
    """Return pictures side by side."""
    small = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA) for picture in pictures]
    small += [np.zeros_like(small[0])] * (-len(small) % columns)
    rows = [np.hstack(small[start : start + columns]) for start in range(0, len(small), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


if __name__ == "__main__":
    main()
