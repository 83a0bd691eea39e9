"""Settings that name a file of a certain kind: a path of another kind is refused before anything is loaded."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, ValidationInfo

from facesmith.config.settings import FROM_FILE, PathSetting

_CHECKPOINT: Final = ".ckpt"
_PLACES: Final = ("", "exports", "checkpoints")  # of a run's folder
_REPORTS: Final = (".html", ".json", ".csv", ".txt", ".pdf")


def _suffixed(*suffixes: str) -> AfterValidator:
    """Require a suffix: a value out of a shared run folder must not name a file of another kind to be written."""

    def check(path: Path) -> Path:
        if path.suffix.lower() not in suffixes:
            raise ValueError(f"must end with {_either(suffixes)}")
        return path

    return AfterValidator(check)


def _readable(*suffixes: str, folder: bool = False) -> AfterValidator:
    """Require a file, or a folder where that will do, of one of these suffixes; no suffixes: of any.

    One that does not exist is left to those who look for it.
    """

    def check(path: Path, info: ValidationInfo) -> Path:
        if _is_history(info):
            return path
        if path.is_dir():
            if not folder:
                found = next(_files_within(path, suffixes), None)
                kind = f"a file that ends with {_either(suffixes)}" if suffixes else "a file"
                raise ValueError(f"is a folder; give {f'a file, such as {found}' if found else kind}")
            return path
        if suffixes and path.is_file() and path.suffix.lower() not in suffixes:
            raise ValueError(f"must {'be a folder or ' if folder else ''}end with {_either(suffixes)}")
        if path.suffix.lower() == _CHECKPOINT:
            require_checkpoint(path)
        return path

    return AfterValidator(check)


def _readable_checkpoint(path: Path, info: ValidationInfo) -> Path:
    return path if _is_history(info) else require_checkpoint(path)


def _is_history(info: ValidationInfo) -> bool:
    """Return whether settings are those of a file: what they read may be gone, and is not read again."""
    return bool((info.context or {}).get(FROM_FILE))


def require_checkpoint(path: Path) -> Path:
    """Make sure that a file can be a checkpoint: torch writes a zip archive, whose list of contents is at its end.

    Args:
        path: The file; one that does not exist is not looked at.

    Returns:
        The path.

    Raises:
        ValueError: It is a folder, of another kind, or was cut short.
    """
    if path.is_dir():
        found = next(_files_within(path, (_CHECKPOINT,)), None)
        raise ValueError(f"is a folder; give a checkpoint{f', such as {found}' if found else ' (.ckpt)'}")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ValueError("is no checkpoint, or a damaged one; give a file of a run's checkpoints/")
    return path


def _files_within(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for place in _PLACES:
        yield from sorted(one for one in (folder / place).glob("[!.]*") if one.suffix in suffixes and one.is_file())


def _either(suffixes: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(suffixes[:-1]), *suffixes[-1:])))


def _not_a_file(path: Path) -> Path:
    if path.is_file():
        raise ValueError("is a file; give a folder")
    if path.suffix.lower() in _REPORTS and not path.is_dir():
        raise ValueError(f"is the folder of the files that are written; give {path.with_suffix('')}")
    return path


LogFile = Annotated[PathSetting, _suffixed(".log", ".txt")]
PictureOutput = Annotated[PathSetting, _suffixed(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif")]
OnnxOutput = Annotated[PathSetting, _suffixed(".onnx")]
ProfileOutput = Annotated[PathSetting, _suffixed(".json")]
TensorOutput = Annotated[PathSetting, _suffixed(".safetensors")]
FolderOutput = Annotated[PathSetting, AfterValidator(_not_a_file)]
"""A folder in which files of fixed names are written."""

OnnxFile = Annotated[PathSetting, _readable(".onnx")]
ProfileFile = Annotated[PathSetting, _readable(".json")]
SwapperFile = Annotated[PathSetting, _readable(".onnx", ".dfm", _CHECKPOINT)]
CheckpointFile = Annotated[PathSetting, AfterValidator(_readable_checkpoint)]
AnyFile = Annotated[PathSetting, _readable()]
"""A file whose kind its content tells, such as a picture."""
RunOrCheckpoint = Annotated[PathSetting, _readable(_CHECKPOINT, folder=True)]
RunOrOccluder = Annotated[PathSetting, _readable(".onnx", _CHECKPOINT, folder=True)]
RunOrSwapper = Annotated[PathSetting, _readable(".onnx", ".dfm", _CHECKPOINT, folder=True)]
