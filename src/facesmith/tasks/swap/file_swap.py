"""Swap the faces of one file after the other."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facesmith import __version__
from facesmith.errors import DiskFullError, UserError, free_bytes
from facesmith.faces.face import Analyzer
from facesmith.media.encoders import Encoding, choose_encoder, lost_properties
from facesmith.media.planes import PlaneFrame
from facesmith.media.provenance import Mark
from facesmith.media.segments import SegmentedWriter
from facesmith.media.sources import Media
from facesmith.media.stills import Still, read_still, write_still
from facesmith.media.timeline import Timeline
from facesmith.media.video import VideoReader, open_video
from facesmith.media.visualization import side_by_side
from facesmith.models.onnx.providers import is_accelerated
from facesmith.tasks.batch import Report
from facesmith.tasks.swap.analysis import AnalyzerPool
from facesmith.tasks.swap.canvas import PlaneCanvas, StillCanvas
from facesmith.tasks.swap.cast import Cast
from facesmith.tasks.swap.config import SwapTaskConfig
from facesmith.tasks.swap.face_selection import FaceSelector, SelectedFace, count_turned
from facesmith.tasks.swap.time_range import parse_scale, select_frames
from facesmith.tasks.swap.video_processing import VideoProcessor

Pixels = npt.NDArray[np.uint8]

_BATCH: Final = 8  # frames whose faces a GPU gets at once
_STOPPED: Final = 130  # the exit code of a program that was stopped by Ctrl-C


@dataclass(frozen=True)
class SwapJob:
    """One file to swap.

    Attributes:
        media: The file.
        output: Where the result goes.
        resume: Go on with what is left of an unfinished result; else that is an error.
    """

    media: Media
    output: Path
    resume: bool

    @property
    def path(self) -> Path:
        """The file."""
        return self.media.path


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


class FileSwapper:
    """Swap the faces of one file after the other, with the models of a cast.

    Attributes:
        config: The settings.
        cast: The models, and whose faces they replace.
        analyzers: Find the faces, one a thread.
        fallback: What is told about the encoder where the chosen one cannot be used.
    """

    def __init__(self, config: SwapTaskConfig, *, analyzer: Callable[[], Analyzer]) -> None:
        """Load the models.

        Args:
            config: The settings.
            analyzer: Makes an analyzer; each thread gets its own.

        Raises:
            UserError: The model is missing or of another contract, or profile or reference does not fit.
        """
        self.config, self._analyzer = config, analyzer
        self.analyzers = AnalyzerPool(analyzer)
        try:
            with self.analyzers.borrow() as watch:
                self.cast = Cast(config.entries(), analyzer=analyzer, watch=watch)
        except BaseException:
            self.close()  # at exit MediaPipe would print a traceback
            raise
        self._encoding = Encoding(config.codec, config.encoder, config.crf, config.preset)
        self._encoder, self.fallback = choose_encoder(self._encoding)
        # On a CPU a batch costs what its faces cost one by one; a GPU would wait between them.
        self._batch = _BATCH if is_accelerated() else 1
        self._process_video = VideoProcessor(
            self.analyzers,
            self._draw,
            config,
            embed=self.cast.recognises,
            deinterlaces=config.deinterlace,
            batch=self._batch,
        )

    def __reduce__(self) -> tuple[Callable[[SwapTaskConfig], "FileSwapper"], tuple[SwapTaskConfig]]:
        """Pickle as the settings: another process loads the models itself."""
        return partial(FileSwapper, analyzer=self._analyzer), (self.config,)

    def __call__(self, job: SwapJob, report: Report) -> SwapResult:
        """Swap the faces of one file.

        Args:
            job: The file.
            report: Takes notes and progress.

        Returns:
            Where it was written, and what was counted.

        Raises:
            UserError: The file cannot be read or written, or no face is found where that is an error.
        """
        if job.media.kind == "image":
            return self._swap_image(job.media.path, job.output, report)
        return self._swap_video(job, report)

    def close(self) -> None:
        """Close the analyzers."""
        self.analyzers.close()

    def _swap_image(self, path: Path, output: Path, report: Report) -> SwapResult:
        config = self.config
        still = read_still(path)
        picture = still.preview()
        with self.analyzers.borrow() as analyzer:
            faces = FaceSelector(self.cast.claims)(dict(enumerate(analyzer(picture))))
        if not faces and config.fail_when_no_face:
            raise UserError(f"{path}: {self._no_face()}")
        self.cast.swap_in_place([(StillCanvas(still), faces)])
        if config.side_by_side:
            still = Still(side_by_side(picture, still.preview()), unread=still.unread)
        scale = parse_scale(config.scale)
        if scale is not None:
            still = still.resized(*scale(still.pixels.shape[1], still.pixels.shape[0]))
        if still.unread:
            report.tell(f"{path}: {', '.join(still.unread)} not carried over")
        if lost := write_still(output, still, mark=self._mark(path), quality=config.quality):
            report.tell(f"{output}: {output.suffix} cannot hold {', '.join(lost)}; left out")
        turned = count_turned([one.face for one in faces])
        return SwapResult(output, 1, int(not faces), 0, int(turned > 0), count_entries(self.cast, [faces]))

    def _swap_video(self, job: SwapJob, report: Report) -> SwapResult:
        config, path, output = self.config, job.media.path, job.output
        with open_video(path, config.backend) as reader:
            frames = select_frames(path, reader.times, reader.fps, config.start, config.end)
            timeline = self._timeline(reader, output, frames, report)
            with SegmentedWriter(
                output,
                timeline,
                mark=self._mark(path),
                key=self._key(path),
                # Whole batches, so that a resumed run has the same ones.
                frames=max(1, round(config.segment_seconds * reader.fps / self._batch)) * self._batch,
                resume=job.resume,
                encoding=self._encoding,
                scale=parse_scale(config.scale),
            ) as writer:
                try:
                    self._write_frames(reader, frames, writer, report)
                except DiskFullError as error:
                    kept = f"then give resume=true to go on after the first {writer.kept} parts, in {writer.folder}"
                    again = "then run the same command again"
                    free = free_bytes(output)
                    raise DiskFullError(output, None, free, kept if writer.kept else again) from error
                except UserError as error:
                    raise UserError(f"{error}{_how_to_resume(writer)}") from error
                except KeyboardInterrupt:
                    report.tell(f"stopped{_how_to_resume(writer)}")
                    raise SystemExit(_STOPPED) from None
                tally = writer.tally
                if tally["without"] == tally["frames"] and config.fail_when_no_face:
                    writer.discard()
                    raise UserError(f"{path}: {self._no_face(tally['frames'])}")
            for note in writer.notes:
                report.tell(note)
            if lost := reader.lost:
                report.tell(f"{path}: {'; '.join(lost)}")
        of_entries = [tally[f"entry_{number}"] for number in range(len(self.cast))]
        return SwapResult(output, tally["frames"], tally["without"], tally["bridged"], tally["turned"], of_entries)

    def _timeline(self, reader: VideoReader, output: Path, frames: range, report: Report) -> Timeline:
        """Return the timeline of the result, and tell what of the picture cannot be carried."""
        timeline = Timeline.from_reader(reader).cut(frames)
        picture = timeline.picture
        if self.config.side_by_side:
            timeline = timeline.for_display()
        if picture.interlaced and not self.config.deinterlace:
            report.tell(
                f"{reader.path}: is interlaced; its fields are kept, and a face that moves may show combs; "
                "task.deinterlace=true makes it progressive"
            )
        if picture.interlaced and self.config.deinterlace:
            timeline = replace(timeline, picture=replace(picture, interlaced=False))
        for loss in lost_properties(picture, self._encoding, output.suffix.lower()):
            report.tell(f"{reader.path}: {loss}")
        return timeline

    def _write_frames(self, reader: VideoReader, frames: range, writer: SegmentedWriter, report: Report) -> None:
        report.advance(reader.path, writer.start, len(frames))
        if writer.start == len(frames):
            return
        select = FaceSelector(self.cast.claims)
        self.decide(reader, frames[: writer.start], select)
        left, largest = frames[writer.start :], writer.memory.get("largest")
        with closing(self._process_video(reader, left, select, frames.start, largest)) as processed:
            for frame in processed:
                number = frame.number - frames.start
                writer.write(frame.picture, number)
                writer.memory["largest"] = next(
                    (one.face.box.tolist() for one in frame.faces if one.entry == select.largest), None
                )
                writer.tally.update(
                    frames=1,
                    without=int(not frame.faces),
                    bridged=int(frame.bridged > 0),
                    turned=int(frame.turned > 0),
                    **{f"entry_{entry}": 1 for entry in {one.entry for one in frame.faces}},
                )
                report.advance(reader.path, number + 1, len(frames))

    def decide(self, reader: VideoReader, frames: range, select: FaceSelector) -> None:
        """Let a selector count places from the left in frames that are not written again.

        Args:
            reader: Of the video.
            frames: Their numbers.
            select: Counts until it has decided.
        """
        if not select.undecided or not frames:
            return
        look = VideoProcessor[None](
            self.analyzers, lambda group: [None] * len(group), self.config, embed=True, deinterlaces=False
        )
        with closing(look(reader, frames, select)) as seen:
            for _ in seen:
                if not select.undecided:
                    return

    def _draw(self, frames: Sequence[tuple[PlaneFrame, Sequence[SelectedFace]]]) -> list[PlaneFrame | Pixels]:
        """Return the frames as they are written; those with faces are changed."""
        before = [frame.rgb() for frame, _ in frames] if self.config.side_by_side else []
        self.cast.swap_in_place([(PlaneCanvas(frame), faces) for frame, faces in frames if faces])
        if self.config.side_by_side:
            return [side_by_side(old, frame.rgb()) for old, (frame, _) in zip(before, frames, strict=True)]
        return [frame for frame, _ in frames]

    def _key(self, path: Path) -> str:
        """Return a hash of everything that determines the frames of a video."""
        config, file = self.config, path.stat()
        facts: list[object] = [str(path.resolve()), file.st_size, file.st_mtime_ns, __version__]
        facts += [config.smoothing, config.smoothing_order, config.max_gap, config.detect_every, config.crf]
        facts += [config.preset, config.codec, self._encoder, config.start, config.end, config.scale]
        facts += [config.deinterlace, config.segment_seconds, config.side_by_side, *self.cast.facts()]
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()

    def _mark(self, path: Path) -> Mark:
        """Return the provenance mark of every written file."""
        return self.cast.mark(f"face swap of {path.name}")

    def _no_face(self, frames: int = 0) -> str:
        scope = f" in any of {frames} frames" if frames else ""
        if len(self.cast) > 1:
            return f"no face matches an entry of the cast{scope}; look at preview=8, or lower select_threshold"
        claim = self.cast.claims[0]
        if isinstance(claim.target, np.ndarray):
            return f"no face matches the reference{scope}; lower select_threshold={claim.threshold} or omit it"
        if isinstance(claim.target, int) and claim.target:
            return (
                f"fewer than {claim.target + 1} faces at once{scope}, so none is number {claim.target} from the left, "
                "counted from 0; give a smaller number, or look closer with analyzer.detector_sizes=[1920]"
            )
        return (
            f"no face found{scope}, upright or turned; give one with a larger or clearer face, or look closer with "
            "analyzer.detector_sizes=[1920]"
        )


def count_entries(cast: Cast, frames: Sequence[Sequence[SelectedFace]]) -> list[int]:
    """Count the frames in which each entry of a cast swaps a face.

    Args:
        cast: The models.
        frames: The selected faces of each frame.
    """
    return [sum(any(one.entry == number for one in faces) for faces in frames) for number in range(len(cast))]


def _how_to_resume(writer: SegmentedWriter) -> str:
    """Return how to continue an interrupted run."""
    if not writer.kept:
        return "; no part of it is finished"
    return f"; the first {writer.kept} parts are in {writer.folder}, resume=true continues"
