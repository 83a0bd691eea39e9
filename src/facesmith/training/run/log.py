"""One log file per run: what ran, with which settings and versions, and how it ended."""

import logging
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf
from pydantic import BaseModel
from rich.file_proxy import FileProxy

import facesmith
from facesmith.errors import is_disk_full
from facesmith.terminal import print_error
from facesmith.training.run.environment import git_changes, git_commit, package_versions

log = logging.getLogger(__name__)

_MAX_CHANGES = 20
_FILE_ONLY = {"file_only": True}


class ConsoleFilter(logging.Filter):
    """Pass what the console shows: facesmith's own records in the first process, and errors; the log file has all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the console shows a record."""
        if getattr(record, "file_only", False):
            return False
        own = record.name.split(".")[0] == "facesmith"
        return record.levelno >= logging.ERROR or (own and get_rank() == 0)


class ConsoleHandler(logging.Handler):
    """Write records to standard error, above a progress bar where one is drawn, and wrapped between words.

    Standard error is looked up for each record: while a bar is drawn rich has put its own in place.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            text, stream = self.format(record), sys.stderr
            if isinstance(stream, FileProxy) or not stream.isatty():  # of a bar, which wraps by itself
                stream.write(f"{text}\n")
                stream.flush()
                return
            print_error(text)
        except Exception:
            self.handleError(record)


class LogFileHandler(logging.FileHandler):
    """A log file that skips records while the disk is full, which the console reports once."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Ignore a full disk."""
        if not is_disk_full(sys.exc_info()[1]):
            super().handleError(record)


def make_file_handler(filename: str | None) -> logging.Handler:
    """Return a handler that logs into a file, or nowhere when none is named.

    Args:
        filename: Its folder is made; None or empty: no file.
    """
    if not filename:
        return logging.NullHandler()
    path = Path(filename)
    if get_rank() and "_ddp_process_" not in path.stem:  # which Lightning names a process it starts itself
        path = path.with_stem(f"{path.stem}_ddp_process_{get_rank()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return LogFileHandler(path, encoding="utf-8", delay=True)


def get_rank() -> int:
    """Return this process's rank among those of a distributed run, 0 when it is alone."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or 0)


@contextmanager
def log_run(config: BaseModel) -> Iterator[None]:
    """Log into the file what runs, and at the end how it ended, with the traceback where it failed.

    Args:
        config: The validated settings.
    """
    logging.captureWarnings(True)
    started = time.monotonic()
    log.info(
        "facesmith %s, process %d\ncommand: %s\npython %s, %s\n%s\n%s\nsettings:\n%s",
        facesmith.__version__,
        os.getpid(),
        " ".join(sys.argv),
        platform.python_version(),
        platform.platform(),
        ", ".join(f"{name} {found}" for name, found in package_versions().items()),
        describe_git_state(),
        OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json", by_alias=True))),
        extra=_FILE_ONLY,
    )
    try:
        yield
    except BaseException as error:
        log.error(
            "ended by %s after %.1f s",
            type(error).__name__,
            time.monotonic() - started,
            exc_info=True,
            extra=_FILE_ONLY,
        )
        raise
    finally:
        logging.captureWarnings(False)
    log.info("done after %.1f s", time.monotonic() - started, extra=_FILE_ONLY)


def describe_git_state() -> str:
    """Return the commit of the project's checkout and which files differ from it."""
    commit, changed = git_commit(), git_changes()
    if commit is None:
        return "git: no checkout"
    commit = commit.removesuffix("+")
    if not changed:
        return f"git: {commit}, unchanged"
    more = f"\n  and {len(changed) - _MAX_CHANGES} more" if len(changed) > _MAX_CHANGES else ""
    return f"git: {commit}, changed:\n  " + "\n  ".join(changed[:_MAX_CHANGES]) + more


def silence_libraries() -> None:
    """Silence messages of libraries that do not concern the user's run; warnings of facesmith stay.

    What Lightning logs goes into the log file, where there is one. Call it before mediapipe is imported: it reads its
    C++ log level from the environment.
    """
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # a hub that cannot be reached is told once, by whoever asked
    to_file = any(isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.INFO if to_file else logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch|torchdata|mediapipe|insightface|onnxscript)\b")
