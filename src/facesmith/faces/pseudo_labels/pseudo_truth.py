"""Pseudo ground truth: what a target would look like with the person's face, made without training.

The person's frame that fits best, per region, is warped onto the target through the landmarks, coloured and
blended; the way back (a target's face on the person's frame) gives pairs whose truth is a real picture.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.faces.geometry import colour, masks, topology
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.thin_plate import blend_proportions, compute_warp_maps, fit_similarity, resample
from facesmith.faces.pseudo_labels.frame_choice import FrameChoice, FrameChooser, sample_farthest
from facesmith.faces.pseudo_labels.training_items import KINDS, TrainingItems
from facesmith.progress import track

log = logging.getLogger(__name__)

FAR: Final = 6 / 128  # residual of the best frame, of the crop's side, above which a target is a poor fit
_SMOOTH, _SMOOTH_FAR = 3e-4, 2e-3
_RELIGHT, _LIGHT_SIGMA = 0.6, 11 / 128  # the scene's light on the face
# of the person's own proportions: a quarter brings dlib's distance from .45 to .42 and moves no feature by
# more than the landmarks' own noise; more of it misplaces them
_LIKENESS: Final = 0.25
_PART_RELIGHT, _PART_SIGMA = 0.8, 8 / 128  # an exchanged region takes the light of the base
_REPOSE: Final = (0.35, 0.8)  # how far a target is drawn towards another face's pose and expression
_EXCHANGE: Final = 0.6  # of the re-posed targets that may wear another target's face
_WHOLE: Final = np.ones(len(topology.REGIONS), np.bool_)
_REPOSE_MOST: Final = 4 / 128  # RMS shift of the points, of the crop's side: further, the picture tears


@dataclass(frozen=True)
class _Item:
    target: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    landmarks: NDArray[np.floating]
    canonical: NDArray[np.float32]
    kind: str
    who: int
    visible: NDArray[np.bool_]


def build(
    person: AlignedFaces,
    targets: AlignedFaces,
    *,
    names: Sequence[str] | None = None,
    kinds: Collection[str] = KINDS,
    frames: int = 100,
    donors: int = 2,
    variants: int = 0,
    seed: int = 0,
    progress: bool = True,
) -> TrainingItems:
    """Make training items of a person's faces and the faces of the scenes to swap into.

    The same arguments give the same items. Without targets only items of the kind self are made.

    Args:
        person: Faces of the person; mirror images are added here.
        targets: Faces of the scenes, on the same template and of the same size.
        names: What to call the targets in warnings.
        kinds: Of KINDS, those that are wanted; no other item is made.
        frames: At most so many of the person's frames, chosen for variety, become items of the kinds reversed and
            self; every frame may serve as a source. Only frames that show the whole face do, or, if there is none,
            those that show most of it, with what they hide left out of the outline.
        donors: Reversed items a frame.
        variants: Reposed items in all.
        seed: Of what is drawn at random.
        progress: Whether to show a bar.

    Raises:
        ValueError: The person has no frame, or the faces do not match.
    """
    if not len(person):
        raise ValueError("pseudo truth needs at least one frame of the person")
    if len(targets) and (targets.size, targets.template) != (person.size, person.template):
        raise ValueError("person and targets must be aligned on the same template at the same size")
    builder = _Builder(person, targets, names, np.random.default_rng(seed))
    shown = builder.chooser.least_hidden()
    rows = sample_farthest(builder.chooser.features(), min(frames, len(shown)), among=shown)
    wanted = {
        "target": len(builder.targets),
        "reposed": variants if len(targets) else 0,
        "reversed": donors if len(targets) else 0,
        "self": 1,
    }
    counts = {kind: count if kind in kinds else 0 for kind, count in wanted.items()}
    total = counts["target"] + counts["reposed"] + len(rows) * (counts["reversed"] + counts["self"])
    return builder.collect(list(track(builder.items(rows, counts), "pseudo ground truth", total, shown=progress)))


class _Builder:
    """Builds pseudo truth from the person's frames and the targets with their mirror images."""

    def __init__(
        self,
        person: AlignedFaces,
        targets: AlignedFaces,
        names: Sequence[str] | None,
        random: np.random.Generator,
    ) -> None:
        self.size, self.count, self.random = person.size, len(targets), random
        self.person = AlignedFaces.concat([person, person.mirror()])
        self.targets = AlignedFaces.concat([targets, targets.mirror()]) if len(targets) else targets
        self.chooser = FrameChooser(self.person)
        self.scenes = FrameChooser(self.targets) if len(targets) else None
        self.names = names
        self.canon = self.chooser.canonical

    def items(self, rows: NDArray[np.intp], counts: Mapping[str, int]) -> Iterator[_Item]:
        """Make target items, then reposed, then reversed and self.

        Args:
            rows: Of the person's frames that become items.
            counts: Items of each kind: of target and reposed in all, of reversed and self for each frame.
        """
        for j in range(counts["target"]):
            face = self.targets
            choice = self.chooser.choose(face.landmarks[j], face.blendshapes[j])
            if j < self.count:
                self._warn(j, choice)
            yield self._pseudo(face.images[j], face.landmarks[j], choice, "target", j % self.count)
        for n in range(counts["reposed"]):
            yield self._variant(n % len(self.targets))
        for row in rows:
            yield from self._from_frame(int(row), counts["reversed"], counts["self"])

    def collect(self, items: Sequence[_Item]) -> TrainingItems:
        """Stack the items."""
        size = self.size
        outlines = [self._outlines(item) for item in items]
        return TrainingItems(
            target=np.stack([item.target for item in items]),
            truth=np.stack([item.truth for item in items]),
            hull=np.stack([hull for hull, _ in outlines]),
            alpha=np.stack([alpha for _, alpha in outlines]),
            canonical=np.stack([((item.canonical + 0.5) * (2 / size) - 1).astype(np.float16) for item in items]),
            kind=np.array([item.kind for item in items]),
            who=np.array([item.who for item in items], np.int64),
        )

    def _outlines(self, item: _Item) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw hull and alpha of an item, without the regions that are hidden in its truth."""
        shown = ~masks.divide_face(item.landmarks, self.size)[~item.visible].any(0)
        outlines = (draw(item.landmarks, self.size) for draw in (masks.outline_mask, masks.feathered_outline_mask))
        hull, alpha = (_bytes(outline * shown * 255) for outline in outlines)
        return hull, alpha

    def _warn(self, j: int, choice: FrameChoice) -> None:
        if choice.residual > FAR * self.size:
            log.warning(
                "target %s: no frame of the person comes near its pose (%.1f px off at %d px); "
                "expect a poor likeness, or give frames of the person in that pose",
                self.names[j] if self.names else j,
                choice.residual,
                self.size,
            )

    def _compose(
        self,
        maps: NDArray[np.float32],
        choice: FrameChoice,
        regions: NDArray[np.float32],
        core: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Compose the best eyes and the best mouth onto the best whole face."""
        picture = resample(self.person.images[choice.base], maps[0])
        for row, where, region in ((choice.eyes, maps[1], regions[0]), (choice.mouth, maps[2], regions[1])):
            if row != choice.base:
                part = resample(self.person.images[row], where)
                part = colour.match_colour(part, picture, core, _PART_RELIGHT, _PART_SIGMA * self.size)
                picture += (part - picture) * region[..., None]
        return picture

    def _pseudo(
        self,
        target: NDArray[np.uint8],
        landmarks: NDArray[np.floating],
        choice: FrameChoice,
        kind: str,
        who: int,
    ) -> _Item:
        sources = np.concatenate([self.person.landmarks[list(choice.frames)], self.canon[None]])
        smoothing = _SMOOTH_FAR if choice.residual > FAR * self.size else _SMOOTH
        aim = blend_proportions(landmarks, sources[0], self.size, _LIKENESS)
        maps = compute_warp_maps(aim, sources, self.size, smoothing=smoothing)
        core = masks.skin_mask(landmarks, self.size)
        face = self._compose(maps, choice, masks.eyes_and_mouth_masks(aim, self.size), core)
        truth = self._blend(face, target, landmarks, core)
        return _Item(target, truth, landmarks, maps[3], kind, who, _WHOLE)

    def _blend(
        self,
        face: NDArray[np.float32],
        scene: NDArray[np.uint8],
        landmarks: NDArray[np.floating],
        core: NDArray[np.float32],
    ) -> NDArray[np.uint8]:
        lit = colour.match_colour(face, scene, core, _RELIGHT, _LIGHT_SIGMA * self.size)
        alpha = masks.feathered_outline_mask(landmarks, self.size)[..., None]
        return _bytes(lit * alpha + scene * (1 - alpha))

    def _variant(self, j: int) -> _Item:
        """Draw a target's picture towards another face's pose, maybe with a third's looks; make its truth."""
        own, size = self.targets.landmarks[j], self.size
        pool = self.person if self.random.random() < 0.7 or self.count == 1 else self.targets
        other = int(self.random.integers(len(pool)))
        drawn = own.copy()
        moved = fit_similarity(pool.landmarks[other : other + 1, :, :2], own[:, :2])[0]
        displacement = np.sqrt(((moved - own[:, :2]) ** 2).sum(1).mean())
        share = min(self.random.uniform(*_REPOSE), _REPOSE_MOST * size / max(displacement, 1e-6))
        drawn[:, :2] += share * (moved - own[:, :2])
        drawn[:, 2] += share * (pool.landmarks[other, :, 2] - own[:, 2])
        rim = np.linspace(0, size - 1, 5)
        anchors = np.array([(x, y) for x in rim for y in rim if {x, y} & {0, size - 1}])
        outline = drawn[topology.OVAL, :2]
        clear = np.linalg.norm(anchors[:, None] - outline[None], axis=-1).min(1) > 12 / 128 * size
        where = compute_warp_maps(drawn, own[None], size, smoothing=_SMOOTH, anchors=anchors[clear])[0]
        picture = _bytes(resample(self.targets.images[j], where))
        worn = self._donors(drawn, 1)[0]
        if worn % self.count != j % self.count and self.random.random() < _EXCHANGE:
            where = compute_warp_maps(drawn, self.targets.landmarks[worn, None], size, smoothing=_SMOOTH)[0]
            face, core = resample(self.targets.images[worn], where), masks.skin_mask(drawn, size)
            picture = self._blend(face, picture, drawn, core)
        shapes = self.targets.blendshapes[j] * (1 - share) + pool.blendshapes[other] * share
        choice = self.chooser.choose(drawn, shapes)
        return self._pseudo(picture, drawn, choice, "reposed", j % self.count)

    def _from_frame(self, row: int, donors: int, selves: int) -> Iterator[_Item]:
        image, landmarks, visible = self.person.images[row], self.person.landmarks[row], self.person.visible[row]
        chosen = self._donors(landmarks, donors) if donors else []
        canonical = compute_warp_maps(landmarks, self.canon[None], self.size, smoothing=_SMOOTH)[0]
        core = masks.skin_mask(landmarks, self.size)
        for j in chosen:
            # as a target keeps some of its proportions in its pseudo truth, so does a worn face here
            donor = self.targets.landmarks[j]
            aim = blend_proportions(landmarks, donor, self.size, _LIKENESS)
            where = compute_warp_maps(aim, donor[None], self.size, smoothing=_SMOOTH)[0]
            worn = self._blend(resample(self.targets.images[j], where), image, landmarks, core)
            yield _Item(worn, image, landmarks, canonical, "reversed", j % self.count, visible)
        for _ in range(selves):
            yield _Item(image, image, landmarks, canonical, "self", -1, visible)

    def _donors(self, landmarks: NDArray[np.floating], donors: int) -> list[int]:
        """Sample targets to paste into a frame; one with a different pose only if none is similar."""
        assert self.scenes is not None
        residual = self.scenes.residuals(landmarks)
        near = np.flatnonzero(residual <= max(FAR * self.size, np.sort(residual)[:donors][-1]))
        return [int(j) for j in self.random.choice(near, donors, replace=len(near) < donors)]


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
