"""Faces that are hard to swap, by the generator whose geometry is a face mesh, as a frame is swapped."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.canonical import build_person_pictures
from facesmith.faces.face import Face
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry.masks import draw_hull
from facesmith.faces.measures import laplacian_variance
from facesmith.models.onnx.info import LANDMARKS, MASK, OUTPUT, TARGET, Floats, SwapperInfo
from facesmith.models.onnx.session import Swapper
from facesmith.models.swapper.generator import ExportWrapper
from facesmith.models.swapper.mesh_warp import MeshWarp
from facesmith.tasks.swap.frame_swap import FrameSwapper

SIZE, PICTURES = 128, 4
NOSE = 1
Pixels = np.ndarray


@pytest.fixture(scope="module")
def swapper(carphone_set: FaceSet) -> Swapper:
    generator = MeshWarp(SIZE, PICTURES, SIZE, 900.0, mixed=3, proportions=0.25, channels=[8, 8, 8])
    parts = build_person_pictures(carphone_set.aligned("arcface_128", SIZE), PICTURES)
    generator.set_pictures(**{name: torch.from_numpy(part) for name, part in vars(parts).items()})
    module = ExportWrapper(generator).eval()

    def run(feed: Mapping[str, Floats]) -> Mapping[str, Floats]:
        landmarks = torch.from_numpy(feed[LANDMARKS]) if LANDMARKS in feed else None
        with torch.no_grad():
            picture, mask = module(torch.from_numpy(feed[TARGET]), landmarks=landmarks)
        return {OUTPUT: picture.numpy(), MASK: mask.numpy()}

    return Swapper(SwapperInfo("arcface_128", SIZE, consent="licensed", takes_landmarks=True), run)


@pytest.fixture(scope="module")
def woman(astronaut: Pixels) -> Face:
    with closing(MediaPipeAnalyzer(detector_sizes=[640], min_score=0.7)) as analyzer:
        (face,) = analyzer(astronaut)
    return face


def moved(face: Face, matrix: np.ndarray) -> Face:
    """Return the face where a matrix (2,3) of the frame takes it."""
    points = face.landmarks.copy()
    points[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    points[:, 2] *= np.sqrt(np.abs(np.linalg.det(matrix[:, :2])))
    return replace(face, landmarks=points.astype(np.float32))


def inside(face: Face, frame: Pixels) -> np.ndarray:
    """Return where the middle of a face is in a frame (H,W)."""
    hull = draw_hull(face.landmarks[:468], max(frame.shape))[: frame.shape[0], : frame.shape[1]]
    width = int(np.ptp(face.landmarks[:, 0]))
    return cv2.erode(np.asarray(hull, np.float32), np.ones((width // 4 + 1,) * 2)) > 0.5


def change(before: Pixels, after: Pixels) -> np.ndarray:
    return np.abs(before.astype(int) - after).max(-1)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_mesh_swap_of_a_turned_frame_is_the_turned_swap(
    swapper: Swapper, woman: Face, astronaut: Pixels, quarters: int
) -> None:
    side = len(astronaut) - 1
    turn = {1: [[0, 1, 0], [-1, 0, side]], 2: [[-1, 0, side], [0, -1, side]], 3: [[0, -1, side], [1, 0, 0]]}
    swap = FrameSwapper(swapper).swap
    upright = swap(astronaut, [woman])
    turned = swap(np.rot90(astronaut, quarters).copy(), [moved(woman, np.array(turn[quarters], float))])
    assert change(astronaut, upright)[inside(woman, astronaut)].mean() > 10
    assert change(np.rot90(turned, -quarters), upright)[inside(woman, astronaut)].mean() < 3


def test_mesh_swap_of_a_tiny_face_is_no_sharper_than_its_scene(
    swapper: Swapper, woman: Face, astronaut: Pixels
) -> None:
    scale = 24 / float(np.ptp(woman.landmarks[:, 1]))
    small = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    face = moved(woman, np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]]))
    swapped = FrameSwapper(swapper).swap(small, [face])
    middle = inside(face, small)
    assert change(small, swapped)[middle].mean() > 5
    assert change(small, swapped)[cv2.dilate(middle.astype(np.uint8), np.ones((33, 33))) == 0].max() == 0
    before, after = (laplacian_variance(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), middle) for each in (small, swapped))
    assert after < 1.2 * before


@pytest.mark.parametrize("cut", ["left", "top"])
def test_mesh_swap_at_the_border_changes_what_is_in_the_frame(
    swapper: Swapper, woman: Face, astronaut: Pixels, cut: str
) -> None:
    x, y = woman.landmarks[NOSE, :2].astype(int) - 10
    left, top = (x, 0) if cut == "left" else (0, y)
    frame = np.ascontiguousarray(astronaut[top:, left:])
    face = moved(woman, np.array([[1.0, 0, -left], [0, 1, -top]]))
    swapped = FrameSwapper(swapper).swap(frame, [face])
    whole = FrameSwapper(swapper).swap(astronaut, [woman])[top:, left:]
    seen = inside(woman, astronaut)[top:, left:]
    assert change(frame, swapped)[seen].mean() > 10
    assert change(whole, swapped)[seen].mean() < 0.5 * change(frame, swapped)[seen].mean()


def test_mesh_swap_of_two_faces_side_by_side_gives_each_its_own(
    swapper: Swapper, woman: Face, astronaut: Pixels
) -> None:
    left, right = (int(edge) for edge in (woman.landmarks[:, 0].min() - 8, woman.landmarks[:, 0].max() + 8))
    frame = np.ascontiguousarray(np.concatenate([astronaut[:, left:right]] * 2, 1))
    one, other = (moved(woman, np.array([[1.0, 0, x - left], [0, 1, 0]])) for x in (0, right - left))
    alone, both = FrameSwapper(swapper).swap(frame, [one]), FrameSwapper(swapper).swap(frame, [one, other])
    assert change(alone, both)[inside(one, frame)].max() == 0
    for face in (one, other):
        assert change(frame, both)[inside(face, frame)].mean() > 10


def test_mesh_swap_of_a_crop_without_face_returns_it_bit_equal(swapper: Swapper, astronaut: Pixels) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    crops = np.stack([noise, astronaut[300:428, 10:138], np.full_like(noise, 128)])
    swapped, masks = swapper(crops)
    assert masks.max() == 0
    np.testing.assert_array_equal(swapped, crops)
