"""Find the images and videos that a user's setting names."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import pillow_heif
from PIL import Image, UnidentifiedImageError

from facesmith.assets import resolve
from facesmith.errors import UserError

pillow_heif.register_heif_opener()

IMAGES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".jp2",
        ".tga",
        ".ppm",
    ]
)
VIDEOS = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".ts",
        ".m2ts",
        ".mts",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".mxf",
        ".vob",
        ".h264",
        ".hevc",
    ]
)
_ANIMATED = frozenset([".gif", ".png", ".apng", ".webp"])


@dataclass(frozen=True, slots=True)
class Media:
    """One file and how to read it: `read_image` for images, `open_video` for videos and animated images.

    Attributes:
        path: The file.
        kind: image or video.
    """

    path: Path
    kind: Literal["image", "video"]


class MediaList(list[Media]):
    """Media in natural order.

    Attributes:
        skipped: The files beside them that are neither image nor video.
    """

    def __init__(self, media: Iterable[Media] = (), skipped: Sequence[Path] = ()) -> None:
        super().__init__(media)
        self.skipped = list(skipped)


def find_media(source: str | Path | Sequence[str | Path]) -> MediaList:
    """List the images and videos that a setting names.

    In each folder or glob files come in natural order (2 before 10); hidden files do not count, and a file named twice
    comes once. What a file contains is not checked here, but whether it is animated.

    Args:
        source: A file, a folder and those in it, a glob, `asset:<name>`, or several of them.

    Raises:
        UserError: a source does not exist, or nothing usable is found.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise UserError("media source: the list is empty; name at least one file or folder")
    media: dict[Path, Media] = {}
    skipped: dict[Path, None] = {}
    for one in sources:
        path = resolve(str(one))
        named = Path(path).expanduser()
        if named.is_dir():
            files = [file for file in sorted(named.rglob("*"), key=natural_key) if _is_visible(file, named)]
        elif named.exists():
            files = [named]
        else:
            files = sorted(_matching(named), key=natural_key)
            files = [file for file in files if file.is_file()]
            if not files:
                raise UserError(f"{one}: there is no such file or folder; check the path")
        for file in files:
            kind = _kind(file, by_content=file == named)
            if kind is None:
                skipped[file] = None
            else:
                media.setdefault(file.resolve(), Media(file, kind))
    if not media:
        names = ", ".join(str(one) for one in sources)
        other = f" ({len(skipped)} other files, such as {next(iter(skipped)).name})" if skipped else ""
        raise UserError(f"{names}: no image or video found{other}; give a folder with photos or videos")
    return MediaList(media.values(), list(skipped))


def _matching(pattern: Path) -> list[Path]:
    root = Path(pattern.anchor)

    def is_hidden(file: Path) -> bool:
        return any(part.startswith(".") and part not in pattern.parts for part in file.parts)

    is_pattern = any(character in str(pattern) for character in "*?[")
    if not is_pattern:
        return []
    return [file for file in root.glob(str(pattern.relative_to(root))) if not is_hidden(file)]


def natural_key(path: str | Path) -> list[tuple[int, int | str]]:
    """Return a sort key under which frame2 comes before frame10, whatever the case."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _is_visible(file: Path, root: Path) -> bool:
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(root).parts)


def _kind(file: Path, by_content: bool) -> Literal["image", "video"] | None:
    suffix = file.suffix.lower()
    if suffix in VIDEOS:
        return "video"
    if suffix in IMAGES:
        return "video" if suffix in _ANIMATED and _is_animated(file) else "image"
    return _sniff(file) if by_content else None


def _is_animated(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False  # read_image reports what is wrong with it


def _sniff(file: Path) -> Literal["image", "video"] | None:
    """Return the kind of a file of unknown suffix, which the user named himself, by its content."""
    try:
        with Image.open(file) as image:
            return "video" if getattr(image, "is_animated", False) else "image"
    except UnidentifiedImageError:
        pass
    except Image.DecompressionBombError:
        return "image"  # read_image reports that it is too large
    try:
        with av.open(file) as container:
            return "video" if container.streams.video else None
    except (av.error.FFmpegError, OSError):
        return None
