"""`facesmith annotate`: the painter's page for one set of faces, or import and export of its masks."""

import time
from pathlib import Path

from rich.console import Console

from facesmith import assets
from facesmith.annotate.app import convert, open_mask_store
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.masks import MaskStore
from facesmith.errors import explain_errors
from facesmith.studio.project import Project
from facesmith.terminal import make_console, print_line
from facesmith.training.run.log import log_run, silence_libraries


def annotate(config: AnnotateConfig) -> None:
    """Import, export, or serve the page until Ctrl+C, as the settings ask.

    Args:
        config: Settings of the command.

    Raises:
        UserError: Faces, masks, occluder or files of the other program cannot be used.
    """
    silence_libraries()
    assets.use_directory(config.assets.dir)
    console = make_console()
    with log_run(config), explain_errors(config), open_mask_store(config) as store:
        done = convert(config, store)
        if done is not None:
            print_line(done, console)
        else:
            _serve_page(store, config, console)


def _serve_page(store: MaskStore, config: AnnotateConfig, console: Console) -> None:
    from facesmith.annotate.page import Painter
    from facesmith.annotate.session import Session
    from facesmith.studio.page import make_page
    from facesmith.studio.server import serve

    project = Project(Path.cwd().resolve(), config.paths)
    painter = Painter(Session(store))
    with serve(
        lambda: make_page(project, painter, selected="masks"), port=config.port, browser=config.open_browser
    ) as address:
        print_line(f"{len(store)} faces to paint at {address} (Ctrl+C ends); masks: {store.folder}", console)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            counts = ", ".join(f"{count} {state}" for state, count in store.count_states().items() if count)
            print_line(f"\nmasks: {store.folder}: {counts}; train with data.masks={store.folder}", console)
        finally:
            painter.close()
