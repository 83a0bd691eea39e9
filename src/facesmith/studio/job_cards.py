"""The queue as the page draws it, and what its buttons do."""

import os
import re
import signal
import socket
import time
from html import escape
from typing import Any, Final

from facesmith.errors import UserError
from facesmith.progress import format_duration
from facesmith.studio.drawing import badge, draw_bar
from facesmith.studio.jobs import Job, find_jobs
from facesmith.studio.project import Project
from facesmith.sweep.runs import Run

_SHOWN: Final = 8
_LOG_LINES: Final = 40
_BAD: Final = ("failed", "killed")
_COUNT: Final = re.compile(r"(\d+)/(\d+)")


def draw_jobs(project: Project) -> str:
    """Draw the queue: what runs and waits, then what ended last.

    Args:
        project: The project.
    """
    jobs = find_jobs(project)
    live = [job for job in jobs if job.is_live]
    shown = [*live, *[job for job in jobs if job not in live][: max(0, _SHOWN - len(live))]]
    running = [job for job in live if job.status == "running"]
    failed = not live and bool(jobs) and jobs[0].status in _BAD
    if live:
        head = f"{len(running)} running, {len(live) - len(running)} waiting"
    elif jobs:
        head = "no job is running" + ("; look at what became of the last one" if failed else "")
    else:
        head = "no job yet: what you start appears here, and goes on when you close the page"
    names = "; ".join(escape(job.title) for job in running)
    cards = "".join(_card(project, job) for job in shown)
    opened = " open" if live or failed else ""
    return (
        f'<details class="jobs" id="jobs"{opened}><summary><b>Jobs</b> <span>{head}</span> <em>{names}</em></summary>'
        f'<div class="cards">{cards}</div></details>'
    )


def _card(project: Project, job: Job) -> str:
    log, status = job.read_log(), job.status
    state = job.state
    took = (state.get("finished") or time.time()) - state["started"] if "started" in state else None
    bar = ""
    if status == "running":
        count = _COUNT.search(log.bar)
        if count and int(count[2]):
            bar = draw_bar(int(count[1]) / int(count[2]), re.sub(r"[━╸╺]+", "", log.bar))
    last = f'<p class="{"failed" if status in _BAD else "quiet"}">{escape(log.last)}</p>' if log.last else ""
    lines = "\n".join(log.lines[-_LOG_LINES:])
    stop = (
        f'<button class="small" data-stop="{escape(job.id)}" aria-label="stop {escape(job.title)}">'
        f"{'Take from the queue' if status == 'waiting' else 'Stop'}</button>"
        if job.is_live
        else ""
    )
    when = format_duration(took) if took is not None else ""
    return (
        f'<div class="card"><div class="card-head">{badge(status)} <b>{escape(job.title)}</b>'
        f'<span class="quiet">{when}</span>{stop}</div>'
        f'{bar}{last}<code class="command">{escape(job.command)}</code>'
        f"<details><summary>log of {escape(job.id)}</summary><pre>{escape(lines)}</pre></details></div>"
    )


def describe_job(job: Job) -> dict[str, Any]:
    """Return what other programs are told of a job.

    Args:
        job: The job.
    """
    log = job.read_log()
    return {"id": job.id, "title": job.title, "status": job.status, "command": job.command, "last_line": log.last}


def stop_run(run: Run) -> str:
    """Ask a run's process to save and stop, whoever started it.

    Args:
        run: It.

    Returns:
        What was done, in a line.

    Raises:
        UserError: It does not run, or runs on another machine.
    """
    record = run.record
    if record is None or run.status != "running":
        raise UserError(f"{run.folder.name}: does not run; it is {run.status}")
    if record.host != socket.gethostname():
        raise UserError(f"{run.folder.name}: runs on {record.host}; stop it there")
    os.kill(record.pid, signal.SIGINT)
    return f"{run.folder.name}: was asked to stop; it saves first"
