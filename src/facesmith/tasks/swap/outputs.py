"""Choose where the result of each source is written."""

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from facesmith.errors import UserError
from facesmith.files import longest_name, require_writable
from facesmith.media.sources import Media, find_media

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff")
VIDEO_SUFFIXES: Final = (".mp4", ".mov", ".mkv")


def output_paths(
    media: Sequence[Media],
    source: str | Sequence[str],
    output: Path,
    *,
    suffix: str | None = None,
    usable: Sequence[str] = VIDEO_SUFFIXES,
) -> list[Path]:
    """Return the output path of each source file, and check that it can be written.

    Args:
        media: The source files.
        source: As the user named them.
        output: A file for one source, else a folder.
        suffix: Of videos in a folder; None for each one's own where it is usable, else the first usable one.
        usable: Suffixes of containers that videos can be written to, the usual one first.

    Returns:
        `output` itself for one file, else paths beneath it that keep the source's folders.

    Raises:
        UserError: A path is a source itself or that of another source too, its name is too long, it has a suffix that
            cannot be written, or its folder cannot be.
    """
    paths = [medium.path for medium in media]
    single_file = len(media) == 1 and not (isinstance(source, str) and Path(source).is_dir())
    file_name = _names_file(output)
    if single_file and file_name:
        if suffix is not None and media[0].kind == "video" and output.suffix.lower() != suffix:
            raise UserError(f"output={output}: ends otherwise than task.suffix={suffix}; omit the key, or rename it")
        result = [output]
    elif file_name:
        raise _one_for_several(output)
    else:
        root = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
        names = [medium.path.absolute().relative_to(root) for medium in media]
        result = [output / _name(name, medium.kind, suffix, usable) for name, medium in zip(names, media, strict=True)]
        taken = Counter(_on_any_disk(path) for path in result)
        if suffix is not None:  # two that differ in their suffix alone keep both
            result = [
                output / name.with_name(name.name + suffix)
                if medium.kind == "video" and taken[_on_any_disk(path)] > 1 and name.suffix != suffix
                else path
                for path, name, medium in zip(result, names, media, strict=True)
            ]
    require_distinct(dict(zip(paths, ([path] for path in result), strict=True)))
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
        if medium.kind == "video" and target.suffix.lower() not in usable:
            raise UserError(
                f"output={target}: {target.suffix} cannot hold this codec; choose one of {', '.join(usable)}"
            )
    require_writable(result[0].parent, "output")
    return result


def check_output(
    source: str | Sequence[str], output: Path, *, suffix: str | None = None, usable: Sequence[str] = VIDEO_SUFFIXES
) -> None:
    """Refuse an output that does not fit its source, as far as one file or the names of several show it.

    Args:
        source: As the user named it; no asset is fetched and no folder searched.
        output: As of `output_paths`.
        suffix: As of `output_paths`.
        usable: As of `output_paths`.

    Raises:
        UserError: As of `output_paths`.
    """
    sources = [source] if isinstance(source, str) else source
    first = Path(sources[0]).expanduser()
    if len(sources) == 1 and first.is_file():
        output_paths(find_media(source, warn=False), source, output, suffix=suffix, usable=usable)
    elif (len(sources) > 1 or first.is_dir()) and _names_file(output):
        raise _one_for_several(output)


def _names_file(output: Path) -> bool:
    return output.is_file() or (output.suffix != "" and not output.is_dir())


def _one_for_several(output: Path) -> UserError:
    return UserError(f"output={output}: is a file name, but the source may hold several files; give a folder")


def _disk_and_file(path: Path) -> tuple[int, int]:
    """Return device and inode of a path: hard links share them."""
    status = path.stat()
    return status.st_dev, status.st_ino


def require_distinct(targets: Mapping[Path, Sequence[Path]]) -> None:
    """Make sure that no file is written twice, and that every name can be.

    Args:
        targets: What is written of each source.

    Raises:
        UserError: Two sources share a target, or a name is too long.
    """
    owners: dict[str, Path] = {}
    for source, paths in targets.items():
        for path in paths:
            other = owners.setdefault(_on_any_disk(path), source)
            if other != source:
                raise UserError(
                    f"output={path}: would be written from both {other} and {source}; rename one of them, or give them "
                    "in two runs"
                )
            longest = longest_name(path.parent)
            if len(os.fsencode(path.name)) > longest:
                raise UserError(f"output={path}: a name may have {longest} bytes here; give a shorter one")


def _on_any_disk(path: Path) -> str:
    """Return a path as disks see it that do not tell cases and forms of accents apart."""
    return unicodedata.normalize("NFC", str(path.absolute())).casefold()


def _name(path: Path, kind: str, suffix: str | None, usable: Sequence[str]) -> Path:
    """Return the name of the output: the same, or with a suffix that can be written."""
    if kind == "image":
        return path if path.suffix.lower() in IMAGE_SUFFIXES else path.with_name(path.name + ".png")
    if suffix is not None:
        return path.with_suffix(suffix)
    return path if path.suffix.lower() in usable else path.with_name(path.name + usable[0])
