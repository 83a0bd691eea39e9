"""The identity profile: what is known of one person's face, as a small JSON file."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

import facesmith
from facesmith.config.consent import ConsentKind, require_current
from facesmith.config.settings import IsoDate, Settings, Slug
from facesmith.errors import UserError
from facesmith.faces.face_set.face_set import FaceSet
from facesmith.files import require_regular, write_private_text

Floats = npt.NDArray[np.float32]
Finite = Annotated[float, Field(allow_inf_nan=False)]

_UNIT = 1e-3  # how far from 1 the length of a mean may be: JSON keeps float32 exactly, people's edits do not


class Ancestor(Settings):
    """A profile, or a face set, that went into another profile.

    Attributes:
        id: Its identity.
        face_set: Key of its face set, "" for none.
        weight: Its share, 0..1.
    """

    id: Slug
    face_set: str
    weight: Finite


class KnownAdapter(Settings):
    """An adapter that was trained for this identity.

    Attributes:
        folder: Where it was written.
        scene: The scene it fits the base to.
        scene_key: Key of the scene's face set.
        base: Name of the model it was trained for.
        base_sha256: Hash of that model.
        rank: Of its matrices.
        weights: sha256 of its tensors.
        created: ISO 8601, UTC.
    """

    folder: str
    scene: str
    scene_key: str
    base: str
    base_sha256: str
    rank: int
    weights: str
    created: str


class IdentityProfile(Settings):
    """One identity: mean and spread of its embeddings, how good the material was, and who consented.

    Attributes:
        id: Slug of the identity.
        name: For people.
        embedder: Name of the recogniser.
        embedding_mean: E numbers, L2-normalised.
        embedding_std: E numbers, >= 0.
        num_frames: How many faces were measured.
        quality_stats: Figures of the faces (avg_face_score, landmark_variance, ...).
        gate: Figures of the quality gate of a model trained on it.
        face_set: Key of the face set; "" when there is none of its own.
        consent: Kind of consent.
        consent_note: Where it is recorded.
        expires: ISO date after which the consent no longer holds.
        made_from: What it was combined from.
        ancestors: Ids of these and of all that these were made from.
        adapters: What fits models of it to scenes.
        created: ISO 8601, UTC.
        version: Of the facesmith that wrote it.
    """

    id: Slug
    name: str = Field(min_length=1)
    embedder: str = Field(min_length=1)
    embedding_mean: list[Finite] = Field(min_length=1)
    embedding_std: list[Finite]
    num_frames: int = Field(ge=1)
    quality_stats: dict[str, Finite]
    gate: dict[str, Finite]
    face_set: str
    consent: ConsentKind
    consent_note: str | None
    expires: IsoDate | None = None
    made_from: list[Ancestor] = Field(default_factory=list)
    ancestors: list[Slug] = Field(default_factory=list)
    adapters: list[KnownAdapter] = Field(default_factory=list)
    created: str
    version: str

    @model_validator(mode="after")
    def _embeddings_fit(self) -> "IdentityProfile":
        if len(self.embedding_std) != len(self.embedding_mean):
            raise ValueError(
                f"embedding_std has {len(self.embedding_std)} numbers, embedding_mean {len(self.embedding_mean)}"
            )
        length = float(np.linalg.norm(self.embedding_mean))
        if abs(length - 1) > _UNIT:
            raise ValueError(f"embedding_mean has length {length:.3f}, not 1")
        if min(self.embedding_std) < 0:
            raise ValueError("embedding_std has a negative number")
        datetime.fromisoformat(self.created)
        return self

    @classmethod
    def create(
        cls,
        *,
        id: str,
        name: str | None = None,
        embedder: str,
        embedding_mean: Floats,
        embedding_std: Floats,
        num_frames: int,
        quality_stats: Mapping[str, float] = MappingProxyType({}),
        gate: Mapping[str, float] = MappingProxyType({}),
        face_set: str = "",
        consent: str,
        consent_note: str | None = None,
        expires: str | None = None,
        made_from: Sequence[Ancestor] = (),
        ancestors: Sequence[str] = (),
    ) -> "IdentityProfile":
        """Make a profile of now, its mean (E,) brought to length 1; the arguments are the fields of the class.

        Without a name, its id is its name.

        Raises:
            ValueError: the mean is zero, or sizes or values are out of bounds.
        """
        length = float(np.linalg.norm(embedding_mean))
        if not np.isfinite(length) or length == 0:
            raise ValueError("embedding_mean has no direction")
        fields = {
            "id": id,
            "name": id if name is None else name,
            "embedder": embedder,
            "embedding_mean": (np.asarray(embedding_mean, np.float64) / length).astype(np.float32).tolist(),
            "embedding_std": np.asarray(embedding_std, np.float32).tolist(),
            "num_frames": num_frames,
            "quality_stats": {key: float(value) for key, value in quality_stats.items()},
            "gate": {key: float(value) for key, value in gate.items()},
            "face_set": face_set,
            "consent": consent,
            "consent_note": consent_note,
            "expires": expires,
            "made_from": [one.model_dump() for one in made_from],
            "ancestors": sorted(set(ancestors)),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": facesmith.__version__,
        }
        return cls.model_validate(fields)

    @classmethod
    def from_face_set(
        cls,
        faces: FaceSet,
        *,
        id: str,
        method: Literal["weighted", "mean", "median"],
        gate: Mapping[str, float] = MappingProxyType({}),
    ) -> "IdentityProfile":
        """Make the profile of a face set's person, with the consent that the set states.

        Args:
            faces: The person's faces.
            id: Slug of the identity.
            method: How the embeddings become one, see `FaceSet.embedding_mean`.
            gate: Figures of the quality gate of a model trained on them.
        """
        points = faces.landmarks[..., :2] / faces.crop_size
        mean = faces.embedding_mean(method)
        return cls.create(
            id=id,
            embedder=faces.embedder,
            embedding_mean=mean,
            embedding_std=faces.embedding_std(),
            num_frames=len(faces),
            quality_stats={
                "avg_face_score": float(faces.scores.mean()),
                "avg_face_size": float(faces.sizes.mean()),
                "avg_sharpness": float(faces.sharpness.mean()),
                "avg_similarity": float((faces.embeddings @ mean).mean()),
                "landmark_variance": float(points.var(0).sum(-1).mean()),
            },
            gate=gate,
            face_set=faces.key,
            consent=faces.meta["consent"],
            consent_note=faces.meta["consent_note"] or None,
            expires=faces.meta.get("expires"),
        )

    @classmethod
    def load(cls, path: Path, *, expired: Literal["refuse", "allow"] = "refuse") -> "IdentityProfile":
        """Read a profile.

        Args:
            path: The file.
            expired: What becomes of a profile whose consent has ended; it may still be listed and removed.

        Raises:
            UserError: missing, not JSON, or not a valid profile; names the first wrong field. Or its consent has ended.
        """
        require_regular(path)
        try:
            profile = cls.model_validate_json(path.read_bytes())
            if expired == "refuse":
                require_current(profile.expires, path, profile.id)
            return profile
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); give an identity profile") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) + ": " if first["loc"] else ""
            what = first["msg"].removeprefix("Value error, ")
            more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
            raise UserError(f"{path}: not a valid identity profile: {where}{what}{more}; train it again") from None

    def save(self, path: Path) -> None:
        """Write the profile atomically, readable by its owner only; parents are created."""
        write_private_text(path, json.dumps(self.model_dump(), indent=2, ensure_ascii=False) + "\n")

    def with_adapter(self, adapter: KnownAdapter) -> "IdentityProfile":
        """Return this profile with an adapter entered, in place of an earlier one of the same folder."""
        others = [one for one in self.adapters if one.folder != adapter.folder]
        return self.model_copy(update={"adapters": [*others, adapter]})

    @property
    def mean(self) -> Floats:
        """(E,) float32, L2-normalised."""
        return np.asarray(self.embedding_mean, np.float32)

    @property
    def std(self) -> Floats:
        """(E,) float32."""
        return np.asarray(self.embedding_std, np.float32)

    def similarity(self, embeddings: Floats, embedder: str) -> Floats:
        """Compute the cosine between embeddings and this identity.

        Args:
            embeddings: (..., E), L2-normalised.
            embedder: Name of the recogniser they come from.

        Returns:
            (...,), -1..1.

        Raises:
            UserError: the embeddings come from another embedder.
        """
        self.require_embedder(embedder, int(np.shape(embeddings)[-1]))
        return np.asarray(embeddings @ self.mean, np.float32)

    def require_embedder(self, embedder: str, size: int) -> None:
        """Make sure that this identity was measured by a given embedder.

        Args:
            embedder: Its name.
            size: Length of its embeddings.

        Raises:
            UserError: it was not; numbers of two embedders mean nothing to each other.
        """
        if (embedder, size) != (self.embedder, len(self.embedding_mean)):
            raise UserError(
                f"profile {self.id}: made with embedder {self.embedder} ({len(self.embedding_mean)}), but "
                f"{embedder} ({size}) is in use; embedders cannot be mixed: make the profile again with it"
            )
