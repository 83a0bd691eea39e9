"""Errors that a user can fix, and explanations for errors of libraries and the machine."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final


class UserError(Exception):
    """A mistake the user can fix: one line that names the file or key, what is wrong, and the fix.

    Entry points print it and exit with 1, without a traceback.
    """


class MediaError(UserError):
    """A file that cannot be read or written as media: one line that names it and the fix."""


class PrunedError(Exception):
    """Not a mistake: a sweep ends a job early because it will not be among the best."""


class Interrupted(BaseException):  # like KeyboardInterrupt, no error
    """A run was asked to stop by a signal; `lines` explain how to resume it.

    No `Exception`, so that a sweep ends with its job. Entry points print the lines and exit with `code`.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.lines: list[str] = []
        self.code = 128 + number


_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_BARRED: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
_WRITER: Final = ("PytorchStreamWriter failed", "inline_container.cc", "iostream error")
_MEMORY: Final = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Failed to allocate memory for requested buffer",
    "bad allocation",
    "could not create a primitive",  # oneDNN's message
    "failed to map segment from shared object",  # the loader's message
    "std::bad_alloc",
)

# settings that cost memory: key, and what to do with it
_RELIEF: Final = (
    ("data.batch_size", "lower it"),
    ("trainer.accumulate_grad_batches", "raise it as the batch falls: the training stays the same"),
    ("model.gradient_checkpointing", "true: less memory, a third more time"),
    ("model.base_storage", "float8: frozen weights in half the memory"),
    ("data.num_frames", "lower it, to one more than a multiple of 4"),
    ("trainer.precision", "bf16-mixed or 16-mixed: half the memory, on a GPU"),
    ("task.num_frames", "lower it, to one more than a multiple of 4"),
    ("task.offload", "disk, or on a GPU model or group"),
    ("task.pixel_boost", "lower it"),
    ("task.workers", "1: one frame at a time"),
)

# pattern of the library's message, line to show; the first match is used
_KNOWN: Final = (
    (
        r"No supported gpu backend found|CUDAAccelerator.*not available|MPSAccelerator.*not available",
        "trainer.accelerator: this machine has no such device; use trainer.accelerator=auto; "
        "`facesmith doctor` shows the devices",
    ),
    (
        r"You requested gpu: .* But your machine only has: .*|requested .* devices? but .* available",
        "trainer.devices: this machine has fewer devices; use trainer.devices=1 or auto; `facesmith doctor` shows them",
    ),
    (
        r"no kernel image is available|not compatible with the current PyTorch",
        "this torch was not built for this GPU; install the build for its CUDA version from pytorch.org, or use "
        "trainer.accelerator=cpu",
    ),
    (
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient",
        "the GPU's driver is older than this torch; update the driver, or use trainer.accelerator=cpu",
    ),
    (
        r"DataLoader worker .*(Bus error|killed by signal: (Killed|Bus error))|insufficient shared memory",
        "a worker that loads data was killed, mostly for lack of (shared) memory; use data.workers=0, or give the "
        "container more with --shm-size=2g",
    ),
    (
        r"Too many open files",
        "too many files are open; use data.workers=0, or raise the limit with `ulimit -n 65536`",
    ),
    (
        r"InvalidCxxCompiler|Failed to find C compiler|No working C\+\+ compiler",
        "model.compile=true: needs a C++ compiler, and there is none; install g++, or use model.compile=false",
    ),
    (
        r"Address already in use|EADDRINUSE",
        "another distributed run holds this port; set the environment variable MASTER_PORT to a free one",
    ),
    (
        r"Timed out initializing process group|Timed out waiting.*ranks|Connection closed by peer|"
        r"Connection reset by peer.*gloo|gloo.*Connection",
        "another process of this distributed run is gone; its own error is above or in its log "
        "(train_ddp_process_*.log in the run's folder)",
    ),
    (
        r"Expected to have finished reduction in the prior iteration",
        "trainer.strategy: some weights had no gradient; use trainer.strategy=ddp_find_unused_parameters_true",
    ),
)


class DiskFullError(UserError):
    """There is no room for a file: `free` bytes are left, `needed` are its size; None when unknown; `then` go on so."""

    def __init__(
        self, path: Path, needed: int | None, free: int, then: str = "then run the same command again"
    ) -> None:
        wanted = f"{format_bytes(needed)} needed" if needed else "more needed"
        super().__init__(
            f"{path}: the disk is full: {wanted}, {format_bytes(free)} free; make room, or write elsewhere "
            f"(paths.runs=, paths.face_sets=, output=), {then}"
        )


@contextmanager
def explain_errors(config: object, folder: Path | None = None) -> Iterator[None]:
    """Turn errors of the machine or a library into a UserError that names the setting to change; bugs pass through.

    Args:
        config: the settings the job runs with; those that cost memory are named with their values.
        folder: where the job writes; of the checkpoints in it the newest is named when the disk is full.
    """
    try:
        yield
    except Exception as error:
        line = explain_failure(error, config, folder)
        if line is None:
            raise
        raise UserError(line) from error


def explain_failure(error: BaseException, config: object, folder: Path | None) -> str | None:
    """Return one line that names the cause and the key to change.

    Args:
        error: What was raised; its causes are searched.
        config: The settings the job runs with.
        folder: Where the job writes.

    Returns:
        The line; None for a bug, or a UserError that explains itself.
    """
    causes = list(_chain(error))
    full = next((c for c in causes if isinstance(c, DiskFullError) or is_disk_full(c)), None)
    if full is not None:
        place = _place(full, folder)
        disk_full = full if isinstance(full, DiskFullError) else DiskFullError(place, None, free_bytes(place))
        return f"{disk_full}{_last_good(folder)}"
    if any(isinstance(cause, UserError) for cause in causes):
        return None
    for cause in causes:
        if is_out_of_memory(cause):
            return _out_of_memory(cause, config)
    barred = explain_barred_path(error)
    if barred is not None:
        return barred
    text = " ".join(f"{type(cause).__name__}: {cause}" for cause in causes)
    known = next((line for pattern, line in _KNOWN if re.search(pattern, text, re.DOTALL)), None)
    return f"{known} ({_short(causes[0])})" if known else None


def explain_barred_path(error: BaseException) -> str | None:
    """Return one line that names a path that the system does not let us read or write; None for any other error."""
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in _BARRED and isinstance(cause.filename, str | bytes):
            path = os.fsencode(cause.filename).decode("utf-8", "backslashreplace")
            return (
                f"{path}: cannot be read or written ({cause.strerror}); check its permissions, or choose another place "
                "(paths.runs=, paths.face_sets=, paths.profiles=, output=)"
            )
    return None


def summarize_error(error: BaseException) -> str:
    """Return an error in one line: a mistake as it is, anything else as the bug that it is."""
    if isinstance(error, UserError):
        return str(error)
    return f"unexpected {type(error).__name__}: {_short(error)}; leave the file out, or report this"


def escape_controls(text: object) -> str:
    """Return a value as text of one line: line breaks and other control characters as escapes.

    Args:
        text: As it was typed or read.
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a device or the machine had no memory left: of torch, numpy and onnxruntime."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or any(words in str(error) for words in _MEMORY)


def format_bytes(count: int) -> str:
    """Format a number of bytes: 1.5 GB, 20.0 MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def free_bytes(path: Path) -> int:
    """Return the free bytes of the disk that a path is on, or would be."""
    folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
    return shutil.disk_usage(folder).free


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error says that the disk is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def comes_from_full_disk(error: BaseException) -> bool:
    """Return whether an error, or what caused it, says that the disk is full; libraries in Rust say it in words."""
    causes = list(_chain(error))
    return any(map(is_disk_full, causes)) or any(f"(os error {code})" in str(causes[-1]) for code in _FULL)


def is_write_failure(error: BaseException) -> bool:
    """Return whether torch's file writer failed without saying why."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WRITER)


def _out_of_memory(error: BaseException, config: object) -> str:
    settings = []
    for key, mend in _RELIEF:
        known, value = _value(config, key)
        if known:
            settings.append(f"{key}={str(value).lower() if isinstance(value, bool) else value} ({mend})")
    profiled = _value(config, "trainer.precision")[0] and _value(config, "data.max_frames")[0]
    all_at_once = "; trainer=low_memory sets all of them" if profiled else ""
    advice = f"settings that cost memory: {', '.join(settings)}" if settings else "use smaller media"
    return f"out of memory{_asked(error)}; {advice}{all_at_once}"


def _asked(error: BaseException) -> str:
    text = str(error)
    found = re.search(r"[Tt]ried to allocate ([\d.]+ ?[KMG]i?B|\d+ bytes)|Unable to allocate ([\d.]+ [KMGTPE]iB)", text)
    asked = "" if not found else f", {found[1] or found[2]} more were requested"
    device = next((name for name, words in (("GPU", "CUDA"), ("GPU", "MPS")) if words in text), "")
    return f" on the {device}{asked}" if device else asked


def _place(error: BaseException, folder: Path | None) -> Path:
    named = getattr(error, "filename", None)
    return Path(named) if isinstance(named, str) else folder or Path()


def _last_good(folder: Path | None) -> str:
    found = sorted((folder or Path()).glob("checkpoints/*.ckpt"), key=lambda path: path.stat().st_mtime)
    return f"; last good checkpoint: {found[-1]}" if folder and found else ""


def _value(config: object, key: str) -> tuple[bool, Any]:
    for part in key.split("."):
        if not hasattr(config, part):
            return False, None
        config = getattr(config, part)
    return True, config


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:157]}..."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
