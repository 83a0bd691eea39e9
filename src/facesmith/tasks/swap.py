"""The swap task: lay a trained face over the faces of images and videos."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.media.images import read_image, write_image
from facesmith.media.provenance import Mark, file_sha256
from facesmith.media.sources import find_media
from facesmith.media.video import open_video
from facesmith.media.video_writer import VideoWriter
from facesmith.tasks.analysis import FrameAnalysis
from facesmith.tasks.frame_swap import Pixels, load_frame_swap
from facesmith.tasks.pipeline import ahead, in_order

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")
_MOST_WORKERS = 4


@dataclass(frozen=True)
class Swapped:
    """What became of one file: where it was written, its frames, and how many of them had no face."""

    path: Path
    frames: int
    without_face: int


class SwapTask:
    """Swap the faces of every image and video of a source.

    model: .onnx or .ckpt. source: an image, a video, a folder, or a list of them. output: a file for one
    source, else a folder. profile: whose face, for models that take any. select: the largest face of a
    frame, or all. backend: how video is read. quality: of JPEG, WebP and AVIF, 1..100. workers: threads; None
    for one a core, 4 at most. analyzer: makes an analyzer. frame: how a frame is swapped, see `load_frame_swap`.
    progress: show bars.

    Raises:
        UserError: the model is missing or of another contract, the profile does not fit it.
    """

    def __init__(
        self,
        *,
        model: Path,
        source: str | Sequence[str],
        output: Path,
        profile: Path | None,
        select: Literal["largest", "all"],
        backend: Literal["pyav", "decord"],
        quality: int,
        workers: int | None,
        analyzer: Callable[[], Analyzer],
        frame: Mapping[str, Any],
        progress: bool = True,
    ) -> None:
        self._media = find_media(source)
        self._source = source
        self._output = output
        self._backend = backend
        self._quality = quality
        self._workers = workers or min(os.cpu_count() or 1, _MOST_WORKERS)
        self._progress = progress
        self._console = Console()
        self._targets = _targets([m.path for m in self._media], [m.kind for m in self._media], source, output)
        self._model_hash = file_sha256(model)
        self._analysis = FrameAnalysis(analyzer, select=select)
        self._swap = load_frame_swap(model, profile=profile, analyzer=analyzer, **frame)

    def run(self) -> list[Path]:
        """Swap and write; one file that cannot be used among good ones is told and left out.

        Raises:
            UserError: nothing could be swapped; says why.
        """
        done: list[Swapped] = []
        failed: list[UserError] = []
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
            closing(self._analysis),
            Progress(*columns, console=self._console, disable=not shown) as bar,
        ):
            for media, target in zip(self._media, self._targets, strict=True):
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
        if not done:
            raise UserError(f"source={self._source}: no face swapped in any of {len(failed)} files; first: {failed[0]}")
        self._tell(done, len(failed))
        return [one.path for one in done]

    def _image(self, path: Path, target: Path) -> Swapped:
        picture = read_image(path)
        faces = self._analysis(picture)
        if not faces:
            raise UserError(f"{path}: no face found; give a picture with a larger or clearer face")
        write_image(target, self._swap.swap(picture, faces), mark=self._mark(path), quality=self._quality)
        return Swapped(target, 1, 0)

    def _video(self, path: Path, target: Path, bar: Progress) -> Swapped:
        written = without = 0
        depth = 2 * self._workers
        with (
            open_video(path, self._backend) as reader,
            ThreadPoolExecutor(self._workers) as pool,
            VideoWriter(target, like=path, metadata=self._mark(path).metadata()) as writer,
        ):
            count = len(reader)
            shown = bar.add_task(path.name, total=count)
            frames = ahead(reader.frames(range(count)), depth)
            for index, picture, faces in in_order(pool, self._frame, frames, depth):
                writer.write(picture, index)
                written += 1
                without += faces == 0
                bar.update(shown, completed=index + 1)
            if without == written:
                raise UserError(
                    f"{path}: no face found in any of {written} frames; give a video with a larger or clearer face"
                )
            for loss in reader.lost:
                bar.console.print(f"{path}: {loss}", highlight=False, soft_wrap=True, markup=False)
        return Swapped(target, written, without)

    def _frame(self, numbered: tuple[int, Pixels]) -> tuple[int, Pixels, int]:
        index, frame = numbered
        faces = self._analysis(frame)
        return index, self._swap.swap(frame, faces), len(faces)

    def _mark(self, path: Path) -> Mark:
        """What every file says of itself."""
        return Mark(
            identity=self._swap.identity,
            consent=self._swap.consent,
            model_hash=self._model_hash,
            title=f"face swap of {path.name}",
        )

    def _tell(self, done: list[Swapped], failed: int) -> None:
        for one in done:
            note = f" ({one.without_face} of {one.frames} frames without a face, unchanged)" if one.without_face else ""
            self._console.print(f"swapped {one.path}{note}", highlight=False, soft_wrap=True, markup=False)
        if failed:
            self._console.print(f"{len(done)} files swapped, {failed} left out", highlight=False)


def _targets(paths: Sequence[Path], kinds: Sequence[str], source: str | Sequence[str], output: Path) -> list[Path]:
    """Where each file goes: `output` itself for one file, else beneath the folder `output`."""
    one = len(paths) == 1 and not (isinstance(source, str) and Path(source).is_dir())
    file_name = output.is_file() or (output.suffix != "" and not output.is_dir())
    if one and file_name:
        targets = [output]
    elif file_name:
        raise UserError(f"output={output}: is a file name, but the source may hold several files; give a folder")
    else:
        root = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
        targets = [
            output / _writable_name(path.absolute().relative_to(root), kind)
            for path, kind in zip(paths, kinds, strict=True)
        ]
    originals = {path.resolve() for path in paths}
    for target, kind in zip(targets, kinds, strict=True):
        if target.resolve() in originals:
            raise UserError(f"output={target}: is the source itself; choose another place")
        suffixes = IMAGE_SUFFIXES if kind == "image" else VIDEO_SUFFIXES
        if target.suffix.lower() not in suffixes:
            raise UserError(f"output={target}: unknown suffix for this {kind}; choose one of {', '.join(suffixes)}")
    return targets


def _writable_name(path: Path, kind: str) -> Path:
    """The name a copy gets: the same, or with a suffix that can be written."""
    if path.suffix.lower() in (IMAGE_SUFFIXES if kind == "image" else VIDEO_SUFFIXES):
        return path
    return path.with_name(path.name + (".png" if kind == "image" else ".mp4"))
