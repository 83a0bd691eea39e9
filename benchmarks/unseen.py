"""Does a swap convince on pictures nobody trained on? `mesh_warp` with nothing trained, held against the quality gate.

    python benchmarks/unseen.py                      two people, each onto faces of other people
    python benchmarks/unseen.py --size 128 --grid out.png

People: the men of `single_face.mp4` and of `carphone_pristine.mp4`. Faces: the astronaut, a group photo and a portrait
of actors (numbers only: do not publish `--grid`), and moments of the other man. Prints one row a face, the means, and
the CPU milliseconds of a face in torch on one thread.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import insightface
import numpy as np
import skimage.data
import torch

from facesmith.assets import fetch
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.canonical import build_person_pictures
from facesmith.faces.face import Face, keypoints_from_landmarks
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.pseudo_labels.pseudo_truth import build
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.metrics.recogniser import HeldOutRecogniser
from facesmith.metrics.swap import SwapEvaluator, SwapPictures
from facesmith.models.swapper.generator import composite
from facesmith.models.swapper.mesh_warp import MeshWarp

TEMPLATE = "arcface_128"
PEOPLE = ("single_face.mp4", "carphone_pristine.mp4")
SHAPES = [*topology.EYE_BLINK, topology.JAW_OPEN, *(topology.MOUTH_BLENDSHAPES[i] for i in (4, 5, 14, 15))]


def main() -> None:
    """Measure each person on the faces of the others."""
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    cv2.setNumThreads(1)
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)
    images = Path(insightface.__file__).parent / "data" / "images"
    portraits = [skimage.data.astronaut(), *(read_image(images / name) for name in ("t1.jpg", "Tom_Hanks_54745.png"))]
    strangers = align([face for picture in portraits for face in find(picture, analyzer)], arguments.size)
    people = {name: align(watch(fetch(name), analyzer), arguments.size) for name in PEOPLE}
    rows, pictures = [], []
    for name, person in people.items():
        others = [faces[:: len(faces) // 4][:4] for other, faces in people.items() if other != name]
        targets = AlignedFaces.concat([strangers, *others])
        figures, drawn = measure(person, targets, analyzer, arguments)
        print(f"\n{name}: {len(person)} pictures, {len(targets)} unseen faces\n{figures}")
        rows.append(figures)
        pictures += [np.hstack(list(targets.images)), np.hstack(list(drawn))]
    if arguments.grid:
        width = max(row.shape[1] for row in pictures)
        sheet = np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in pictures])
        mark = Mark(identity="benchmark", consent="licensed", model_hash=None, title="grid of a benchmark")
        write_image(arguments.grid, sheet, mark=mark)
    analyzer.close()


def measure(
    person: AlignedFaces, targets: AlignedFaces, analyzer: MediaPipeAnalyzer, arguments: argparse.Namespace
) -> tuple[str, np.ndarray]:
    """Swap the targets and return the figures as text, and the swapped pictures (N,S,S,3) uint8 RGB."""
    started = time.process_time()
    parts = build_person_pictures(person, arguments.pictures)
    prepared = time.process_time() - started
    generator = MeshWarp(
        arguments.size,
        arguments.pictures,
        arguments.size,
        arguments.sharpness,
        mixed=2,
        proportions=arguments.proportions,
        channels=[16, 32, 48],
    ).eval()
    generator.set_pictures(**{name: torch.from_numpy(part) for name, part in vars(parts).items()})
    target = torch.from_numpy(targets.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    face, mask, _ = generator(target)
    finished = as_bytes(composite(face, mask, target)[0])
    started = time.process_time()
    for _ in range(10):
        generator(target[:1])
    spent = (time.process_time() - started) * 100
    judged = build(person, targets, kinds=("target",), progress=False)
    truth, hull = judged.truth[: len(targets)], judged.hull[: len(targets)]
    swapped = SwapPictures(
        targets.images, truth, as_bytes(face), finished, mask[:, 0].mul(255).round().byte().numpy(), hull
    )
    evaluator = SwapEvaluator(analyzer, HeldOutRecogniser(), person)
    metrics = evaluator(swapped, [str(number) for number in range(len(targets))])
    errors = [
        expression_error(picture, shapes, analyzer)
        for picture, shapes in zip(finished, targets.blendshapes, strict=True)
    ]
    lines = ["face  judge  SFace  NME    eyes   mouth  sharp  expr7  expr52"]
    for row, (few, all_of_them) in zip(metrics.pictures, errors, strict=True):
        numbers = (row.distance, row.similarity, row.nme, row.eyes, row.mouth, row.sharpness, few, all_of_them)
        lines.append(f"{row.name:4s}  " + "  ".join(f"{value:5.3f}" for value in numbers) + f"  {row.reason or 'ok'}")
    columns = np.array(
        [
            (row.distance, row.similarity, row.nme, row.eyes, row.mouth, row.sharpness, *error)
            for row, error in zip(metrics.pictures, errors, strict=True)
        ]
    )
    lines.append("mean  " + "  ".join(f"{value:5.3f}" for value in np.nanmean(columns, 0)))
    lines.append(
        f"accepted {sum(row.accepted for row in metrics.pictures)} of {len(targets)}; "
        f"{prepared:.1f} CPU-s to prepare; {spent:.0f} CPU-ms a face of {arguments.size} px"
    )
    return "\n".join(lines), finished


def expression_error(picture: np.ndarray, wanted: np.ndarray, analyzer: MediaPipeAnalyzer) -> tuple[float, float]:
    """Return the mean difference of seven blendshapes of eyes and mouth, and of all; nan where no face is found."""
    faces = find(picture, analyzer)
    if not faces:
        return np.nan, np.nan
    apart = np.abs(faces[0][1].blendshapes - wanted)
    return float(apart[SHAPES].mean()), float(apart.mean())


def watch(path: Path, analyzer: MediaPipeAnalyzer) -> list[tuple[np.ndarray, Face]]:
    """Find the largest face of each frame."""
    with open_video(path) as video:
        return [face for _, frame in video.frames(range(len(video))) for face in find(frame, analyzer)[:1]]


def find(picture: np.ndarray, analyzer: MediaPipeAnalyzer) -> list[tuple[np.ndarray, Face]]:
    """Return the picture with each of its faces, the largest first."""
    return [(picture, face) for face in analyzer(picture)]


def align(found: Iterable[tuple[np.ndarray, Face]], size: int) -> AlignedFaces:
    """Bring faces onto the template."""
    images, landmarks, shapes = [], [], []
    for picture, face in found:
        matrix = estimate_alignment(keypoints_from_landmarks(face.landmarks), TEMPLATE, size)
        images.append(warp_face(picture, matrix, size))
        landmarks.append(transform_points(face.landmarks, matrix).astype(np.float32))
        shapes.append(face.blendshapes)
    return AlignedFaces(np.stack(images), np.stack(landmarks), np.stack(shapes).astype(np.float32), TEMPLATE)


def as_bytes(pictures: torch.Tensor) -> np.ndarray:
    """Turn (N,3,S,S) -1..1 into (N,S,S,3) uint8."""
    return pictures.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--sharpness", type=float, default=1500.0)
    parser.add_argument("--proportions", type=float, default=0.25)
    parser.add_argument("--grid", type=Path, help="write targets and swaps side by side")
    return parser.parse_args()


if __name__ == "__main__":
    main()
