"""The compare task: one picture of what several models make of the same scenes, with their figures."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry.alignment import estimate_alignment, warp_face
from facesmith.faces.measures import eye_distance
from facesmith.faces.profiles.combining import STRICTEST_FIRST
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark, file_sha256
from facesmith.media.sampling import evenly_spaced
from facesmith.media.sources import find_media
from facesmith.media.video import open_video
from facesmith.metrics.person import FrameEvaluator, known_crops
from facesmith.models.onnx.session import load_swapper
from facesmith.models.onnx.source import find_source
from facesmith.tasks.compare.sheet import Cell, Row, sheet
from facesmith.tasks.swap.frame_swap import FrameSwap

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Contestant:
    name: str
    swap: FrameSwap
    meter: FrameEvaluator
    person: Sequence[Pixels]
    sha256: str


class CompareTask:
    """Swap the largest face of some scenes with each model, bare of masks and blending, and lay all side by side.

    model: two or more, or one. source: the scenes; of a video, `frames` evenly spread ones. profile: the person, for
    the figures and for models that take any identity; None: <profiles>/<identity of the model>.json. reference: a photo
    of the person, shown first and given to the judge; None: the profile's face set. source_photo, consent, converter,
    raw_length: as in the swap task. output: the picture. face_sets, profiles: where these lie. analyzer: makes an
    analyzer.

    Raises:
        UserError: a model, the profile or a scene is of no use; says which.
    """

    def __init__(
        self,
        *,
        model: Path | Sequence[Path],
        source: str | Sequence[str],
        output: Path,
        profile: Path | None,
        reference: Path | None,
        source_photo: Path | None,
        consent: Literal["self", "written", "licensed", "public_domain", "synthetic"] | None,
        converter: Path | None,
        raw_length: float,
        frames: int,
        quality: int,
        face_sets: Path,
        profiles: Path,
        backend: Literal["pyav", "decord"],
        analyzer: Callable[[], Analyzer],
        progress: bool = True,
    ) -> None:
        self._models = [model] if isinstance(model, Path) else list(model)
        self._media = find_media(source)
        self._source, self._output = source, output
        self._profile, self._reference, self._source_photo = profile, reference, source_photo
        self._consent, self._converter, self._raw_length = consent, converter, raw_length
        self._frames, self._quality = frames, quality
        self._face_sets, self._profiles, self._backend = face_sets, profiles, backend
        self._analyzer, self._progress = analyzer, progress
        self._console = Console(highlight=False, soft_wrap=True)

    def run(self) -> list[Path]:
        """Swap, measure, draw and write."""
        rows: list[Row] = []
        with closing(self._analyzer()) as analyzer:
            given = self._given(analyzer)
            contestants = [self._load(path, analyzer, given) for path in self._models]
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=self._console, disable=not self._progress) as bar:
                task = bar.add_task("scenes", total=None)
                for name, frame in self._scenes():
                    faces = analyzer(frame)
                    if not faces:
                        bar.console.print(f"left out: {name}: no face found", markup=False)
                        continue
                    rows.append(_row(name, frame, faces[0], contestants, analyzer))
                    bar.advance(task, len(contestants))
                bar.update(task, total=len(rows) * len(contestants))
        if not rows:
            raise UserError(f"source={self._source}: no face found in any scene; give larger or clearer ones")
        person = next((one.person[0] for one in contestants if len(one.person)), None)
        picture = sheet(person, [one.name for one in contestants], rows)
        write_image(self._output, picture, mark=self._mark(contestants), quality=self._quality)
        for row in rows:
            for contestant, cell in zip(contestants, row.swaps, strict=True):
                self._console.print(f"{row.name}  {contestant.name}: {', '.join(cell.lines)}", markup=False)
        self._console.print(f"compared in {self._output}", markup=False)
        return [self._output]

    def _load(self, path: Path, analyzer: Analyzer, given: Sequence[Pixels]) -> _Contestant:
        model = load_swapper(path, converter=self._converter, raw_length=self._raw_length)
        whose = find_source(
            model.info,
            path,
            profile=self._profile if model.info.embedding_size is not None else None,
            photo=self._source_photo if model.info.photo is not None else None,
            consent=self._consent,
            analyzer=self._analyzer,
        )
        known = self._profile or self._profiles / f"{whose.identity}.json"
        if not known.is_file():
            raise UserError(
                f"task.profile: {path} is {whose.identity}, and there is no {known}; give task.profile=<.json>"
            )
        profile = IdentityProfile.load(known)
        profile.require(analyzer.embedder, analyzer.embedding_size)
        crops = given or known_crops(profile, self._face_sets)
        swap = FrameSwap(model, source=whose.value, whose=whose)
        return _Contestant(path.stem, swap, FrameEvaluator(profile, crops), crops, file_sha256(path))

    def _given(self, analyzer: Analyzer) -> list[Pixels]:
        """The crop of the reference on `arcface_128`; none when there is no reference."""
        if self._reference is None:
            return []
        picture = read_image(self._reference)
        faces = analyzer(picture)
        if not faces:
            raise UserError(f"task.reference={self._reference}: no face found; give a larger or clearer one")
        return [warp_face(picture, estimate_alignment(faces[0].keypoints, "arcface_128", 128), 128)]

    def _scenes(self) -> Iterator[tuple[str, Pixels]]:
        for media in self._media:
            if media.kind == "image":
                yield media.path.name, read_image(media.path)
                continue
            with open_video(media.path, self._backend) as reader:
                wanted = evenly_spaced(len(reader), self._frames, ends=True)
                for index, frame in reader.frames(wanted):
                    yield f"{media.path.name} {index}", frame

    def _mark(self, contestants: Sequence[_Contestant]) -> Mark:
        consents = [one.swap.consent for one in contestants]
        return Mark(
            identity=",".join(dict.fromkeys(one.swap.identity for one in contestants)),
            consent=min(consents, key=STRICTEST_FIRST.index),
            model_hash=",".join(one.sha256 for one in contestants),
            title=f"comparison of {len(contestants)} face swap models",
        )


def _row(name: str, frame: Pixels, face: Face, contestants: Sequence[_Contestant], analyzer: Analyzer) -> Row:
    cells = []
    for one in contestants:
        began = time.perf_counter()
        swapped = one.swap.swap(frame, [face])
        seconds = time.perf_counter() - began
        found = one.meter(swapped, analyzer(swapped), frame, [face])
        if found.similarity is None:
            lines = ["no face found"]
        else:
            lines = [f"similarity {found.similarity:.2f}"]
            lines += [f"judge {found.distance:.2f}"] if found.distance is not None else []
            lines += [f"shift {found.shift:.3f}", f"sharpness {found.sharpness_ratio:.2f}"]
        cells.append(Cell(_surroundings(swapped, face), [*lines, f"{1000 * seconds:.0f} ms"]))
    return Row(name, _surroundings(frame, face), cells)


def _surroundings(frame: Pixels, face: Face) -> Pixels:
    half = max(round(1.7 * float(eye_distance(face.landmarks))), 8)
    x, y = np.rint(face.landmarks[:, :2].mean(0)).astype(int)
    height, width = frame.shape[:2]
    return frame[max(y - half, 0) : min(y + half, height), max(x - half, 0) : min(x + half, width)]
