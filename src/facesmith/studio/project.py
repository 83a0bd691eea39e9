"""The project folder the page works in: what lies there, and that nothing outside of it is touched."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from facesmith.config.schema import PathsConfig
from facesmith.config.validation_errors import closest_match
from facesmith.errors import UserError
from facesmith.files import read_json_object
from facesmith.studio.words import check_slug, is_slug

HIDDEN: Final = ".facesmith"
"""Folder, in the project's, of the jobs that the page has started."""
UPLOADS: Final = "uploads"
TARGETS: Final = "_targets"
"""Folder, in that of the uploads, of what is swapped into."""
MODELS: Final = (".onnx", ".dfm", ".ckpt")
PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".heic", ".tif", ".tiff")
VIDEOS: Final = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
_SKIPPED: Final = ("checkpoints", "renders", "wandb", "node_modules", "crops")
_DANCERS: Final = ("video_lora", "video_lora_demo")
_MOST: Final = 500  # models
_META: Final = "meta.json"  # of a face set; its own module imports what reads tables


@dataclass(frozen=True)
class Project:
    """A project folder.

    Attributes:
        root: It, resolved.
        paths: Folders of runs, face sets and profiles, as commands take them.
        allowed: Further folders whose files may be read.
    """

    root: Path
    paths: PathsConfig
    allowed: tuple[Path, ...] = ()

    @property
    def jobs(self) -> Path:
        """Folder of the jobs."""
        return self.root / HIDDEN / "jobs"

    def uploads(self, name: str) -> Path:
        """Return the private folder of a person's uploads.

        Args:
            name: The person's name.
        """
        return self.root / UPLOADS / check_slug(name, "name")

    def resolve(self, named: str, key: str) -> Path:
        """Return the path that somebody named, which must lie in the project.

        Args:
            named: Absolute, or relative to the project's folder.
            key: What it is for, for the message.

        Raises:
            UserError: It is empty, or lies elsewhere.
        """
        text = str(named or "").strip()
        if not text or "\0" in text:
            raise UserError(f"{key}: is empty; name a file or a folder")
        try:
            path = (self.root / Path(text).expanduser()).resolve()
            path.exists()  # names may be too long
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"{key}={text[:80]}: cannot be a path ({_reason(error)})") from None
        homes = (self.root, *(folder.resolve() for folder in self.allowed))
        if not any(path.is_relative_to(home) for home in homes):
            raise UserError(
                f"{key}={text[:80]}: lies outside of the project {self.root}; copy it there, or start the studio with "
                f"allowed=[{path if path.is_dir() else path.parent}]"
            )
        return path

    def existing(self, named: str, key: str) -> str:
        """Return a path in the project as commands take it; `asset:<name>` is taken as it is.

        Args:
            named: As `resolve` takes it.
            key: What it is for.

        Raises:
            UserError: There is no such file or folder, or it lies elsewhere.
        """
        if re.fullmatch(r"asset:[\w.-]+", str(named or "").strip()):
            return str(named).strip()
        path = self.resolve(named, key)
        if not path.exists():
            near = closest_match(path.name, [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else [])
            mend = f"did you mean {path.parent / near}?" if near else "check the path"
            raise UserError(f"{key}={named}: there is no such file or folder; {mend}")
        return self.short(path)

    def short(self, path: Path) -> str:
        """Return a path as one would type it in the project's folder.

        Args:
            path: Below the project folder, or elsewhere.
        """
        absolute = path.absolute()
        return str(absolute.relative_to(self.root)) if absolute.is_relative_to(self.root) else str(absolute)

    def path_arguments(self) -> list[str]:
        """Return the arguments that lead commands to this project's folders, where they are not the usual ones."""
        usual = {"runs": "runs", "face_sets": "face_sets", "profiles": "profiles"}
        return [f"paths.{key}={value}" for key in usual if str(value := getattr(self.paths, key)) != usual[key]]

    def people(self) -> list[str]:
        """Return the names of those who have a face set, uploads or a profile."""
        names = {path.parent.parent.name for path in (self.root / self.paths.face_sets).glob(f"*/*/{_META}")}
        names |= {path.name for path in (self.root / UPLOADS).glob("*") if path.is_dir()}
        return sorted(name for name in names if is_slug(name))

    def face_sets(self, name: str | None = None) -> list[Path]:
        """Return the finished face sets, of a person or of all, the newest first.

        Args:
            name: The person's; None: everybody's.
        """
        found = (self.root / self.paths.face_sets).glob(f"{check_slug(name, 'name') if name else '*'}/*/{_META}")
        return [path.parent for path in sorted(found, key=_modified, reverse=True)]

    def profiles(self) -> list[Path]:
        """Return the files of identity profiles."""
        return sorted((self.root / self.paths.profiles).glob("*.json"))

    def models(self) -> list[Path]:
        """Find files that swap faces: exports of runs, and any model below `exports` and `models`."""
        roots = [self.root / self.paths.runs, self.root / "exports", self.root / "models"]
        found = [path for root in roots for path in _walk(root, (".onnx", ".dfm")) if path.parent.name != "xseg"]
        return sorted(found, key=_modified, reverse=True)[:_MOST]

    def occluders(self) -> list[Path]:
        """Find masks of what covers faces: `xseg` among the exports of runs, and below `exports` and `models`."""
        roots = [self.root / self.paths.runs, self.root / "exports", self.root / "models"]
        found = [path for root in roots for path in _walk(root, (".onnx",)) if path.parent.name == "xseg"]
        return sorted(found, key=_modified, reverse=True)[:_MOST]

    def dancers(self) -> list[Path]:
        """Find what generates dances: `exports` of runs of video_lora."""
        root = self.root / self.paths.runs
        found = [path for name in _DANCERS for path in root.glob(f"{name}/*/*/exports") if path.is_dir()]
        return sorted((path for path in found if not path.parent.is_symlink()), key=_modified, reverse=True)

    def adapters(self) -> list[Path]:
        """Find folders of scene adapters below the runs and `exports`."""
        roots = [self.root / self.paths.runs, self.root / "exports"]
        return [path.parent for root in roots for path in _walk(root, ("adapter_config.json",))][:_MOST]

    def media(self, suffixes: Sequence[str] = (*PICTURES, *VIDEOS)) -> list[Path]:
        """Return pictures and videos that lie in the project's folder itself, and in its `uploads` and `scenes`.

        Args:
            suffixes: Which kinds.
        """
        folders = [self.root, self.root / "scenes", self.root / UPLOADS / TARGETS]
        return _newest(folders, suffixes)

    def results(self, folder: str = "swapped") -> list[Path]:
        """Return the pictures and videos that were made, the newest first.

        Args:
            folder: Below the project's.
        """
        return _newest([self.root / folder], (*PICTURES, *VIDEOS))


def read_meta(folder: Path) -> dict[str, Any]:
    """Return what a face set's meta.json states, as far as it can be read.

    Args:
        folder: Of the face set.
    """
    return read_json_object(folder / _META)


def _walk(root: Path, suffixes: Sequence[str]) -> Iterable[Path]:
    for place, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _SKIPPED and not name.startswith(".")]
        names[:] = [name for name in names if not Path(place, name).is_symlink()]
        yield from (Path(place, file) for file in files if file.lower().endswith(tuple(suffixes)))


def _newest(folders: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    found = [path for folder in folders for path in folder.glob("*") if path.suffix.lower() in suffixes]
    return sorted(found, key=_modified, reverse=True)[:_MOST]


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
