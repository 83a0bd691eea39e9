"""The mask task: predict which part of the faces of images and videos is visible."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.geometry.alignment import (
    estimate_alignment,
    invert_transform,
    transform_points,
    warp_face,
)
from facesmith.faces.tracking.tracker import MIN_SIMILARITY
from facesmith.media.images import read_image, write_image
from facesmith.media.planes import PlaneFrame
from facesmith.media.sources import Media, find_media
from facesmith.media.timeline import Timeline
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.media.visualization import overlay_mask
from facesmith.models.onnx.occlusion import Occluder
from facesmith.progress import progress_bar
from facesmith.tasks.batch import BarReport, Batch, Engine, Report
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.mask.config import MaskTaskConfig
from facesmith.tasks.swap.analysis import AnalyzerPool
from facesmith.tasks.swap.face_selection import Claim, FaceSelector, SelectedFace
from facesmith.tasks.swap.outputs import output_paths, require_distinct
from facesmith.tasks.swap.video_processing import VideoProcessor
from facesmith.terminal import make_console

Pixels = npt.NDArray[np.uint8]

_OVERLAY_SUFFIX = "_overlay"


@dataclass(frozen=True)
class MaskJob:
    """One file to mask.

    Attributes:
        media: The file.
        output: Where the mask goes; the overlay goes beside it.
    """

    media: Media
    output: Path

    @property
    def path(self) -> Path:
        """The file."""
        return self.media.path


class FileMasker:
    """Write mask and overlay of one file after the other.

    Attributes:
        config: The settings.
    """

    def __init__(self, config: MaskTaskConfig, *, analyzer: Callable[[], Analyzer]) -> None:
        """Load the occluder.

        Args:
            config: The settings.
            analyzer: Makes an analyzer; each thread gets its own.

        Raises:
            UserError: The occluder is missing or of another contract.
        """
        self.config, self._analyzer = config, analyzer
        self._predictor = MaskPredictor(Occluder(config.occluder), config.template)
        self._analyzers = AnalyzerPool(analyzer)
        by_place = isinstance(config.select, int)
        self._process_video = VideoProcessor(self._analyzers, self._mask_frames, config, embed=by_place)

    def __reduce__(self) -> tuple[Callable[[MaskTaskConfig], "FileMasker"], tuple[MaskTaskConfig]]:
        """Pickle as the settings: another process loads the occluder itself."""
        return partial(FileMasker, analyzer=self._analyzer), (self.config,)

    def __call__(self, job: MaskJob, report: Report) -> list[Path]:
        """Write mask and overlay of one file.

        Args:
            job: The file.
            report: Takes notes and progress.

        Returns:
            The files written: none where no face was found.

        Raises:
            UserError: The file cannot be read or written, or a frame has no face where that is an error.
        """
        process = self._mask_image if job.media.kind == "image" else self._mask_video
        return process(job.media.path, job.output, report)

    def close(self) -> None:
        """Close the analyzers."""
        self._analyzers.close()

    def _mask_frames(self, frames: Sequence[tuple[PlaneFrame, Sequence[SelectedFace]]]) -> list[Pixels]:
        return [self._predictor.mask_and_overlay(frame.rgb(), [one.face for one in faces]) for frame, faces in frames]

    def _make_selector(self) -> FaceSelector:
        select = self.config.select
        claimed = select if isinstance(select, int) else cast(Literal["largest", "all"], select)
        # A place is counted once; the person is then recognised by what is usual for the recogniser.
        return FaceSelector([Claim(claimed, MIN_SIMILARITY)])

    def _mask_image(self, path: Path, mask_path: Path, report: Report) -> list[Path]:
        picture = read_image(path)
        with self._analyzers.borrow() as analyzer:
            found = self._make_selector()(dict(enumerate(analyzer(picture))))
        faces = [one.face for one in found]
        if not faces:
            self._report_no_face(f"{path}: no face found", report)
            return []
        overlay_path = _overlay_path(mask_path)
        mask, overlay = split_pair(self._predictor.mask_and_overlay(picture, faces))
        write_image(mask_path, mask, mark=None)
        write_image(overlay_path, overlay, mark=None)
        report.tell(f"mask {mask_path}, overlay {overlay_path}")
        return [mask_path, overlay_path]

    def _mask_video(self, path: Path, mask_path: Path, report: Report) -> list[Path]:
        overlay_path, skipped = _overlay_path(mask_path), 0
        with open_video(path, self.config.backend) as reader:
            timeline, total = Timeline.from_reader(reader).for_display(), len(reader)
            with (
                VideoWriter(mask_path, timeline, mark=None, sound=False, crf=self.config.crf) as masks,
                VideoWriter(overlay_path, timeline, mark=None, sound=False, crf=self.config.crf) as overlays,
                closing(self._process_video(reader, range(total), self._make_selector())) as frames,
            ):
                for frame in frames:
                    report.advance(path, frame.number + 1, total)
                    if not frame.faces:
                        skipped += 1
                        if self.config.without_face == "error":
                            self._report_no_face(f"{path}: no face in frame {frame.number}", report)
                        continue
                    mask, overlay = split_pair(frame.picture)
                    masks.write(mask, frame.number)
                    overlays.write(overlay, frame.number)
        if skipped == total:
            self._report_no_face(f"{path}: no face in any of {total} frames", report)
            return []
        note = f" (skipped {skipped} of {total} frames: no face)" if skipped else ""
        report.tell(f"mask {mask_path}, overlay {overlay_path}{note}")
        return [mask_path, overlay_path]

    def _report_no_face(self, message: str, report: Report) -> None:
        """Raise or tell, depending on `without_face`."""
        if self.config.without_face == "error":
            raise UserError(f"{message}; give without_face=skip, or a picture with a larger or clearer face")
        report.tell(f"skipped: {message}")


class MaskTask:
    """Write the mask of every image and video of a source, and an overlay beside it.

    Args:
        config: The settings.
        analyzer: Makes an analyzer; each thread gets its own.
        engine: Where the files are worked on.
        progress: Whether to show a progress bar.

    Raises:
        UserError: The occluder is missing or of another contract, or the output cannot be written.
    """

    def __init__(
        self,
        config: MaskTaskConfig,
        *,
        analyzer: Callable[[], Analyzer],
        engine: Engine = LOCAL,
        progress: bool = True,
    ) -> None:
        self._config, self._engine, self._progress = config, engine, progress
        self._media = find_media(config.source, output=config.output)
        self._outputs = output_paths(self._media, config.source, config.output)
        pairs = zip((media.path for media in self._media), self._outputs, strict=True)
        require_distinct({path: (mask, _overlay_path(mask)) for path, mask in pairs})
        self._masker = FileMasker(config, analyzer=analyzer)

    def run(self) -> list[Path]:
        """Predict and write masks and overlays.

        Returns:
            The files written.

        Raises:
            UserError: A frame has no face where that is an error, or no picture or frame has one.
        """
        pairs = zip(self._media, self._outputs, strict=True)
        jobs = [MaskJob(media, output) for media, output in pairs]
        written: dict[Path, list[Path]] = {}
        # Without a row, rich leaves an empty line.
        visible = self._progress and (len(jobs) > 1 or self._media[0].kind == "video")
        console = make_console()
        with closing(self._masker), progress_bar(shown=visible, console=console) as bar:
            report = BarReport(bar, len(jobs))
            batch = Batch(len(jobs), report.tell, self._config)
            for job, files in batch.map(self._engine, jobs, self._masker, report):
                written[job.output] = files
        files = [file for output in self._outputs for file in written.get(output, [])]
        batch.require_any(files, "source: no mask of any of")
        if batch.failed and self._config.without_face == "error":
            raise UserError(f"skipped {len(batch.failed)} files; first: {next(iter(batch.failed.values()))}")
        if not files:
            raise UserError("source: no face found in any picture or frame; give one with a larger or clearer face")
        return files


class MaskPredictor:
    """Predict masks of the faces of a frame; may be called from several threads.

    Args:
        occluder: Predicts which part of an aligned face is visible.
        template: Name of the alignment template that faces are warped to for it.
    """

    def __init__(self, occluder: Occluder, template: str) -> None:
        self._occluder, self._template = occluder, template

    def mask(self, frame: Pixels, faces: Sequence[Face]) -> npt.NDArray[np.float32]:
        """Return the mask (H,W) in 0..1 of a frame (H,W,3) RGB: 1 where one of the faces is visible."""
        height, width = frame.shape[:2]
        combined: npt.NDArray[np.float32] = np.zeros((height, width), np.float32)
        size = self._occluder.size
        for face in faces:
            matrix = estimate_alignment(face.keypoints, self._template, size)
            landmarks = transform_points(face.landmarks, matrix)
            (visible,) = self._occluder(warp_face(frame, matrix, size)[None], size, landmarks[None])
            combined = np.maximum(combined, cv2.warpAffine(visible, invert_transform(matrix), (width, height)))
        return combined

    def mask_and_overlay(self, frame: Pixels, faces: Sequence[Face]) -> Pixels:
        """Return mask and overlay side by side (H,2W,3) RGB, as the video loop takes one picture; see `split_pair`."""
        mask = self.mask(frame, faces)
        grey = np.rint(np.repeat(mask[..., None] * 255, 3, axis=2)).clip(0, 255).astype(np.uint8)
        return np.concatenate([grey, overlay_mask(frame, mask)], axis=1)


def split_pair(pair: Pixels) -> tuple[Pixels, Pixels]:
    """Split what `MaskPredictor.mask_and_overlay` returns into mask and overlay, (H,W,3) each."""
    middle = pair.shape[1] // 2
    return np.ascontiguousarray(pair[:, :middle]), np.ascontiguousarray(pair[:, middle:])


def _overlay_path(mask: Path) -> Path:
    return mask.with_stem(f"{mask.stem}{_OVERLAY_SUFFIX}")
