"""The validate task: metrics of swapped media, a report, and an error when limits are missed."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.geometry.aligned import AlignedFaces
from facesmith.faces.geometry.alignment import estimate_alignment, transform_points, warp_face
from facesmith.faces.geometry.topology import LANDMARKS
from facesmith.faces.measures import jitter
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import write_text
from facesmith.media.images import read_image
from facesmith.media.provenance import Mark
from facesmith.media.sources import Media, find_media
from facesmith.media.verification import verify_provenance
from facesmith.metrics.comparison import FaceComparison
from facesmith.metrics.person import COMPARED_AT, FrameEvaluator, FrameMetrics, known_faces
from facesmith.progress import progress_bar
from facesmith.tasks.batch import Batch
from facesmith.tasks.profiles.combine import limit_for_embedder
from facesmith.tasks.validate.config import ValidateTaskConfig
from facesmith.tasks.validate.frames import FramePair, match_targets, read_frame_pairs
from facesmith.tasks.validate.report import ReportedFrame, render_report
from facesmith.tasks.validate.results import FrameResult, LimitResult, check_limits, rejections, summarize

Pixels = NDArray[np.uint8]
_EXAMPLES: Final = 6  # faces in the report, rejected ones and those least like the person; reasons printed


class ValidateTask:
    """Measure swapped pictures and videos against a person and against what they were swapped into.

    Args:
        config: The settings.
        analyzer: Makes an analyzer.
        progress: Whether to show a progress bar.

    Raises:
        UserError: Source, target or profile do not fit together.
    """

    def __init__(self, config: ValidateTaskConfig, *, analyzer: Callable[[], Analyzer], progress: bool = True) -> None:
        self._config, self._analyzer, self._progress = config, analyzer, progress
        self._media = find_media(config.source)
        self._targets = match_targets(self._media, config.target)
        self._profile = IdentityProfile.load(config.profile)
        self._limits = {
            "min_similarity": limit_for_embedder(config.min_similarity, self._profile.embedder, "task.min_similarity"),
            "max_judge_distance": config.max_judge_distance,
            "max_shift": config.max_shift,
            "max_misses": config.max_misses,
            "max_jitter": config.max_jitter,
            "min_sharpness": config.min_sharpness,
            "min_accepted": config.min_accepted,
        }
        self._console = Console(highlight=False, soft_wrap=True)

    def run(self) -> list[Path]:
        """Measure, write metrics and report, and check the limits.

        Returns:
            The files written.

        Raises:
            UserError: No frame has a face, or, once all is written, limits are missed.
        """
        frames: list[FrameResult] = []
        examples: list[ReportedFrame] = []
        with closing(self._analyzer()) as analyzer:
            self._profile.require_embedder(analyzer.embedder, analyzer.embedding_size)
            person = self._reference_faces(analyzer)
            crops = [] if person is None else list(person.images)
            evaluator = FrameEvaluator(self._profile, crops, FaceComparison(person))
            with progress_bar(shown=self._progress, console=self._console) as bar:
                batch = Batch(len(self._media), lambda line: bar.console.print(line, markup=False), self._config)
                for media, target in zip(self._media, self._targets, strict=True):
                    found = batch.run(media.path, partial(self._measure, media, target, analyzer, evaluator, bar))
                    if found is not None:
                        frames += found[0]
                        examples = _worst([*examples, *found[1]])
        batch.require_any(frames, "source: nothing measured of any of")
        if not any(frame.metrics.similarity is not None for frame in frames):
            raise UserError(f"source: no face found in any of {len(frames)} frames; give swapped pictures or videos")
        metrics = summarize(frames)
        checked = check_limits(metrics, self._limits)
        written = self._write(frames, metrics, checked, examples)
        self._print(frames, metrics, checked, written)
        missed = [limit for limit in checked if not limit.passed]
        if batch.failed:
            raise UserError(
                f"{self._config.output}: {len(batch.failed)} of {len(self._media)} files could not be measured; first: "
                f"{next(iter(batch.failed.values()))}"
            )
        if missed:
            raise UserError(
                f"{self._config.output}: {len(missed)} of {len(checked)} limits missed: "
                f"{'; '.join(str(limit) for limit in missed)}; see {written[1]}"
            )
        return written

    def _measure(
        self, media: Media, target: Path | None, analyzer: Analyzer, evaluator: FrameEvaluator, bar: Progress
    ) -> tuple[list[FrameResult], list[ReportedFrame]]:
        measured: list[tuple[int, float, FrameMetrics]] = []  # never the pictures: a video may be long
        target_landmarks: list[NDArray[np.float32] | None] = []
        examples: list[ReportedFrame] = []
        mark = self._mark(media.path)
        count, pairs = read_frame_pairs(media, target, self._config.backend, self._config.max_frames)
        task = bar.add_task(media.path.name, total=count)
        for pair in pairs:
            faces = analyzer(pair.picture)
            target_faces = analyzer(pair.target) if pair.target is not None else []
            metrics = evaluator(pair.picture, faces, pair.target, target_faces)
            measured.append((pair.index, pair.time, metrics))
            target_landmarks.append(target_faces[0].landmarks[:, :2] if target_faces else None)
            if metrics.similarity is not None:
                crops = _crop_face(pair, metrics)
                examples = _worst([*examples, ReportedFrame(media.path.name, pair.index, *crops, metrics, mark)])
            bar.advance(task)
        indices = [index for index, _, _ in measured]
        jitters = _jitter_by_frame(indices, [metrics.points for _, _, metrics in measured])
        target_jitters = _jitter_by_frame(indices, target_landmarks)
        frames = [
            FrameResult(str(media.path), index, time, metrics, now, before)
            for (index, time, metrics), now, before in zip(measured, jitters, target_jitters, strict=True)
        ]
        return frames, examples

    def _reference_faces(self, analyzer: Analyzer) -> AlignedFaces | None:
        """Return faces of the person to compare with; None where there are none."""
        reference, face_sets = self._config.reference, self._config.face_sets
        if reference is None:
            known = known_faces(self._profile, face_sets, COMPARED_AT)
            if known is None:
                self._console.print(
                    f"The face set of {self._profile.id} is not in {face_sets}: judge_distance is not measured, nor "
                    "what is foreign to the person; give task.reference=<photos of the person>",
                    markup=False,
                )
            return known
        pictures = [read_image(media.path) for media in find_media(reference) if media.kind == "image"]
        found = [(picture, face) for picture in pictures for face in analyzer(picture)[:1]]
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
            identity=self._profile.id, consent=self._profile.consent, model_hash=None, title=f"frame of {path.name}"
        )

    def _write(
        self,
        frames: Sequence[FrameResult],
        metrics: Mapping[str, float],
        checked: Sequence[LimitResult],
        examples: Sequence[ReportedFrame],
    ) -> list[Path]:
        about: dict[str, Any] = {
            "source": [str(media.path) for media in self._media],
            "target": [None if path is None else str(path) for path in self._targets],
            "identity": self._profile.id,
            "embedder": self._profile.embedder,
            "passed": all(limit.passed for limit in checked),
            "limits": [limit.to_dict() for limit in checked],
            "summary": metrics,
        }
        results, page = self._config.output / "validation.json", self._config.output / "validation.html"
        write_text(results, json.dumps({**about, "frames": [frame.to_dict() for frame in frames]}, indent=1) + "\n")
        write_text(page, render_report(about, frames, checked, examples))
        return [results, page]

    def _print(
        self,
        frames: Sequence[FrameResult],
        metrics: Mapping[str, float],
        checked: Sequence[LimitResult],
        written: Sequence[Path],
    ) -> None:
        limits = {limit.metric: limit for limit in checked}
        for name, value in metrics.items():
            limit = limits.get(name)
            note = "" if limit is None else f"   {'ok' if limit.passed else 'MISSED'}: {limit.condition}"
            self._console.print(f"{name:<24}{value:8.3f}{note}", markup=False)
        for reason, count in rejections(frames)[:_EXAMPLES]:
            self._console.print(f"rejected {count} of {len(frames)}: {reason}", markup=False)
        self._console.print(f"metrics {written[0]}\nreport  {written[1]}", markup=False)


def _jitter_by_frame(indices: Sequence[int], points: Sequence[NDArray[np.float32] | None]) -> list[float | None]:
    """Measure jitter at each frame, never across a gap between frames; None where it cannot be measured."""
    missing = np.full((LANDMARKS, 2), np.nan, np.float32)
    landmarks = np.stack([missing if one is None else one for one in points]) if points else missing[None, :0]
    numbers = np.asarray(indices, np.float64)
    gaps = np.flatnonzero(np.diff(numbers) != 1) + 1
    parts = [jitter(*part) for part in zip(np.split(numbers, gaps), np.split(landmarks, gaps), strict=True)]
    return [None if np.isnan(value) else float(value) for part in parts for value in part]


def _worst(examples: list[ReportedFrame]) -> list[ReportedFrame]:
    def order(example: ReportedFrame) -> tuple[bool, float]:
        return not example.metrics.reason, example.metrics.similarity or 0.0

    return sorted(examples, key=order)[:_EXAMPLES]


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
