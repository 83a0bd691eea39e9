"""Measure occluders on real things in front of real faces: the hand-painted frames of benchmarks/painted.

    python benchmarks/occluder_painted.py [--sheet seen.png] [run, checkpoint or .onnx] ...

Prints, for each occluder (by default the one that ships with the package) and for the bare outline of the landmarks,
the IoU with the painted masks, the IoU of their boundaries, and recall and precision of the occluded part of the face,
all within the outline: painting ends there. An .onnx is also run on the crops alone, as FaceFusion does. Then the same
for each kind of thing. Faces are aligned as task=mask aligns them. Pictures that no source gives are left out, and
named. --sheet: write a picture of all masks.
"""

import argparse
import csv
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from facesmith import assets
from facesmith.annotate.app import open_faces
from facesmith.annotate.canvas import draw_outlines
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.prediction import load_occluder
from facesmith.cli.composition import load_config
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.media.images import write_image
from facesmith.methods.occluder.dataset import FAMILY_NAMES
from facesmith.methods.occluder.labels import face_mask, label_faces
from facesmith.methods.occluder.metrics import MaskMetrics
from facesmith.models.onnx.occlusion import Occluder

ROOT = Path(__file__).resolve().parent
PAINTED = ROOT / "painted"
TABLE = PAINTED / "frames.csv"  # of each mask: what covers the face, who it is, the picture
TEMPLATE, SIZE = "arcface_128", 256
METRICS = ("mask_iou", "boundary_iou", "occluded_recall", "occluded_precision")
COLOURS = ((255, 214, 0), (0, 200, 255))  # painted, predicted

Planes = NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("occluders", nargs="*", type=Path)
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    painted = load_painted(SIZE)
    pictures, landmarks, kind = painted.faces.images, painted.faces.landmarks, painted.kinds
    hulls = np.stack([face_mask(points, SIZE, 0.0) for points in landmarks])
    painted_masks = painted.masks.astype(np.float32) / 255 * hulls
    found = {"the landmarks' outline": hulls}
    for path in given.occluders or [Path("asset:occluder_general.ckpt")]:
        visible = load_occluder(path)
        found[str(path)] = hulls * np.stack([visible(*face) for face in zip(pictures, landmarks, strict=True)])
        if path.suffix == ".onnx":
            found[f"{path}, without landmarks"] = hulls * Occluder(path, "occluder").predict(pictures, SIZE)
    for title in ("", *dict.fromkeys(kind.tolist())):
        chosen = kind == title if title else np.ones(len(kind), np.bool_)
        table = Table(title=f"{chosen.sum()} painted frames {title}", title_justify="left")
        table.add_column("")
        for name in METRICS:
            table.add_column(name, justify="right")
        for name, masks in found.items():
            values = measure(masks[chosen], painted_masks[chosen], hulls[chosen])
            table.add_row(name, *(f"{values[key]:.3f}" for key in METRICS))
        Console(width=140).print(table)
    if given.sheet:
        write_image(given.sheet, sheet(pictures, painted_masks, list(found.values())), mark=None)


@dataclass(frozen=True)
class PaintedFaces:
    """Faces, what is visible of them, and what covers them.

    Attributes:
        faces: N of them.
        masks: (N,S,S) uint8, 255 where the face is visible.
        kinds: (N,) of strings.
    """

    faces: AlignedFaces
    masks: NDArray[np.uint8]
    kinds: NDArray[np.str_]


def load_painted(size: int) -> PaintedFaces:
    """Load the painted faces, aligned at a size in px."""
    with TABLE.open() as table:
        kinds = {row["mask"]: row["kind"] for row in csv.DictReader(table)}
    with tempfile.TemporaryDirectory() as folder:
        faces = open_faces(painter_settings(Path(folder)))
        stems = [Path(faces.crop_name(row)).stem for row in range(len(faces))]
        rows = np.array([row for row, stem in enumerate(stems) if stem in kinds])
        masks = copy_masks([stems[row] for row in rows], Path(folder) / "masks")
        labelled = label_faces(faces, rows, TEMPLATE, size, 0.0, masks)
    return PaintedFaces(labelled.faces, labelled.masks, np.array([kinds[stems[row]] for row in rows]))


def measure(masks: Planes, painted_masks: Planes, hulls: Planes) -> dict[str, float]:
    """Return the values of masks (N,S,S) 0..1 against painted ones; hulls are the uncovered outlines."""
    metrics = MaskMetrics([])
    family = torch.full((len(masks),), FAMILY_NAMES.index("hand"))
    metrics.update(*(torch.from_numpy(planes)[:, None] for planes in (masks, painted_masks, hulls)), family)
    return {name: float(value) for name, value in metrics.compute_and_reset().items()}


def sheet(pictures: NDArray[np.uint8], painted_masks: Planes, found: list[Planes]) -> NDArray[np.uint8]:
    """Draw a column a frame and a row an occluder, painted in yellow, predicted in blue: (H,W,3) RGB uint8."""
    rows = []
    for masks in found:
        both = [
            [(as_mask(plane), colour) for plane, colour in zip(two, COLOURS, strict=True)]
            for two in zip(painted_masks, masks, strict=True)
        ]
        rows.append(np.hstack([draw_outlines(picture, two) for picture, two in zip(pictures, both, strict=True)]))
    seen = np.vstack(rows)
    return np.asarray(cv2.resize(seen, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), np.uint8)


def as_mask(plane: Planes) -> NDArray[np.uint8]:
    """Convert a plane (S,S) in 0..1 to a mask (S,S) uint8."""
    return np.where(plane > 0.5, 255, 0).astype(np.uint8)


def copy_masks(stems: list[str], folder: Path) -> Path:
    """Copy the named masks: a folder may hold none whose picture is left out."""
    folder.mkdir()
    for stem in stems:
        shutil.copy(PAINTED / "masks" / f"{stem}.png", folder)
    return folder


def painter_settings(face_sets: Path) -> AnnotateConfig:
    """Return the painter's settings for the painted frames that are here or can be fetched."""
    with TABLE.open() as table:
        pictures = dict.fromkeys(row["picture"] for row in csv.DictReader(table))
    sources = [str(PAINTED / "frames")]
    for name in pictures:
        if not (PAINTED / "frames" / name).exists():
            try:
                assets.fetch(name)
                sources.append(f"asset:{name}")
            except assets.UnreachableError as error:
                print(f"left out: {error}", file=sys.stderr)
    given = [f"data.source=[{','.join(sources)}]", "data.name=painted", "data.consent=licensed", "data.progress=false"]
    return load_config("annotate", AnnotateConfig, [*given, f"paths.face_sets={face_sets}"])


if __name__ == "__main__":
    main()
