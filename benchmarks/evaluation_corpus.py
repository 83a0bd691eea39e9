"""Our generators, and two trivial ones, by `task=evaluate` on a small corpus out of packages.

    python benchmarks/evaluation_corpus.py --folder corpus                          untrained mesh_warp, and the trivial
    python benchmarks/evaluation_corpus.py --folder corpus --trained man=a.onnx driver=b.onnx    and trained files

Two men of films (`man`: single_face.mp4, `driver`: carphone_pristine.mp4) are put onto 26 pictures of other people; the
gallery are 20 people. `unchanged` is the target itself, `pasted` the source's picture laid over it without regard for
pose, expression and colour: a figure that either of them wins alone does not show that a swap is good. The corpus is
small: its figures are not those of CASIA FaceSwapping or FaceForensics++. Pictures stay in the folder; most of the
people must not be published.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facesmith.assets import fetch
from facesmith.cli.main import main as facesmith
from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.face import Face
from facesmith.faces.geometry.alignment import estimate_alignment, invert_transform, warp_face
from facesmith.media.images import read_image, write_image
from facesmith.media.sampling import evenly_spaced
from facesmith.media.video import open_video
from facesmith.models.onnx.session import load_swapper
from facesmith.tasks.swap.frame_swap import FrameSwapper, MaskOptions
from film_steadiness import as_swapper, build, watch
from unseen_swaps import PORTRAITS

Pixels = NDArray[np.uint8]
Swap = Callable[[Pixels, Sequence[Face]], Pixels]

PEOPLE = {"man": "single_face.mp4", "driver": "carphone_pristine.mp4"}
FILMS = PEOPLE | {"woman": "WolfgangLanger_Pexels.mp4"}
SIZES = (128, 256, 512)
SHOWN = (  # of each set, the columns of the table
    *("top1_dlib", "top1_faceres", "top1_sface", "distance_dlib", "similarity_faceres", "similarity_sface"),
    *(
        "pose_error",
        "expression_error",
        "gaze_error",
        "nme",
        "colour_error",
        "sharpness_target",
        "miss_rate",
        "accepted",
    ),
)


def main() -> None:
    """Print the table."""
    arguments = _arguments()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    folder: Path = arguments.folder
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6)
    if not (folder / "targets").exists():
        make_corpus(folder, analyzer)
    for person in PEOPLE:
        for name, swap in make_swappers(person, folder, analyzer, arguments.trained).items():
            swap_all(folder, name, person, swap, analyzer)
    analyzer.close()
    names = ["unchanged", "pasted", *(f"mesh_warp_{size}" for size in SIZES)]
    names += ["mesh_warp_trained"] * bool(arguments.trained)
    print(f"| {' | '.join(('figure', *names))} |\n|{'---|' * (len(names) + 1)}")
    found = {name: evaluate(folder, name) for name in names}
    for figure in SHOWN:
        print(f"| `{figure}` | {' | '.join(_cell(found[name], figure) for name in names)} |")


def make_corpus(folder: Path, analyzer: MediaPipeAnalyzer) -> None:
    """Cut out the people of portraits, and take six moments of each film: half as targets, half as sources."""
    for name in PORTRAITS:
        picture = read_image(fetch(name))
        for number, face in enumerate(analyzer(picture)):
            left, top, right, bottom = face.box
            rim = 0.8 * (right - left)
            rows, columns = (slice(int(max(a - rim, 0)), int(b + rim)) for a, b in ((top, bottom), (left, right)))
            for part in ("targets", "sources"):
                file = folder / part / f"{Path(name).stem.replace('_', '-')}-{number}.png"
                write_image(file, picture[rows, columns], mark=None)
    for person, name in FILMS.items():
        with open_video(fetch(name)) as reader:
            for number, (_, frame) in enumerate(reader.frames(evenly_spaced(min(len(reader), 70), 6, ends=True))):
                source, target = (
                    folder / "sources" / person / f"{number}.png",
                    folder / "targets" / f"{person}-{number}.png",
                )
                write_image(source if number % 2 else target, frame, mark=None)


def make_swappers(person: str, folder: Path, analyzer: MediaPipeAnalyzer, trained: Sequence[str]) -> dict[str, Swap]:
    """Return what puts a person onto a picture, by name."""
    portrait = read_image(folder / "sources" / person / "3.png")
    own = analyzer(portrait)[0]

    def paste(picture: Pixels, faces: Sequence[Face]) -> Pixels:
        crop = warp_face(portrait, estimate_alignment(own.keypoints, "arcface_128", 256), 256)
        there = invert_transform(estimate_alignment(faces[0].keypoints, "arcface_128", 256))
        size = (picture.shape[1], picture.shape[0])
        inside = cv2.warpAffine(np.full((256, 256), 255, np.uint8), there, size) > 127
        return np.where(inside[..., None], cv2.warpAffine(crop, there, size), picture).astype(np.uint8)

    masks = MaskOptions(("box",), blur=0.3)
    found: dict[str, Swap] = {"unchanged": lambda picture, _: picture, "pasted": paste}
    for size in SIZES:
        film = watch(PEOPLE[person], analyzer, size)
        generator = build(film, argparse.Namespace(size=size, pictures=24, sharpness=1500.0, proportions=0.25))
        found[f"mesh_warp_{size}"] = FrameSwapper(as_swapper(generator, True, []), masks=masks).swap
    files = dict(one.split("=", 1) for one in trained)
    if person in files:
        found["mesh_warp_trained"] = FrameSwapper(load_swapper(Path(files[person])), masks=masks).swap
    return found


def swap_all(folder: Path, name: str, person: str, swap: Swap, analyzer: MediaPipeAnalyzer) -> None:
    """Write a person onto all targets that show somebody else."""
    for target in sorted((folder / "targets").iterdir()):
        file = folder / name / f"{target.stem}_{person}.png"
        if not target.stem.startswith(person) and not file.exists():
            picture = read_image(target)
            write_image(file, swap(picture, analyzer(picture)[:1]), mark=None)


def evaluate(folder: Path, name: str) -> dict[str, dict[str, float]]:
    """Measure a set of swaps."""
    places = [
        f"{key}={folder / place}" for key, place in (("swaps", name), ("targets", "targets"), ("sources", "sources"))
    ]
    output = folder / f"evaluation_{name}"
    if facesmith(["infer", "task=evaluate", *places, "trained_against=[]", f"output={output}"]):
        raise SystemExit(f"{name}: the evaluation failed")
    found: dict[str, dict[str, float]] = json.loads((output / "evaluation.json").read_text())["figures"]
    return found


def _cell(figures: dict[str, dict[str, float]], name: str) -> str:
    one = figures.get(name)
    if one is None:
        return ""
    return f"{one['value']:.3g} ({one['low']:.3g} to {one['high']:.3g})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of corpus, swaps and reports")
    parser.add_argument("--trained", nargs="*", default=[], help="<person>=<file>.onnx")
    return parser.parse_args()


if __name__ == "__main__":
    main()
