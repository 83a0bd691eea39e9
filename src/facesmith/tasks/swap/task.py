"""The swap task: swap the faces of images and videos."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from facesmith import __version__
from facesmith.errors import DiskFullError, UserError, free_bytes
from facesmith.faces.face import Analyzer, Face
from facesmith.files import partial_folder
from facesmith.media.encoders import CONTAINERS, Encoding, choose_encoder, lost_properties
from facesmith.media.planes import PlaneFrame
from facesmith.media.provenance import Mark, check_signing, file_sha256
from facesmith.media.segments import SegmentedWriter
from facesmith.media.sources import Media, find_media
from facesmith.media.stills import Still, read_still, write_still
from facesmith.media.timeline import Timeline
from facesmith.media.video import VideoReader, open_video
from facesmith.media.visualization import side_by_side
from facesmith.models.onnx.providers import is_accelerated
from facesmith.progress import progress_bar
from facesmith.tasks.batch import Batch
from facesmith.tasks.swap.analysis import AnalyzerPool
from facesmith.tasks.swap.canvas import PlaneCanvas, StillCanvas
from facesmith.tasks.swap.config import SwapTaskConfig
from facesmith.tasks.swap.face_selection import (
    FaceSelector,
    Select,
    count_turned,
    reference_embedding,
    threshold_for,
)
from facesmith.tasks.swap.frame_swap import load_frame_swapper
from facesmith.tasks.swap.outputs import output_paths
from facesmith.tasks.swap.time_range import parse_scale, select_frames
from facesmith.tasks.swap.video_processing import VideoProcessor

Pixels = npt.NDArray[np.uint8]

_BATCH = 8  # frames whose faces a GPU gets at once
_STOPPED = 130  # the exit code of a program that was stopped by Ctrl-C


@dataclass(frozen=True)
class SwapResult:
    """The result of one file.

    Attributes:
        path: Where it was written.
        frames: How many frames it has.
        without_face: In how many of them no face was swapped.
        bridged: In how many of them a face was swapped that the analyzer did not see.
        turned: In how many of them a face was swapped that is turned far to the side.
    """

    path: Path
    frames: int
    without_face: int
    bridged: int
    turned: int


class SwapTask:
    """Swap the faces of every image and video of a source."""

    def __init__(self, config: SwapTaskConfig, *, analyzer: Callable[[], Analyzer], progress: bool = True) -> None:
        """Load the model and check sources and outputs.

        Args:
            config: The settings.
            analyzer: Makes an analyzer; each thread gets its own.
            progress: Whether videos show a progress bar.

        Raises:
            UserError: The model is missing or of another contract, profile or reference does not fit, or the output
                cannot be written.
        """
        self._config, self._progress = config, progress
        self._console = Console(highlight=False, soft_wrap=True)
        check_signing()
        self._media = find_media(config.source, output=config.output)
        self._outputs = output_paths(
            self._media, config.source, config.output, suffix=config.suffix, usable=CONTAINERS[config.codec]
        )
        self._swapper = load_frame_swapper(config.model, config, analyzer=analyzer, profile=config.profile)
        self._model_hash = file_sha256(config.model)
        self._encoding = Encoding(config.codec, config.encoder, config.crf, config.preset)
        self._encoder, fallback = choose_encoder(self._encoding)
        if fallback is not None and any(media.kind == "video" for media in self._media):
            self._console.print(fallback, markup=False)
        self._analyzers = AnalyzerPool(analyzer)
        self._embedding: npt.NDArray[np.float32] | None = None
        self._threshold = 0.0
        if config.reference is not None:
            with self._analyzers.borrow() as first:
                self._embedding = reference_embedding(config.reference, first)
                self._threshold = threshold_for(config.select_threshold, first.embedder)
        self._process_video = VideoProcessor(
            self._analyzers,
            self._draw,
            config,
            selector=self._make_selector,
            embed=config.reference is not None,
            deinterlaces=config.deinterlace,
            # On a CPU a batch costs what its faces cost one by one; a GPU would wait between them.
            batch=_BATCH if is_accelerated() else 1,
        )

    def run(self) -> list[Path]:
        """Swap and write; among several files, one that cannot be used is reported and skipped.

        Returns:
            The files written, and those that an earlier run had finished.

        Raises:
            UserError: Nothing could be swapped.
        """
        done: list[SwapResult] = []
        kept: list[Path] = []
        with closing(self._analyzers), self._progress_bar() as bar:
            batch = Batch(len(self._media), lambda line: bar.console.print(line, markup=False), self._config)
            for media, output in zip(self._media, self._outputs, strict=True):
                if self._is_finished(output):
                    kept.append(output)
                    continue
                result = batch.run(media.path, partial(self._swap, media, output, bar))
                if result is not None:
                    done.append(result)
        batch.require_any([*done, *kept], f"source={self._config.source}: no face swapped in any of")
        self._report(done, kept, len(batch.failed))
        return [*kept, *(result.path for result in done)]

    def _swap(self, media: Media, output: Path, bar: Progress) -> SwapResult:
        if media.kind == "image":
            return self._swap_image(media.path, output, bar)
        return self._swap_video(media.path, output, bar)

    def _swap_image(self, path: Path, output: Path, bar: Progress) -> SwapResult:
        config = self._config
        still = read_still(path)
        picture = still.preview()
        with self._analyzers.borrow() as analyzer:
            faces = self._make_selector()(dict(enumerate(analyzer(picture))))
        if not faces and config.fail_when_no_face:
            raise UserError(f"{path}: {self._no_face()}")
        self._swapper.swap_in_place([(StillCanvas(still), faces)])
        if config.side_by_side:
            still = Still(side_by_side(picture, still.preview()))
        scale = parse_scale(config.scale)
        if scale is not None:
            still = still.resized(*scale(still.pixels.shape[1], still.pixels.shape[0]))
        if lost := write_still(output, still, mark=self._mark(path), quality=config.quality):
            bar.console.print(f"{output}: {output.suffix} cannot hold {', '.join(lost)}; left out", markup=False)
        return SwapResult(output, 1, int(not faces), 0, int(count_turned(faces) > 0))

    def _swap_video(self, path: Path, output: Path, bar: Progress) -> SwapResult:
        config = self._config

        batch = _BATCH if is_accelerated() else 1

        def tell(note: str) -> None:
            bar.console.print(note, markup=False)

        with open_video(path, config.backend) as reader:
            frames = select_frames(path, reader.times, reader.fps, config.start, config.end)
            timeline = self._timeline(reader, output, frames, tell)
            with SegmentedWriter(
                output,
                timeline,
                mark=self._mark(path),
                key=self._key(path),
                # Whole batches, so that a resumed run has the same ones.
                frames=max(1, round(config.segment_seconds * reader.fps / batch)) * batch,
                resume=config.resume,
                encoding=self._encoding,
                scale=parse_scale(config.scale),
            ) as writer:
                try:
                    self._write_frames(reader, frames, writer, bar)
                except DiskFullError as error:
                    kept = f"then give resume=true to go on after the first {writer.kept} parts, in {writer.folder}"
                    again = "then run the same command again"
                    free = free_bytes(output)
                    raise DiskFullError(output, None, free, kept if writer.kept else again) from error
                except UserError as error:
                    raise UserError(f"{error}{_how_to_resume(writer)}") from error
                except KeyboardInterrupt:
                    tell(f"stopped{_how_to_resume(writer)}")
                    raise SystemExit(_STOPPED) from None
                tally = writer.tally
                if tally["without"] == tally["frames"] and config.fail_when_no_face:
                    writer.discard()
                    raise UserError(f"{path}: {self._no_face(tally['frames'])}")
            for note in writer.notes:
                tell(note)
            if lost := reader.lost:
                tell(f"{path}: {'; '.join(lost)}")
        return SwapResult(output, tally["frames"], tally["without"], tally["bridged"], tally["turned"])

    def _timeline(self, reader: VideoReader, output: Path, frames: range, tell: Callable[[str], None]) -> Timeline:
        """Return the timeline of the result, and tell what of the picture cannot be carried."""
        timeline = Timeline.from_reader(reader).cut(frames)
        picture = timeline.picture
        if self._config.side_by_side:
            timeline = timeline.for_display()
        if picture.interlaced and not self._config.deinterlace:
            tell(
                f"{reader.path}: is interlaced; its fields are kept, and a face that moves may show combs; "
                "task.deinterlace=true makes it progressive"
            )
        if picture.interlaced and self._config.deinterlace:
            timeline = replace(timeline, picture=replace(picture, interlaced=False))
        for loss in lost_properties(picture, self._encoding, output.suffix.lower()):
            tell(f"{reader.path}: {loss}")
        return timeline

    def _write_frames(self, reader: VideoReader, frames: range, writer: SegmentedWriter, bar: Progress) -> None:
        task = bar.add_task(reader.path.name, total=len(frames), completed=writer.start)
        if writer.start == len(frames):
            return
        with closing(self._process_video(reader, frames[writer.start :], frames.start)) as processed:
            for frame in processed:
                number = frame.number - frames.start
                writer.write(frame.picture, number)
                writer.tally.update(
                    frames=1,
                    without=int(frame.faces == 0),
                    bridged=int(frame.bridged > 0),
                    turned=int(frame.turned > 0),
                )
                bar.update(task, completed=number + 1)

    def _draw(self, frames: Sequence[tuple[PlaneFrame, Sequence[Face]]]) -> list[PlaneFrame | Pixels]:
        """Return the frames as they are written; those with faces are changed."""
        before = [frame.rgb() for frame, _ in frames] if self._config.side_by_side else []
        self._swapper.swap_in_place([(PlaneCanvas(frame), faces) for frame, faces in frames if faces])
        if self._config.side_by_side:
            return [side_by_side(old, frame.rgb()) for old, (frame, _) in zip(before, frames, strict=True)]
        return [frame for frame, _ in frames]

    def _make_selector(self) -> FaceSelector:
        # `select` is checked by the settings
        select = cast(Select, self._config.select)
        return FaceSelector(select, reference=self._embedding, threshold=self._threshold)

    def _progress_bar(self) -> Progress:
        # Without a row, rich leaves an empty line.
        visible = self._progress and any(media.kind == "video" for media in self._media)
        return progress_bar(shown=visible, console=self._console)

    def _is_finished(self, output: Path) -> bool:
        """Return whether a resumed run finds this file finished."""
        return self._config.resume and output.exists() and not partial_folder(output).exists()

    def _key(self, path: Path) -> str:
        """Return a hash of everything that determines the frames of a video."""
        config, file = self._config, path.stat()
        facts: list[object] = [str(path.resolve()), file.st_size, file.st_mtime_ns, self._model_hash, __version__]
        facts += [config.profile, config.select, self._embedding, self._threshold, config.smoothing]
        facts += [config.smoothing_order, config.max_gap, config.detect_every, config.crf, config.preset]
        facts += [config.codec, self._encoder, config.start, config.end, config.scale, config.deinterlace]
        facts += [config.segment_seconds, config.side_by_side, sorted(config.frame_settings().items())]
        if self._swapper.adapters:
            facts.append(self._swapper.adapters.facts())
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()

    def _mark(self, path: Path) -> Mark:
        """Return the provenance mark of every written file."""
        source, adapters = self._swapper.source, self._swapper.adapters
        return Mark(
            identity=source.identity,
            consent=source.consent,
            model_hash=self._model_hash,
            title=f"face swap of {path.name}",
            adapter=adapters.name if adapters else "",
        )

    def _no_face(self, frames: int = 0) -> str:
        scope = f" in any of {frames} frames" if frames else ""
        if self._embedding is not None:
            return f"no face matches the reference{scope}; lower select_threshold={self._threshold} or omit it"
        return (
            f"no face found{scope}, upright or turned; give one with a larger or clearer face, or look closer with "
            "analyzer.detector_sizes=[1920]"
        )

    def _report(self, done: Sequence[SwapResult], kept: Sequence[Path], failed: int) -> None:
        for path in kept:
            self._console.print(f"skipped {path}: already finished", markup=False)
        for result in done:
            notes = []
            if result.without_face:
                notes.append(f"{result.without_face} of {result.frames} frames without a face to swap, unchanged")
            if result.bridged:
                notes.append(f"{result.bridged} bridged")
            if result.turned:
                notes.append(f"look at {result.turned} with a head turned by more than 35 degrees")
            note = f" ({'; '.join(notes)})" if notes else ""
            self._console.print(f"swapped {result.path}{note}", markup=False)
        if failed:
            self._console.print(f"swapped {len(done)} files, skipped {failed}")


def _how_to_resume(writer: SegmentedWriter) -> str:
    """Return how to continue an interrupted run."""
    if not writer.kept:
        return "; no part of it is finished"
    return f"; the first {writer.kept} parts are in {writer.folder}, resume=true continues"
