"""Settings of the callbacks."""

from typing import Literal

from pydantic import Field

from facesmith.config.settings import CallbackConfig, OnnxFile, PathSetting, PictureFile


class RenderValidationConfig(CallbackConfig):
    """Settings of `RenderValidation`."""

    folder: PathSetting
    every_n_epochs: int = Field(ge=1)


class PreviewDataConfig(CallbackConfig):
    """Settings of `PreviewData`."""

    path: PictureFile


class ExportOnnxConfig(CallbackConfig):
    """Settings of `ExportOnnx`."""

    path: OnnxFile
    every_n_epochs: int | None = Field(ge=1)
    opset: int = Field(ge=16, le=23)


class SaveProfileConfig(CallbackConfig):
    """Settings of `SaveProfile`."""

    folder: PathSetting


class PruneTrialConfig(CallbackConfig):
    """Settings of `PruneTrial`."""

    monitor: str | None


class AverageWeightsConfig(CallbackConfig):
    """Settings of `AverageWeights`."""

    decay: float = Field(ge=0, lt=1)


class SaveLastConfig(CallbackConfig):
    """Settings of `SaveLast`."""

    folder: PathSetting
    every_seconds: float | None = Field(ge=0)
    every_steps: int | None = Field(ge=1)


class TrainingProgressConfig(CallbackConfig):
    """Settings of `TrainingProgress`."""

    refresh_rate: int = Field(ge=0)
    leave: bool


class PrintSummaryConfig(CallbackConfig):
    """Settings of `PrintSummary`."""

    folder: PathSetting


class ValidateLastEpochConfig(CallbackConfig):
    """Settings of `ValidateLastEpoch`: none."""


class AdviseConfig(CallbackConfig):
    """Settings of `Advise`."""

    waiting: float = Field(gt=0, lt=1)
    hours: float = Field(gt=0)


class GuardTrainingConfig(CallbackConfig):
    """Settings of `GuardTraining`."""

    on_nonfinite: Literal["stop", "skip"]
    limit: int = Field(ge=0)
    folder: PathSetting


class RepeatBatchesConfig(CallbackConfig):
    """Settings of `RepeatBatches`."""

    memorised: float = Field(gt=0, lt=1)


class ProfileStepsConfig(CallbackConfig):
    """Settings of `ProfileSteps`."""

    folder: PathSetting
    warm_up: int = Field(ge=1)
    operators: int = Field(ge=0)


class LogGateTableConfig(CallbackConfig):
    """Settings of `LogGateTable`: none."""


class LogArtifactsConfig(CallbackConfig):
    """Settings of `LogArtifacts`."""

    folder: PathSetting


class FilmRendersConfig(CallbackConfig):
    """Settings of `FilmRenders`."""

    folder: PathSetting
    fps: float = Field(gt=0)


class SaveVideosConfig(CallbackConfig):
    """Settings of `SaveVideos`."""

    folder: PathSetting
    fps: float = Field(gt=0)
    kind: Literal["composite", "generated"]


class FreezeMapperConfig(CallbackConfig):
    """Settings of `FreezeMapper`."""

    after_epochs: int = Field(ge=0)


class SaveAdapterConfig(CallbackConfig):
    """Settings of `SaveAdapter`."""

    folder: PathSetting
    profiles: PathSetting | None = None
