"""The validate task: is it the person, does it hold still, is it sharp? FrameMetrics, a report, and an exit code."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.geometry.alignment import estimate_alignment, warp_face
from facesmith.faces.geometry.topology import LANDMARKS
from facesmith.faces.measures import jitter
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import write_text
from facesmith.media.images import read_image
from facesmith.media.provenance import Mark
from facesmith.media.sources import Media, find_media
from facesmith.media.verification import verify_provenance
from facesmith.metrics.person import FrameEvaluator, FrameMetrics, known_crops
from facesmith.tasks.profiles.combine import by_embedder
from facesmith.tasks.validate.figures import Frame, Limit, limits, summary
from facesmith.tasks.validate.moments import Moment, matched, moments
from facesmith.tasks.validate.report import Shown, report

Pixels = NDArray[np.uint8]
_WORST: Final = 6


class ValidateTask:
    """Measure swapped pictures and videos against a person and against what they were made from.

    source: what was swapped. target: what it was swapped into, file for file; None: shift, and sharpness and
    trembling in comparison, are not measured. profile: the person. reference: photos of the person for the independent
    judge; None: the face set of the profile, where it is still there. output: folder of validation.json and .html.
    max_frames: of each video, in stretches of 24, evenly spread; None: all. min_similarity, max_judge_distance, ...:
    limits of the summary, None for no limit; min_similarity by embedder or one for all. face_sets: where the profile's
    face set lies. analyzer: makes an analyzer.

    Raises:
        UserError: source, target or profile do not fit; or, once all is written, limits are missed.
    """

    def __init__(
        self,
        *,
        source: str | Sequence[str],
        target: str | Sequence[str] | None,
        profile: Path,
        reference: str | Sequence[str] | None,
        output: Path,
        max_frames: int | None,
        min_similarity: float | Mapping[str, float],
        max_judge_distance: float | None,
        max_shift: float | None,
        max_misses: float | None,
        max_jitter: float | None,
        min_sharpness: float | None,
        face_sets: Path,
        backend: Literal["pyav", "decord"],
        analyzer: Callable[[], Analyzer],
        progress: bool = True,
    ) -> None:
        self._media = find_media(source)
        self._targets = matched(self._media, target)
        self._profile = IdentityProfile.load(profile)
        self._reference, self._face_sets = reference, face_sets
        self._output, self._max_frames = output, max_frames
        self._limits = {
            "min_similarity": by_embedder(min_similarity, self._profile.embedder, "task.min_similarity"),
            "max_judge_distance": max_judge_distance,
            "max_shift": max_shift,
            "max_misses": max_misses,
            "max_jitter": max_jitter,
            "min_sharpness": min_sharpness,
        }
        self._backend, self._analyzer, self._progress = backend, analyzer, progress
        self._console = Console(highlight=False, soft_wrap=True)

    def run(self) -> list[Path]:
        """Measure, write figures and report, and hold them against the limits."""
        frames: list[Frame] = []
        shown: list[Shown] = []
        with closing(self._analyzer()) as analyzer:
            self._profile.require(analyzer.embedder, analyzer.embedding_size)
            meter = FrameEvaluator(self._profile, self._person(analyzer))
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self._console, disable=not self._progress) as bar:
                for media, target in zip(self._media, self._targets, strict=True):
                    some, pictures = self._measure(media, target, analyzer, meter, bar)
                    frames += some
                    shown = _worst([*shown, *pictures])
        if not any(frame.figures.similarity is not None for frame in frames):
            raise UserError(f"source: no face found in any of {len(frames)} frames; give what was swapped")
        figures = summary(frames)
        verdict = limits(figures, self._limits)
        written = self._write(frames, figures, verdict, shown)
        self._tell(figures, verdict, written)
        missed = [limit for limit in verdict if not limit.kept]
        if missed:
            raise UserError(
                f"{self._output}: {len(missed)} of {len(verdict)} limits missed: "
                f"{'; '.join(str(limit) for limit in missed)}; see {written[1]}"
            )
        return written

    def _measure(
        self, media: Media, target: Path | None, analyzer: Analyzer, meter: FrameEvaluator, bar: Progress
    ) -> tuple[list[Frame], list[Shown]]:
        measured: list[tuple[int, float, FrameMetrics]] = []
        was: list[NDArray[np.float32] | None] = []
        shown: list[Shown] = []
        mark = self._mark(media.path)
        count, film = moments(media, target, self._backend, self._max_frames)
        task = bar.add_task(media.path.name, total=count)
        for moment in film:
            faces = analyzer(moment.picture)
            faces_before = analyzer(moment.before) if moment.before is not None else []
            found = meter(moment.picture, faces, moment.before, faces_before)
            measured.append((moment.index, moment.time, found))
            largest = faces_before[0] if faces_before else None
            was.append(None if largest is None else largest.landmarks[:, :2])
            if found.similarity is not None:
                shown = _worst([*shown, Shown(media.path.name, moment.index, *_crops(moment, found), found, mark)])
            bar.advance(task)
        indices = [index for index, _, _ in measured]
        trembling = _in_stretches(indices, [found.points for _, _, found in measured])
        before = _in_stretches(indices, was)
        frames = [
            Frame(str(media.path), index, time, found, now, then)
            for (index, time, found), now, then in zip(measured, trembling, before, strict=True)
        ]
        return frames, shown

    def _person(self, analyzer: Analyzer) -> list[Pixels]:
        if self._reference is None:
            crops = known_crops(self._profile, self._face_sets)
            if not crops:
                self._console.print(
                    f"the face set of {self._profile.id} is not in {self._face_sets}: the independent judge has nobody "
                    "to compare with; give task.reference=<photos of the person>",
                    markup=False,
                )
            return crops
        crops = []
        for media in find_media(self._reference):
            if media.kind == "image":
                picture = read_image(media.path)
                crops += [
                    warp_face(picture, estimate_alignment(face.keypoints, "arcface_128", 128), 128)
                    for face in analyzer(picture)[:1]
                ]
        if not crops:
            raise UserError(f"task.reference={self._reference}: no face found; give photos of the person")
        return crops

    def _mark(self, path: Path) -> Mark:
        """The report's pictures say what the file says of itself, or else whose face it is to be."""
        return verify_provenance(path).mark or Mark(
            identity=self._profile.id, consent=self._profile.consent, model_hash=None, title=f"frame of {path.name}"
        )

    def _write(
        self, frames: Sequence[Frame], figures: Mapping[str, float], verdict: Sequence[Limit], shown: Sequence[Shown]
    ) -> list[Path]:
        about: dict[str, Any] = {
            "source": [str(media.path) for media in self._media],
            "target": [None if path is None else str(path) for path in self._targets],
            "identity": self._profile.id,
            "embedder": self._profile.embedder,
            "passed": all(limit.kept for limit in verdict),
            "limits": [limit.plain() for limit in verdict],
            "summary": figures,
        }
        paths = [self._output / "validation.json", self._output / "validation.html"]
        write_text(paths[0], json.dumps({**about, "frames": [frame.plain() for frame in frames]}, indent=1) + "\n")
        write_text(paths[1], report(about, frames, verdict, shown))
        return paths

    def _tell(self, figures: Mapping[str, float], verdict: Sequence[Limit], written: Sequence[Path]) -> None:
        judged = {limit.figure: limit for limit in verdict}
        for name, value in figures.items():
            limit = judged.get(name)
            note = "" if limit is None else f"   {'ok' if limit.kept else 'MISSED'}: {limit.words}"
            self._console.print(f"{name:<24}{value:8.3f}{note}", markup=False)
        self._console.print(f"figures {written[0]}\nreport  {written[1]}", markup=False)


def _in_stretches(indices: Sequence[int], points: Sequence[NDArray[np.float32] | None]) -> list[float | None]:
    """Measure jitter at each frame, never across a gap between frames; None where it cannot be measured."""
    missing = np.full((LANDMARKS, 2), np.nan, np.float32)
    landmarks = np.stack([missing if one is None else one for one in points]) if points else missing[None, :0]
    numbers = np.asarray(indices, np.float64)
    gaps = np.flatnonzero(np.diff(numbers) != 1) + 1
    parts = [jitter(*part) for part in zip(np.split(numbers, gaps), np.split(landmarks, gaps), strict=True)]
    return [None if np.isnan(value) else float(value) for part in parts for value in part]


def _worst(shown: list[Shown]) -> list[Shown]:
    return sorted(shown, key=lambda one: one.figures.similarity or 0.0)[:_WORST]


def _crops(moment: Moment, found: FrameMetrics) -> tuple[Pixels, Pixels | None]:
    """The face in its surroundings, and the same place as it was."""
    assert found.points is not None
    assert found.eyes is not None
    half = round(1.6 * found.eyes)
    x, y = np.rint(found.points.mean(0)).astype(int)
    height, width = moment.picture.shape[:2]
    top, bottom, left, right = max(y - half, 0), min(y + half, height), max(x - half, 0), min(x + half, width)
    crop = moment.picture[top:bottom, left:right].copy()
    return crop, None if moment.before is None else moment.before[top:bottom, left:right].copy()
