"""Settings of the comparison of swappers."""

from typing import Literal

from pydantic import Field, model_validator

from facesmith.config.consent import ConsentKind
from facesmith.config.file_settings import AnyFile, OnnxFile, PictureOutput, ProfileFile, SwapperFile
from facesmith.config.settings import PathSetting, SourceSetting, WholeTaskConfig, require_keys


class CompareTaskConfig(WholeTaskConfig):
    """Settings of `CompareTask`."""

    model: SwapperFile | list[SwapperFile]
    """The swappers to compare, or one."""
    source: SourceSetting
    """The scenes: images, videos, or a folder."""
    output: PictureOutput
    """The picture to write."""
    profile: ProfileFile | None
    """The person, for metrics and models that take any identity; null: <profiles>/<the model's identity>.json."""
    reference: AnyFile | None
    """A photo of the person, shown first and measured against; null: the profile's face set."""
    source_photo: AnyFile | None
    """A picture of the person, for models that take one."""
    consent: ConsentKind | None
    """Of the person, where neither model nor profile states it."""
    converter: OnnxFile | None
    """crossface_*.onnx, for the models that need one."""
    raw_length: float = Field(gt=0)
    """Length of an ArcFace embedding before normalisation, for converters."""
    occluder: OnnxFile | None
    """Finds what covers a face, which stays before it; null: the models alone."""
    select: Literal["largest", "all"]
    """Which faces of a scene are swapped, and shown with what is around them; the largest is measured."""
    width: int = Field(ge=64, le=2048)
    """Px of each picture."""
    frames: int = Field(ge=1)
    """Of each video, evenly spaced."""
    quality: int = Field(ge=1, le=100)
    """Of JPEG and WebP."""
    face_sets: PathSetting
    """Folder of the face sets."""
    profiles: PathSetting
    """Folder of the profiles."""
    backend: Literal["pyav", "decord"]
    """What decodes videos."""

    @model_validator(mode="before")
    @classmethod
    def _has_what_it_needs(cls, config: object) -> object:
        return require_keys(config, model="[a.onnx,b.onnx]", source="<scenes>", output="<picture>")
