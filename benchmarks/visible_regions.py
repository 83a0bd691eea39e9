"""Find covered regions of faces: the table from which the limits of `faces/visibility.py` are chosen.

    python benchmarks/visible_regions.py

Pictures with known truth: a film of a woman with a hand before her face, every third frame labelled by eye; the same
woman uncovered, the men of `single_face.mp4` and `carphone_pristine.mp4`, with things drawn over every fourth face,
whose landmarks are then found anew. Once as filmed, once each face in a light of its own. Prints for each region the
distances of free and covered ones, the share of the covered that is found (a quarter of the region hidden, or more) and
the false alarms (nothing hidden): by the median picture, and with the packaged occluder too. Then what is found of each
kind of thing, of motion blur, and CPU milliseconds. At last the painted faces of strangers, each judged alone, as where
there are one or two pictures of a person.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from facesmith.assets import fetch
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import keypoints_from_landmarks
from facesmith.faces.geometry import masks
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.geometry.mean_shape import estimate_mean_shape
from facesmith.faces.hidden_share import find_hidden, measure_hidden_shares
from facesmith.faces.visibility import (
    REGIONS,
    MedianPicture,
    find_blurred,
    find_covered,
    measure_distances,
    measure_sharpness,
)
from facesmith.media.video import open_video
from facesmith.methods.occluder.families.textures import RandomTextures
from facesmith.methods.occluder.occlusion import RandomOcclusion
from occluder_painted import load_painted

HAND: Final = "WolfgangLanger_Pexels.mp4"
FILMS: Final = {HAND: 3, "single_face.mp4": 1, "carphone_pristine.mp4": 2}  # every so manieth frame
FAMILIES: Final = ("hand", "held", "food", "cloth", "hair", "glasses", "sunglasses", "microphone", "shape")
SIZE: Final = 128
FREE, COVERED, UNSURE = 0, 1, -1
# first and last row of HAND, and eyes, nose, mouth, cheeks as the eye sees them; the forehead is free throughout
LABELS: Final = (
    (19, 19, FREE, FREE, UNSURE, UNSURE),
    (20, 30, FREE, FREE, COVERED, COVERED),
    (31, 31, UNSURE, UNSURE, COVERED, COVERED),
    (32, 32, COVERED, COVERED, COVERED, COVERED),
    (33, 47, UNSURE, COVERED, COVERED, COVERED),
    (48, 49, FREE, COVERED, COVERED, COVERED),
    (50, 75, FREE, UNSURE, COVERED, COVERED),
    (76, 76, FREE, FREE, UNSURE, UNSURE),
)
FIRST_UNCOVERED: Final = 77


@dataclass(frozen=True)
class Scene:
    """Faces of one person.

    Attributes:
        name: What covers them, or "film".
        faces: N of them.
        truth: (N,5) FREE, COVERED or UNSURE.
    """

    name: str
    faces: AlignedFaces
    truth: np.ndarray


def main() -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    with closing(MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)) as analyzer:
        films = {name: watch(fetch(name), step, analyzer) for name, step in FILMS.items()}
        rng = np.random.default_rng(0)
        filmed = [Scene("film", faces, labels(name, len(faces))) for name, faces in films.items()]
        drawn = [
            draw(family, faces[FIRST_UNCOVERED:] if name == HAND else faces, analyzer, rng)
            for name, faces in films.items()
            for family in FAMILIES
        ]
    for title, scenes in (
        ("as filmed", filmed),
        ("each face in a light of its own", [relight(scene, rng) for scene in filmed]),
        ("things drawn over every fourth face", drawn),
        ("things drawn, each face in a light of its own", [relight(scene, rng) for scene in drawn]),
    ):
        print(f"\n{title}")
        report(scenes)
    blur(filmed)
    report_alone()


def watch(path: Path, step: int, analyzer: MediaPipeAnalyzer) -> AlignedFaces:
    """Align the largest face of every so manieth frame."""
    images, landmarks, shapes = [], [], []
    with open_video(path) as video:
        for _, frame in video.frames(range(0, len(video), step)):
            face = analyzer(frame)[0]
            matrix = estimate_alignment(keypoints_from_landmarks(face.landmarks), "arcface_128", SIZE)
            images.append(warp_face(frame, matrix, SIZE))
            landmarks.append(transform_points(face.landmarks, matrix).astype(np.float32))
            shapes.append(face.blendshapes)
    return AlignedFaces(np.stack(images), np.stack(landmarks), np.stack(shapes), "arcface_128")


def labels(film: str, count: int) -> np.ndarray:
    """Return what the eye sees of a film, (count,5)."""
    truth = np.full((count, len(REGIONS)), FREE)
    if film == HAND:
        for first, last, *regions in LABELS:
            truth[first : last + 1, :4] = regions
    return truth


def draw(family: str, faces: AlignedFaces, analyzer: MediaPipeAnalyzer, rng: np.random.Generator) -> Scene:
    """Draw a thing over every fourth of some sixty faces; where no face is found then, it is left out."""
    faces = faces[:: max(1, len(faces) // 60)]
    cover = RandomOcclusion(
        {family: 1}, RandomTextures(), unoccluded=0, second_occluder=0, motion_blur=0.3, defocus=0.3
    )
    images, landmarks, kept = faces.images.copy(), faces.landmarks.copy(), np.ones(len(faces), np.bool_)
    truth = np.full((len(faces), len(REGIONS)), FREE)
    for row in rng.choice(len(faces), len(faces) // 4, replace=False):
        covered = cover(images[row], landmarks[row], rng)
        parts = masks.divide_face(landmarks[row], SIZE)
        hidden = np.array([1 - covered.visible[part].mean() if part.any() else 0.0 for part in parts])
        truth[row] = np.select([hidden >= 0.25, hidden <= 0.02], [COVERED, FREE], UNSURE)
        images[row] = covered.picture
        (found,) = analyzer.find_landmarks([covered.picture])
        kept[row] = found is not None
        if found is not None:
            landmarks[row] = found[0]
    return Scene(family, AlignedFaces(images, landmarks, faces.blendshapes, faces.template)[kept], truth[kept])


def relight(scene: Scene, rng: np.random.Generator) -> Scene:
    """Light each face from a side of its own, up to 1.6 there and .4 opposite, with gamma and a colour cast."""
    axis = np.linspace(-0.5, 0.5, SIZE)
    images = []
    for image in scene.faces.images:
        angle, amount = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.6)
        light = 1 + 2 * amount * np.add.outer(axis * np.sin(angle), axis * np.cos(angle))
        lit = (image / 255) ** rng.uniform(0.7, 1.4) * np.clip(light, 0.15, 2)[..., None] * rng.uniform(0.85, 1.15, 3)
        images.append(np.clip(lit * 255, 0, 255).astype(np.uint8))
    faces = scene.faces
    return Scene(
        scene.name, AlignedFaces(np.stack(images), faces.landmarks, faces.blendshapes, faces.template), scene.truth
    )


def report(scenes: list[Scene]) -> None:
    """Print the table of some scenes."""
    started = time.process_time()
    distances = [measure(scene.faces) for scene in scenes]
    total = sum(len(scene.faces) for scene in scenes)
    spent, started = (time.process_time() - started) / total, time.process_time()
    shares = [measure_hidden_shares(scene.faces) for scene in scenes]
    spent_too = (time.process_time() - started) / total
    found = np.concatenate([find_covered(distance) for distance in distances])
    both = found | np.concatenate([find_hidden(share - np.median(share, axis=0)) for share in shares])
    truth, distance = np.concatenate([scene.truth for scene in scenes]), np.concatenate(distances)
    names = np.concatenate([np.full(len(scene.faces), scene.name) for scene in scenes])
    print("region    free: median  98 %   max    covered: 5 %  median   found (and too)   false alarms (and too)")
    for number, region in enumerate(REGIONS):
        free, covered = truth[:, number] == FREE, truth[:, number] == COVERED
        far, near = distance[covered, number], distance[free, number]
        columns = [f"{np.median(near):12.3f} {np.quantile(near, 0.98):6.3f} {near.max():6.3f}"]
        if covered.any():
            hits, too = found[covered, number], both[covered, number]
            shares_found = f"{hits.mean():4.0%} ({too.mean():4.0%}) of {len(hits):4d}"
            columns.append(f"{np.quantile(far, 0.05):13.3f} {np.median(far):7.3f}   {shares_found}")
        else:
            columns.append(" " * 43)
        alarms = f"{found[free, number].mean():5.1%} ({both[free, number].mean():5.1%})"
        print(f"{region:9s}{'  '.join(columns)}   {alarms} of {free.sum():4d}")
    if len(np.unique(names)) > 1:
        print("; ".join(families(names, truth, found, both)))
    print(f"{spent * 1e3:.1f} CPU-ms a face, and {spent_too * 1e3:.1f} of the occluder")


def families(names: np.ndarray, truth: np.ndarray, found: np.ndarray, both: np.ndarray) -> Iterator[str]:
    """Yield what is found of each thing, all regions together."""
    for name in np.unique(names):
        covered = (truth == COVERED) & (names == name)[:, None]
        yield f"{name} {found[covered].mean():.0%} ({both[covered].mean():.0%}) of {covered.sum()}"


def report_alone() -> None:
    """Print what is found of painted faces, each judged alone."""
    painted = load_painted(SIZE)
    hidden = find_hidden(measure_hidden_shares(painted.faces))
    parts = [masks.divide_face(points, SIZE) for points in painted.faces.landmarks]
    covered = np.array(
        [
            [(mask[part] < 128).mean() if part.any() else 0.0 for part in own]
            for mask, own in zip(painted.masks, parts, strict=True)
        ]
    )
    print(f"\n{len(painted.masks)} painted faces of strangers, each alone")
    for number, region in enumerate(REGIONS):
        far, near = covered[:, number] >= 0.25, covered[:, number] <= 0.02
        hits, alarms = hidden[far, number], hidden[near, number]
        told = f"found {hits.mean():4.0%} of {len(hits):3d}   false alarms {alarms.mean():5.1%} of {len(alarms):3d}"
        print(f"{region:9s}{told}")


def measure(faces: AlignedFaces) -> np.ndarray:
    """Measure the distances (N,5) of faces."""
    return measure_distances(faces, MedianPicture.estimate(faces, estimate_mean_shape(faces)))


def blur(scenes: list[Scene]) -> None:
    """Print how many faces are found blurred when every fourth moves by a share of the crop."""
    print("\nmotion over a share of the crop: faces with a blurred region, and false alarms")
    for share in (0.04, 0.06, 0.08):
        kernel = np.zeros((15, 15), np.float32)
        reach = share * SIZE / 2
        cv2.line(kernel, (round(7 - reach), 7), (round(7 + reach), 9), 1.0, 1, cv2.LINE_AA)
        hits, alarms = [], []
        for scene in scenes:
            moved = np.arange(len(scene.faces)) % 4 == 0
            images = scene.faces.images.copy()
            images[moved] = [cv2.filter2D(image, -1, kernel / kernel.sum()) for image in images[moved]]
            faces = AlignedFaces(images, scene.faces.landmarks, scene.faces.blendshapes, scene.faces.template)
            found = np.asarray(find_blurred(measure_sharpness(faces)).any(1))
            hits.append(found[moved])
            alarms.append(found[~moved])
        print(f"{share:.0%}: {np.concatenate(hits).mean():.0%}, {np.concatenate(alarms).mean():.1%}")


if __name__ == "__main__":
    main()
