"""The face set that an occluder learns from and a painter paints: from media, and what of them has no face."""

import logging
from typing import Literal

import pyarrow.compute as pc

from facesmith import assets
from facesmith.errors import UserError
from facesmith.faces.face_set.extraction import extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.face_set.selection import Selection
from facesmith.faces.tracking.smoothing import Smoothing
from facesmith.methods.occluder.config import OccluderDataModuleConfig

log = logging.getLogger(__name__)


def extracted(data: OccluderDataModuleConfig) -> FaceSet:
    """Extract the faces, or find them extracted already.

    Raises:
        UserError: the media cannot be read or hold no usable face.
    """
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


def leave_out_faceless(faces: FaceSet, without_face: Literal["skip", "error"], key: str) -> None:
    """Tell of pictures in which no face was found: they have no landmarks, and a mask is not made up for them.

    Raises:
        UserError: there is one, and `without_face`, which is called `key`, is `error`.
    """
    lost = faces.table.filter(pc.field("face") < 0).select(["source", "frame"]).to_pylist()
    pictures = faces.meta["pictures"]
    if lost and without_face == "error":
        raise UserError(
            f"{lost[0]['source']}: no face in frame {lost[0]['frame']} ({len(lost)} such pictures of {pictures}); "
            f"take them out, or leave them out with {key}=skip"
        )
    if lost:
        log.warning("%d of %d pictures are left out: no face in them", len(lost), pictures)
