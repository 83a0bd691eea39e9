"""Does a swap convince on pictures nobody trained on? `mesh_warp` with nothing trained, onto faces of strangers.

    python benchmarks/unseen.py                  five people, each onto some 40 faces of others
    python benchmarks/unseen.py --sheets DIR     targets and swaps side by side: to look at, not to publish

People: three films and, harder, two single photos. Faces: portraits, a group photo, moments of the other films; among
them heads turned by up to 60 degrees, sunglasses, a hand before the mouth, shut eyes, open mouths. Prints a row a
person: means of the quality gate's figures, and how often the person is the first of all faces in the gallery.
"""

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry import topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.media.images import write_image
from facesmith.media.provenance import Mark
from facesmith.media.sampling import evenly_spaced
from facesmith.metrics.recogniser import SAME_PERSON, HeldOutRecogniser
from facesmith.metrics.swap import SwapEvaluator, SwapPictures
from facesmith.metrics.swap_metrics import PictureMetrics
from spoiling import Swap
from unseen_swaps import make_swaps

TURNED: Final = 0.25  # how far the nose lies from the middle of the cheeks, by their distance: about 30 degrees
SHUT, OPEN = 0.5, 0.3  # blendshapes of a shut eye, of an open jaw
REFERENCE_FRAMES: Final = 16
COLUMNS: Final = ("distance", "similarity", "left_similarity", "expression_seven", "expression", "pose")


def main() -> None:
    """Measure each person on the faces of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheets", type=Path, help="folder for a sheet of targets and swaps a person")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    cv2.setNumThreads(1)
    analyzer, recogniser = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.6), HeldOutRecogniser()
    people, swaps = make_swaps(analyzer)
    gallery = make_gallery(people, swaps, recogniser)
    print(f"{len(swaps)} swaps; gallery of {len(gallery)} faces; turned: heads from 30 degrees on")
    for person, frames in people.items():
        theirs = [swap for swap in swaps if swap.person == person]
        evaluator = SwapEvaluator(analyzer, recogniser, frames)
        rows = evaluator(to_pictures(theirs), [swap.name for swap in theirs]).pictures
        descriptors = recogniser.embed(np.stack([swap.composite for swap in theirs]))
        first = float(np.mean([nearest(each, gallery) == person for each in descriptors]))
        print(f"\n{Path(person).stem}\n  {summarise(rows, theirs, first)}", flush=True)
        for row in sorted(rows, key=lambda row: -row.distance)[:3]:
            print(f"  worst: {row.name} {row.distance:.2f} {row.reason}")
        if arguments.sheets:
            write_sheet(arguments.sheets / f"{Path(person).stem}.png", theirs)
    analyzer.close()


def summarise(rows: list[PictureMetrics], swaps: list[Swap], first: float) -> str:
    """Return a person's figures in words."""
    table = [row.values() for row in rows]
    means = {name: float(np.nanmean(np.abs([row[name] for row in table]))) for name in COLUMNS}
    turned = np.array([is_turned(swap.points) for swap in swaps])
    nme = np.array([row["nme"] for row in table])
    sharp = np.nanmedian([row["sharpness_target"] for row in table])
    same = np.mean([row.distance < SAME_PERSON for row in rows])
    return (
        f"{len(rows)} faces, accepted {np.mean([row.accepted for row in rows]):.2f}; judge {means['distance']:.3f}, "
        f"passes {same:.2f}; SFace {means['similarity']:.3f}, away {means['left_similarity']:.2f}; "
        f"top-1 {first:.2f}; NME {np.nanmean(nme[~turned]):.4f}, turned {np.nanmean(nme[turned]):.4f}; expression "
        f"{means['expression_seven']:.3f} / {means['expression']:.3f}; pose {means['pose']:.2f} degrees; sharpness "
        f"{sharp:.2f} of the target's; misses {int(np.isnan(nme).sum())}; {count_kept(table, swaps)}"
    )


def count_kept(table: list[dict[str, float]], swaps: list[Swap]) -> str:
    """Count shut eyes and open mouths of the targets that are so in the swap."""
    parts = []
    for name, figure, limit, shapes in (
        ("shut eyes", "eyes", SHUT, topology.EYE_BLINK),
        ("open mouths", "mouth", OPEN, [topology.JAW_OPEN]),
    ):
        kept = [
            row[figure] < limit / 2
            for row, swap in zip(table, swaps, strict=True)
            if swap.target.blendshapes[0][shapes].min() > limit
        ]
        parts.append(f"{name} kept {sum(kept)} of {len(kept)}")
    return ", ".join(parts)


def make_gallery(
    people: dict[str, AlignedFaces], swaps: list[Swap], recogniser: HeldOutRecogniser
) -> dict[str, np.ndarray]:
    """Describe every person by the mean of some frames, and every stranger by the face itself."""
    gallery = {}
    for person, frames in people.items():
        some = frames.images[evenly_spaced(len(frames), REFERENCE_FRAMES, ends=True)]
        gallery[person] = recogniser.embed(some).mean(0)
    for swap in swaps:
        label = swap.name.partition(">")[2]
        if label not in gallery and not any(label.startswith(Path(person).stem) for person in people):
            gallery[label] = recogniser.embed(swap.target.images)[0]
    return gallery


def nearest(descriptor: np.ndarray, gallery: dict[str, np.ndarray]) -> str:
    """Return the name of the nearest face of the gallery."""
    return min(gallery, key=lambda name: float(np.linalg.norm(gallery[name] - descriptor)))


def is_turned(points: np.ndarray) -> bool:
    """Return whether a head is turned by some 30 degrees or more; points: (478,3)."""
    left, right, nose = points[234, 0], points[454, 0], points[1, 0]
    return bool(abs(nose - (left + right) / 2) > TURNED * abs(right - left))


def to_pictures(swaps: list[Swap]) -> SwapPictures:
    """Stack swaps as the gate wants them."""
    names = ("truth", "raw", "composite", "mask", "hull")
    stacks = (np.stack([getattr(swap, name) for swap in swaps]) for name in names)
    return SwapPictures(np.concatenate([swap.target.images for swap in swaps]), *stacks)


def write_sheet(path: Path, swaps: list[Swap]) -> None:
    """Write targets above their swaps, eight a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blank = np.zeros_like(swaps[0].composite)
    rows = []
    for start in range(0, len(swaps), 8):
        some = swaps[start : start + 8]
        fill = [blank] * (8 - len(some))
        rows += [np.hstack([*(swap.target.images[0] for swap in some), *fill])]
        rows += [np.hstack([*(swap.composite for swap in some), *fill])]
    mark = Mark(identity="benchmark", consent="licensed", model_hash=None, title="sheet of a benchmark")
    write_image(path, np.vstack(rows), mark=mark)


if __name__ == "__main__":
    main()
