"""Choose where the result of each source is written."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from facesmith.errors import UserError
from facesmith.files import require_writable
from facesmith.media.sources import Media

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff")
VIDEO_SUFFIXES: Final = (".mp4", ".mov", ".mkv")


def output_paths(media: Sequence[Media], source: str | Sequence[str], output: Path) -> list[Path]:
    """Return the output path of each source file, and check that it can be written.

    Args:
        media: The source files.
        source: As the user named them.
        output: A file for one source, else a folder.

    Returns:
        `output` itself for one file, else paths beneath it that keep the source's folders.

    Raises:
        UserError: A path is a source itself, has a suffix that cannot be written, or its folder cannot be.
    """
    paths = [medium.path for medium in media]
    single_file = len(media) == 1 and not (isinstance(source, str) and Path(source).is_dir())
    file_name = output.is_file() or (output.suffix != "" and not output.is_dir())
    if single_file and file_name:
        result = [output]
    elif file_name:
        raise UserError(f"output={output}: is a file name, but the source may hold several files; give a folder")
    else:
        root = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
        result = [output / _writable_name(medium.path.absolute().relative_to(root), medium.kind) for medium in media]
    originals = {path.resolve() for path in paths}
    originals_on_disk = {_disk_and_file(path) for path in paths}
    for target, medium in zip(result, media, strict=True):
        if target.resolve() in originals or (target.exists() and _disk_and_file(target) in originals_on_disk):
            raise UserError(f"output={target}: is the source itself; choose another place")
        suffixes = IMAGE_SUFFIXES if medium.kind == "image" else VIDEO_SUFFIXES
        if target.suffix.lower() not in suffixes:
            raise UserError(
                f"output={target}: unknown suffix for this {medium.kind}; choose one of {', '.join(suffixes)}"
            )
    require_writable(result[0].parent, "output")
    return result


def _disk_and_file(path: Path) -> tuple[int, int]:
    """Return device and inode of a path: hard links share them."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _writable_name(path: Path, kind: str) -> Path:
    """Return the name of the output: the same, or with a suffix that can be written."""
    if path.suffix.lower() in (IMAGE_SUFFIXES if kind == "image" else VIDEO_SUFFIXES):
        return path
    return path.with_name(path.name + (".png" if kind == "image" else ".mp4"))
