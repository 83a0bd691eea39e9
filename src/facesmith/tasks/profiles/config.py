"""Settings of the tasks that make identity profiles."""

from typing import Literal

from pydantic import Field, model_validator

from facesmith.config.consent import ConsentConfig, ConsentKind
from facesmith.config.file_settings import ProfileFile, ProfileOutput, TensorOutput
from facesmith.config.settings import (
    Chosen,
    EncoderConfig,
    PathSetting,
    Slug,
    SourceSetting,
    TaskConfig,
    WholeTaskConfig,
    require_keys,
)
from facesmith.faces.face_set.config import SelectionConfig

SimilarityLimit = float | dict[str, float]
"""A cosine, or one for each embedder by its name."""


class ExtractingTaskConfig(WholeTaskConfig):
    """Settings of a task that extracts the faces of one person."""

    source: SourceSetting
    """Photos and videos of the person."""
    output: ProfileOutput | None
    """File of the profile; None for the task's default."""
    max_frames: int = Field(ge=1)
    """Pictures analysed at most."""
    selection: SelectionConfig
    """Limits a face must keep to."""
    face_sets: PathSetting
    """Folder of face sets; nothing in it is analysed twice."""
    backend: Literal["pyav", "decord"]
    """What decodes videos."""

    @model_validator(mode="before")
    @classmethod
    def _require_source(cls, config: object) -> object:
        return require_keys(config, source="<photos and videos of the person>")


class EmbedTaskConfig(ExtractingTaskConfig, ConsentConfig):
    """Settings of `EmbedTask`."""

    name: Slug
    """Of the identity."""
    aggregation: Literal["mean", "weighted_mean", "median"]
    """How the embeddings of the faces become one."""
    profiles: PathSetting
    """Folder of profiles: without `output`, `<name>.json` in it, which must not exist yet."""
    strangers: Literal["leave_out", "refuse"]
    """What to do about photos that show another person than most of them."""
    per_image: TensorOutput | None
    """A .safetensors file for the embedding and weight of each face; None for none."""
    encoder: Chosen[EncoderConfig] | None
    """Encoder whose embeddings take the place of the analyzer's; None for the analyzer's."""


class EnrichTaskConfig(ExtractingTaskConfig):
    """Settings of `EnrichTask`; without `output` the profile is replaced."""

    profile: ProfileFile
    """The profile to enrich."""
    consent: ConsentKind | None
    """Of the new pictures; None for the profile's."""
    consent_note: str | None
    """Of the new pictures; None for the profile's."""
    min_similarity: SimilarityLimit
    """Cosine to the profile below which the new faces are another person's."""


class BlendTaskConfig(TaskConfig):
    """Settings of `BlendTask`."""

    source: SourceSetting
    """Files of the profiles."""
    output: ProfileOutput | None
    """File of the new profile; None for `<name>.json` in `profiles`, which must not exist yet."""
    name: Slug
    """Of the new identity."""
    weights: list[float] | None
    """One for each profile, at least 0; None for equal ones."""
    profiles: PathSetting
    """Folder of profiles."""

    @model_validator(mode="before")
    @classmethod
    def _require_source(cls, config: object) -> object:
        return require_keys(config, source="[a.json,b.json]")


class InterpolateTaskConfig(TaskConfig):
    """Settings of `InterpolateTask`."""

    source: SourceSetting
    """Files of two profiles."""
    output: ProfileOutput | None
    """File of the new profile; None for `<name>.json` in `profiles`, which must not exist yet."""
    name: Slug
    """Of the new identity."""
    t: float = Field(ge=0, le=1)
    """Position on the arc: 0 for the first profile, 1 for the second."""
    profiles: PathSetting
    """Folder of profiles."""

    @model_validator(mode="before")
    @classmethod
    def _require_source(cls, config: object) -> object:
        return require_keys(config, source="[a.json,b.json]")
