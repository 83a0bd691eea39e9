"""Settings of the toy world's data."""

from typing import Annotated, ClassVar, Final

from pydantic import Field, model_validator

from facesmith.config.settings import PathSetting
from facesmith.methods.video_lora.config import EvaluatorConfig, FaceEncoderConfig, VideoLoraDataModuleConfig

_WRITTEN: Final = "written by the demo"


class ToyFaceEncoderConfig(FaceEncoderConfig):
    """Settings of `ToyFaceEncoder`: none."""


class ToyEvaluatorConfig(EvaluatorConfig):
    """Settings of `ToyEvaluator`: none."""


class ToyWanDataModuleConfig(VideoLoraDataModuleConfig):
    """Settings of `ToyWanDataModule`."""

    written: ClassVar[tuple[str, ...]] = ("faces", "videos")
    """Keys of media that are written before they are read."""

    people: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    """Numbers of procedural people; the base has seen none of them."""
    photos: int = Field(ge=1)
    """Photos of each."""
    clips: int = Field(ge=2)
    """Dances of each."""
    media: PathSetting
    """Folder for photos and videos, which are written before they are read."""

    @model_validator(mode="after")
    def _check_written(self) -> "ToyWanDataModuleConfig":
        for key, theirs in (("faces", _WRITTEN), ("videos", _WRITTEN), ("poses", None)):
            given = getattr(self, key)
            if given != theirs and str(given) != theirs and str(self.media) not in str(given):
                raise ValueError(
                    f"{key}={given}: the demo writes its own media; omit it, or take experiment=video_lora"
                )
        return self
