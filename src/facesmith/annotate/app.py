"""From settings to a desk with everything on it."""

import logging
import tempfile
import time
from pathlib import Path

import pyarrow.compute as pc
from rich.console import Console

from facesmith import assets
from facesmith.annotate import import_export
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.masks import Desk
from facesmith.errors import UserError, explain_errors
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.files import make_private_folder
from facesmith.methods.occluder.data import extract_faces, report_pictures_without_face
from facesmith.training.run.log import log_run, silence_libraries

log = logging.getLogger(__name__)

_MASKS = "masks"


def opened(config: AnnotateConfig) -> Desk:
    """Extract or open the faces, and lay them on a desk with their masks.

    Masks that have no folder of their own lie beside the person's face sets, and go with them when the person is
    purged.

    Raises:
        UserError: media hold no face, or a picture has none where that is an error; the masks are other faces', or
            somebody paints them already; the occluder is none.
    """
    faces = faces_of(config)
    report_pictures_without_face(faces, config.without_face, "without_face")
    _tell_what_was_not_chosen(faces)
    folder = config.masks
    if folder is None:
        folder = faces.path.parent / _MASKS
        make_private_folder(folder)
    predict = None
    if config.occluder is not None:
        from facesmith.annotate.suggestion import suggestions

        predict = suggestions(faces, config.occluder)
    return Desk(faces, folder, config.forehead, predict)


def faces_of(config: AnnotateConfig) -> FaceSet:
    """Open the face set that is named, or extract the media as a training does.

    Raises:
        UserError: there is no such set, or the media hold no face.
    """
    if config.faces is not None:
        return FaceSet(config.faces)
    if config.data is None:
        raise UserError("data.source: say whose faces: photos and videos, or a face set with faces=")
    return extract_faces(config.data)


def _tell_what_was_not_chosen(faces: FaceSet) -> None:
    rejected = faces.table.filter((pc.field("face") >= 0) & ~pc.field("kept"))
    if rejected.num_rows:
        reasons = sorted(set(rejected.column("reason").to_pylist()))
        log.warning("%d faces were not chosen (%s): see data.selection", rejected.num_rows, ", ".join(reasons))


def annotate(config: AnnotateConfig) -> None:
    """Do what the settings ask for; a page stays open until Ctrl+C.

    Raises:
        UserError: faces, masks, occluder or the other program's files are not what is needed.
    """
    silence_libraries()
    assets.use_directory(config.assets.dir)
    console = Console(highlight=False, soft_wrap=True)
    with log_run(config), explain_errors(config), opened(config) as desk:
        if config.import_from is not None and config.format is not None:
            count = import_export.take(desk, config.import_from, config.format)
            console.print(f"{count} masks of {config.import_from} are in {desk.folder}", markup=False)
        elif config.export_to is not None and config.format is not None:
            count = import_export.write(desk, config.export_to, config.format)
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
