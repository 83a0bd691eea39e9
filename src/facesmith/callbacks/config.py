"""Settings of the callbacks."""

from pydantic import Field

from facesmith.config import Component, PathSetting


class RenderValidationConfig(Component):
    """Settings of `RenderValidation`."""

    folder: PathSetting
    every_n_epochs: int = Field(ge=1)


class ExportOnnxConfig(Component):
    """Settings of `ExportOnnx`."""

    path: PathSetting
    every_n_epochs: int | None = Field(ge=1)
    opset: int = Field(ge=16, le=23)


class SaveProfileConfig(Component):
    """Settings of `SaveProfile`."""

    folder: PathSetting


class AverageWeightsConfig(Component):
    """Settings of `AverageWeights`."""

    decay: float = Field(ge=0, lt=1)


class TrainingProgressConfig(Component):
    """Settings of `TrainingProgress`."""

    refresh_rate: int = Field(ge=0)
    leave: bool


class PrintSummaryConfig(Component):
    """Settings of `PrintSummary`."""

    folder: PathSetting


class ValidateLastEpochConfig(Component):
    """Settings of `ValidateLastEpoch`: none."""
