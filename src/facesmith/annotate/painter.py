"""The painter's work: open a page, or take masks over from another program, or write them for one."""

import tempfile
import time
from pathlib import Path

from rich.console import Console

from facesmith import assets
from facesmith.annotate import exchange
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.desk import Desk
from facesmith.annotate.opening import opened
from facesmith.failures import explained
from facesmith.training.run.log import logged
from facesmith.training.run.quiet import quiet_libraries


def annotate(config: AnnotateConfig) -> None:
    """Do what the settings ask for; a page stays open until Ctrl+C.

    Raises:
        UserError: faces, masks, occluder or the other program's files are not what is needed.
    """
    quiet_libraries()
    assets.use_directory(config.assets.dir)
    console = Console(highlight=False, soft_wrap=True)
    with logged(config), explained(config), opened(config) as desk:
        if config.import_from is not None and config.format is not None:
            count = exchange.take(desk, config.import_from, config.format)
            console.print(f"{count} masks of {config.import_from} are in {desk.folder}", markup=False)
        elif config.export_to is not None and config.format is not None:
            count = exchange.write(desk, config.export_to, config.format)
            console.print(f"{count} masks are written to {config.export_to}", markup=False)
        else:
            _paint(desk, config.port, config.open_browser, console)


def _paint(desk: Desk, port: int | None, browser: bool, console: Console) -> None:
    from facesmith.annotate.page import served
    from facesmith.annotate.session import Session

    with (
        tempfile.TemporaryDirectory(prefix="facesmith-painter-") as scratch,
        served(Session(desk), port, browser, Path(scratch)) as address,
    ):
        console.print(f"{len(desk)} faces to paint at {address} (Ctrl+C ends); masks: {desk.folder}", markup=False)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            counts = ", ".join(f"{count} {state}" for state, count in desk.counts().items() if count)
            console.print(f"\nmasks: {desk.folder}: {counts}; train with data.masks={desk.folder}", markup=False)
