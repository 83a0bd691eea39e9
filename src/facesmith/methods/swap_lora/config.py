"""Settings of a swapper's training for one scene, by a LoRA."""

from typing import Literal

from pydantic import Field

from facesmith.config.adapters import LoraSettings, SwapperFileSettings
from facesmith.config.file_settings import RunOrSwapper
from facesmith.config.settings import Chosen, LossConfig, Settings, Slug, SourceSetting
from facesmith.training.swapping.config import Share, SwapDataConfig, SwapModuleConfig


class SwapLoraDataModuleConfig(SwapDataConfig):
    """Settings of `SwapLoraDataModule`: a base that knows a person, and one scene to put that person into."""

    base: RunOrSwapper
    """The swapper that knows the person: a run's folder, its checkpoint, or an .onnx."""
    onnx: SwapperFileSettings
    """Properties that an ONNX base does not state."""
    identity: Slug | None
    """Of the person; None: the base's."""
    source: SourceSetting | None
    """Photos and videos of the person; None: the faces that the base learnt from."""
    target: SourceSetting
    """The scene."""
    holdout: float = Field(ge=0, lt=1)
    """Last share of the scene's faces to hold out."""
    shares: dict[Literal["target", "reposed", "reversed", "self", "prior"], Share]  # type: ignore[assignment]
    """Weight in a batch of each kind of pair; prior: other scenes, where the base's own answer is to stay."""


class LoraLossConfig(Settings):
    """Terms added to the base's own loss: arguments of `SwapLoraLoss`."""

    identity: float = Field(ge=0)
    """Weight of 1 - cosine of the composite's embedding to the person."""
    identity_from: float = Field(ge=0, le=1)
    """Share of the training after which it ramps in."""
    identity_share: float = Field(gt=0, le=1)
    """Part of each batch that the recogniser sees; less than one picture is drawn by chance."""
    ramp: float = Field(ge=0, le=1)
    """Share of the training over which it ramps in."""
    temporal: float = Field(ge=0)
    """Weight of the difference of neighbouring frames, point of the face by point."""
    prior: float = Field(ge=0)
    """Weight of the difference from the base on pairs of the kind prior."""


class SwapLoraModuleConfig(SwapModuleConfig, LoraSettings):
    """Settings of `SwapLoraModule`."""

    base: RunOrSwapper
    """The swapper that is adapted: a run's folder, its checkpoint, or an .onnx."""
    onnx: SwapperFileSettings
    """Properties that an ONNX base does not state."""
    loss: LoraLossConfig
    foreign_loss: Chosen[LossConfig]
    """What an .onnx learns by; a checkpoint brings its own loss."""
