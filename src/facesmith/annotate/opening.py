"""From settings to a desk with everything on it."""

import logging

import pyarrow.compute as pc

from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.desk import Desk
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.methods.occluder.extraction import extracted, leave_out_faceless
from facesmith.private import private_folder

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
    leave_out_faceless(faces, config.without_face, "without_face")
    _tell_what_was_not_chosen(faces)
    folder = config.masks
    if folder is None:
        folder = faces.path.parent / _MASKS
        private_folder(folder)
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
    return extracted(config.data)


def _tell_what_was_not_chosen(faces: FaceSet) -> None:
    rejected = faces.table.filter((pc.field("face") >= 0) & ~pc.field("kept"))
    if rejected.num_rows:
        reasons = sorted(set(rejected.column("reason").to_pylist()))
        log.warning("%d faces were not chosen (%s): see data.selection", rejected.num_rows, ", ".join(reasons))
