"""The swap task: swap the faces of images and videos."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.files import partial_folder
from facesmith.media.encoders import CONTAINERS
from facesmith.media.images import write_image
from facesmith.media.planes import PlaneFrame
from facesmith.media.provenance import check_signing
from facesmith.media.sampling import allocate_frames, evenly_spaced
from facesmith.media.sources import Media, find_media
from facesmith.media.stills import read_still
from facesmith.media.video import open_video
from facesmith.progress import progress_bar
from facesmith.tasks.batch import BarReport, Batch, Engine
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.swap.canvas import PlaneCanvas, StillCanvas
from facesmith.tasks.swap.config import SwapTaskConfig
from facesmith.tasks.swap.face_selection import FaceSelector, SelectedFace
from facesmith.tasks.swap.file_swap import FileSwapper, SwapJob, SwapResult, count_entries
from facesmith.tasks.swap.outputs import output_paths
from facesmith.tasks.swap.preview import PreviewFrame, draw_preview, preview_path
from facesmith.tasks.swap.time_range import select_frames
from facesmith.tasks.swap.video_processing import VideoProcessor
from facesmith.terminal import make_console, print_line

Pixels = npt.NDArray[np.uint8]


class SwapTask:
    """Swap the faces of every image and video of a source."""

    def __init__(
        self,
        config: SwapTaskConfig,
        *,
        analyzer: Callable[[], Analyzer],
        engine: Engine = LOCAL,
        progress: bool = True,
    ) -> None:
        """Load the model and check sources and outputs.

        Args:
            config: The settings.
            analyzer: Makes an analyzer; each thread gets its own.
            engine: Where the files are worked on.
            progress: Whether to show a progress bar.

        Raises:
            UserError: The model is missing or of another contract, profile or reference does not fit, or the output
                cannot be written.
        """
        self._config, self._engine, self._progress = config, engine, progress
        self._console = make_console()
        check_signing()
        self._media = find_media(config.source, output=config.output)
        self._outputs = output_paths(
            self._media, config.source, config.output, suffix=config.suffix, usable=CONTAINERS[config.codec]
        )
        self._swapper = FileSwapper(config, analyzer=analyzer)
        if self._swapper.fallback is not None and any(media.kind == "video" for media in self._media):
            print_line(self._swapper.fallback, self._console)

    def run(self) -> list[Path]:
        """Swap and write; among several files, one that cannot be used is reported and skipped.

        Returns:
            The files written, and those that an earlier run had finished.

        Raises:
            UserError: Nothing could be swapped, or an entry of the cast matched nobody.
        """
        if self._config.preview is not None:
            with closing(self._swapper):
                return [self._preview(self._config.preview)]
        pairs = list(zip(self._media, self._outputs, strict=True))
        kept = [output for output in self._outputs if self._is_finished(output)]
        finished = set(kept)
        jobs = [SwapJob(media, output, self._may_resume(output)) for media, output in pairs if output not in finished]
        done: list[SwapResult] = []
        with closing(self._swapper), self._progress_bar() as bar:
            report = BarReport(bar, len(pairs), len(kept))
            batch = Batch(len(pairs), report.tell, self._config)
            for path in kept:
                report.tell(f"skipped {path}: already finished")
            for _, result in batch.map(self._engine, jobs, self._swapper, report):
                report.tell(_describe(result))
                done.append(result)
        batch.require_any([*done, *kept], f"source={self._config.source}: no face swapped in any of")
        if batch.failed:
            print_line(f"swapped {len(done)} files, skipped {len(batch.failed)}", self._console)
        if others := self._media.describe_others():
            print_line(others, self._console)
        self._report_cast(done, kept)
        written = {result.path for result in done}
        return [*kept, *(output for output in self._outputs if output in written)]

    def _preview(self, count: int) -> Path:
        """Write the sheet of a few frames, chosen evenly over all files."""
        config, cast = self._config, self._swapper.cast
        output = preview_path(self._outputs, self._config.output)
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
        targets = [str(entry.target) for entry in cast.entries]
        sheet = draw_preview(cast.names, targets, shown)
        write_image(output, sheet, mark=cast.mark(f"preview of {config.source}"), quality=config.quality)
        print_line(f"preview {output}: {len(shown)} frames; omit preview to write the result", self._console)
        for name, found in zip(cast.names, count_entries(cast, [one.faces for one in shown]), strict=True):
            print_line(f"{name}: in {found} of {len(shown)} frames", self._console)
        return output

    def _count_frames(self, path: Path) -> int:
        with open_video(path, self._config.backend) as reader:
            return len(select_frames(path, reader.times, reader.fps, self._config.start, self._config.end))

    def _preview_image(self, media: Media) -> Iterator[PreviewFrame]:
        cast = self._swapper.cast
        still = read_still(media.path)
        before = still.preview().copy()
        with self._swapper.analyzers.borrow() as analyzer:
            faces = FaceSelector(cast.claims)(dict(enumerate(analyzer(before))))
        cast.swap_in_place([(StillCanvas(still), faces)])
        yield PreviewFrame(media.path.name, before, still.preview(), faces)

    def _preview_video(self, media: Media, numbers: Sequence[int]) -> Iterator[PreviewFrame]:
        config, cast = self._config, self._swapper.cast

        def draw(group: Sequence[tuple[PlaneFrame, Sequence[SelectedFace]]]) -> list[tuple[Pixels, Pixels]]:
            before = [frame.rgb().copy() for frame, _ in group]
            cast.swap_in_place([(PlaneCanvas(frame), faces) for frame, faces in group if faces])
            return [(old, frame.rgb()) for old, (frame, _) in zip(before, group, strict=True)]

        process = VideoProcessor(
            self._swapper.analyzers, draw, config, embed=cast.recognises, deinterlaces=config.deinterlace
        )
        with open_video(media.path, config.backend) as reader:
            frames = select_frames(media.path, reader.times, reader.fps, config.start, config.end)
            select = FaceSelector(cast.claims)
            for number in numbers:
                self._swapper.decide(reader, frames[: number + 1], select)
                one = range(frames[number], frames[number] + 1)
                for frame in process(reader, one, select):
                    name = f"{media.path.name}, {reader.times[frame.number]:.1f} s"
                    yield PreviewFrame(name, *frame.picture, frame.faces)

    def _progress_bar(self) -> Progress:
        # Without a row, rich leaves an empty line.
        visible = self._progress and (len(self._media) > 1 or self._media[0].kind == "video")
        return progress_bar(shown=visible, console=self._console)

    def _is_finished(self, output: Path) -> bool:
        """Return whether a resumed run finds this file finished."""
        return self._config.resume and output.exists() and not partial_folder(output).exists()

    def _may_resume(self, output: Path) -> bool:
        """Return whether an unfinished result may be continued: one that comes up later is this run's own."""
        return self._config.resume or not any(partial_folder(output).glob("segment_*"))

    def _report_cast(self, done: Sequence[SwapResult], kept: Sequence[Path]) -> None:
        """Tell in how many frames each entry of the cast swapped a face; an entry without any may be an error."""
        cast = self._swapper.cast
        if len(cast) == 1 or not done:
            return
        frames = sum(result.frames for result in done)
        found = [sum(result.of_entries[number] for result in done) for number in range(len(cast))]
        for name, count in zip(cast.names, found, strict=True):
            print_line(f"{name}: in {count} of {frames} frames", self._console)
        unmatched = [cast.describe(number) for number, count in enumerate(found) if not count]
        if unmatched and not kept:
            line = f"{' and '.join(unmatched)} matched nobody; look at preview=8, or lower its select_threshold"
            if self._config.fail_when_unmatched:
                raise UserError(f"{line}; the files are written; fail_when_unmatched=false takes that as success")
            print_line(line, self._console)


def _describe(result: SwapResult) -> str:
    notes = []
    if result.without_face:
        notes.append(f"{result.without_face} of {result.frames} frames without a face to swap, unchanged")
    if result.bridged:
        notes.append(f"{result.bridged} bridged")
    if result.turned:
        notes.append(f"look at {result.turned} with a head turned by more than 35 degrees")
    everywhere = f": a face in all {result.frames} frames" if result.frames > 1 else ""
    return f"swapped {result.path}" + (f" ({'; '.join(notes)})" if notes else everywhere)
