"""Settings of the evaluation of anybody's swaps."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from facesmith.config.file_settings import AnyFile, FolderOutput, OnnxFile
from facesmith.config.settings import PathSetting, WholeTaskConfig, require_keys

Paths = str | list[str]
RecogniserName = Literal["analyzer", "dlib", "faceres", "arcface"]


class EvaluateTaskConfig(WholeTaskConfig):
    """Settings of `EvaluateTask`."""

    swaps: Paths
    """The swapped pictures and videos, of any tool."""
    targets: Paths
    """What they were swapped into, by name."""
    sources: Paths
    """Who was put on, by name: a picture, video, folder of pictures or profile (.json) a person; or one of these."""
    one_person: bool
    """Whether all of `sources` shows one person, who is then the source of every swap."""
    names: str
    """How a swap is named after its target and source, where it does not have the name of its target."""
    pairs: AnyFile | None
    """CSV file with the columns swap, target, source, which states what belongs together; None: by name."""
    against: Paths | None
    """Other swaps of the same pairs, compared pair by pair; None for none."""
    gallery: Paths | None
    """People among whom the source is sought, as `sources`; None: all sources."""
    recognisers: list[RecogniserName] = Field(min_length=1)
    """Who measures identity; `analyzer` is that of the analyzer, and `arcface` needs a file."""
    arcface: OnnxFile | None
    """ArcFace's file, (N,3,112,112) to (N,E); None: that of the asset buffalo_l, which is non-commercial."""
    trained_against: list[str] | None
    """Recognisers that the swapper was trained against, which every table marks; None: not known."""
    fid: str | None
    """File of Inception weights for FID; `stand_in`: another network, not called FID; None: neither."""
    max_frames: int | None = Field(ge=1)
    """Of each video, in segments of 24 consecutive frames, evenly spaced; None for all."""
    source_frames: int = Field(ge=1)
    """Of each video of a person."""
    examples: int = Field(ge=1, le=100)
    """Best and worst pairs on the page, of each so many."""
    workers: int | None = Field(ge=1)
    """Pairs that are measured at a time; None: one a core."""
    resume: bool
    """Whether pairs that were measured before by the same settings are kept."""
    output: FolderOutput
    """Folder of evaluation.json, pairs.csv and evaluation.html."""
    wandb_project: str | None
    """W&B project that gets the figures; None for none."""
    wandb_media: bool
    """Whether the pictures of the page may go to W&B too."""
    face_sets: PathSetting
    """Folder of face sets, where those of profiles are looked for."""
    backend: Literal["pyav", "decord"]
    """What decodes videos."""

    @model_validator(mode="before")
    @classmethod
    def _require_top_level_keys(cls, config: object) -> object:
        return require_keys(config, output="<folder of the report>")

    @field_validator("names")
    @classmethod
    def _names_both(cls, names: str) -> str:
        parts = re.split("target|source", names)
        if sorted(re.findall("target|source", names)) != ["source", "target"] or not parts[1]:
            raise ValueError("must name target and source once each, with something between: target_source")
        return names
