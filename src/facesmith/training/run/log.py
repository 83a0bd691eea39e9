"""One log file a run: what ran, with which settings and versions, and how it ended."""

import logging
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import facesmith
from facesmith.errors import is_disk_full

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "lightning", "numpy", "hydra-core", "mediapipe", "onnxruntime", "opencv-python", "av")
_CHANGED_AT_MOST = 20
_FILE_ONLY = {"file_only": True}


class ForPeople(logging.Filter):
    """What the console shows: our own records, others' errors, of the first process; the file has all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what only the file should hold."""
        if getattr(record, "file_only", False):
            return False
        own = record.name.split(".")[0] == "facesmith"
        return record.levelno >= logging.ERROR or (own and process_number() == 0)


class LogFile(logging.FileHandler):
    """A log that falls silent while the disk is full: that is told on the console, and told once."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Leave out what does not fit."""
        if not is_disk_full(sys.exc_info()[1]):
            super().handleError(record)


def optional_file(filename: str | None) -> logging.Handler:
    """Log into a file, or nowhere when none is named."""
    if not filename:
        return logging.NullHandler()
    Path(filename).parent.mkdir(parents=True, exist_ok=True)
    return LogFile(filename, encoding="utf-8", delay=True)


def process_number() -> int:
    """Return this process's place among those of a distributed run, 0 when it is alone."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or 0)


@contextmanager
def logged(config: Any) -> Iterator[None]:
    """Write into the log what runs, and at the end how it ended, with the traceback where it failed."""
    logging.captureWarnings(True)
    started = time.monotonic()
    log.info(
        "facesmith %s, process %d\ncommand: %s\npython %s, %s\n%s\n%s\nsettings:\n%s",
        facesmith.__version__,
        os.getpid(),
        " ".join(sys.argv),
        platform.python_version(),
        platform.platform(),
        ", ".join(f"{name} {found}" for name, found in _versions()),
        git_state(),
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


def git_state() -> str:
    """Return the commit of the project's checkout and which files differ from it."""
    here = str(Path(facesmith.__file__).parent)

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.splitlines()

    try:
        (commit,) = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "git: no checkout"
    if not changed:
        return f"git: {commit}, unchanged"
    more = f"\n  and {len(changed) - _CHANGED_AT_MOST} more" if len(changed) > _CHANGED_AT_MOST else ""
    return f"git: {commit}, changed:\n  " + "\n  ".join(changed[:_CHANGED_AT_MOST]) + more


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "missing"


def quiet_libraries() -> None:
    """Silence library chatter that says nothing about the user's run; warnings of our own stay.

    What Lightning notes goes into the log file, where there is one. Must run before mediapipe is imported: its C++ log
    level is read from the environment.
    """
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    to_file = any(isinstance(handler, logging.FileHandler) for handler in logging.getLogger().handlers)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.INFO if to_file else logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch|torchdata|mediapipe|insightface|onnxscript)\b")
