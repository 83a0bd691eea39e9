"""What of the faces of one frame is visible."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer, Face
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.geometry.alignment import estimate_alignment, invert_transform, warp_face
from facesmith.media.images import read_image, write_image
from facesmith.media.sources import find_media
from facesmith.media.timeline import Timeline
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.methods.occluder.grid import overlay
from facesmith.models.onnx.occlusion import Occluder
from facesmith.tasks.swap.faces import Analyzers, FaceChoice, Select
from facesmith.tasks.swap.outputs import targets
from facesmith.tasks.swap.video_swap import VideoSwap

Pixels = npt.NDArray[np.uint8]


class FrameMask:
    """Predict masks of the faces of a frame; may be called from several threads.

    occluder: what tells the visible face. template: name in `faces.templates`, how faces are cut out for it.
    """

    def __init__(self, occluder: Occluder, template: str) -> None:
        self._occluder, self._template = occluder, template

    def mask(self, frame: Pixels, faces: Sequence[Face]) -> npt.NDArray[np.float32]:
        """Return the mask (H,W) 0..1 of a frame (H,W,3) RGB: 1 where one of the faces is visible."""
        height, width = frame.shape[:2]
        whole: npt.NDArray[np.float32] = np.zeros((height, width), np.float32)
        side = self._occluder.size
        for face in faces:
            matrix = estimate_alignment(face.keypoints, self._template, side)
            (seen,) = self._occluder(warp_face(frame, matrix, side)[None], side)
            whole = np.maximum(whole, cv2.warpAffine(seen, invert_transform(matrix), (width, height)))
        return whole

    def swap(self, frame: Pixels, faces: Sequence[Face]) -> Pixels:
        """Return the mask and its overlay side by side (H,2W,3) RGB, of one prediction; `apart` parts them."""
        mask = self.mask(frame, faces)
        grey = np.repeat(mask[..., None] * 255, 3, axis=2)
        return np.asarray(
            np.rint(np.concatenate([grey, overlay(frame.astype(np.float32), mask)], axis=1)).clip(0, 255), np.uint8
        )


def apart(pair: Pixels) -> tuple[Pixels, Pixels]:
    """Part what `FrameMask.swap` gave into mask and overlay, (H,W,3) each."""
    middle = pair.shape[1] // 2
    return np.ascontiguousarray(pair[:, :middle]), np.ascontiguousarray(pair[:, middle:])


_MOST_WORKERS = 4
_OVERLAY = "_overlay"


class MaskTask:
    """Write the mask of every image and video of a source, and an overlay beside it.

    occluder: .onnx of the xseg contract. source: an image, a video, a folder, or a list of them. output: a file for
    one source, else a folder. select: which faces, see `FaceChoice`. template: see `FrameMask`. without_face: what
    becomes of a picture or frame without a face: left out of the result and told, or an error. smoothing,
    smoothing_order, max_gap, detect_every: of video, see `VideoSwap`. backend: how video is read. crf: of x264.
    workers: threads that analyse, and that predict. analyzer: makes an analyzer.

    Raises:
        UserError: the occluder is missing or of another contract, the output cannot be written.
    """

    def __init__(
        self,
        *,
        occluder: Path,
        source: str | Sequence[str],
        output: Path,
        select: Select,
        template: str,
        without_face: Literal["skip", "error"],
        smoothing: float,
        smoothing_order: int,
        max_gap: float,
        detect_every: int,
        backend: Literal["pyav", "decord"],
        crf: int,
        workers: int | None,
        analyzer: Callable[[], Analyzer],
        progress: bool = True,
    ) -> None:
        self._media = find_media(source)
        self._targets = targets(self._media, source, output)
        self._mask = FrameMask(Occluder(occluder), template)
        self._analyzers = Analyzers(analyzer)
        self._select, self._without_face = select, without_face
        self._backend, self._crf, self._progress = backend, crf, progress
        self._console = Console()
        self._video_mask = VideoSwap(
            self._analyzers,
            self._mask,
            choice=self._choice,
            embed=False,
            smoothing=SmoothingConfig(window_seconds=smoothing, polyorder=smoothing_order),
            max_gap=max_gap,
            every=detect_every,
            workers=workers or min(os.cpu_count() or 1, _MOST_WORKERS),
        )

    def run(self) -> list[Path]:
        """Predict and write.

        Raises:
            UserError: a frame has no face where that is an error, or none of all pictures and frames has one.
        """
        written: list[Path] = []
        with closing(self._analyzers):
            for media, target in zip(self._media, self._targets, strict=True):
                make = self._image if media.kind == "image" else self._video
                written += make(media.path, target)
        if not written:
            raise UserError("source: no face found in any picture or frame; give one with a larger or clearer face")
        return written

    def _choice(self) -> FaceChoice:
        return FaceChoice(self._select)

    def _image(self, path: Path, target: Path) -> list[Path]:
        picture = read_image(path)
        with self._analyzers.lend() as analyzer:
            faces = self._choice()(dict(enumerate(analyzer(picture))))
        if not faces:
            self._missing(f"{path}: no face found")
            return []
        beside = _beside(target)
        for place, shown in zip((target, beside), apart(self._mask.swap(picture, faces)), strict=True):
            write_image(place, shown, mark=None)
        self._tell(target, beside)
        return [target, beside]

    def _video(self, path: Path, target: Path) -> list[Path]:
        beside, missing = _beside(target), 0
        with open_video(path, self._backend) as reader:
            timeline = Timeline.of(reader)
            with (
                VideoWriter(target, timeline, mark=None, sound=False, crf=self._crf) as masks,
                VideoWriter(beside, timeline, mark=None, sound=False, crf=self._crf) as overlays,
                closing(self._video_mask(reader)) as frames,
            ):
                shown = track(frames, path.name, total=len(reader), console=self._console, disable=not self._progress)
                for one in shown:
                    if not one.faces:
                        missing += 1
                        if self._without_face == "error":
                            self._missing(f"{path}: no face in frame {one.number}")
                        continue
                    mask, overlay = apart(one.picture)
                    masks.write(mask, one.number)
                    overlays.write(overlay, one.number)
                total = len(reader)
        if missing == total:
            self._missing(f"{path}: no face in any of {total} frames")
            return []
        self._tell(target, beside, f"{missing} of {total} frames without a face are left out" if missing else "")
        return [target, beside]

    def _missing(self, what: str) -> None:
        """Raise or tell, as was chosen."""
        if self._without_face == "error":
            raise UserError(f"{what}; give without_face=skip, or a picture with a larger or clearer face")
        self._console.print(f"left out: {what}", highlight=False, soft_wrap=True, markup=False)

    def _tell(self, mask: Path, overlay: Path, note: str = "") -> None:
        more = f" ({note})" if note else ""
        self._console.print(f"mask {mask}, overlay {overlay}{more}", highlight=False, soft_wrap=True, markup=False)


def _beside(target: Path) -> Path:
    return target.with_stem(f"{target.stem}{_OVERLAY}")
