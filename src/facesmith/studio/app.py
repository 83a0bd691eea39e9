"""The commands that open a page in the browser, `facesmith studio` and `annotate`; what is heavy is imported late."""

import os
import time
from pathlib import Path

from facesmith import assets
from facesmith.annotate.config import AnnotateConfig
from facesmith.cli.launch import hydra_command
from facesmith.config.studio import StudioConfig
from facesmith.errors import UserError
from facesmith.files import require_writable
from facesmith.studio.project import Project
from facesmith.studio.server import Page, serve
from facesmith.terminal import make_console, print_line


def open_project(config: StudioConfig) -> Project:
    """Return the project of the settings.

    Args:
        config: Settings of the command.

    Raises:
        UserError: Its folder is missing or cannot be written.
    """
    root = config.project.resolve()
    if not root.is_dir():
        raise UserError(f"project={config.project}: there is no such folder; make it, or name another")
    require_writable(root, "project")
    allowed = tuple(Path(folder).resolve() for folder in config.allowed)
    return Project(root, config.paths, allowed)


def _make_page(project: Project, max_upload: int) -> Page:
    from facesmith.studio.page import make_page  # imports Gradio, which takes seconds

    return make_page(project, max_upload=max_upload)


@hydra_command("annotate", AnnotateConfig)
def annotate(config: AnnotateConfig) -> None:
    """Open the page on which masks are painted, or convert masks.

    Args:
        config: Settings of the command.
    """
    from facesmith.studio.painting import annotate  # imports torch

    annotate(config)


@hydra_command("studio", StudioConfig)
def studio(config: StudioConfig) -> None:
    """Serve the page until Ctrl+C; what it started goes on.

    Args:
        config: Settings of the command.

    Raises:
        UserError: The project cannot be used, the port is taken, or a password is missing.
    """
    project = open_project(config)
    assets.use_directory(config.assets.dir)
    os.chdir(project.root)  # paths that are typed on the page mean what they mean to the commands it starts
    console = make_console()
    max_upload = int(config.max_upload_gb * 1e9)

    def announce(address: str) -> None:
        print_line(f"facesmith studio for {project.root}: {address} (Ctrl+C ends it; jobs go on)", console)

    with serve(
        lambda: _make_page(project, max_upload),
        announce=announce,
        listen=config.listen,
        port=config.port,
        browser=config.open_browser,
        names=tuple(config.hosts),
        max_upload=max_upload,
    ):
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print_line("\nThe page is closed; jobs go on. Open it again with facesmith studio.", console)
