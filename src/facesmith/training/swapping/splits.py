"""Build training items from face sets, with held-out splits; items are cached beside the person's face set."""

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
from facesmith.faces.pseudo_labels import pseudo_truth
from facesmith.faces.pseudo_labels.training_items import TrainingItems, untouched
from facesmith.files import hold_lock, make_private_folder
from facesmith.media.sampling import evenly_spaced

TEMPLATE: Final = "arcface_128"
# Raised when what is made from the same face sets changes.
_REVISION: Final = 1

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class PseudoTruthOptions:
    """How much pseudo ground truth is made: arguments of `pseudo_truth.build`, and the crops' `size` in px."""

    size: int
    textures: int
    frames: int
    donors: int
    variants: int


@dataclass(frozen=True)
class FaceSubset:
    """Some faces of a face set, by their rows."""

    faces: FaceSet
    rows: Rows

    @classmethod
    def whole(cls, faces: FaceSet) -> "FaceSubset":
        """Create a subset with every face of a set."""
        return cls(faces, np.arange(len(faces)))

    def __len__(self) -> int:
        return len(self.rows)

    def thinned(self, at_most: int) -> "FaceSubset":
        """Return at most so many of the faces, evenly spaced."""
        return FaceSubset(self.faces, self.rows[evenly_spaced(len(self), at_most, ends=True)])

    def aligned(self, size: int) -> AlignedFaces:
        """Return the faces on `arcface_128` at a size in px."""
        return self.faces.aligned(TEMPLATE, size)[self.rows]

    def names(self) -> list[str]:
        """Return the stem of the file that each face comes from."""
        sources = self.faces.kept.column("source").to_pylist()
        return [Path(sources[row]).stem for row in self.rows]


@dataclass(frozen=True)
class ValidationItems:
    """Items to validate on, and the name of the target that each shows."""

    items: TrainingItems
    names: list[str]


@dataclass(frozen=True)
class IdentitySplit:
    """A person's frames and scenes, split into training and held-out.

    Attributes:
        frames: Of the person, to learn from.
        held_out_frames: Of the person, for validation only.
        scenes: Faces of other people, to learn from.
        held_out_scenes: For validation only.
    """

    frames: FaceSubset
    held_out_frames: FaceSubset
    scenes: list[FaceSubset]
    held_out_scenes: list[FaceSubset]

    def training_items(self, options: PseudoTruthOptions, progress: bool) -> TrainingItems:
        """Load the training pairs, or build them.

        Args:
            options: Settings of the pseudo ground truth.
            progress: Show a progress bar.
        """

        def make() -> TrainingItems:
            return pseudo_truth.build(
                self.frames.aligned(options.size),
                _joined(self.scenes, options.size),
                names=_names(self.scenes),
                textures=options.textures,
                frames=options.frames,
                donors=options.donors,
                variants=options.variants,
                progress=progress,
            )

        return self._cached("training", options, [self.frames, *self.scenes], make)

    def seen_targets(self, items: TrainingItems, at_most: int) -> ValidationItems:
        """Choose validation targets among the training targets, without mirrored ones.

        Args:
            items: The training pairs.
            at_most: Maximum number of targets.
        """
        names = _names(self.scenes)
        chosen = evenly_spaced(len(names), at_most, ends=True)
        return ValidationItems(
            _subset(items, np.flatnonzero(items.kind == "target")[chosen]), [names[i] for i in chosen]
        )

    def held_out_targets(self, options: PseudoTruthOptions, at_most: int, progress: bool) -> ValidationItems | None:
        """Load or build held-out targets with their pseudo ground truth.

        Args:
            options: Settings of the pseudo ground truth.
            at_most: Maximum number of targets.
            progress: Show a progress bar.

        Returns:
            The targets; None when none is held out.
        """
        each = -(-at_most // max(1, len(self.held_out_scenes)))
        scenes = [scene.thinned(each) for scene in self.held_out_scenes]
        count = sum(map(len, scenes))
        if not count:
            return None

        def make() -> TrainingItems:
            items = pseudo_truth.build(
                self.frames.aligned(options.size),
                _joined(scenes, options.size),
                names=_names(scenes),
                textures=options.textures,
                frames=1,
                donors=1,
                progress=progress,
            )
            return _subset(items, np.arange(count))

        return ValidationItems(self._cached("held", options, [self.frames, *scenes], make), _names(scenes))

    def held_out_selves(self, items: TrainingItems, at_most: int) -> ValidationItems | None:
        """Choose held-out frames of the person, each its own target.

        Args:
            items: The training pairs.
            at_most: Maximum number of frames.

        Returns:
            The frames; None when none is held out.
        """
        if not len(self.held_out_frames):
            return None
        frames = self.held_out_frames.thinned(at_most)
        return ValidationItems(untouched(frames.aligned(items.size), "self", items), frames.names())

    def _cached(
        self, what: str, options: PseudoTruthOptions, parts: Sequence[FaceSubset], make: Callable[[], TrainingItems]
    ) -> TrainingItems:
        """Load items cached for the same faces and settings; else build them, one process at a time."""
        described: dict[str, Any] = {
            "recipe": asdict(options),
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


def split_frames(faces: FaceSet, share: float) -> tuple[FaceSubset, FaceSubset]:
    """Hold out the last frames of a person, a contiguous stretch of time.

    Args:
        faces: In order of time.
        share: Of them to hold out, 0..1; one is always left.

    Returns:
        What to learn from, and what is held out.
    """
    held = min(len(faces) - 1, round(share * len(faces)))
    rows = np.arange(len(faces))
    return FaceSubset(faces, rows[: len(faces) - held]), FaceSubset(faces, rows[len(faces) - held :])


def split_scenes(faces: FaceSet, holdout: float | Sequence[str]) -> tuple[FaceSubset, FaceSubset]:
    """Hold out targets.

    Args:
        faces: Of all scenes.
        holdout: Stems of the files to hold out, or the share of the files (of the faces, if there is one file) to hold
            out from the end. A share above 0 holds out one at least where there are two.

    Returns:
        What to learn from, and what is held out.

    Raises:
        UserError: No face comes from a named file, or nothing would be left to train on.
    """
    whole = FaceSubset.whole(faces)
    names = np.array(whole.names())
    if isinstance(holdout, float | int):
        files = list(dict.fromkeys(names.tolist()))
        units = names if len(files) > 1 else whole.rows
        order = files if len(files) > 1 else whole.rows.tolist()
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
    return FaceSubset(faces, whole.rows[~held]), FaceSubset(faces, whole.rows[held])


def _subset(items: TrainingItems, rows: Rows) -> TrainingItems:
    """Return some of the items, with all their textures."""
    whole = ("textures", "regions", "core")
    return TrainingItems(
        **{f.name: getattr(items, f.name) if f.name in whole else getattr(items, f.name)[rows] for f in fields(items)}
    )


def _joined(parts: Sequence[FaceSubset], size: int) -> AlignedFaces:
    return AlignedFaces.concat([part.aligned(size) for part in parts])


def _names(parts: Sequence[FaceSubset]) -> list[str]:
    return [name for part in parts for name in part.names()]
