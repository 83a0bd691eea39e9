"""Files of the project that the page shows: pictures, films, reports and logs, and nothing else."""

from pathlib import Path
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI
from starlette.responses import FileResponse, PlainTextResponse, Response

from facesmith.errors import UserError
from facesmith.studio.project import PICTURES, VIDEOS, Project

PREFIX: Final = "/studio/file/"
_TEXTS: Final = {".html": "text/html", ".txt": "text/plain", ".log": "text/plain", ".csv": "text/plain"}
_SANDBOX: Final = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data: 'self'; media-src data: 'self'"
)


def add_files(app: FastAPI, project: Project) -> None:
    """Add the route of the project's files.

    Args:
        app: The server's application.
        project: Whose files they are.
    """

    @app.get(PREFIX + "{place:path}")
    def file(place: str) -> Response:
        try:
            path = project.resolve(place, "file")
        except UserError as error:
            return PlainTextResponse(str(error), 403)
        suffix = path.suffix.lower()
        if suffix not in (*PICTURES, *VIDEOS, *_TEXTS):
            return PlainTextResponse(f"{path.name}: is no picture, film, report or log", 403)
        if not path.is_file():
            return PlainTextResponse(f"{path.name}: there is no such file (any more)", 404)
        kind = f"{_TEXTS[suffix]}; charset=utf-8" if suffix in _TEXTS else None
        headers = {"cache-control": "private, max-age=3600" if suffix not in _TEXTS else "no-store"}
        if suffix == ".html":  # a page of its own, that can ask this server for nothing
            headers["content-security-policy"] = _SANDBOX
        return FileResponse(path, media_type=kind, headers=headers)


def file_url(project: Project, path: Path) -> str:
    """Return the address of a file; it changes when the file does.

    Args:
        project: Whose file it is.
        path: It.
    """
    try:
        version = path.stat().st_mtime_ns
    except OSError:
        version = 0
    return f"{PREFIX}{quote(project.short(path))}?v={version}"
