"""`facesmith studio`: serve the page of a project until Ctrl+C."""

import os
import time
from pathlib import Path

from rich.console import Console

from facesmith import assets
from facesmith.config.studio import StudioConfig
from facesmith.errors import UserError
from facesmith.files import require_writable
from facesmith.studio.project import Project
from facesmith.studio.server import Page, serve


def open_project(config: StudioConfig) -> Project:
    """Return the project of the settings.

    Raises:
        UserError: Its folder is missing or cannot be written.
    """
    root = config.project.resolve()
    if not root.is_dir():
        raise UserError(f"project={config.project}: there is no such folder; make it, or name another")
    require_writable(root, "project")
    allowed = tuple(Path(folder).resolve() for folder in config.allowed)
    return Project(root, config.paths, allowed)


def _make_page(project: Project) -> Page:
    from facesmith.studio.page import make_page  # imports Gradio, which takes seconds

    return make_page(project)


def studio(config: StudioConfig) -> None:
    """Serve the page until Ctrl+C; what it started goes on.

    Raises:
        UserError: The project cannot be used, the port is taken, or a password is missing.
    """
    project = open_project(config)
    assets.use_directory(config.assets.dir)
    os.chdir(project.root)  # paths that are typed on the page mean what they mean to the commands it starts
    console = Console(highlight=False, soft_wrap=True)

    def announce(address: str) -> None:
        console.print(f"facesmith studio for {project.root}: {address} (Ctrl+C ends it; jobs go on)", markup=False)

    with serve(
        lambda: _make_page(project),
        announce=announce,
        listen=config.listen,
        port=config.port,
        browser=config.open_browser,
        names=tuple(config.hosts),
        max_upload=int(config.max_upload_gb * 1e9),
    ):
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            console.print("\nThe page is closed; jobs go on. Open it again with facesmith studio.")
