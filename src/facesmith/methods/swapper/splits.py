"""From face sets to training items: who is held out, what is made once and kept beside the person's face set."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import facesmith
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.masks import outline_mask
from facesmith.faces.pseudo_labels import pseudo_truth
from facesmith.faces.pseudo_labels.training_items import TrainingItems
from facesmith.files import hold_lock, make_private_folder

TEMPLATE: Final = "arcface_128"
# Raised when what is made from the same face sets changes.
_REVISION: Final = 1

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Recipe:
    """How much pseudo ground truth is made; the arguments of `pseudo_truth.build`, and the crops' `size` in px."""

    size: int
    textures: int
    frames: int
    donors: int
    variants: int


@dataclass(frozen=True)
class Part:
    """Some faces of a face set."""

    faces: FaceSet
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def aligned(self, size: int) -> AlignedFaces:
        """Return the faces at a size."""
        return self.faces.aligned(TEMPLATE, size)[self.rows]

    def names(self) -> list[str]:
        """Name each face after the file it comes from."""
        sources = self.faces.kept.column("source").to_pylist()
        return [Path(sources[row]).stem for row in self.rows]


@dataclass(frozen=True)
class Checked:
    """Items to validate on, and the name of the target each shows."""

    items: TrainingItems
    names: list[str]


@dataclass(frozen=True)
class Cast:
    """A person, the frames to learn from and to check on, and the scenes to learn from and to check on."""

    frames: Part
    held_frames: Part
    scenes: list[Part]
    held_scenes: list[Part]

    def training(self, recipe: Recipe, progress: bool) -> TrainingItems:
        """Return the items to learn from."""

        def make() -> TrainingItems:
            return pseudo_truth.build(
                self.frames.aligned(recipe.size),
                _joined(self.scenes, recipe.size),
                names=[name for scene in self.scenes for name in scene.names()],
                textures=recipe.textures,
                frames=recipe.frames,
                donors=recipe.donors,
                variants=recipe.variants,
                progress=progress,
            )

        return self._kept("training", recipe, [self.frames, *self.scenes], make)

    def seen(self, items: TrainingItems, at_most: int) -> Checked:
        """Choose the targets that are trained on, unmirrored, from the items to learn from."""
        names = [name for scene in self.scenes for name in scene.names()]
        chosen = spread(len(names), at_most)
        return Checked(subset(items, np.flatnonzero(items.kind == "P")[chosen]), [names[i] for i in chosen])

    def held_targets(self, recipe: Recipe, at_most: int, progress: bool) -> Checked | None:
        """Return the targets that are never trained on with their pseudo truth, or None when none is held out."""
        parts = [Part(p.faces, p.rows[spread(len(p), -(-at_most // len(self.held_scenes)))]) for p in self.held_scenes]
        count = sum(map(len, parts))
        if not count:
            return None

        def make() -> TrainingItems:
            items = pseudo_truth.build(
                self.frames.aligned(recipe.size),
                _joined(parts, recipe.size),
                names=[name for part in parts for name in part.names()],
                textures=recipe.textures,
                frames=1,
                donors=1,
                progress=progress,
            )
            return subset(items, np.arange(count))

        names = [name for part in parts for name in part.names()]
        return Checked(self._kept("held", recipe, [self.frames, *parts], make), names)

    def held_items(self, items: TrainingItems, at_most: int) -> Checked | None:
        """Return the person's held-out frames as their own targets, or None when none is held out."""
        if not len(self.held_frames):
            return None
        part = Part(self.held_frames.faces, self.held_frames.rows[spread(len(self.held_frames), at_most)])
        faces = part.aligned(items.size)
        hulls = np.stack([np.rint(outline_mask(points, faces.size) * 255) for points in faces.landmarks]).astype(
            np.uint8
        )
        count = len(faces)
        own = TrainingItems(
            target=faces.images,
            truth=faces.images,
            hull=hulls,
            alpha=hulls,
            canonical=np.zeros((count, faces.size, faces.size, 2), np.float16),
            kind=np.full(count, "I"),
            who=np.full(count, -1),
            labels=np.zeros((count, 3), np.int64),
            textures=items.textures,
            regions=items.regions,
            core=items.core,
        )
        return Checked(own, part.names())

    def _kept(
        self, what: str, recipe: Recipe, parts: Sequence[Part], make: Callable[[], TrainingItems]
    ) -> TrainingItems:
        """Load what was made before from the same faces in the same way; else make it, one process at a time."""
        described: dict[str, Any] = {
            "recipe": asdict(recipe),
            "parts": [[part.faces.key, part.rows.tolist()] for part in parts],
            "version": [facesmith.__version__, _REVISION],
        }
        key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        path = self.frames.faces.path / "training" / f"{what}_{key}.npz"
        make_private_folder(path.parent)
        with hold_lock(path):
            if path.exists():
                return TrainingItems.load(path)
            items = make()
            items.save(path)
            return items


def split_frames(faces: FaceSet, share: float) -> tuple[Part, Part]:
    """Hold out the last `share` of a person's frames: a stretch of time that training has not seen a moment of."""
    held = min(len(faces) - 1, round(share * len(faces)))
    rows = np.arange(len(faces))
    return Part(faces, rows[: len(faces) - held]), Part(faces, rows[len(faces) - held :])


def split_scenes(faces: FaceSet, holdout: float | Sequence[str]) -> tuple[Part, Part]:
    """Hold out targets: the files of the given stems, or the last share of the files (of the faces, if there is one).

    A share above 0 holds out one at least where there are two. Raises UserError for a stem no kept face comes from, and
    when nothing would be left to train on.
    """
    everything = Part(faces, np.arange(len(faces)))
    names = np.array(everything.names())
    if isinstance(holdout, float | int):
        files = list(dict.fromkeys(names.tolist()))
        units = names if len(files) > 1 else everything.rows
        order = files if len(files) > 1 else everything.rows.tolist()
        count = min(len(order) - 1, max(1, round(holdout * len(order)))) if holdout else 0
        held = np.isin(units, order[len(order) - count :])
    else:
        unknown = sorted(set(holdout) - set(names.tolist()))
        if unknown:
            known = ", ".join(sorted(set(names.tolist()))[:12])
            raise UserError(f"data.holdout: no target face comes from {', '.join(unknown)}; there are {known}")
        held = np.isin(names, list(holdout))
        if held.all():
            raise UserError("data.holdout: holds out every target; leave at least one to train on")
    return Part(faces, everything.rows[~held]), Part(faces, everything.rows[held])


def spread(count: int, at_most: int) -> Rows:
    """Choose at most `at_most` of `count` rows, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, at_most)).round().astype(np.intp)) if count else np.arange(0)


def subset(items: TrainingItems, rows: Rows) -> TrainingItems:
    """Return some of the items, with all their textures."""
    whole = ("textures", "regions", "core")
    return TrainingItems(
        **{f.name: getattr(items, f.name) if f.name in whole else getattr(items, f.name)[rows] for f in fields(items)}
    )


def _joined(parts: Sequence[Part], size: int) -> AlignedFaces:
    return AlignedFaces.concat([part.aligned(size) for part in parts])
