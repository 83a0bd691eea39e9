"""Jobs are commands of their own: they outlive who started them, wait for their turn, and are found again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from facesmith.errors import DiskFullError, UserError
from facesmith.studio import jobs
from facesmith.studio.job_cards import draw_jobs
from facesmith.studio.jobs import Job, find_jobs, parse_log
from facesmith.studio.project import Project


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_job_ends_with_its_code_and_last_line(project: Project) -> None:
    good = jobs.start(project, ["--version"], "the version", "use")
    bad = jobs.start(project, ["nonsense"], "<b>bad</b>", "train")
    until(lambda: not Job(good.folder).is_live and not Job(bad.folder).is_live)
    assert (Job(good.folder).status, Job(bad.folder).status) == ("done", "failed")
    assert good.read_log().last.startswith("facesmith ")
    assert bad.read_log().last.startswith("error: nonsense: no such command")
    assert good.folder.stat().st_mode & 0o777 == 0o700
    assert (good.folder / jobs.LOG).stat().st_mode & 0o777 == 0o600
    drawn = draw_jobs(project)
    assert "&lt;b&gt;bad&lt;/b&gt;" in drawn
    assert "<b>bad</b>" not in drawn
    assert "error: nonsense: no such command" in drawn
    assert drawn.startswith('<details class="jobs" id="jobs" open>')  # it was the last one


def test_job_waits_in_its_lane_and_is_taken_out(project: Project) -> None:
    endless = ["studio", "open_browser=false"]
    first = jobs.start(project, endless, "first", "train")
    second = jobs.start(project, ["doctor", "x=1"], "second", "train")
    with pytest.raises(UserError, match="first: the same command"):
        jobs.start(project, endless, "again", "train")
    until(lambda: Job(first.folder).status == "running" and "runner" in Job(second.folder).state)
    assert Job(second.folder).status == "waiting"
    jobs.stop(Job(second.folder))
    until(lambda: Job(second.folder).status == "cancelled")
    pid = Job(first.folder).pid
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)  # no terminal's end reaches it
    jobs.stop(Job(first.folder))
    until(lambda: not Job(first.folder).is_live)
    assert not psutil.pid_exists(pid)
    with pytest.raises(UserError, match="has ended already"):
        jobs.stop(Job(first.folder))


def test_job_outlives_its_starter_and_its_runner(project: Project) -> None:
    program = (
        "import sys; from pathlib import Path; from facesmith.config.schema import PathsConfig\n"
        "from facesmith.studio.project import Project; from facesmith.studio import jobs\n"
        "paths = PathsConfig(runs='runs', face_sets='face_sets', profiles='profiles', run=None)\n"
        "jobs.start(Project(Path(sys.argv[1]), paths), ['studio', 'open_browser=false'], 'endless', 'use')\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(project.root)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    (job,) = find_jobs(project)
    until(lambda: Job(job.folder).pid is not None)
    state = Job(job.folder).state
    os.kill(state["runner"], signal.SIGKILL)
    assert Job(job.folder).status == "running"  # found again by the command's own process
    os.kill(state["pid"], signal.SIGKILL)
    until(lambda: Job(job.folder).status == "killed")


def test_job_that_hardly_began_is_not_stopped(project: Project) -> None:
    folder = project.jobs / "new"
    folder.mkdir(parents=True)
    (folder / jobs.JOB).write_text(json.dumps({"words": ["doctor"], "title": "a check", "created": time.time()}))
    with pytest.raises(UserError, match="a check: is about to wait in the queue; stop it in a moment"):
        jobs.stop(Job(folder))


def test_job_full_disk_is_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jobs, "write_private_text", full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        jobs.start(project, ["doctor"], "a check", "use")


def test_parse_log_shows_what_a_terminal_would() -> None:
    bar = "\x1b[?25l\r\x1b[2Kfaces of ada \x1b[91m━━━\x1b[0m╸ 3/30 0:00:01\r\x1b[2Kfaces of ada ━━━━ 28/30 0:00:08"
    tail = parse_log(f"Skipped 1 of 3 photos\n- loading 0:01\r\x1b[2K| loading 0:02\n{bar}")
    assert tail.lines == ["Skipped 1 of 3 photos", "| loading 0:02"]
    assert tail.bar.endswith("28/30 0:00:08")
    assert parse_log(f"{bar}\nchoosing among the faces ...\n").bar == ""
    assert parse_log("error: a: wrong\nmore\n").last == "error: a: wrong"
