"""Swaps of five people onto faces nobody trained on, as `mesh_warp` makes them untrained. Used by `spoilt_swaps.py`."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facesmith.assets import fetch
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.canonical import build_person_pictures
from facesmith.faces.face import Face, keypoints_from_landmarks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.pseudo_labels.frame_choice import FrameChooser
from facesmith.faces.pseudo_labels.pseudo_truth import build
from facesmith.faces.visibility import find_visible_regions
from facesmith.media.images import read_image
from facesmith.media.video import open_video
from facesmith.models.swapper.generator import composite
from facesmith.models.swapper.mesh_warp import MeshWarp
from spoiling import Swap

SIZE: Final = 256
PICTURES: Final = 24
TEMPLATE: Final = "arcface_128"
PORTRAITS: Final = (
    *("astronaut.png", "t1.jpg", "Tom_Hanks_54745.png", "multi_face.jpg"),
    *("0-f1-su-ph.jpg", "0-f15-hao-ph.jpg", "15-f13-anc-ph.jpg", "45-m7-di-ph.jpg"),
)
FILMS: Final = {"single_face.mp4": 1, "carphone_pristine.mp4": 1, "WolfgangLanger_Pexels.mp4": 4}
"""Films of a person each, and every which frame is looked at."""
PHOTOS: Final = ("astronaut.png", "0-f15-hao-ph.jpg")
"""People of whom there is one photo."""
MOMENTS: Final = 10
_HANDS_IN: Final = "WolfgangLanger_Pexels.mp4"
_HANDS: Final = {  # frame: the hand's outline in the crop, px of 256, drawn by eye
    80: [
        *((43, 256), (46, 217), (54, 200), (69, 186), (86, 166), (100, 153), (111, 150), (123, 157), (143, 160)),
        *((163, 166), (169, 171), (163, 177), (143, 178), (134, 183), (137, 189), (150, 209), (157, 228), (157, 256)),
    ],
    96: [
        *((11, 256), (14, 217), (22, 177), (43, 131), (71, 106), (103, 94), (127, 96), (126, 103), (117, 111)),
        *((137, 111), (147, 117), (146, 124), (127, 140), (143, 137), (147, 144), (143, 153), (123, 171), (106, 194)),
        *((100, 223), (98, 256)),
    ],
    128: [
        *((29, 256), (29, 200), (37, 177), (54, 154), (57, 137), (74, 117), (97, 97), (111, 74), (120, 74), (124, 83)),
        *((132, 97), (131, 111), (127, 131), (114, 148), (106, 171), (108, 180), (128, 148), (143, 137), (150, 140)),
        *((150, 148), (128, 174), (111, 203), (106, 228), (104, 256)),
    ],
    188: [
        *((37, 256), (40, 228), (49, 206), (57, 183), (63, 163), (69, 153), (77, 154), (80, 163), (86, 150), (91, 142)),
        *((100, 142), (104, 150), (111, 151), (118, 157), (118, 171), (114, 188), (111, 206), (108, 217), (113, 228)),
        *((123, 217), (137, 203), (150, 201), (154, 207), (146, 220), (128, 237), (120, 256)),
    ],
}


def make_swaps(analyzer: MediaPipeAnalyzer) -> tuple[dict[str, AlignedFaces], list[Swap]]:
    """Swap each person into all portraits and into moments of the others: the people by name, and the swaps."""
    strangers, names = [], []
    for name in PORTRAITS:
        picture = read_image(fetch(name))
        found = [(picture, face) for face in analyzer(picture)]
        strangers += found
        names += [f"{Path(name).stem}_{number}" for number in range(len(found))]
    portraits = align(strangers)
    films = {name: hide_covered(align(watch(fetch(name), analyzer, every))) for name, every in FILMS.items()}
    people = films | {name: portraits[[names.index(f"{Path(name).stem}_0")]] for name in PHOTOS}
    swaps = []
    for person, faces in people.items():
        others = np.array([not name.startswith(Path(person).stem) for name in names])
        targets, labels = [portraits[others]], [name for name, used in zip(names, others, strict=True) if used]
        for other, theirs in films.items():
            if other != person:
                rows = np.linspace(0, len(theirs) - 1, MOMENTS).astype(int)
                targets.append(theirs[rows])
                labels += [f"{Path(other).stem}_{row}" for row in rows]
        swaps += swap_all(person, faces, AlignedFaces.concat(targets), labels)
    return people, swaps


def swap_all(name: str, person: AlignedFaces, targets: AlignedFaces, labels: list[str]) -> list[Swap]:
    """Swap a person into targets."""
    parts = build_person_pictures(person, min(PICTURES, 2 * len(person)))  # mirror images count
    count = len(parts.pictures)
    generator = MeshWarp(SIZE, count, SIZE, 900.0, mixed=3, proportions=0.25, channels=[16, 32, 48]).eval()
    generator.set_pictures(**{key: torch.from_numpy(part) for key, part in vars(parts).items()})
    given = torch.from_numpy(targets.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    raw, mask, _ = generator(given)
    shown = to_pictures(composite(raw, mask, given)[0])
    faces, covered = to_pictures(raw), mask[:, 0].mul(255).round().byte().numpy()
    judged = build(person, targets, kinds=("target",), progress=False)
    return [
        Swap(f"{Path(name).stem}>{label}", name, targets[i : i + 1], truth, face, cover, result, hull)
        for i, (label, truth, face, cover, result, hull) in enumerate(
            zip(labels, judged.truth, faces, covered, shown, judged.hull, strict=False)
        )
    ]


def hide_covered(faces: AlignedFaces) -> AlignedFaces:
    """Mark what covers the person, as a face set does."""
    canonical = FrameChooser(AlignedFaces.concat([faces, faces.mirror()])).canonical
    return replace(faces, visible=find_visible_regions(faces, canonical))


def read_hands(analyzer: MediaPipeAnalyzer) -> list[tuple[AlignedFaces, NDArray[np.float32]]]:
    """Read the frames in which a hand is before the woman's face, and where it is in each crop, (S,S) 0..1."""
    with open_video(fetch(_HANDS_IN)) as video:
        found = [(frame, analyzer(frame)[0]) for _, frame in video.frames(sorted(_HANDS))]
    faces = align(found)
    hands = []
    for row, outline in enumerate(_HANDS[index] for index in sorted(_HANDS)):
        cover = np.zeros((SIZE, SIZE), np.float32)
        cv2.fillPoly(cover, [np.array(outline, np.int32)], 1.0)
        hands.append((faces[[row]], np.asarray(cv2.GaussianBlur(cover, (0, 0), 1.5), np.float32)))
    return hands


def watch(path: Path, analyzer: MediaPipeAnalyzer, every: int) -> list[tuple[NDArray[np.uint8], Face]]:
    """Find the largest face of every so many frames."""
    with open_video(path) as video:
        frames = video.frames(range(0, len(video), every))
        return [(frame, face) for _, frame in frames for face in analyzer(frame)[:1]]


def align(found: Iterable[tuple[NDArray[np.uint8], Face]]) -> AlignedFaces:
    """Bring faces onto the template."""
    images, landmarks, shapes = [], [], []
    for picture, face in found:
        matrix = estimate_alignment(keypoints_from_landmarks(face.landmarks), TEMPLATE, SIZE)
        images.append(warp_face(picture, matrix, SIZE))
        landmarks.append(transform_points(face.landmarks, matrix).astype(np.float32))
        shapes.append(face.blendshapes)
    return AlignedFaces(np.stack(images), np.stack(landmarks), np.stack(shapes).astype(np.float32), TEMPLATE)


def to_pictures(faces: torch.Tensor) -> NDArray[np.uint8]:
    """Turn (N,3,S,S) -1..1 into (N,S,S,3) uint8."""
    return np.asarray(faces.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())
