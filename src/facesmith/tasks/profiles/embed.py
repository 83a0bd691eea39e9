"""The embed task: photos and videos of a person in, an identity profile out, without training."""

import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from rich.console import Console
from safetensors.numpy import save_file

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.face_set.config import SelectionConfig, SmoothingConfig
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import atomic_write, make_private
from facesmith.models.encoders.vision import FaceEncoder, Floats, aggregated, agreement, face_weights, tell_count

log = logging.getLogger(__name__)

Method = Literal["mean", "weighted_mean", "median"]
_METHODS: Final[dict[Method, Literal["mean", "weighted", "median"]]] = {
    "mean": "mean",
    "weighted_mean": "weighted",
    "median": "median",
}
_STRANGER: Final = "another person"
NO_SMOOTHING: Final = SmoothingConfig(window_seconds=0.0, polyorder=0)


class EmbedTask:
    """Measure who somebody is.

    source: photos and videos. output: the profile's file; None: <profiles>/<name>.json, which must not be there
    yet. aggregation: how the embeddings of the faces become one. consent, consent_note, expires: of the person.
    max_frames: pictures analysed at most. selection: limits a face must keep to. strangers: what becomes of pictures
    that show somebody else: left out, or all refused. per_image: file for the embedding and weight of each face; None
    for none. encoder: makes an encoder whose embeddings take the place of the recogniser's; None for none. face_sets:
    where the faces are kept, as in training, so that nothing is analysed twice. analyzer: makes an analyzer.

    Raises:
        UserError: no usable face is found, or the profile is there already.
    """

    def __init__(
        self,
        *,
        source: str | Sequence[str],
        output: Path | None,
        name: str,
        aggregation: Method,
        consent: str,
        consent_note: str | None,
        expires: str | None,
        max_frames: int,
        selection: SelectionConfig,
        face_sets: Path,
        profiles: Path,
        strangers: Literal["leave_out", "refuse"],
        per_image: Path | None = None,
        encoder: Callable[[], FaceEncoder] | None = None,
        backend: Literal["pyav", "decord"],
        analyzer: Callable[[], Analyzer],
        progress: bool = True,
    ) -> None:
        self._output = output or new_profile(profiles, name)
        self._source, self._name, self._aggregation = source, name, aggregation
        self._consent, self._consent_note, self._expires = consent, consent_note, expires
        self._encoder, self._strangers, self._per_image = encoder, strangers, per_image
        self._extraction = ExtractionSettings(
            name=name,
            root=face_sets,
            consent=consent,
            consent_note=consent_note or "",
            expires=expires,
            analyzer=analyzer,
            backend=backend,
            max_frames=max_frames,
            people="one",
            selection=selection,
            smoothing=NO_SMOOTHING,
            progress=progress,
            setting="source",
        )

    def run(self) -> list[Path]:
        """Measure and write."""
        faces = extract(self._source, self._extraction)
        self._tell_photos(faces)
        profile = IdentityProfile.of_faces(
            faces,
            id=self._name,
            method=_METHODS[self._aggregation],
            gate={},
            consent=self._consent,
            consent_note=self._consent_note,
            expires=self._expires,
        )
        own = faces.embeddings
        if self._encoder is not None:
            profile, own = encoded(profile, faces, self._encoder(), self._aggregation)
        profile.save(self._output)
        written = [self._output]
        if self._per_image is not None:
            written.append(_save_faces(self._per_image, profile, faces, own))
        rejected = ", ".join(f"{reason} {count}" for reason, count in faces.meta["rejected"].items())
        Console(highlight=False, soft_wrap=True).print(
            f"{self._output}: {profile.id}, {profile.num_frames} of {faces.meta['faces']} faces in "
            f"{faces.meta['pictures']} pictures{f' (left out: {rejected})' if rejected else ''}, embedder "
            f"{profile.embedder}, similarity of the faces to it {profile.quality_stats['avg_similarity']:.2f}",
            markup=False,
        )
        return written

    def _tell_photos(self, faces: FaceSet) -> None:
        """Say which photos were left out and why, and whether those that are left serve."""
        rows = faces.table.select(["source", "time", "kept", "reason"]).to_pylist()
        stills = [row for row in rows if row["time"] is None or math.isnan(row["time"])]
        seen = {row["source"] for row in stills if row["kept"]}
        lost = {row["source"]: row["reason"] for row in stills if row["source"] not in seen}
        strange = [Path(source).name for source, reason in lost.items() if reason.startswith(_STRANGER)]
        if strange and self._strangers == "refuse":
            raise UserError(
                f"source: {', '.join(strange)} shows another person than the other pictures; give pictures of one, or "
                "task.strangers=leave_out"
            )
        for source, reason in lost.items():
            log.warning("%s: %s; left out", source, reason)
        if len(stills) == len(rows):
            tell_count(len(seen), "source")


def _save_faces(path: Path, profile: IdentityProfile, faces: FaceSet, embeddings: Floats) -> Path:
    """Write `embeddings` (N,E) and `weights` (N,), summing to 1, and in the metadata what each was taken of."""
    weights = face_weights(faces.scores, faces.sharpness, faces.sizes, agreement(embeddings))
    said = {
        "identity": profile.id,
        "consent": profile.consent,
        "encoder": profile.embedder,
        "sources": json.dumps(faces.kept.column("source").to_pylist()),
        "frames": json.dumps(faces.kept.column("frame").to_pylist()),
    }
    with atomic_write(path) as temporary:
        save_file({"embeddings": embeddings, "weights": weights / weights.sum()}, temporary, metadata=said)
    make_private(path)
    return path


def encoded(
    profile: IdentityProfile, faces: FaceSet, encoder: FaceEncoder, method: Method
) -> tuple[IdentityProfile, Floats]:
    """Return profile with another encoder's embedding of the same faces in place of the recogniser's, and each's."""
    found = encoder(np.stack([faces.crop(i) for i in range(len(faces))])).numpy()
    weights = face_weights(faces.scores, faces.sharpness, faces.sizes, agreement(found))
    mean = aggregated(found, weights, method)
    made = profile.model_copy(
        update={
            "embedder": encoder.name,
            "embedding_mean": [float(value) for value in mean],
            "embedding_std": [float(value) for value in found.std(0)],
            "quality_stats": {**profile.quality_stats, "avg_similarity": float((found @ mean).mean())},
        }
    )
    return made, found


def new_profile(profiles: Path, name: str) -> Path:
    """Return where a new profile goes.

    Raises:
        UserError: there is one of this name; a training's figures in it would be lost.
    """
    path = profiles / f"{name}.json"
    if path.exists():
        raise UserError(f"{path}: is there already; choose another task.name, or say output={path} to replace it")
    return path
