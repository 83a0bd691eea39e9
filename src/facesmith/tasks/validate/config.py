"""Settings of the validation of swaps."""

from typing import Literal

from pydantic import Field, model_validator

from facesmith.config.file_settings import FolderOutput, ProfileFile
from facesmith.config.settings import PathSetting, SourceSetting, WholeTaskConfig, require_keys
from facesmith.tasks.profiles.config import SimilarityLimit


class ValidateTaskConfig(WholeTaskConfig):
    """Settings of `ValidateTask`."""

    source: SourceSetting
    """The swapped pictures and videos."""
    target: SourceSetting | None
    """What they were swapped into, file for file; None: shift and all comparisons are skipped."""
    profile: ProfileFile
    """Identity profile of the person."""
    reference: SourceSetting | None
    """Photos of the person for the held-out recogniser; None for the profile's face set."""
    output: FolderOutput
    """Folder of validation.json and validation.html."""
    max_frames: int | None = Field(ge=1)
    """Of each video, in segments of 24 consecutive frames, evenly spaced; None for all."""
    min_similarity: SimilarityLimit
    """Limit of the mean cosine to the profile."""
    max_judge_distance: float | None = Field(ge=0)
    """Limit of the mean distance by the held-out recogniser (dlib); None for none, as for all below."""
    max_shift: float | None = Field(ge=0)
    """Limit of the mean distance of the landmarks to the target's, in eye distances."""
    max_misses: float | None = Field(ge=0, le=1)
    """Limit of the share of frames without a face where there should be one."""
    max_jitter: float | None = Field(ge=0)
    """Limit of the jitter of the landmarks, relative to the target's."""
    min_sharpness: float | None = Field(ge=0)
    """Limit of the median sharpness, relative to the target's."""
    min_accepted: float | None = Field(ge=0, le=1)
    """Limit of the share of frames whose face the quality gate accepts, by the limits of docs/gate.md."""
    face_sets: PathSetting
    """Folder of face sets, where the profile's is looked for."""
    backend: Literal["pyav", "decord"]
    """What decodes videos."""

    @model_validator(mode="before")
    @classmethod
    def _require_top_level_keys(cls, config: object) -> object:
        return require_keys(config, source="<what was swapped>", output="<folder of the report>")
