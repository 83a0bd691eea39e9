"""Find the images and videos that a user's setting names."""

import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import pillow_heif
from PIL import Image, UnidentifiedImageError

from facesmith.assets import resolve
from facesmith.errors import UserError
from facesmith.files import PARTIAL, describe_kind

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
_NO_MEDIUM = "neither image nor video"
log = logging.getLogger(__name__)

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
        skipped: The files beside them that cannot be used, and why.
    """

    def __init__(self, media: Iterable[Media] = (), skipped: Mapping[Path, str] | None = None) -> None:
        super().__init__(media)
        self.skipped = dict(skipped or {})

    def describe_others(self) -> str | None:
        """Return a line about the files that are no media; None where there are none."""
        others = [file for file, reason in self.skipped.items() if reason == _NO_MEDIUM]
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"Left out: {printable(others[0].name)}{more}, {_NO_MEDIUM}" if others else None


def find_media(
    source: str | Path | Sequence[str | Path], *, output: Path | None = None, warn: bool = True
) -> MediaList:
    """List the images and videos that a setting names.

    In each folder or glob files come in natural order (2 before 10); hidden files do not count, nor do unfinished
    results, and a file named twice comes once. What a file contains is not checked here, but whether it is animated.

    Args:
        source: A file, a folder and those in it, a glob, `asset:<name>`, or several of them.
        output: File or folder of the results: within a folder of sources it is none.
        warn: Whether files that cannot be read are logged.

    Raises:
        UserError: a source does not exist, cannot be read as a file, or nothing usable is found.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources or not all(str(one).strip() for one in sources):
        raise UserError("media source: is empty; name at least one file or folder")
    media: dict[Path, Media] = {}
    skipped: dict[Path, str] = {}
    for one in sources:
        named, files = _expand(one, output, skipped)
        for file in files:
            reason = _why_not(file)
            kind = None if reason else _kind(file, by_content=file == named)
            if reason and file == named:
                raise UserError(f"{printable(file)}: {reason}")
            if kind is None:
                skipped[file] = reason or _NO_MEDIUM
            else:
                media.setdefault(file.resolve(), Media(file, kind))
    if not media:
        names = ", ".join(printable(one) for one in sources)
        first, reason = next(iter(skipped.items()), (Path(), ""))
        other = f" ({len(skipped)} other files, such as {printable(first.name)}: {reason})" if skipped else ""
        raise UserError(f"{names}: no image or video found{other}; give a folder with photos or videos")
    for file, reason in skipped.items():
        if warn and reason != _NO_MEDIUM:
            log.warning("skipped %s: %s", printable(file), reason)
    return MediaList(media.values(), skipped)


def list_stems(source: str | Path | Sequence[str | Path]) -> list[str]:
    """List the names, without endings, of the images and videos that a setting names; no asset is fetched.

    Args:
        source: As of `find_media`.

    Returns:
        Each name once.

    Raises:
        UserError: As of `find_media`.
    """
    sources: list[str | Path] = [source] if isinstance(source, str | Path) else list(source)
    assets = [str(one).removeprefix("asset:") for one in sources if str(one).startswith("asset:")]
    files = [one for one in sources if not str(one).startswith("asset:")]
    found = [media.path for media in find_media(files, warn=False)] if files else []
    return list(dict.fromkeys(path.stem for path in (*map(Path, assets), *found)))


def printable(path: str | Path) -> str:
    """Return a path as text that any terminal and file can hold: bytes that are no UTF-8 are written in hex."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _expand(one: str | Path, output: Path | None, skipped: dict[Path, str]) -> tuple[Path, list[Path]]:
    """Return a source as a path, and the files it stands for."""
    named = Path(resolve(str(one))).expanduser()
    try:
        is_folder, exists = named.is_dir(), named.exists()
    except (OSError, ValueError) as error:
        raise UserError(f"{printable(one)}: cannot be read ({_reason(error)}); check the path") from None
    if is_folder:
        return named, sorted(_walk(named, output, skipped), key=natural_key)
    if exists:
        return named, [named]
    files = [file for file in sorted(_matching(named), key=natural_key) if not file.is_dir()]
    if not files:
        raise UserError(f"{printable(one)}: there is no such file or folder; check the path")
    return named, files


def _walk(root: Path, output: Path | None, skipped: dict[Path, str]) -> Iterator[Path]:
    """Yield the visible files of a folder and those below it."""
    result = None if output is None or output.resolve() == root.resolve() else output.resolve()

    def note(error: OSError) -> None:
        skipped[Path(os.fsdecode(error.filename))] = f"cannot be read ({error.strerror})"

    for folder, folders, names in os.walk(root, onerror=note):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not name.endswith(PARTIAL) and (here / name).resolve() != result
        ]
        yield from (here / name for name in names if not name.startswith(".") and (here / name).resolve() != result)


def _why_not(file: Path) -> str:
    """Return why a file cannot be read as one; "" when it can."""
    try:
        str(file).encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if stat.S_ISREG(mode) else f"is {describe_kind(mode)}; give a file"


def _matching(pattern: Path) -> list[Path]:
    """Return what a pattern matches; folders whose names hold its special characters are taken as they are."""
    root = Path(pattern.anchor)
    rest = list(pattern.parts[1:] if pattern.anchor else pattern.parts)
    while rest and (root / rest[0]).is_dir():
        root /= rest.pop(0)
    if not rest or not any(character in part for part in rest for character in "*?["):
        return []

    def is_hidden(file: Path) -> bool:
        return any(part.startswith(".") and part not in pattern.parts for part in file.relative_to(root).parts)

    return [file for file in root.glob(str(Path(*rest))) if not is_hidden(file)]


def natural_key(path: str | Path) -> list[tuple[int, int | str]]:
    """Return a sort key under which frame2 comes before frame10, whatever the case."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


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
        with av.open(f"file:{file}") as container:
            return "video" if container.streams.video else None
    except (av.error.FFmpegError, OSError):
        return None


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
