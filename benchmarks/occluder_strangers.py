"""Measure how much of an unoccluded face of a person it was not trained on an occluder finds visible.

    python benchmarks/occluder_strangers.py occluder=<xseg .onnx> [picture ...]

Pictures are files or asset:<name>; by default the astronaut's portrait. Prints for each face the IoU of the mask with
the landmarks' outline, forehead included, and the share of the outline below the brows that is found visible: hair
does cover foreheads, but little covers a face below the brows.
"""

import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from facesmith import assets
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.media.images import read_image
from facesmith.methods.occluder.labels import face_mask
from facesmith.models.onnx.occlusion import Occluder

TEMPLATE = "arcface_128"
FOREHEAD = 0.35  # as in conf/data/occluder.yaml


def main() -> None:
    """Predict and print."""
    (given,) = [one.removeprefix("occluder=") for one in sys.argv[1:] if one.startswith("occluder=")]
    pictures = [one for one in sys.argv[1:] if not one.startswith("occluder=")] or ["asset:astronaut.png"]
    occluder = Occluder(Path(given), "occluder")
    side = occluder.size
    with closing(MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)) as analyzer:
        for picture in pictures:
            pixels = read_image(Path(assets.resolve(picture)))
            for number, face in enumerate(analyzer(pixels)):
                matrix = estimate_alignment(face.keypoints, TEMPLATE, side)
                points = transform_points(face.landmarks[:, :2], matrix)
                outline = face_mask(points, side, FOREHEAD) > 0.5
                visible = occluder(warp_face(pixels, matrix, side)[None], side)[0] > 0.5
                low = outline & (np.arange(side)[:, None] > points[topology.BROWS, 1].max())
                overlap = (visible & outline).sum() / (visible | outline).sum()
                print(
                    f"{picture}, face {number}: overlap {overlap:.3f}, of the outline {visible[outline].mean():.3f} "
                    f"visible, below the brows {visible[low].mean():.3f}"
                )


if __name__ == "__main__":
    main()
