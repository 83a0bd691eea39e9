"""The swap task: swap the faces of images and videos."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from facesmith import __version__
from facesmith.errors import DiskFullError, UserError, free_bytes
from facesmith.faces.face import Analyzer
from facesmith.files import partial_folder
from facesmith.media.encoders import CONTAINERS, Encoding, choose_encoder, lost_properties
from facesmith.media.images import write_image
from facesmith.media.planes import PlaneFrame
from facesmith.media.provenance import Mark, check_signing
from facesmith.media.sampling import allocate_frames, evenly_spaced
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
from facesmith.tasks.swap.cast import Cast
from facesmith.tasks.swap.config import SwapTaskConfig
from facesmith.tasks.swap.face_selection import FaceSelector, SelectedFace, count_turned
from facesmith.tasks.swap.outputs import output_paths
from facesmith.tasks.swap.preview import PreviewFrame, draw_preview, preview_path
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
        of_entries: In how many of them each entry of the cast swapped a face.
    """

    path: Path
    frames: int
    without_face: int
    bridged: int
    turned: int
    of_entries: list[int]


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
        self._analyzers = AnalyzerPool(analyzer)
        with self._analyzers.borrow() as watch:
            self._cast = Cast(config.entries(), analyzer=analyzer, watch=watch)
        self._encoding = Encoding(config.codec, config.encoder, config.crf, config.preset)
        self._encoder, fallback = choose_encoder(self._encoding)
        if fallback is not None and any(media.kind == "video" for media in self._media):
            self._console.print(fallback, markup=False)
        # On a CPU a batch costs what its faces cost one by one; a GPU would wait between them.
        self._process_video = VideoProcessor(
            self._analyzers,
            self._draw,
            config,
            embed=self._cast.recognises,
            deinterlaces=config.deinterlace,
            batch=_BATCH if is_accelerated() else 1,
        )

    def run(self) -> list[Path]:
        """Swap and write; among several files, one that cannot be used is reported and skipped.

        Returns:
            The files written, and those that an earlier run had finished.

        Raises:
            UserError: Nothing could be swapped, or an entry of the cast matched nobody.
        """
        if self._config.preview is not None:
            with closing(self._analyzers):
                return [self._preview(self._config.preview)]
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
        self._report_cast(done, kept)
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
            faces = FaceSelector(self._cast.claims)(dict(enumerate(analyzer(picture))))
        if not faces and config.fail_when_no_face:
            raise UserError(f"{path}: {self._no_face()}")
        self._cast.swap_in_place([(StillCanvas(still), faces)])
        if config.side_by_side:
            still = Still(side_by_side(picture, still.preview()))
        scale = parse_scale(config.scale)
        if scale is not None:
            still = still.resized(*scale(still.pixels.shape[1], still.pixels.shape[0]))
        if lost := write_still(output, still, mark=self._mark(path), quality=config.quality):
            bar.console.print(f"{output}: {output.suffix} cannot hold {', '.join(lost)}; left out", markup=False)
        turned = count_turned([one.face for one in faces])
        return SwapResult(output, 1, int(not faces), 0, int(turned > 0), self._count_entries([faces]))

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
        of_entries = [tally[f"entry_{number}"] for number in range(len(self._cast))]
        return SwapResult(output, tally["frames"], tally["without"], tally["bridged"], tally["turned"], of_entries)

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
        select = FaceSelector(self._cast.claims)
        self._decide(reader, frames[: writer.start], select)
        with closing(self._process_video(reader, frames[writer.start :], select, frames.start)) as processed:
            for frame in processed:
                number = frame.number - frames.start
                writer.write(frame.picture, number)
                writer.tally.update(
                    frames=1,
                    without=int(not frame.faces),
                    bridged=int(frame.bridged > 0),
                    turned=int(frame.turned > 0),
                    **{f"entry_{entry}": 1 for entry in {one.entry for one in frame.faces}},
                )
                bar.update(task, completed=number + 1)

    def _decide(self, reader: VideoReader, frames: range, select: FaceSelector) -> None:
        """Let a selector count places from the left in frames that are not written again."""
        if not select.undecided or not frames:
            return
        look = VideoProcessor[None](
            self._analyzers, lambda group: [None] * len(group), self._config, embed=True, deinterlaces=False
        )
        with closing(look(reader, frames, select)) as seen:
            for _ in seen:
                if not select.undecided:
                    return

    def _draw(self, frames: Sequence[tuple[PlaneFrame, Sequence[SelectedFace]]]) -> list[PlaneFrame | Pixels]:
        """Return the frames as they are written; those with faces are changed."""
        before = [frame.rgb() for frame, _ in frames] if self._config.side_by_side else []
        self._cast.swap_in_place([(PlaneCanvas(frame), faces) for frame, faces in frames if faces])
        if self._config.side_by_side:
            return [side_by_side(old, frame.rgb()) for old, (frame, _) in zip(before, frames, strict=True)]
        return [frame for frame, _ in frames]

    def _preview(self, count: int) -> Path:
        """Write the sheet of a few frames, chosen evenly over all files."""
        config, output = self._config, preview_path(self._outputs, self._config.output)
        chosen = [self._media[i] for i in evenly_spaced(len(self._media), min(count, len(self._media)))]
        lengths = [None if media.kind == "image" else self._count_frames(media.path) for media in chosen]
        shown: list[PreviewFrame] = []
        with progress_bar(shown=self._progress, console=self._console) as bar:
            task = bar.add_task("preview", total=count)
            for media, numbers in zip(chosen, allocate_frames(lengths, count), strict=True):
                frames = self._preview_image(media) if media.kind == "image" else self._preview_video(media, numbers)
                for frame in frames:
                    shown.append(frame)
                    bar.update(task, completed=len(shown))
        targets = [str(entry.target) for entry in self._cast.entries]
        sheet = draw_preview(self._cast.names, targets, shown)
        write_image(output, sheet, mark=self._cast.mark(f"preview of {config.source}"), quality=config.quality)
        self._console.print(f"preview {output}: {len(shown)} frames; omit preview to write the result", markup=False)
        for name, found in zip(self._cast.names, self._count_entries([one.faces for one in shown]), strict=True):
            self._console.print(f"{name}: in {found} of {len(shown)} frames", markup=False)
        return output

    def _count_frames(self, path: Path) -> int:
        with open_video(path, self._config.backend) as reader:
            return len(select_frames(path, reader.times, reader.fps, self._config.start, self._config.end))

    def _preview_image(self, media: Media) -> Iterator[PreviewFrame]:
        still = read_still(media.path)
        before = still.preview().copy()
        with self._analyzers.borrow() as analyzer:
            faces = FaceSelector(self._cast.claims)(dict(enumerate(analyzer(before))))
        self._cast.swap_in_place([(StillCanvas(still), faces)])
        yield PreviewFrame(media.path.name, before, still.preview(), faces)

    def _preview_video(self, media: Media, numbers: Sequence[int]) -> Iterator[PreviewFrame]:
        config = self._config

        def draw(group: Sequence[tuple[PlaneFrame, Sequence[SelectedFace]]]) -> list[tuple[Pixels, Pixels]]:
            before = [frame.rgb().copy() for frame, _ in group]
            self._cast.swap_in_place([(PlaneCanvas(frame), faces) for frame, faces in group if faces])
            return [(old, frame.rgb()) for old, (frame, _) in zip(before, group, strict=True)]

        process = VideoProcessor(
            self._analyzers, draw, config, embed=self._cast.recognises, deinterlaces=config.deinterlace
        )
        with open_video(media.path, config.backend) as reader:
            frames = select_frames(media.path, reader.times, reader.fps, config.start, config.end)
            select = FaceSelector(self._cast.claims)
            for number in numbers:
                self._decide(reader, frames[: number + 1], select)
                one = range(frames[number], frames[number] + 1)
                for frame in process(reader, one, select):
                    name = f"{media.path.name}, {reader.times[frame.number]:.1f} s"
                    yield PreviewFrame(name, *frame.picture, frame.faces)

    def _count_entries(self, frames: Sequence[Sequence[SelectedFace]]) -> list[int]:
        """Count the frames in which each entry of the cast swaps a face."""
        return [sum(any(one.entry == number for one in faces) for faces in frames) for number in range(len(self._cast))]

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
        facts: list[object] = [str(path.resolve()), file.st_size, file.st_mtime_ns, __version__]
        facts += [config.smoothing, config.smoothing_order, config.max_gap, config.detect_every, config.crf]
        facts += [config.preset, config.codec, self._encoder, config.start, config.end, config.scale]
        facts += [config.deinterlace, config.segment_seconds, config.side_by_side, *self._cast.facts()]
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()

    def _mark(self, path: Path) -> Mark:
        """Return the provenance mark of every written file."""
        return self._cast.mark(f"face swap of {path.name}")

    def _no_face(self, frames: int = 0) -> str:
        scope = f" in any of {frames} frames" if frames else ""
        if len(self._cast) > 1:
            return f"no face matches an entry of the cast{scope}; look at preview=8, or lower select_threshold"
        if self._config.reference is not None:
            threshold = self._cast.claims[0].threshold
            return f"no face matches the reference{scope}; lower select_threshold={threshold} or omit it"
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

    def _report_cast(self, done: Sequence[SwapResult], kept: Sequence[Path]) -> None:
        """Tell in how many frames each entry of the cast swapped a face; an entry without any may be an error."""
        if len(self._cast) == 1 or not done:
            return
        frames = sum(result.frames for result in done)
        found = [sum(result.of_entries[number] for result in done) for number in range(len(self._cast))]
        for name, count in zip(self._cast.names, found, strict=True):
            self._console.print(f"{name}: in {count} of {frames} frames", markup=False)
        unmatched = [self._cast.describe(number) for number, count in enumerate(found) if not count]
        if unmatched and not kept:
            line = f"{' and '.join(unmatched)} matched nobody; look at preview=8, or lower its select_threshold"
            if self._config.fail_when_unmatched:
                raise UserError(f"{line}; the files are written; fail_when_unmatched=false takes that as success")
            self._console.print(line, markup=False)


def _how_to_resume(writer: SegmentedWriter) -> str:
    """Return how to continue an interrupted run."""
    if not writer.kept:
        return "; no part of it is finished"
    return f"; the first {writer.kept} parts are in {writer.folder}, resume=true continues"
