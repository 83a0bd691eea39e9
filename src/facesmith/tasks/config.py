"""Settings of the tasks of infer.py."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from facesmith.config import Component, PathSetting, Settings

Percent = Annotated[float, Field(ge=0, lt=100)]


class FrameConfig(Settings):
    """How one frame is swapped; see `tasks.frame_swap.load_frame_swap`."""

    source_photo: PathSetting | None
    consent: Literal["self", "written", "licensed", "public_domain", "synthetic"] | None
    model_type: Literal[
        "auto",
        "facesmith",
        "hyperswap",
        "inswapper",
        "ghost",
        "hififace",
        "simswap",
        "blendswap",
        "uniface",
        "dfm",
    ]
    converter: PathSetting | None
    raw_length: float = Field(gt=0)
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


class SwapTaskConfig(FrameConfig, Component):
    """Settings of the swap task; model, source and output are the flat keys of infer.yaml."""

    model: PathSetting
    source: str | list[str]
    output: PathSetting
    profile: PathSetting | None
    select: Literal["largest", "all"]
    backend: Literal["pyav", "decord"]
    quality: int = Field(ge=1, le=100)
    workers: int | None = Field(ge=1)

    def arguments(self) -> dict[str, Any]:
        """Give the fields by name, those of `FrameConfig` as one mapping `frame`."""
        given = super().arguments()
        return {**given, "frame": {name: given.pop(name) for name in FrameConfig.model_fields}}

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
