"""The embed task: photos and videos of a person in, an identity profile out, without training."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from rich.console import Console

from facesmith.encoders.aggregation import aggregated, agreement, face_weights
from facesmith.encoders.protocol import FaceEncoder
from facesmith.errors import UserError
from facesmith.faces.extraction import extract
from facesmith.faces.face import Analyzer
from facesmith.faces.face_set import FaceSet
from facesmith.faces.profile import IdentityProfile
from facesmith.faces.selection import Selection
from facesmith.faces.smoothing import Smoothing

Method = Literal["mean", "weighted_mean", "median"]
_METHODS: Final[dict[Method, Literal["mean", "weighted", "median"]]] = {
    "mean": "mean",
    "weighted_mean": "weighted",
    "median": "median",
}
_NO_SMOOTHING: Final = Smoothing(window_seconds=0.0, polyorder=0)


class EmbedTask:
    """Measure who somebody is.

    source: photos and videos. output: the profile's file; None: <profiles>/<name>.json, which must not be there
    yet. aggregation: how the embeddings of the faces become one. consent, consent_note, expires: of the person.
    max_frames: pictures analysed at most. selection: limits a face must keep to. encoder: makes an encoder whose
    embeddings take the place of the recogniser's; None for none. face_sets: where the faces are kept, as in training,
    so that nothing is analysed twice. analyzer: makes an analyzer.

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
        selection: Mapping[str, float],
        face_sets: Path,
        profiles: Path,
        encoder: Callable[[], FaceEncoder] | None = None,
        backend: Literal["pyav", "decord"],
        analyzer: Callable[[], Analyzer],
        progress: bool = True,
    ) -> None:
        self._output = output or new_profile(profiles, name)
        self._source, self._name, self._aggregation = source, name, aggregation
        self._consent, self._consent_note, self._expires = consent, consent_note, expires
        self._max_frames, self._face_sets = max_frames, face_sets
        self._selection, self._encoder = Selection(**selection), encoder
        self._backend, self._analyzer, self._progress = backend, analyzer, progress

    def run(self) -> list[Path]:
        """Measure and write."""
        faces = measured(
            self._source,
            self._name,
            consent=self._consent,
            consent_note=self._consent_note,
            expires=self._expires,
            max_frames=self._max_frames,
            selection=self._selection,
            face_sets=self._face_sets,
            backend=self._backend,
            analyzer=self._analyzer,
            progress=self._progress,
        )
        profile = IdentityProfile.of_faces(
            faces,
            id=self._name,
            method=_METHODS[self._aggregation],
            gate={},
            consent=self._consent,
            consent_note=self._consent_note,
            expires=self._expires,
        )
        if self._encoder is not None:
            profile = encoded(profile, faces, self._encoder(), self._aggregation)
        profile.save(self._output)
        rejected = ", ".join(f"{reason} {count}" for reason, count in faces.meta["rejected"].items())
        Console(highlight=False, soft_wrap=True).print(
            f"{self._output}: {profile.id}, {profile.num_frames} of {faces.meta['faces']} faces in "
            f"{faces.meta['pictures']} pictures{f' (left out: {rejected})' if rejected else ''}, embedder "
            f"{profile.embedder}, similarity of the faces to it {profile.quality_stats['avg_similarity']:.2f}",
            markup=False,
        )
        return [self._output]


def encoded(profile: IdentityProfile, faces: FaceSet, encoder: FaceEncoder, method: Method) -> IdentityProfile:
    """Give the profile with another encoder's embedding of the same faces in place of the recogniser's."""
    found = encoder(np.stack([faces.crop(i) for i in range(len(faces))])).numpy()
    weights = face_weights(faces.scores, faces.sharpness, faces.sizes, agreement(found))
    mean = aggregated(found, weights, method)
    return profile.model_copy(
        update={
            "embedder": encoder.name,
            "embedding_mean": [float(value) for value in mean],
            "embedding_std": [float(value) for value in found.std(0)],
            "quality_stats": {**profile.quality_stats, "avg_similarity": float((found @ mean).mean())},
        }
    )


def measured(
    source: str | Sequence[str],
    name: str,
    *,
    consent: str,
    consent_note: str | None,
    expires: str | None,
    max_frames: int,
    selection: Selection,
    face_sets: Path,
    backend: Literal["pyav", "decord"],
    analyzer: Callable[[], Analyzer],
    progress: bool,
) -> FaceSet:
    """Give the face set of one person's pictures."""
    return extract(
        source,
        name=name,
        consent=consent,
        consent_note=consent_note or "",
        expires=expires,
        root=face_sets,
        analyzer=analyzer,
        backend=backend,
        max_frames=max_frames,
        people="one",
        selection=selection,
        smoothing=_NO_SMOOTHING,
        progress=progress,
        setting="source",
    )


def new_profile(profiles: Path, name: str) -> Path:
    """Give where a new profile goes.

    Raises:
        UserError: there is one of this name; a training's figures in it would be lost.
    """
    path = profiles / f"{name}.json"
    if path.exists():
        raise UserError(f"{path}: is there already; choose another task.name, or say output={path} to replace it")
    return path
