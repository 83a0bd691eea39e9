"""Measure the frames of one swapped file after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.geometry.topology import LANDMARKS
from facesmith.faces.measures import jitter
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import read_image
from facesmith.media.provenance import Mark
from facesmith.media.sources import Media, find_media
from facesmith.media.verification import verify_provenance
from facesmith.metrics.comparison import FaceComparison
from facesmith.metrics.person import COMPARED_AT, FrameEvaluator, FrameMetrics, known_faces
from facesmith.tasks.batch import Report
from facesmith.tasks.validate.config import ValidateTaskConfig
from facesmith.tasks.validate.frames import FramePair, read_frame_pairs
from facesmith.tasks.validate.report import ReportedFrame
from facesmith.tasks.validate.results import FrameResult

Pixels = NDArray[np.uint8]
_EXAMPLES: Final = 6  # faces of a file in the report, rejected ones and those least like the person


@dataclass(frozen=True)
class ValidateJob:
    """One file to measure.

    Attributes:
        media: The swapped picture or video.
        target: What it was swapped into; None for none.
    """

    media: Media
    target: Path | None

    @property
    def path(self) -> Path:
        """The file."""
        return self.media.path


class FileMeter:
    """Measure one swapped file after the other.

    Attributes:
        config: The settings.
        profile: Of the person.
        note: What the user should know of what is not measured; None for nothing.
    """

    def __init__(self, config: ValidateTaskConfig, *, analyzer: Callable[[], Analyzer]) -> None:
        """Load analyzer and recogniser, and find the person's faces.

        Args:
            config: The settings.
            analyzer: Makes an analyzer.

        Raises:
            UserError: The profile cannot be read or is of another embedder, or the reference shows no face.
        """
        self.config, self._make_analyzer = config, analyzer
        self.profile = IdentityProfile.load(config.profile)
        self.note: str | None = None
        self._analyzer = analyzer()
        try:
            self.profile.require_embedder(self._analyzer.embedder, self._analyzer.embedding_size)
            person = self._reference_faces()
            crops = [] if person is None else list(person.images)
            self._evaluate = FrameEvaluator(self.profile, crops, FaceComparison(person))
        except BaseException:
            self._analyzer.close()  # at exit MediaPipe would print a traceback
            raise

    def __reduce__(self) -> tuple[Callable[[ValidateTaskConfig], "FileMeter"], tuple[ValidateTaskConfig]]:
        """Pickle as the settings: another process loads the models itself."""
        return partial(FileMeter, analyzer=self._make_analyzer), (self.config,)

    def __call__(self, job: ValidateJob, report: Report) -> tuple[list[FrameResult], list[ReportedFrame]]:
        """Measure the frames of one file.

        Args:
            job: The file.
            report: Takes progress.

        Returns:
            What was measured of each frame, and the faces to look at.

        Raises:
            UserError: The file cannot be read, or the target is not what it was swapped into.
        """
        media, analyzer = job.media, self._analyzer
        measured: list[tuple[int, float, FrameMetrics]] = []  # never the pictures: a video may be long
        target_landmarks: list[NDArray[np.float32] | None] = []
        examples: list[ReportedFrame] = []
        mark = self._mark(media.path)
        count, pairs = read_frame_pairs(media, job.target, self.config.backend, self.config.max_frames)
        for done, pair in enumerate(pairs, 1):
            faces = analyzer(pair.picture)
            target_faces = analyzer(pair.target) if pair.target is not None else []
            metrics = self._evaluate(pair.picture, faces, pair.target, target_faces)
            measured.append((pair.index, pair.time, metrics))
            target_landmarks.append(target_faces[0].landmarks[:, :2] if target_faces else None)
            if metrics.similarity is not None:
                crops = _crop_face(pair, metrics)
                examples = worst([*examples, ReportedFrame(media.path.name, pair.index, *crops, metrics, mark)])
            report.advance(media.path, done, count)
        indices = [index for index, _, _ in measured]
        jitters = _jitter_by_frame(indices, [metrics.points for _, _, metrics in measured])
        target_jitters = _jitter_by_frame(indices, target_landmarks)
        frames = [
            FrameResult(str(media.path), index, time, metrics, now, before)
            for (index, time, metrics), now, before in zip(measured, jitters, target_jitters, strict=True)
        ]
        return frames, examples

    def close(self) -> None:
        """Close the analyzer."""
        self._analyzer.close()

    def _reference_faces(self) -> AlignedFaces | None:
        """Return faces of the person to compare with; None where there are none."""
        reference, face_sets = self.config.reference, self.config.face_sets
        if reference is None:
            known = known_faces(self.profile, face_sets, COMPARED_AT)
            if known is None:
                self.note = (
                    f"The face set of {self.profile.id} is not in {face_sets}: judge_distance is not measured, nor "
                    "what is foreign to the person; give task.reference=<photos of the person>"
                )
            return known
        pictures = [read_image(media.path) for media in find_media(reference) if media.kind == "image"]
        found = [(picture, face) for picture in pictures for face in self._analyzer(picture)[:1]]
        if not found:
            raise UserError(f"task.reference={reference}: no face found; give photos of the person")
        matrices = [estimate_alignment(face.keypoints, "arcface_128", COMPARED_AT) for _, face in found]
        pairs = list(zip(found, matrices, strict=True))
        return AlignedFaces(
            np.stack([warp_face(picture, matrix, COMPARED_AT) for (picture, _), matrix in pairs]),
            np.stack([transform_points(face.landmarks, matrix) for (_, face), matrix in pairs]).astype(np.float32),
            np.stack([face.blendshapes for _, face in found]).astype(np.float32),
            "arcface_128",
        )

    def _mark(self, path: Path) -> Mark:
        """Return the provenance of a file for the report's pictures, or else that of the profile."""
        return verify_provenance(path).mark or Mark(
            identity=self.profile.id, consent=self.profile.consent, model_hash=None, title=f"frame of {path.name}"
        )


def worst(examples: list[ReportedFrame]) -> list[ReportedFrame]:
    """Choose the faces that the report shows: rejected ones, then those least like the person.

    Args:
        examples: Faces of any number of files.
    """

    def order(example: ReportedFrame) -> tuple[bool, float]:
        return not example.metrics.reason, example.metrics.similarity or 0.0

    return sorted(examples, key=order)[:_EXAMPLES]


def _jitter_by_frame(indices: Sequence[int], points: Sequence[NDArray[np.float32] | None]) -> list[float | None]:
    """Measure jitter at each frame, never across a gap between frames; None where it cannot be measured."""
    missing = np.full((LANDMARKS, 2), np.nan, np.float32)
    landmarks = np.stack([missing if one is None else one for one in points]) if points else missing[None, :0]
    numbers = np.asarray(indices, np.float64)
    gaps = np.flatnonzero(np.diff(numbers) != 1) + 1
    parts = [jitter(*part) for part in zip(np.split(numbers, gaps), np.split(landmarks, gaps), strict=True)]
    return [None if np.isnan(value) else float(value) for part in parts for value in part]


def _crop_face(pair: FramePair, metrics: FrameMetrics) -> tuple[Pixels, Pixels | None]:
    """Crop the measured face with its surroundings, and the same place in the target."""
    assert metrics.points is not None
    assert metrics.eyes is not None
    half = round(1.6 * metrics.eyes)
    x, y = np.rint(metrics.points.mean(0)).astype(int)
    height, width = pair.picture.shape[:2]
    top, bottom, left, right = max(y - half, 0), min(y + half, height), max(x - half, 0), min(x + half, width)
    crop = pair.picture[top:bottom, left:right].copy()
    return crop, None if pair.target is None else pair.target[top:bottom, left:right].copy()
