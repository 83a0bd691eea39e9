"""Settings of the generate task."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from facesmith.config.file_settings import AnyFile, ProfileFile, RunOrCheckpoint
from facesmith.config.settings import PathSetting, Settings, SourceSetting, WholeTaskConfig, require_keys


class LoraChoice(Settings):
    """A further LoRA."""

    file: AnyFile
    """A .safetensors file, or a .pth file of tensors alone."""
    scale: float
    """1: as trained."""

    @model_validator(mode="before")
    @classmethod
    def _require_both(cls, choice: object) -> object:
        if not isinstance(choice, Mapping) or not {"file", "scale"} <= choice.keys():
            raise ValueError("must be {file: <a LoRA of Wan>, scale: 1.0}")
        return choice


class GenerateTaskConfig(WholeTaskConfig):
    """Settings of `GenerateTask`; model, source and output are the flat keys of infer.yaml."""

    model: RunOrCheckpoint
    """`exports/` of a video_lora run, or a checkpoint."""
    source: SourceSetting
    """Pose videos: a file, a folder, or a list."""
    output: PathSetting
    """An .mp4 file for one video, else a folder."""
    base: str | None
    """Where the base is now; None: where it was in training."""
    embedding: ProfileFile | None
    """An identity profile made with the same encoder, generated instead of the person."""
    prompt: str | None
    """None: that of the training."""
    negative_prompt: str | None
    """None: that of the training."""
    height: int | None = Field(ge=16)
    """In px; None: the pose video's, rounded to what the base takes."""
    width: int | None = Field(ge=16)
    """In px; None: the pose video's, rounded to what the base takes."""
    num_frames: int = Field(ge=1)
    """Frames that are generated at a time; longer poses are continued."""
    overlap: int = Field(ge=0)
    """Frames that the next window begins with, one more than a multiple of 4; 0: poses are cut to one window."""
    fps: float | None = Field(gt=0)
    """Frames per second that poses of any rate are brought to; None: as in training, 16 for Wan."""
    references: Annotated[int, Field(ge=0, le=4)] | SourceSetting | None
    """Photos of the person in front of the video, as VACE takes them: a number of those trained on, the best first, or
    files; None: as many as the training showed at most, 0: none."""
    reference_scale: float = Field(ge=0)
    """Scale of the photos: 0 as without them, 1 as trained; any other doubles the time."""
    face_scale: float = Field(ge=0)
    """Scale of the face tokens: 0 no identity, 0.25 subtle, 1 as trained, 1.5 strong."""
    lora_scale: float = Field(ge=0)
    """Scale of the adapter."""
    loras: list[LoraChoice]
    """Further LoRAs of any known trainer, such as those that need few steps or that draw a style; each {file: <file>,
    scale: 1.0}."""
    vace_scale: float = Field(ge=0)
    """How closely the poses are followed."""
    cfg_scale: float = Field(ge=1)
    """Classifier-free guidance scale; 1: none."""
    steps: int = Field(ge=1)
    """Sampler steps."""
    seeds: list[int] = Field(min_length=1)
    """One video each."""
    shift: float | None = Field(gt=0)
    """Shift of the sampler's noise levels towards more noise; None: the base's. VACE's own script takes 16."""
    scheduler: Literal["base", "unipc", "euler", "dpm"]
    """Sampler; base: the base's own."""
    offload: Literal["none", "model", "group", "sequential", "disk"]
    """What waits outside the GPU's memory: less and less GPU memory, more and more time."""
    base_storage: Literal["as_computed", "float8", "int8", "nf4"]
    """Type that the transformer's weights are stored in."""
    crf: int = Field(ge=0, le=51)
    """Quality of H.264: 0 lossless, 51 worst."""
    resume: bool
    """Whether videos that an earlier run with the same settings has written are kept."""

    @model_validator(mode="after")
    def _check_lengths(self) -> "GenerateTaskConfig":
        for key in ("num_frames", "overlap"):
            frames = getattr(self, key)
            if frames and frames % 4 != 1:
                raise ValueError(
                    f"{key}={frames}: must be one more than a multiple of 4, such as {frames // 4 * 4 + 1}"
                )
        if self.overlap >= self.num_frames:
            raise ValueError(f"overlap={self.overlap}: must be below num_frames={self.num_frames}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _require_flat_keys(cls, config: object) -> object:
        return require_keys(
            config,
            "generate",
            model="<exports/ of a run, or .ckpt>",
            source="<pose video or folder>",
            output="<.mp4 or folder>",
        )
