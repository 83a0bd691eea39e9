"""From settings to a desk with everything on it."""

import logging

import pyarrow.compute as pc

from facesmith import assets
from facesmith.annotate.config import AnnotateConfig
from facesmith.annotate.desk import Desk
from facesmith.errors import UserError
from facesmith.faces.extraction import extract
from facesmith.faces.face_set import FaceSet
from facesmith.faces.private import private_folder
from facesmith.faces.selection import Selection
from facesmith.faces.smoothing import Smoothing

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
    _tell_what_is_missing(faces, config.without_face)
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
    data = config.data
    given = [data.source] if isinstance(data.source, str) else data.source
    return extract(
        [assets.resolve(one) for one in given],
        name=data.name,
        consent=data.consent,
        consent_note=data.consent_note or "",
        expires=data.expires,
        root=data.face_sets,
        analyzer=data.analyzer.build,
        backend=data.media_backend,
        max_frames=data.max_frames,
        people=data.people,
        selection=Selection(**data.selection.model_dump()),
        smoothing=Smoothing(**data.smoothing.model_dump()),
        progress=data.progress,
    )


def _tell_what_is_missing(faces: FaceSet, without_face: str) -> None:
    """Tell which pictures cannot be painted: no mask is made up for a face that was not found."""
    empty = faces.table.filter(pc.field("face") < 0)
    rejected = faces.table.filter((pc.field("face") >= 0) & ~pc.field("kept"))
    if empty.num_rows and without_face == "error":
        first = empty.slice(0, 1).to_pylist()[0]
        raise UserError(
            f"{first['source']}: no face in frame {first['frame']}, and in {empty.num_rows - 1} more pictures; "
            "give without_face=skip, or other media"
        )
    if empty.num_rows:
        log.warning("%d of the pictures have no face; they are left out", empty.num_rows)
    if rejected.num_rows:
        reasons = sorted(set(rejected.column("reason").to_pylist()))
        log.warning("%d faces were not chosen (%s): see data.selection", rejected.num_rows, ", ".join(reasons))
