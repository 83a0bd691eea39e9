"""Settings of the tasks of `facesmith infer`."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from facesmith.config.adapters import AdapterSettings, SwapperFileSettings
from facesmith.config.settings import PathSetting, TaskConfig

Cosine = Annotated[float, Field(ge=-1, le=1)]
Percent = Annotated[float, Field(ge=0, lt=100)]


class FrameConfig(AdapterSettings, SwapperFileSettings):
    """How one frame is swapped; see `tasks.frame_swap.load_frame_swap`."""

    source_photo: PathSetting | None
    consent: Literal["self", "written", "licensed", "public_domain", "synthetic"] | None
    morph: float = Field(ge=0, le=1)
    masks: list[Literal["box", "occlusion", "hull", "region"]]
    mask_blur: float = Field(ge=0, le=1)
    mask_padding: list[Percent] = Field(min_length=4, max_length=4)
    regions: list[Literal["mouth", "eyes", "brows", "nose", "skin", "upper_face", "lower_face"]]
    occluder: PathSetting | None
    blend: Literal["linear", "poisson", "multiband"]
    colour_match: bool
    pixel_boost: Literal[256, 512, 1024] | None
    enhancer: PathSetting | None
    enhancer_blend: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _masks_have_what_they_need(self) -> "FrameConfig":
        if "occlusion" in self.masks and self.occluder is None:
            raise ValueError("masks: occlusion needs an occluder; give occluder=<xseg .onnx>")
        if "region" in self.masks and not self.regions:
            raise ValueError("masks: region needs regions=[mouth,...]")
        top, right, bottom, left = self.mask_padding
        if "box" in self.masks and (top + bottom >= 100 or left + right >= 100):
            raise ValueError("mask_padding: leaves nothing of the crop")
        return self


class SwapTaskConfig(FrameConfig, TaskConfig):
    """Settings of the swap task; model, source and output are the flat keys of infer.yaml."""

    model: PathSetting
    source: str | list[str]
    output: PathSetting
    profile: PathSetting | None
    select: str | int
    reference: PathSetting | None
    select_threshold: Cosine | dict[str, Cosine]
    fail_when_no_face: bool
    smoothing: float = Field(ge=0, le=2)
    smoothing_order: int = Field(ge=0, le=5)
    max_gap: float = Field(ge=0, le=5)
    detect_every: int = Field(ge=1, le=32)
    backend: Literal["pyav", "decord"]
    quality: int = Field(ge=1, le=100)
    crf: int = Field(ge=0, le=51)
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
    segment_seconds: float = Field(gt=0)
    resume: bool
    workers: int | None = Field(ge=1)

    def arguments(self) -> dict[str, Any]:
        """Return the fields by name, those of `FrameConfig` as one mapping `frame`."""
        given = super().arguments()
        frame = {name: given.pop(name) for name in FrameConfig.model_fields}
        return {**given, "frame": frame}

    @field_validator("select")
    @classmethod
    def _select_is_known(cls, select: str | int) -> str | int:
        if select not in ("largest", "all", "reference") and (isinstance(select, str) or select < 0):
            raise ValueError("choose one of largest, all, reference, or a number from the left: 0, 1, ...")
        return select

    @model_validator(mode="after")
    def _reference_is_used(self) -> "SwapTaskConfig":
        if self.select == "reference" and self.reference is None:
            raise ValueError("select=reference: whose face? give reference=<profile .json or photo>")
        if self.select != "reference" and self.reference is not None:
            raise ValueError(f"reference={self.reference}: is not used by select={self.select}; give select=reference")
        return self

    @model_validator(mode="before")
    @classmethod
    def _has_what_it_needs(cls, config: Any) -> Any:
        needs = {
            "model": "<.onnx or .ckpt>",
            "source": "<image, video or folder>",
            "output": "<file or folder>",
        }
        if isinstance(config, dict):
            missing = [f"{key}={what}" for key, what in needs.items() if config.get(key) in (None, "", [])]
            if missing:
                raise ValueError(f"swap needs {' '.join(missing)}")
        return config
