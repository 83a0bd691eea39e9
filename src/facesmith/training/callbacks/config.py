"""Settings of the callbacks."""

from typing import Literal

from pydantic import Field

from facesmith.config.settings import Component, PathSetting


class RenderValidationConfig(Component):
    """Settings of `RenderValidation`."""

    folder: PathSetting
    every_n_epochs: int = Field(ge=1)


class PreviewDataConfig(Component):
    """Settings of `PreviewData`."""

    path: PathSetting


class ExportOnnxConfig(Component):
    """Settings of `ExportOnnx`."""

    path: PathSetting
    every_n_epochs: int | None = Field(ge=1)
    opset: int = Field(ge=16, le=23)


class SaveProfileConfig(Component):
    """Settings of `SaveProfile`."""

    folder: PathSetting


class PruneTrialConfig(Component):
    """Settings of `PruneTrial`."""

    monitor: str | None


class AverageWeightsConfig(Component):
    """Settings of `AverageWeights`."""

    decay: float = Field(ge=0, lt=1)


class SaveLastConfig(Component):
    """Settings of `SaveLast`."""

    folder: PathSetting
    every_seconds: float | None = Field(ge=0)
    every_steps: int | None = Field(ge=1)


class TrainingProgressConfig(Component):
    """Settings of `TrainingProgress`."""

    refresh_rate: int = Field(ge=0)
    leave: bool


class PrintSummaryConfig(Component):
    """Settings of `PrintSummary`."""

    folder: PathSetting


class ValidateLastEpochConfig(Component):
    """Settings of `ValidateLastEpoch`: none."""


class AdviseConfig(Component):
    """Settings of `Advise`."""

    waiting: float = Field(gt=0, lt=1)
    hours: float = Field(gt=0)


class GuardTrainingConfig(Component):
    """Settings of `GuardTraining`."""

    on_nonfinite: Literal["stop", "skip"]
    limit: int = Field(ge=0)
    folder: PathSetting


class RepeatBatchesConfig(Component):
    """Settings of `RepeatBatches`."""

    memorised: float = Field(gt=0, lt=1)


class ProfileStepsConfig(Component):
    """Settings of `ProfileSteps`."""

    folder: PathSetting
    warm_up: int = Field(ge=1)
    operators: int = Field(ge=0)


class LogGateTableConfig(Component):
    """Settings of `LogGateTable`: none."""


class LogArtifactsConfig(Component):
    """Settings of `LogArtifacts`."""

    folder: PathSetting


class FilmRendersConfig(Component):
    """Settings of `FilmRenders`."""

    folder: PathSetting
    fps: float = Field(gt=0)


class SaveVideosConfig(Component):
    """Settings of `SaveVideos`."""

    folder: PathSetting
    fps: float = Field(gt=0)
    kind: Literal["composite", "generated"]


class FreezeMapperConfig(Component):
    """Settings of `FreezeMapper`."""

    after_epochs: int = Field(ge=0)


class SaveAdapterConfig(Component):
    """Settings of `SaveAdapter`."""

    folder: PathSetting
    profiles: PathSetting | None = None
