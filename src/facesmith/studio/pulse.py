"""The page's pulse: tells open pages that something has changed, and by its end that the server is gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import StreamingResponse

from facesmith.studio.jobs import JOB, LOG, STATE
from facesmith.studio.project import Project
from facesmith.studio.runs import active_runs

ROUTE: Final = "/studio/pulse"
_BEAT: Final = 1.0  # seconds
_RESCAN: Final = 10.0  # seconds between two looks for runs that others started
_LOOKED_AT: Final = 20  # newest jobs


class Pulse:
    """One look a second at the files of what is under way, however many pages are open.

    Args:
        project: Whose jobs and runs are looked at.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._seen, self._version = 0.0, ""
        self._scanned = -_RESCAN
        self._active: list[Path] = []

    def version(self) -> str:
        """Return a word that changes when jobs or active runs do."""
        now = time.monotonic()
        if now - self._seen >= _BEAT * 0.9:
            self._seen = now
            if now - self._scanned > _RESCAN:
                self._scanned, self._active = now, active_runs(self._project)
            self._version = format(hash(tuple(_stamp(path) for path in self._watched())) & 0xFFFFFFFF, "08x")
        return self._version

    def _watched(self) -> Iterator[Path]:
        jobs = self._project.jobs
        if jobs.is_dir():
            for folder in sorted(jobs.iterdir(), reverse=True)[:_LOOKED_AT]:
                yield from (folder / JOB, folder / STATE, folder / LOG)
        for run in self._active:
            yield from (run / "run.json", run / "metrics.csv", run / "renders")


def add_pulse(app: FastAPI, project: Project) -> None:
    """Add the route of the pulse.

    Args:
        app: The server's application.
        project: Whose jobs and runs are looked at.
    """
    pulse = Pulse(project)

    async def beats() -> AsyncIterator[str]:
        while not getattr(app.state, "closing", False):
            yield f"data: {pulse.version()}\n\n"
            await asyncio.sleep(_BEAT)

    @app.get(ROUTE)
    async def stream() -> StreamingResponse:
        return StreamingResponse(beats(), media_type="text/event-stream", headers={"cache-control": "no-store"})


def _stamp(path: Path) -> int:
    try:
        state = path.stat()
    except OSError:
        return 0
    return state.st_mtime_ns ^ state.st_size
