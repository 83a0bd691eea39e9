"""Settings of a swapper's training for one scene, by a LoRA."""

from pydantic import Field

from facesmith.config.adapters import LoraSettings, SwapperFileSettings
from facesmith.config.settings import Chosen, LossConfig, ModuleConfig, PathSetting, Settings, Slug
from facesmith.methods.swapper.config import FacesDataConfig, OptimizerConfig


class SwapLoraDataModuleConfig(FacesDataConfig):
    """Settings of `SwapLoraDataModule`: a base that knows a person, and one scene to put that person into."""

    base: PathSetting
    onnx: SwapperFileSettings
    identity: Slug | None
    source: str | list[str] | None
    target: str | list[str]
    holdout: float = Field(ge=0, lt=1)
    elsewhere: float = Field(ge=0)


class LoraLossConfig(Settings):
    """What is added to the base's own loss: arguments of `SwapLoraLoss`."""

    identity: float = Field(ge=0)
    identity_from: float = Field(ge=0, le=1)
    identity_share: float = Field(gt=0, le=1)
    ramp: float = Field(ge=0, le=1)
    temporal: float = Field(ge=0)
    elsewhere: float = Field(ge=0)


class SwapLoraModuleConfig(ModuleConfig, LoraSettings):
    """Settings of `SwapLoraModule`."""

    base: PathSetting
    onnx: SwapperFileSettings
    loss: LoraLossConfig
    foreign_loss: Chosen[LossConfig]
    optimizer: OptimizerConfig
    gradient_checkpointing: bool
