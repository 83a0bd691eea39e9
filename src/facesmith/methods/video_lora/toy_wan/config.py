"""Settings of the tiny world."""

from typing import Annotated

from pydantic import Field

from facesmith.config.settings import PathSetting
from facesmith.methods.video_lora.config import JudgeConfig, ReaderConfig, VideoLoraDataModuleConfig


class PortraitReaderConfig(ReaderConfig):
    """Settings of `PortraitReader`: none."""


class DancerJudgeConfig(JudgeConfig):
    """Settings of `DancerJudge`: none."""


class DancersDataModuleConfig(VideoLoraDataModuleConfig):
    """Settings of `DancersDataModule`: media of procedural people, by number, written before they are read."""

    people: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    photos: int = Field(ge=1)
    clips: int = Field(ge=2)
    media: PathSetting
