"""Build training items from face sets, with held-out splits; items are cached beside the person's face set."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
_REVISION: Final = 3
_OF_FRAMES: Final = ("reversed", "self")  # kinds of pairs whose target is a frame of the person

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class PseudoTruthOptions:
    """What pseudo ground truth is made: arguments of `pseudo_truth.build`, and the crops' `size` in px."""

    size: int
    kinds: tuple[str, ...]
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
        return self.faces.aligned(TEMPLATE, size, self.rows)

    def some(self, positions: Rows) -> "FaceSubset":
        """Return the faces at those of the positions that exist."""
        return FaceSubset(self.faces, self.rows[positions[(positions >= 0) & (positions < len(self))]])

    def names(self) -> list[str]:
        """Return the stem of the file that each face comes from."""
        sources = self.faces.kept.column("source").to_pylist()
        return [Path(sources[row]).stem for row in self.rows]

    def labels(self) -> list[str]:
        """Return what to call each face in a table: its file, and of a video the minute and second."""
        sources = self.faces.kept.column("source").to_pylist()
        times = self.faces.times[self.rows]
        named = zip((Path(sources[row]).name for row in self.rows), times, strict=True)
        return [name if np.isnan(time) else f"{name} {int(time) // 60}:{int(time) % 60:02d}" for name, time in named]


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
        donors: Faces of other people, where there are no scenes: the person's frames wear them, and they are validated
            on, but nobody learns to be put into them.
    """

    frames: FaceSubset
    held_out_frames: FaceSubset
    scenes: list[FaceSubset]
    held_out_scenes: list[FaceSubset]
    donors: list[FaceSubset] = field(default_factory=list)

    def training_items(self, options: PseudoTruthOptions, progress: bool) -> TrainingItems:
        """Load the training pairs, or build them.

        Args:
            options: Settings of the pseudo ground truth.
            progress: Show a progress bar.
        """
        others = self.scenes or self.donors
        kinds = options.kinds if self.scenes else tuple(kind for kind in options.kinds if kind in _OF_FRAMES)

        def make() -> TrainingItems:
            return pseudo_truth.build(
                self.frames.aligned(options.size),
                _joined(others, options.size),
                names=_names(others),
                kinds=kinds,
                frames=options.frames,
                donors=options.donors,
                variants=options.variants,
                progress=progress,
            )

        return self._cached("training", {**asdict(options), "kinds": kinds}, [self.frames, *others], make)

    def seen_targets(self, size: int, at_most: int, progress: bool) -> ValidationItems:
        """Load or build targets that are trained on, or that the person's frames wear, with their pseudo ground truth.

        Args:
            size: Of the crops, px.
            at_most: Maximum number of targets.
            progress: Show a progress bar.
        """
        others = self.scenes or self.donors
        ends = np.cumsum([len(part) for part in others])
        chosen = np.array(evenly_spaced(int(ends[-1]), at_most, ends=True))
        parts = [part.some(chosen - (end - len(part))) for part, end in zip(others, ends, strict=True)]
        return self._targets("seen", parts, size, progress)

    def held_out_targets(self, size: int, at_most: int, progress: bool) -> ValidationItems | None:
        """Load or build held-out targets with their pseudo ground truth.

        Args:
            size: Of the crops, px.
            at_most: Maximum number of targets.
            progress: Show a progress bar.

        Returns:
            The targets; None when none is held out.
        """
        each = -(-at_most // max(1, len(self.held_out_scenes)))
        scenes = [scene.thinned(each) for scene in self.held_out_scenes]
        return self._targets("held", scenes, size, progress) if any(map(len, scenes)) else None

    def held_out_selves(self, size: int, at_most: int) -> ValidationItems | None:
        """Choose held-out frames of the person, each its own target.

        Args:
            size: Of the crops, px.
            at_most: Maximum number of frames.

        Returns:
            The frames; None when none is held out.
        """
        if not len(self.held_out_frames):
            return None
        frames = self.held_out_frames.thinned(at_most)
        return ValidationItems(untouched(frames.aligned(size), "self"), frames.labels())

    def _targets(self, what: str, scenes: list[FaceSubset], size: int, progress: bool) -> ValidationItems:
        """Load or build scenes' faces, not mirrored, with their pseudo ground truth."""
        names = _names(scenes)

        def make() -> TrainingItems:
            items = pseudo_truth.build(
                self.frames.aligned(size),
                _joined(scenes, size),
                names=names,
                kinds=("target",),
                progress=progress,
            )
            return items[np.arange(len(names))]

        labels = [label for scene in scenes for label in scene.labels()]
        return ValidationItems(self._cached(what, {"size": size}, [self.frames, *scenes], make), labels)

    def _cached(
        self, what: str, options: Mapping[str, Any], parts: Sequence[FaceSubset], make: Callable[[], TrainingItems]
    ) -> TrainingItems:
        """Load items cached for the same faces and settings; else build them, one process at a time."""
        described: dict[str, Any] = {
            "recipe": dict(options),
            "parts": [[part.faces.state_key, part.rows.tolist()] for part in parts],
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
    """Hold out the last frames of a person, a contiguous stretch of time; what is covered there is left out.

    Args:
        faces: In order of time.
        share: Of them to hold out, 0..1; one is always left.

    Returns:
        What to learn from, and what is held out.
    """
    held = min(len(faces) - 1, round(share * len(faces)))
    rows = np.arange(len(faces))
    last = rows[len(faces) - held :]
    return FaceSubset(faces, rows[: len(faces) - held]), FaceSubset(faces, last[faces.visible[last].all(1)])


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


def _joined(parts: Sequence[FaceSubset], size: int) -> AlignedFaces:
    return AlignedFaces.concat([part.aligned(size) for part in parts])


def _names(parts: Sequence[FaceSubset]) -> list[str]:
    return [name for part in parts for name in part.names()]
