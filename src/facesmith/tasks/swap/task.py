"""The swap task: lay a trained face over the faces of images and videos."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from facesmith import __version__
from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.files import partial_folder
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark, file_sha256
from facesmith.media.segments import SegmentedWriter
from facesmith.media.sources import find_media
from facesmith.media.timeline import Timeline
from facesmith.media.video import VideoReader, open_video
from facesmith.tasks.swap.faces import Analyzers, FaceChoice, Select, reference_embedding, threshold_of
from facesmith.tasks.swap.frame_swap import load_frame_swap
from facesmith.tasks.swap.outputs import targets
from facesmith.tasks.swap.video_swap import VideoSwap

_MOST_WORKERS = 4
_STOPPED = 130  # the exit code of a program that was told to stop by Ctrl-C


@dataclass(frozen=True)
class Swapped:
    """What became of one file: where it was written, its frames, in how many of them no face was swapped, and in
    how many one that was bridged over.
    """

    path: Path
    frames: int
    without_face: int
    bridged: int


class SwapTask:
    """Swap the faces of every image and video of a source.

    model: .onnx or .ckpt. source: an image, a video, a folder, or a list of them. output: a file for one source, else
    a folder. profile: whose face, for models that take any identity. select, reference, select_threshold: which
    faces, see `FaceChoice`; the threshold for each embedder, or one for any. fail_when_no_face: a file without such a
    face is an error; else it is written as it is. smoothing, max_gap: of video, see `StreamTracker`. detect_every: see
    `analysed`. backend: how video is read. quality: of JPEG, WebP and AVIF, 1..100. crf, preset: of x264.
    segment_seconds: of video, written and kept at a time, see `SegmentedWriter`. resume: go on with what an earlier
    run left, and keep what it finished. workers: threads that analyse, and that swap; None for one a core, 4 at most.
    analyzer: makes an analyzer. frame: how a frame is swapped, see `load_frame_swap`. progress: show bars.

    Raises:
        UserError: the model is missing or of another contract, the profile or reference does not fit, the
        output cannot be written.
    """

    def __init__(
        self,
        *,
        model: Path,
        source: str | Sequence[str],
        output: Path,
        profile: Path | None,
        select: Select,
        reference: Path | None,
        select_threshold: float | Mapping[str, float],
        fail_when_no_face: bool,
        smoothing: float,
        smoothing_order: int,
        max_gap: float,
        detect_every: int,
        backend: Literal["pyav", "decord"],
        quality: int,
        crf: int,
        preset: str,
        segment_seconds: float,
        resume: bool,
        workers: int | None,
        analyzer: Callable[[], Analyzer],
        frame: Mapping[str, Any],
        progress: bool = True,
    ) -> None:
        self._media = find_media(source)
        self._source = source
        self._backend = backend
        self._quality = quality
        self._crf, self._preset = crf, preset
        self._segment_seconds, self._resume = segment_seconds, resume
        self._progress = progress
        self._fail_when_no_face = fail_when_no_face
        self._console = Console()
        self._targets = targets(self._media, source, output)
        self._swap = load_frame_swap(model, profile=profile, analyzer=analyzer, **frame)
        self._model_hash = file_sha256(model)
        self._analyzers = Analyzers(analyzer)
        self._select, self._embedding, self._threshold = select, None, 0.0
        if reference is not None:
            with self._analyzers.lend() as first:
                self._embedding = reference_embedding(reference, first)
                self._threshold = threshold_of(select_threshold, first.embedder)
        self._facts: list[object] = [profile, select, self._embedding, self._threshold, smoothing, smoothing_order]
        self._facts += [max_gap, detect_every, crf, preset, segment_seconds, sorted(frame.items())]
        if self._swap.adapters:
            self._facts.append(self._swap.adapters.facts())
        self._video_swap = VideoSwap(
            self._analyzers,
            self._swap,
            choice=self._choice,
            embed=reference is not None,
            smoothing=SmoothingConfig(window_seconds=smoothing, polyorder=smoothing_order),
            max_gap=max_gap,
            every=detect_every,
            workers=workers or min(os.cpu_count() or 1, _MOST_WORKERS),
        )

    def run(self) -> list[Path]:
        """Swap and write; one file that cannot be used among good ones is told and left out.

        Raises:
            UserError: nothing could be swapped; says why.
        """
        done: list[Swapped] = []
        failed: list[UserError] = []
        kept: list[Path] = []
        # Without a row, rich leaves an empty line.
        shown = self._progress and any(media.kind == "video" for media in self._media)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with (
            closing(self._analyzers),
            Progress(*columns, console=self._console, disable=not shown) as bar,
        ):
            for media, target in zip(self._media, self._targets, strict=True):
                if self._kept(target):
                    kept.append(target)
                    continue
                try:
                    done.append(
                        self._image(media.path, target)
                        if media.kind == "image"
                        else self._video(media.path, target, bar)
                    )
                except UserError as error:
                    if len(self._media) == 1:
                        raise
                    failed.append(error)
                    bar.console.print(f"left out: {error}", highlight=False, soft_wrap=True, markup=False)
        if failed and not done and not kept:
            raise UserError(f"source={self._source}: no face swapped in any of {len(failed)} files; first: {failed[0]}")
        self._tell(done, kept, len(failed))
        return [*kept, *(one.path for one in done)]

    def _choice(self) -> FaceChoice:
        return FaceChoice(self._select, reference=self._embedding, threshold=self._threshold)

    def _image(self, path: Path, target: Path) -> Swapped:
        picture = read_image(path)
        with self._analyzers.lend() as analyzer:
            faces = self._choice()(dict(enumerate(analyzer(picture))))
        if not faces and self._fail_when_no_face:
            raise UserError(f"{path}: {self._no_face()}")
        write_image(target, self._swap.swap(picture, faces), mark=self._mark(path), quality=self._quality)
        return Swapped(target, 1, int(not faces), 0)

    def _video(self, path: Path, target: Path, bar: Progress) -> Swapped:
        with open_video(path, self._backend) as reader:
            timeline = Timeline.of(reader)
            with SegmentedWriter(
                target,
                timeline,
                mark=self._mark(path),
                key=self._key(path),
                frames=max(1, round(self._segment_seconds * reader.fps)),
                resume=self._resume,
                crf=self._crf,
                preset=self._preset,
            ) as writer:
                try:
                    self._write(reader, writer, bar)
                except UserError as error:
                    raise UserError(f"{error}{_goes_on(writer)}") from error
                except KeyboardInterrupt:
                    bar.console.print(f"stopped{_goes_on(writer)}", highlight=False, soft_wrap=True, markup=False)
                    raise SystemExit(_STOPPED) from None
                tally = writer.tally
                if tally["without"] == tally["frames"] and self._fail_when_no_face:
                    writer.discard()
                    raise UserError(f"{path}: {self._no_face(tally['frames'])}")
            for loss in reader.lost:
                bar.console.print(f"{path}: {loss}", highlight=False, soft_wrap=True, markup=False)
        return Swapped(target, tally["frames"], tally["without"], tally["bridged"])

    def _write(self, reader: VideoReader, writer: SegmentedWriter, bar: Progress) -> None:
        shown = bar.add_task(reader.path.name, total=len(reader), completed=writer.start)
        if writer.start == len(reader):
            return
        with closing(self._video_swap(reader, writer.start)) as swapped:
            for one in swapped:
                writer.write(one.picture, one.number)
                writer.tally.update(frames=1, without=int(one.faces == 0), bridged=int(one.bridged > 0))
                bar.update(shown, completed=one.number + 1)

    def _key(self, path: Path) -> str:
        """Hash of all that decides the frames of a video."""
        found = path.stat()
        facts = [str(path.resolve()), found.st_size, found.st_mtime_ns, self._model_hash, self._facts, __version__]
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()

    def _no_face(self, frames: int = 0) -> str:
        where = f" in any of {frames} frames" if frames else ""
        if self._embedding is not None:
            return f"no face matches the reference{where}; lower select_threshold={self._threshold} or leave it out"
        return f"no face found{where}; give a picture with a larger or clearer face"

    def _mark(self, path: Path) -> Mark:
        """What every file says of itself."""
        return Mark(
            identity=self._swap.identity,
            consent=self._swap.consent,
            model_hash=self._model_hash,
            title=f"face swap of {path.name}",
            adapter=self._swap.adapters.name if self._swap.adapters else "",
        )

    def _kept(self, target: Path) -> bool:
        """Whether a run that goes on finds this file done."""
        return self._resume and target.exists() and not partial_folder(target).exists()

    def _tell(self, done: list[Swapped], kept: list[Path], failed: int) -> None:
        for path in kept:
            self._console.print(f"kept {path}, which is there already", highlight=False, soft_wrap=True, markup=False)
        for one in done:
            notes = []
            if one.without_face:
                notes.append(f"{one.without_face} of {one.frames} frames without a face to swap, unchanged")
            if one.bridged:
                notes.append(f"{one.bridged} bridged")
            note = f" ({'; '.join(notes)})" if notes else ""
            self._console.print(f"swapped {one.path}{note}", highlight=False, soft_wrap=True, markup=False)
        if failed:
            self._console.print(f"{len(done)} files swapped, {failed} left out", highlight=False)


def _goes_on(writer: SegmentedWriter) -> str:
    """What to do with a run that has ended too soon."""
    if not writer.kept:
        return "; nothing of it is kept"
    return f"; the first {writer.kept} parts are in {writer.folder}, resume=true goes on"
