"""Where the swap of each source goes."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from facesmith.errors import UserError
from facesmith.media.sources import Media

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff")
VIDEO_SUFFIXES: Final = (".mp4", ".mov", ".mkv")


def targets(media: Sequence[Media], source: str | Sequence[str], output: Path) -> list[Path]:
    """Return a path to each file: `output` itself for one file, else beneath the folder `output`, which is tried.

    Raises:
        UserError: a path is a source itself, has a suffix that cannot be written, or its folder cannot be; says
        which.
    """
    paths = [one.path for one in media]
    one_file = len(media) == 1 and not (isinstance(source, str) and Path(source).is_dir())
    file_name = output.is_file() or (output.suffix != "" and not output.is_dir())
    if one_file and file_name:
        result = [output]
    elif file_name:
        raise UserError(f"output={output}: is a file name, but the source may hold several files; give a folder")
    else:
        root = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
        result = [output / _writable_name(one.path.absolute().relative_to(root), one.kind) for one in media]
    originals = {path.resolve() for path in paths}
    places = {_place(path) for path in paths}
    for target, one in zip(result, media, strict=True):
        if target.resolve() in originals or (target.exists() and _place(target) in places):
            raise UserError(f"output={target}: is the source itself; choose another place")
        suffixes = IMAGE_SUFFIXES if one.kind == "image" else VIDEO_SUFFIXES
        if target.suffix.lower() not in suffixes:
            raise UserError(f"output={target}: unknown suffix for this {one.kind}; choose one of {', '.join(suffixes)}")
    _try(result[0].parent)
    return result


def _place(path: Path) -> tuple[int, int]:
    """Which file on which disk a name stands for: hard links share it."""
    found = path.stat()
    return found.st_dev, found.st_ino


def _writable_name(path: Path, kind: str) -> Path:
    """The name a copy gets: the same, or with a suffix that can be written."""
    if path.suffix.lower() in (IMAGE_SUFFIXES if kind == "image" else VIDEO_SUFFIXES):
        return path
    return path.with_name(path.name + (".png" if kind == "image" else ".mp4"))


def _try(folder: Path) -> None:
    """Write something into the folder, or the nearest one above it that exists, and take it away again."""
    there = next(above for above in (folder, *folder.absolute().parents) if above.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".facesmith-"):
            pass
    except OSError as error:
        raise UserError(f"output={folder}: cannot be written ({error.strerror}); choose another folder") from None
