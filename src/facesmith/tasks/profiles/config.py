"""Settings of the tasks that make identity profiles."""

from typing import Any, Literal

from pydantic import Field, model_validator

from facesmith.config.settings import Chosen, EncoderConfig, ExpiryDate, PathSetting, Slug, TaskConfig
from facesmith.faces.face_set.config import SelectionConfig

Consent = Literal["self", "written", "licensed", "public_domain", "synthetic"]
Similarity = float | dict[str, float]


class _MeasuringConfig(TaskConfig):
    source: str | list[str]
    output: PathSetting | None
    max_frames: int = Field(ge=1)
    selection: SelectionConfig
    face_sets: PathSetting
    backend: Literal["pyav", "decord"]

    @model_validator(mode="before")
    @classmethod
    def _has_a_source(cls, config: Any) -> Any:
        return needs(config, source="<photos and videos of the person>")


class EmbedTaskConfig(_MeasuringConfig):
    """Settings of `EmbedTask`."""

    name: Slug
    consent: Consent
    consent_note: str | None
    expires: ExpiryDate | None
    aggregation: Literal["mean", "weighted_mean", "median"]
    profiles: PathSetting
    strangers: Literal["leave_out", "refuse"]
    per_image: PathSetting | None
    encoder: Chosen[EncoderConfig] | None

    def arguments(self) -> dict[str, Any]:
        """Return the fields by name, the encoder as something that makes it."""
        return {**super().arguments(), "encoder": self.encoder.build if self.encoder else None}


class EnrichTaskConfig(_MeasuringConfig):
    """Settings of `EnrichTask`."""

    profile: PathSetting
    consent: Consent | None
    consent_note: str | None
    min_similarity: Similarity


class BlendTaskConfig(TaskConfig):
    """Settings of `BlendTask`."""

    source: str | list[str]
    output: PathSetting | None
    name: Slug
    weights: list[float] | None
    profiles: PathSetting

    @model_validator(mode="before")
    @classmethod
    def _has_a_source(cls, config: Any) -> Any:
        return needs(config, source="[a.json,b.json]")


class InterpolateTaskConfig(TaskConfig):
    """Settings of `InterpolateTask`."""

    source: str | list[str]
    output: PathSetting | None
    name: Slug
    t: float = Field(ge=0, le=1)
    profiles: PathSetting

    @model_validator(mode="before")
    @classmethod
    def _has_a_source(cls, config: Any) -> Any:
        return needs(config, source="[a.json,b.json]")


def needs(config: Any, **keys: str) -> Any:
    """Return the raw settings back; ValueError when one of the flat keys of infer.yaml was not given."""
    if isinstance(config, dict):
        missing = [f"{key}={what}" for key, what in keys.items() if config.get(key) in (None, "", [])]
        if missing:
            raise ValueError(f"needs {' '.join(missing)}")
    return config
