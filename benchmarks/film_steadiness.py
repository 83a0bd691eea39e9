"""Is a swapped film as steady as the film it was? `mesh_warp`, nothing trained, by where its landmarks come from.

    python benchmarks/film_steadiness.py                               two men, each with the other's face
    python benchmarks/film_steadiness.py --films a.mp4 --people b.mp4 --sheet folder/

For each film and person it prints a row for each source of landmarks: the network inside the model, on every crop
alone; the analyzer's, fed as found; and the same smoothed along time, as `task=swap` does it. Crops are placed by
smoothed landmarks but in the second row.

jitter    the swap's by the target's own (`faces.measures.jitter`), landmarks found anew in both
change    of the inner face from frame to frame, on an aligned crop, by the target's own: mean, and 95th percentile
switched  share of frames in which another picture is the most used one: eyes, mouth, the rest
blinks    of the target: in how many of these frames the swap's eyes are shut too; and blinks of the swap's own
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.signal import find_peaks

from facesmith.assets import fetch
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.canonical import build_person_pictures
from facesmith.faces.face import Face
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, invert_transform, transform_points, warp_face
from facesmith.faces.geometry.masks import hull_mask
from facesmith.faces.measures import jitter
from facesmith.faces.tracking.stream import DetectedFrame, StreamTracker
from facesmith.faces.tracking.tracker import make_thumbnail
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.media.video import open_video
from facesmith.models.onnx.info import LANDMARKS, MASK, OUTPUT, TARGET, Floats, SwapperInfo
from facesmith.models.onnx.session import Swapper
from facesmith.models.swapper.generator import composite
from facesmith.models.swapper.mesh_warp import MeshWarp
from facesmith.tasks.swap.frame_swap import FrameSwapper, MaskOptions

Pixels = np.ndarray
TEMPLATE = "arcface_128"
FILMS = ("single_face.mp4", "carphone_pristine.mp4")
SMOOTHING = SmoothingConfig(window_seconds=0.25, polyorder=2)  # those of task=swap
MAX_GAP = 0.4
BLINK = 0.2  # by how much the blendshape rises


@dataclass(frozen=True)
class Film:
    """A film, its one face in each frame as found and smoothed along time, and how the smoothed one is aligned."""

    name: str
    times: np.ndarray
    frames: list[Pixels]
    found: list[Face]
    smooth: list[Face]
    matrices: list[np.ndarray]

    def crops(self, frames: Sequence[Pixels], size: int) -> Pixels:
        """Return the aligned faces of frames, (N,S,S,3)."""
        return np.stack([warp_face(frame, matrix, size) for frame, matrix in zip(frames, self.matrices, strict=True)])


@dataclass(frozen=True)
class Seen:
    """What is measured on a film: landmarks (N,478,2) px of the frame, blinks (N,), change (N-1,)."""

    points: np.ndarray
    blink: np.ndarray
    change: np.ndarray


def main() -> None:
    """Print the table."""
    arguments = _arguments()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    cv2.setNumThreads(1)
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)
    films = {name: watch(name, analyzer, arguments.size) for name in {*arguments.films, *arguments.people}}
    print("| film | wears the face of | landmarks | jitter | change | 95 % | switched | blinks |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.films:
        film = films[name]
        was = look(film, film.frames, analyzer, arguments.size)
        for person in arguments.people:
            if person != name:
                compare(film, was, films[person].name, build(films[person], arguments), analyzer, arguments)
    analyzer.close()


def compare(
    film: Film, was: Seen, name: str, generator: MeshWarp, analyzer: MediaPipeAnalyzer, arguments: argparse.Namespace
) -> None:
    """Print a row for each source of landmarks, and draw the last."""
    sources = {
        "the model's own": (film.smooth, False),
        "fed, as found": (film.found, True),
        "fed, smoothed": (film.smooth, True),
    }
    for source, (faces, fed) in sources.items():
        used: list[Floats] = []
        swapper = FrameSwapper(as_swapper(generator, fed, used), masks=MaskOptions(("box",), blur=0.3))
        swapped = [swapper.swap(frame, [face]) for frame, face in zip(film.frames, faces, strict=True)]
        now = look(film, swapped, analyzer, arguments.size)
        shake = np.nanmean(jitter(film.times, now.points)) / np.nanmean(jitter(film.times, was.points))
        change = now.change / np.maximum(was.change, 0.5)  # below half a level it is noise of the codec
        best = np.stack(used).argmax(-1)  # (frames,3)
        switched = ", ".join(f"{share:.2f}" for share in (best[1:] != best[:-1]).mean(0))
        row = (film.name, name, source, f"{shake:.2f}", f"{change.mean():.2f}", f"{np.quantile(change, 0.95):.2f}")
        print("| " + " | ".join((*row, switched, blinks(was.blink, now.blink))) + " |", flush=True)
        if arguments.sheet:
            draw(film, swapped, arguments.sheet / f"{film.name}_{name}_{source[-8:]}.png", arguments.size)


def as_swapper(generator: MeshWarp, fed: bool, used: list[Floats]) -> Swapper:
    """Return a generator as `task=swap` runs it; how much of each picture it took of a crop is appended to `used`."""

    def run(feed: Mapping[str, Floats]) -> Mapping[str, Floats]:
        target = torch.from_numpy(feed[TARGET])
        landmarks = torch.from_numpy(feed[LANDMARKS]) if LANDMARKS in feed else None
        face, mask, aux = generator(target, None, landmarks)
        picture, changed = composite(face, mask, target)
        used.append(aux["mix"][0].numpy())
        return {OUTPUT: picture.numpy(), MASK: changed.numpy()}

    return Swapper(SwapperInfo(TEMPLATE, generator.size, consent="licensed", takes_landmarks=fed), run)


def watch(name: str, analyzer: MediaPipeAnalyzer, size: int) -> Film:
    """Find the largest face of each frame, as found and as `task=swap` smooths it; frames without one are left out."""
    path = Path(name) if Path(name).is_file() else fetch(name)
    with open_video(path) as video:
        seen = [(float(video.times[i]), frame, analyzer(frame)[:1]) for i, frame in video.frames(range(len(video)))]
    kept = [(time, frame, faces) for time, frame, faces in seen if faces]
    detected = [DetectedFrame(i, time, make_thumbnail(frame), faces) for i, (time, frame, faces) in enumerate(kept)]
    tracked = StreamTracker[int](smoothing=SMOOTHING, max_gap=MAX_GAP)(detected)
    smooth = [next(iter(one.faces.values())) for one in tracked]
    return Film(
        name=path.stem,
        times=np.array([time for time, _, _ in kept]),
        frames=[frame for _, frame, _ in kept],
        found=[faces[0] for _, _, faces in kept],
        smooth=smooth,
        matrices=[estimate_alignment(face.keypoints, TEMPLATE, size) for face in smooth],
    )


def look(film: Film, frames: Sequence[Pixels], analyzer: MediaPipeAnalyzer, size: int) -> Seen:
    """Measure the face of each frame, where the film has it."""
    crops = film.crops(frames, size)
    found = analyzer.find_landmarks(list(crops))
    points = np.full((len(frames), topology.LANDMARKS, 2), np.nan, np.float32)
    blink = np.full(len(frames), np.nan)
    for i, (one, matrix) in enumerate(zip(found, film.matrices, strict=True)):
        if one is not None:
            points[i] = transform_points(one[0], invert_transform(matrix))[:, :2]
            blink[i] = one[1][topology.EYE_BLINK].mean()
    inside = [
        cv2.erode(hull_mask(transform_points(face.landmarks, matrix), size), np.ones((size // 8,) * 2)) > 0.5
        for face, matrix in zip(film.smooth, film.matrices, strict=True)
    ]
    apart = np.abs(np.diff(crops.astype(np.float32), axis=0)).mean(-1)
    change = np.array([each[area].mean() for each, area in zip(apart, inside[1:], strict=True)])
    return Seen(points, blink, change)


def blinks(was: np.ndarray, now: np.ndarray) -> str:
    """Return in how many of the frames in which the target blinks the swap does, and how often it does by itself."""
    wanted, made = peaks(was), peaks(now)
    shut, meant = (each - np.nanmedian(each) > BLINK / 2 for each in (now, was))
    kept = sum(bool(shut[frame]) for frame in wanted)
    own = sum(not meant[max(frame - 1, 0) : frame + 2].any() for frame in made)
    return f"{kept} of {len(wanted)}, {own} more"


def peaks(blink: np.ndarray) -> set[int]:
    """Return the frames in which eyes are shut the most: peaks well above what is around them."""
    found, _ = find_peaks(np.nan_to_num(blink), prominence=BLINK, wlen=31)
    return {int(frame) for frame in found}


def build(film: Film, arguments: argparse.Namespace) -> MeshWarp:
    """Make a model of the person of a film, untrained."""
    images = film.crops(film.frames, arguments.size)
    landmarks = [
        transform_points(face.landmarks, matrix) for face, matrix in zip(film.smooth, film.matrices, strict=True)
    ]
    shapes = np.stack([face.blendshapes for face in film.smooth]).astype(np.float32)
    person = AlignedFaces(images, np.stack(landmarks).astype(np.float32), shapes, TEMPLATE)
    generator = MeshWarp(
        arguments.size,
        arguments.pictures,
        arguments.size,
        arguments.sharpness,
        mixed=3,
        proportions=arguments.proportions,
        channels=[16, 32, 48],
    ).eval()
    parts = build_person_pictures(person, arguments.pictures)
    generator.set_pictures(**{name: torch.from_numpy(part) for name, part in vars(parts).items()})
    return generator


def draw(film: Film, swapped: Sequence[Pixels], path: Path, size: int) -> None:
    """Write every fourth frame's crop, the target above the swap, twelve in a row."""
    pairs = np.concatenate([film.crops(film.frames, size), film.crops(swapped, size)], 1)[::4]
    blank = np.zeros((-len(pairs) % 12, *pairs.shape[1:]), np.uint8)
    rows = np.concatenate([pairs, blank]).reshape(-1, 12, *pairs.shape[1:])
    sheet = np.concatenate([np.concatenate(list(row), 1) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = Mark(identity="benchmark", consent="licensed", model_hash=None, title="sheet of a benchmark")
    write_image(path, sheet, mark=mark)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", nargs="+", default=FILMS, help="assets or files")
    parser.add_argument("--people", nargs="+", default=FILMS, help="films of those whose faces are worn")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--sharpness", type=float, default=900.0)
    parser.add_argument("--proportions", type=float, default=0.25)
    parser.add_argument("--sheet", type=Path, help="folder for contact sheets; do not publish those of stock films")
    return parser.parse_args()


if __name__ == "__main__":
    main()
