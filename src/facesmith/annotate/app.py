"""The painter without its page: open faces and masks, import and export."""

import logging

import pyarrow.compute as pc

from facesmith.annotate import import_export
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.masks import MASKS, MaskStore
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.files import make_private_folder
from facesmith.methods.occluder.data import extract_faces, report_pictures_without_face

log = logging.getLogger(__name__)


def open_mask_store(config: AnnotateConfig) -> MaskStore:
    """Extract or open the faces, and open the store of their masks.

    Without `masks=` the folder of masks lies beside the person's face sets, and is purged with them.

    Raises:
        UserError: The media hold no face, or a picture has none where that is an error; the masks belong to other
            faces, or another session uses them; the occluder cannot be loaded.
    """
    faces = open_faces(config)
    report_pictures_without_face(faces, config.without_face, "without_face")
    _report_rejected_faces(faces)
    folder = config.masks
    if folder is None:
        folder = faces.path.parent / MASKS
        make_private_folder(folder)
    predict = None
    if config.occluder is not None:
        from facesmith.annotate.prediction import load_predictor

        predict = load_predictor(faces, config.occluder)
    return MaskStore(faces, folder, config.forehead, predict)


def open_faces(config: AnnotateConfig) -> FaceSet:
    """Open the face set `faces=`, or extract the media as a training does.

    Raises:
        UserError: There is no such set, or the media hold no face.
    """
    if config.faces is not None:
        return FaceSet(config.faces)
    if config.data is None:
        raise UserError("data.source: give photos and videos, or a face set with faces=")
    return extract_faces(config.data)


def _report_rejected_faces(faces: FaceSet) -> None:
    rejected = faces.table.filter((pc.field("face") >= 0) & ~pc.field("kept"))
    if rejected.num_rows:
        reasons = sorted(set(rejected.column("reason").to_pylist()))
        log.warning("Skipped %d faces (%s): see data.selection", rejected.num_rows, ", ".join(reasons))


def convert(config: AnnotateConfig, store: MaskStore) -> str | None:
    """Import or export masks, if the settings ask for it.

    Args:
        config: The settings.
        store: The masks.

    Returns:
        What was done, in a line; None where the page is wanted.

    Raises:
        UserError: The files of the other program cannot be used.
    """
    if config.import_from is not None and config.format is not None:
        count = import_export.import_masks(store, config.import_from, config.format)
        return f"Imported {count} masks from {config.import_from} to {store.folder}"
    if config.export_to is not None and config.format is not None:
        count = import_export.export_masks(store, config.export_to, config.format)
        return f"Exported {count} masks to {config.export_to}"
    return None
