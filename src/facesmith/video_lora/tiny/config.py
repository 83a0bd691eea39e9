"""Settings of the tiny world."""

from pydantic import Field

from facesmith.settings import Component, PathSetting
from facesmith.video_lora.config import VideoLoraDataModuleConfig


class PortraitReaderConfig(Component):
    """Settings of `PortraitReader`: none."""


class DancerJudgeConfig(Component):
    """Settings of `DancerJudge`: none."""


class DancersDataModuleConfig(VideoLoraDataModuleConfig):
    """Settings of `DancersDataModule`: media of a procedural person, written before they are read."""

    person: int = Field(ge=0)
    photos: int = Field(ge=1)
    clips: int = Field(ge=2)
    media: PathSetting
