"""Specialise the packaged occluder on few painted frames of an unusual thing, and compare before and after.

    python benchmarks/occluder_special.py <folder> [override ...]

The thing is foliage before the man of the carphone sequence, a family that no training draws: 10 frames are painted, by
the drawing itself, and 24 others, with other twigs, are measured. Trains experiment=occluder on the ten. Prints IoU of
the visible face, recall and precision of what covers it, before and after.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facesmith import assets
from facesmith.annotate.prediction import load_occluder
from facesmith.cli.composition import load_config
from facesmith.config.schema import TrainConfig
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry.alignment import invert_transform, warp_face
from facesmith.media.images import write_image
from facesmith.methods.occluder.data import extract_faces
from facesmith.methods.occluder.families import FAMILIES
from facesmith.methods.occluder.families.textures import RandomTextures
from facesmith.methods.occluder.labels import face_mask
from facesmith.methods.occluder.occlusion import RandomOcclusion

ROOT: Final = Path(__file__).resolve().parent.parent
THING: Final = "foliage"
PAINTED, MEASURED, SIZE = 10, 24, 256
SHORT: Final = (  # 60 steps
    *("trainer.max_epochs=12", "trainer.check_val_every_n_epoch=12", "trainer.num_sanity_val_steps=0"),
    *("data.repeats=4", "data.holdout=0.1", "data.validation_faces=1", "data.workers=0", "~callbacks.export"),
)

Planes = NDArray[np.float32]


def main() -> None:
    """Draw, train and print."""
    folder, overrides = Path(sys.argv[1]).resolve(), [*SHORT, *sys.argv[2:]]
    given = [f"paths.face_sets={folder / 'face_sets'}", f"paths.runs={folder}", "data.consent=licensed"]
    man = find_man(folder, given)
    rows = np.linspace(0, len(man) - 1, PAINTED + MEASURED).round().astype(int)
    pictures, masks, landmarks = draw(man, rows)
    spread = np.zeros(len(rows), bool)
    spread[np.linspace(0, len(rows) - 1, PAINTED).round().astype(int)] = True
    source = folder / "painted"
    for number in np.flatnonzero(spread):
        write_image(source / f"{number:02}.png", pictures[number], mark=None)
    given += [f"data.source={source}", "data.name=special", f"data.masks={folder / 'masks'}", *overrides]
    paint(load_config("train", TrainConfig, ["experiment=occluder", *given]), folder / "masks", masks)
    run = folder / "run"
    if not (run / "checkpoints" / "last.ckpt").exists():
        command = [sys.executable, str(ROOT / "train.py"), "experiment=occluder", *given, f"hydra.run.dir={run}"]
        subprocess.run(command, cwd=ROOT, check=True)
    for name, place in (("before", assets.fetch("occluder_general.ckpt")), ("after", run)):
        visible = load_occluder(Path(place))
        found = np.stack([visible(pictures[i], landmarks[i]) for i in np.flatnonzero(~spread)])
        print(f"{name}: {measure(found, masks[~spread], landmarks[~spread])}")


def find_man(folder: Path, given: list[str]) -> FaceSet:
    """Extract the faces of the sequence."""
    settings = ["experiment=occluder_demo", f"paths.face_sets={folder / 'face_sets'}", f"paths.runs={folder}"]
    return extract_faces(load_config("train", TrainConfig, settings).data)


def draw(man: FaceSet, rows: NDArray[np.intp]) -> tuple[NDArray[np.uint8], Planes, Planes]:
    """Draw the thing before faces: pictures (N,S,S,3), visible faces (N,S,S) in 0..1, landmarks (N,478,3)."""
    assert THING in FAMILIES
    occlusion = RandomOcclusion(
        {THING: 1.0}, RandomTextures(), unoccluded=0, second_occluder=0, motion_blur=0, defocus=0
    )
    faces = man.aligned("ffhq_512", SIZE)[rows]
    drawn = [
        occlusion(image, points, np.random.default_rng([7, number]))
        for number, (image, points) in enumerate(zip(faces.images, faces.landmarks, strict=True))
    ]
    hulls = np.stack([face_mask(points, SIZE, 0.0) for points in faces.landmarks])
    visible = np.stack([each.visible for each in drawn]) * hulls
    return np.stack([each.picture for each in drawn]), visible.astype(np.float32), faces.landmarks


def paint(config: TrainConfig, folder: Path, masks: Planes) -> None:
    """Write the masks of the painted pictures, named after the crops of their face set."""
    folder.mkdir(parents=True, exist_ok=True)
    faces = extract_faces(config.data)
    for row, source in enumerate(faces.kept.column("source").to_pylist()):
        mask = np.repeat((masks[int(Path(source).stem)] * 255).astype(np.uint8)[..., None], 3, 2)
        crop = warp_face(mask, invert_transform(faces.to_source(row)), 512)[..., 0] > 127
        Image.fromarray(crop).save(folder / f"{Path(faces.crop_name(row)).stem}.png")


def measure(found: Planes, masks: Planes, landmarks: Planes) -> str:
    """Return IoU of the visible face, recall and precision of what covers it, within the outline."""
    hulls = np.stack([face_mask(points, SIZE, 0.0) for points in landmarks]) > 0.5
    seen, wanted = (found > 0.5) & hulls, (masks > 0.5) & hulls
    hidden, right = hulls & ~wanted, hulls & ~seen & ~wanted
    iou = (seen & wanted).sum() / (seen | wanted).sum()
    return (
        f"IoU {iou:.3f}, recall {right.sum() / hidden.sum():.3f}, precision {right.sum() / (hulls & ~seen).sum():.3f}"
    )


if __name__ == "__main__":
    main()
