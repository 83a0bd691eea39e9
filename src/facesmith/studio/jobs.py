"""The jobs of a project: ordinary commands with a folder each, found again by their files and process ids."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import psutil

from facesmith.errors import DiskFullError, UserError, free_bytes, is_disk_full
from facesmith.files import make_private_folder, read_json_object, write_private_text
from facesmith.studio.words import command_line

if TYPE_CHECKING:
    from facesmith.studio.project import Project

JOB: Final = "job.json"
STATE: Final = "state.json"
LOG: Final = "log.txt"

Lane = Literal["train", "use"]
Status = Literal["waiting", "running", "done", "failed", "stopped", "cancelled", "killed"]

_STARTING: Final = 20.0  # seconds until a runner has written its state
_SAME: Final = 5.0  # seconds by which two readings of a process's start may differ: the clock is set now and then
_TAIL: Final = 65_536  # bytes of a log
_STOPPED: Final = (130, 143, -2, -15)
_CODES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_BAR: Final = re.compile(r"[━╸╺]{3,}")


@dataclass(frozen=True)
class Job:
    """A job by its folder."""

    folder: Path

    @property
    def id(self) -> str:
        """Return its name: when it was asked for, and a few letters."""
        return self.folder.name

    @cached_property
    def description(self) -> dict[str, Any]:
        """Return what was asked for."""
        return read_json_object(self.folder / JOB)

    @cached_property
    def state(self) -> dict[str, Any]:
        """Return what its runner wrote."""
        return read_json_object(self.folder / STATE)

    @property
    def words(self) -> list[str]:
        """Return the command's words behind `facesmith`."""
        return [str(word) for word in self.description.get("words", [])]

    @property
    def title(self) -> str:
        """Return what it is, in words."""
        return str(self.description.get("title", self.id))

    @property
    def command(self) -> str:
        """Return the command as one would type it."""
        return command_line(self.words)

    @property
    def pid(self) -> int | None:
        """Return the number of the command's process."""
        pid = self.state.get("pid")
        return pid if isinstance(pid, int) else None

    @property
    def status(self) -> Status:
        """Return how it is: by its files, and by whether its processes live."""
        state, lives = self.state, is_running(self.folder)
        if state.get("status") == "cancelled":
            return "cancelled"
        if state.get("status") == "ended":
            code = state.get("code")
            return "done" if code == 0 else "stopped" if code in _STOPPED else "failed"
        if lives:
            return "running" if self.pid is not None else "waiting"
        return "killed"

    @property
    def is_live(self) -> bool:
        """Return whether it waits or runs."""
        return self.status in ("waiting", "running")

    def read_log(self) -> "LogTail":
        """Return the end of its log, as a terminal would show it."""
        try:
            with (self.folder / LOG).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return LogTail([], "")
        return parse_log(text)


@dataclass(frozen=True)
class LogTail:
    """The end of a log: its lines, and the bar that was drawn last."""

    lines: list[str]
    bar: str

    @property
    def last(self) -> str:
        """Return the last line that says something; of errors the first of the last block."""
        errors = [line for line in self.lines if line.startswith("error")]
        return errors[-1] if errors else next((line for line in reversed(self.lines) if line.strip()), "")


def parse_log(text: str) -> LogTail:
    """Return what a terminal would show of a log: redrawn lines once, bars apart.

    Args:
        text: With the codes of a terminal.
    """
    lines: list[str] = []
    bar = ""
    for raw in text.split("\n"):
        shown = _CODES.sub("", raw.rstrip("\r").rpartition("\r")[2]).rstrip()
        if _BAR.search(shown):
            bar = shown
        elif shown:
            bar = ""
            lines.append(shown)
    return LogTail(lines, bar)


def start(project: "Project", words: Sequence[str], title: str, lane: Lane) -> Job:
    """Start a command as a job that outlives the page and the server.

    Args:
        project: It runs in this folder.
        words: What follows `facesmith`.
        title: What it is, in words.
        lane: Jobs of one lane run one after the other.

    Raises:
        UserError: The same command waits or runs already, or the disk is full.
    """
    for other in find_jobs(project):
        if other.is_live and other.words == list(words):
            raise UserError(f"{other.title}: the same command {_waits(other)} already; look at the queue")
    folder = project.jobs / f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{time.time_ns() % 10**9:09d}_{secrets.token_hex(2)}"
    # bars are drawn into the log, where they tell how far it is; a training tells that by its record
    bars = {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1", "COLUMNS": "140"} if lane == "use" else {"COLUMNS": "140"}
    description = {
        "words": list(words),
        "title": title,
        "lane": lane,
        "created": time.time(),
        "folder": str(project.root),
        "environment": {**bars, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
    }
    try:
        make_private_folder(project.jobs.parent)
        make_private_folder(project.jobs)
        make_private_folder(folder)
        write_private_text(folder / JOB, json.dumps(description, ensure_ascii=False))
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(folder, None, free_bytes(project.root)) from error
        raise UserError(f"{folder}: cannot be made ({error.strerror}); choose another project folder") from None
    subprocess.Popen(
        [sys.executable, "-m", "facesmith.studio.runner", str(folder)],
        cwd=project.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return Job(folder)


def stop(job: Job) -> str:
    """Ask a job to stop, as Ctrl-C does: a training saves first. One that waits does not begin.

    Args:
        job: The job.

    Returns:
        What was done, in a line.

    Raises:
        UserError: It has ended, or has hardly begun.
    """
    status = job.status
    if status == "waiting":
        if "runner" not in job.state:
            raise UserError(f"{job.title}: is about to wait in the queue; stop it in a moment")
        os.kill(int(job.state["runner"]), signal.SIGTERM)
        return f"{job.title}: was taken from the queue"
    if status != "running" or job.pid is None:
        raise UserError(f"{job.title}: has ended already")
    os.kill(job.pid, signal.SIGINT)
    return f"{job.title}: was asked to stop; a training saves first"


def find_jobs(project: "Project") -> list[Job]:
    """Return all jobs, the newest first.

    Args:
        project: The project.
    """
    if not project.jobs.is_dir():
        return []
    return [Job(path) for path in sorted(project.jobs.iterdir(), reverse=True) if (path / JOB).is_file()]


def find_job(project: "Project", id: str) -> Job:
    """Return a job by its name.

    Args:
        project: The project.
        id: Name of the job.

    Raises:
        UserError: There is none.
    """
    found = next((job for job in find_jobs(project) if job.id == id), None)
    if found is None:
        raise UserError(f"job={str(id)[:60]}: there is no such job; look at the queue")
    return found


def read_state(folder: Path) -> dict[str, Any]:
    """Return what is known of a job: what was asked for and what its runner wrote.

    Args:
        folder: Of the job.
    """
    return {**read_json_object(folder / JOB), **read_json_object(folder / STATE)}


def is_running(folder: Path) -> bool:
    """Return whether a job waits or runs: whether its runner or its command lives.

    Args:
        folder: Of the job.
    """
    state = read_state(folder)
    if state.get("status") in ("ended", "cancelled"):
        return False
    if "runner" not in state:
        return time.time() - float(state.get("created", 0)) < _STARTING
    return _lives(state.get("pid"), state.get("began")) or _lives(state.get("runner"), state.get("runner_began"))


def process_start(pid: int) -> float | None:
    """Return when a process began, which tells it from a later one of the same number; None: it is gone.

    Args:
        pid: Number of the process.
    """
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def _lives(pid: object, began: object) -> bool:
    if not isinstance(pid, int) or not isinstance(began, float):
        return False
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - began) < _SAME and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _waits(job: Job) -> str:
    return "waits" if job.status == "waiting" else "runs"
