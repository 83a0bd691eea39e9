"""What masks, blending and colour cost on top of a plain swap of one frame: python benchmarks/frame_looks.py.

The swapper only tints its target, so that what is left is the work on crops and frame. Each row is processor time
over that of the plain swap, measured in turn in one run; `seamless` is OpenCV's Poisson blending of the same face
in place of ours; it holds two plain pastes, of the face and of its mask.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import closing

import cv2
import numpy as np
from skimage.data import astronaut

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry.alignment import estimate_alignment, warp_face
from facesmith.models.onnx.info import SwapperInfo
from facesmith.tasks.swap.frame_swap import FrameSwapper, MaskOptions
from facesmith.tasks.swap.paste import paste_back

SIZE = 128
BOX = MaskOptions(("box",), 0.3)
ROWS = {
    "plain": {},
    "box": {"masks": BOX},
    "box, hull": {"masks": MaskOptions(("box", "hull"), 0.3)},
    "region (three)": {"masks": MaskOptions(("region",), regions=("mouth", "eyes", "skin"))},
    "multiband": {"masks": BOX, "blend": "multiband"},
    "poisson": {"masks": BOX, "blend": "poisson"},
    "colour match": {"masks": BOX, "colour_match": True},
    "pixel boost 512": {"pixel_boost": 512},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=40)
    runs = parser.parse_args().runs
    cv2.setNumThreads(1)
    frame = astronaut()
    with closing(MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)) as analyzer:
        faces = analyzer(frame)
    model = Tint()
    jobs: dict[str, Callable[[], object]] = {}
    for name, settings in ROWS.items():
        swap = FrameSwapper(model, **settings)
        jobs[name] = lambda swap=swap: swap.swap(frame, faces)
    matrix = estimate_alignment(faces[0].keypoints, "arcface_128", SIZE)
    face, mask = (one[0] for one in tint(warp_face(frame, matrix, SIZE)[None], None))
    whole = np.full((SIZE, SIZE, 3), 255, np.uint8)
    black = np.zeros_like(frame)
    jobs["seamless"] = lambda: seamless(frame, paste(frame, face, mask, matrix), paste(black, whole, mask, matrix))
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(runs + 3):
        for name, job in jobs.items():
            before = time.process_time()
            job()
            times[name].append(time.process_time() - before)
    plain = statistics.median(times["plain"][3:])
    print(f"one face of {faces[0].box[2] - faces[0].box[0]:.0f} px; plain {1000 * plain:.1f} CPU-ms")
    for name, measured in times.items():
        print(f"{name:<16}{statistics.median(measured[3:]) / plain:6.2f} x plain")


def tint(crops: np.ndarray, source: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Make a swapper that costs nothing: darker, and bluer, everywhere."""
    side = crops.shape[1]
    darker = np.clip(crops * np.float32(0.8) + np.array([-10, 0, 10], np.float32), 0, 255).astype(np.uint8)
    return darker, np.ones((len(crops), side, side), np.float32)


class Tint:
    """`tint` in the place of a loaded swapper."""

    info = SwapperInfo("arcface_128", SIZE)

    def __call__(self, crops: np.ndarray, source: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Tint the crops."""
        return tint(crops, source)


def paste(frame: np.ndarray, face: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    result = frame.copy()
    paste_back(result, face, mask, matrix)
    return result


def seamless(frame: np.ndarray, pasted: np.ndarray, mask: np.ndarray) -> np.ndarray:
    inside = (mask[..., 0] > 127).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(inside)
    cut = np.s_[max(y - 4, 0) : y + height + 4, max(x - 4, 0) : x + width + 4]
    centre = (x - cut[1].start + width // 2, y - cut[0].start + height // 2)
    return cv2.seamlessClone(
        np.ascontiguousarray(pasted[cut]), np.ascontiguousarray(frame[cut]), inside[cut], centre, cv2.NORMAL_CLONE
    )


if __name__ == "__main__":
    main()
