"""The embed task: an identity profile from photos and videos of a person, without training."""

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import numpy as np
from safetensors.numpy import save_file

from facesmith.errors import UserError
from facesmith.faces.face import Analyzer
from facesmith.faces.face_set.config import SmoothingConfig
from facesmith.faces.face_set.extraction import ExtractionSettings, extract
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.faces.profiles.profile import IdentityProfile
from facesmith.files import atomic_write, make_private
from facesmith.models.encoders.aggregation import (
    Floats,
    aggregate_embeddings,
    face_weights,
    mean_similarity,
    warn_photo_count,
)
from facesmith.models.encoders.vision import FaceEncoder
from facesmith.tasks.batch import Engine
from facesmith.tasks.engine.extraction import analyse_on
from facesmith.tasks.engine.local import LOCAL
from facesmith.tasks.profiles.config import EmbedTaskConfig, ExtractingTaskConfig
from facesmith.terminal import make_console, print_line

log = logging.getLogger(__name__)

Method = Literal["mean", "weighted_mean", "median"]
_METHODS: Final[dict[Method, Literal["mean", "weighted", "median"]]] = {
    "mean": "mean",
    "weighted_mean": "weighted",
    "median": "median",
}
_OTHER_PERSON: Final = "another person"
_NO_SMOOTHING: Final = SmoothingConfig(window_seconds=0.0, polyorder=0)


class EmbedTask:
    """Compute the identity profile of a person from photos and videos.

    Args:
        config: The settings.
        analyzer: Makes an analyzer; each thread gets its own.
        engine: Where the pictures are analysed.
        progress: Whether to show a progress bar.

    Raises:
        UserError: The profile exists already.
    """

    def __init__(
        self,
        config: EmbedTaskConfig,
        *,
        analyzer: Callable[[], Analyzer],
        engine: Engine = LOCAL,
        progress: bool = True,
    ) -> None:
        self._config, self._engine = config, engine
        self._output = config.output or new_profile_path(config.profiles, config.name)
        self._extraction = extraction_settings(
            config,
            name=config.name,
            consent=config.consent,
            consent_note=config.consent_note,
            expires=config.expires,
            analyzer=analyzer,
            progress=progress,
        )

    def run(self) -> list[Path]:
        """Extract the faces and write the profile.

        Returns:
            The files written.

        Raises:
            UserError: There is no usable face, or another person's where that is refused.
        """
        config = self._config
        faces = extract(config.source, self._extraction, analyse_on(self._engine))
        self._report_photos(faces)
        profile = IdentityProfile.from_face_set(faces, id=config.name, method=_METHODS[config.aggregation])
        embeddings = faces.embeddings
        if config.encoder is not None:
            profile, embeddings = replace_embedding(profile, faces, config.encoder.build(), config.aggregation)
        profile.save(self._output)
        written = [self._output]
        if config.per_image is not None:
            _save_faces(config.per_image, profile, faces, embeddings)
            written.append(config.per_image)
        rejected = ", ".join(f"{reason} {count}" for reason, count in faces.meta["rejected"].items())
        print_line(
            f"{self._output}: {profile.id}, {profile.num_frames} of {faces.meta['faces']} faces in "
            f"{faces.meta['pictures']} pictures{f' (rejected: {rejected})' if rejected else ''}, embedder "
            f"{profile.embedder}, mean similarity of the faces {profile.quality_stats['avg_similarity']:.2f}",
            make_console(),
        )
        return written

    def _report_photos(self, faces: FaceSet) -> None:
        """Warn of skipped photos and of too few; raise where another person is refused."""
        rows = faces.table.select(["source", "time", "kept", "reason"]).to_pylist()
        photos = [row for row in rows if row["time"] is None or math.isnan(row["time"])]
        used = {row["source"] for row in photos if row["kept"]}
        skipped = {row["source"]: row["reason"] for row in photos if row["source"] not in used}
        others = [Path(source).name for source, reason in skipped.items() if reason.startswith(_OTHER_PERSON)]
        if others and self._config.strangers == "refuse":
            raise UserError(
                f"source: {', '.join(others)} shows another person than the other pictures; give pictures of one, or "
                "task.strangers=leave_out"
            )
        for source, reason in skipped.items():
            log.warning("Skipped %s: %s", source, reason)
        if len(photos) == len(rows):
            warn_photo_count(len(used), "source")


def extraction_settings(
    config: ExtractingTaskConfig,
    *,
    name: str,
    consent: str,
    consent_note: str | None,
    expires: str | None,
    analyzer: Callable[[], Analyzer],
    progress: bool,
) -> ExtractionSettings:
    """Return how a task extracts the faces of one person: as in training, without smoothing.

    Args:
        config: Settings of the task.
        name: Of the person.
        consent: Kind of the consent.
        consent_note: Who agreed to what, when.
        expires: Date after which the consent no longer holds.
        analyzer: Makes an analyzer; each thread gets its own.
        progress: Whether to show a progress bar.
    """
    return ExtractionSettings(
        name=name,
        root=config.face_sets,
        consent=consent,
        consent_note=consent_note or "",
        expires=expires,
        analyzer=analyzer,
        backend=config.backend,
        max_frames=config.max_frames,
        people="one",
        selection=config.selection,
        smoothing=_NO_SMOOTHING,
        progress=progress,
        setting="source",
    )


def replace_embedding(
    profile: IdentityProfile, faces: FaceSet, encoder: FaceEncoder, method: Method
) -> tuple[IdentityProfile, Floats]:
    """Replace the embedding of a profile by that of another encoder of the same faces.

    Args:
        profile: It is not changed.
        faces: The face set it was computed from.
        encoder: Embeds the crops of the faces.
        method: How the embeddings become one.

    Returns:
        The new profile, and the embedding of each face, (N,E) float32.
    """
    embeddings = encoder(np.stack([faces.crop(i) for i in range(len(faces))])).numpy()
    weights = face_weights(faces.scores, faces.sharpness, faces.sizes, mean_similarity(embeddings))
    mean = aggregate_embeddings(embeddings, weights, method)
    replaced = profile.model_copy(
        update={
            "embedder": encoder.name,
            "embedding_mean": [float(value) for value in mean],
            "embedding_std": [float(value) for value in embeddings.std(0)],
            "quality_stats": {**profile.quality_stats, "avg_similarity": float((embeddings @ mean).mean())},
        }
    )
    return replaced, embeddings


def new_profile_path(profiles: Path, name: str) -> Path:
    """Return the path of a new profile in the folder of profiles.

    Raises:
        UserError: It exists: the metrics of a training in it would be lost.
    """
    path = profiles / f"{name}.json"
    if path.exists():
        raise UserError(f"{path}: exists already; choose another task.name, or give output={path} to replace it")
    return path


def _save_faces(path: Path, profile: IdentityProfile, faces: FaceSet, embeddings: Floats) -> None:
    """Write `embeddings` (N,E) and `weights` (N,) of sum 1, and in the metadata the picture of each."""
    weights = face_weights(faces.scores, faces.sharpness, faces.sizes, mean_similarity(embeddings))
    metadata = {
        "identity": profile.id,
        "consent": profile.consent,
        "encoder": profile.embedder,
        "sources": json.dumps(faces.kept.column("source").to_pylist()),
        "frames": json.dumps(faces.kept.column("frame").to_pylist()),
    }
    with atomic_write(path) as temporary:
        save_file({"embeddings": embeddings, "weights": weights / weights.sum()}, temporary, metadata=metadata)
    make_private(path)
