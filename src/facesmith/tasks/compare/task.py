"""The compare task: draw the swaps of several models side by side, with their metrics."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesmith.config.consent import CONSENT_KINDS
from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry.alignment import estimate_alignment, warp_face
from facesmith.faces.measures import eye_distance
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import file_sha256
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark, check_signing
from facesmith.media.sampling import evenly_spaced
from facesmith.media.sources import find_media
from facesmith.media.video import open_video
from facesmith.metrics.person import FrameEvaluator, known_faces
from facesmith.models.onnx.occlusion import Occluder
from facesmith.models.onnx.session import load_swapper
from facesmith.models.onnx.source import find_source
from facesmith.progress import progress_bar, waiting
from facesmith.tasks.compare.config import CompareTaskConfig
from facesmith.tasks.compare.sheet import Cell, Row, draw_sheet
from facesmith.tasks.swap.frame_swap import FrameSwapper, MaskOptions
from facesmith.terminal import make_console, print_line

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Candidate:
    """A model to compare: its name, what swaps with it, and the person it is measured against."""

    name: str
    swapper: FrameSwapper
    evaluator: FrameEvaluator
    person: Sequence[Pixels]
    sha256: str


class CompareTask:
    """Swap faces of some scenes with each model, with no mask but the occluder's, and draw all side by side."""

    def __init__(self, config: CompareTaskConfig, *, analyzer: Callable[[], Analyzer], progress: bool = True) -> None:
        """Find the scenes.

        Args:
            config: The settings.
            analyzer: Makes an analyzer.
            progress: Whether to show a progress bar.

        Raises:
            UserError: A source is missing.
        """
        self._config, self._analyzer, self._progress = config, analyzer, progress
        self._models = config.model if isinstance(config.model, list) else [config.model]
        check_signing()
        self._media = find_media(config.source, output=config.output)
        self._masks = MaskOptions()
        if config.occluder is not None:
            self._masks = MaskOptions(("occlusion",), occluder=Occluder(config.occluder))
        self._console = make_console()

    def run(self) -> list[Path]:
        """Swap, measure, draw and write.

        Returns:
            The picture that was written.

        Raises:
            UserError: A model or the profile does not fit, or no scene shows a face.
        """
        config, rows = self._config, list[Row]()
        with closing(self._analyzer()) as analyzer:
            with waiting("preparing the person and what is compared", shown=self._progress):
                reference = self._reference_crops(analyzer)
                candidates = [self._load(path, analyzer, reference) for path in self._models]
            expected = sum(1 if media.kind == "image" else config.frames for media in self._media)
            with progress_bar(shown=self._progress, console=self._console) as bar:
                task = bar.add_task("swaps", total=expected * len(candidates))
                for name, frame in self._scenes():
                    faces = analyzer(frame)
                    if not faces:
                        print_line(f"skipped: {name}: no face found", bar.console)
                        continue
                    selected = faces[:1] if config.select == "largest" else faces
                    rows.append(_row(name, frame, selected, candidates, analyzer))
                    bar.advance(task, len(candidates))
                bar.update(task, total=len(rows) * len(candidates))
        if not rows:
            raise UserError(f"source={config.source}: no face found in any scene; give larger or clearer ones")
        person = next((one.person[0] for one in candidates if len(one.person)), None)
        picture = draw_sheet(person, [one.name for one in candidates], rows, config.width)
        write_image(config.output, picture, mark=self._mark(candidates), quality=config.quality)
        for row in rows:
            for candidate, cell in zip(candidates, row.swaps, strict=True):
                print_line(f"{row.name}  {candidate.name}: {', '.join(cell.lines)}", self._console)
        print_line(f"compared in {config.output}", self._console)
        return [config.output]

    def _load(self, path: Path, analyzer: Analyzer, reference: Sequence[Pixels]) -> _Candidate:
        config = self._config
        model = load_swapper(path, converter=config.converter, raw_length=config.raw_length)
        source = find_source(
            model.info,
            path,
            profile=config.profile if model.info.embedding_size is not None else None,
            photo=config.source_photo if model.info.photo is not None else None,
            consent=config.consent,
            analyzer=self._analyzer,
        )
        known = config.profile or config.profiles / f"{source.identity}.json"
        if not known.is_file():
            raise UserError(
                f"task.profile: {path} is {source.identity}, and there is no {known}; give task.profile=<.json>"
            )
        profile = IdentityProfile.load(known)
        profile.require_embedder(analyzer.embedder, analyzer.embedding_size)
        faces = None if reference else known_faces(profile, config.face_sets, 128)
        crops = reference if faces is None else list(faces.images)
        swapper = FrameSwapper(model, source=source, masks=self._masks)
        return _Candidate(path.stem, swapper, FrameEvaluator(profile, crops), crops, file_sha256(path))

    def _reference_crops(self, analyzer: Analyzer) -> list[Pixels]:
        """Return the crop of the reference on `arcface_128`; none where there is no reference."""
        reference = self._config.reference
        if reference is None:
            return []
        picture = read_image(reference)
        faces = analyzer(picture)
        if not faces:
            raise UserError(f"task.reference={reference}: no face found; give a larger or clearer one")
        return [warp_face(picture, estimate_alignment(faces[0].keypoints, "arcface_128", 128), 128)]

    def _scenes(self) -> Iterator[tuple[str, Pixels]]:
        for media in self._media:
            if media.kind == "image":
                yield media.path.name, read_image(media.path)
                continue
            with open_video(media.path, self._config.backend) as reader:
                wanted = evenly_spaced(len(reader), self._config.frames, ends=True)
                for index, frame in reader.frames(wanted):
                    yield name_frame(media.path.name, float(reader.times[index])), frame

    def _mark(self, candidates: Sequence[_Candidate]) -> Mark:
        consents = [one.swapper.source.consent for one in candidates]
        return Mark(
            identity=",".join(dict.fromkeys(one.swapper.source.identity for one in candidates)),
            consent=min(consents, key=CONSENT_KINDS.index),
            model_hash=",".join(one.sha256 for one in candidates),
            title="comparison of face swaps",
        )


def _row(name: str, frame: Pixels, faces: Sequence[Face], candidates: Sequence[_Candidate], analyzer: Analyzer) -> Row:
    """Swap faces of a scene with each model, and measure the first."""
    cells = []
    for one in candidates:
        began = time.perf_counter()
        swapped = one.swapper.swap(frame, faces)
        seconds = time.perf_counter() - began
        found = one.evaluator(swapped, analyzer(swapped), frame, faces[:1])
        if found.similarity is None:
            lines = ["no face found"]
        else:
            judge = f", judge {found.distance:.2f}" if found.distance is not None else ""
            lines = [f"similarity {found.similarity:.2f}{judge}"]
            lines += [f"shift {found.shift:.3f}, sharpness {found.sharpness_ratio:.2f}"]
        lines[-1] += f", {1000 * seconds:.0f} ms"
        cells.append(Cell(_surroundings(swapped, faces), lines))
    return Row(name, _surroundings(frame, faces), cells)


def _surroundings(frame: Pixels, faces: Sequence[Face]) -> Pixels:
    """Return a view of the frame around some faces."""
    half = [max(round(1.7 * float(eye_distance(face.landmarks))), 8) for face in faces]
    centres = np.rint([face.landmarks[:, :2].mean(0) for face in faces]).astype(int)
    left, top = (centres - np.array(half)[:, None]).min(0).clip(min=0)
    right, bottom = (centres + np.array(half)[:, None]).max(0)
    return frame[top:bottom, left:right]


def name_frame(film: str, seconds: float) -> str:
    """Name a frame by the film and the moment: scene.mp4 0:12.5.

    Args:
        film: Its name.
        seconds: From its beginning.
    """
    tenths = round(seconds * 10)
    return f"{film} {tenths // 600}:{tenths % 600 / 10:04.1f}"
