"""Settings of the callbacks; each class configures the callback whose name it begins with."""

from typing import Literal

from pydantic import Field

from facesmith.config.file_settings import OnnxOutput, PictureOutput
from facesmith.config.settings import CallbackConfig, PathSetting


class DetectNonFiniteConfig(CallbackConfig):
    """Settings of `DetectNonFinite`."""

    on_nonfinite: Literal["stop", "skip"]
    """`stop` ends the run before a bad optimiser step; `skip` leaves the step out and warns."""
    max_skipped: int = Field(ge=0)
    """Optimiser steps that may be skipped in a run; one more stops it."""
    folder: PathSetting
    """Of the checkpoints, of which the message names the newest."""


class AverageWeightsConfig(CallbackConfig):
    """Settings of `AverageWeights`."""

    decay: float = Field(ge=0, lt=1)
    """Share of the old average that each optimiser step keeps."""


class RenderValidationConfig(CallbackConfig):
    """Settings of `RenderValidation`."""

    folder: PathSetting
    """Where the images go."""
    every_n_epochs: int = Field(ge=1)
    """Epochs between two renders; the last epoch is always rendered."""


class PreviewDataConfig(CallbackConfig):
    """Settings of `PreviewData`."""

    path: PictureOutput
    """Of the image."""


class RenderTimelapseConfig(CallbackConfig):
    """Settings of `RenderTimelapse`."""

    folder: PathSetting
    """Of the renders, where the video goes too."""
    fps: float = Field(gt=0)
    """Renders per second."""


class SaveVideosConfig(CallbackConfig):
    """Settings of `SaveVideos`."""

    folder: PathSetting
    """Where the videos go."""
    fps: float = Field(gt=0)
    """Frames per second."""
    kind: Literal["composite", "generated"]
    """Digital source type of the files: a face swapped into a real video, or a fully generated video."""


class ExportOnnxConfig(CallbackConfig):
    """Settings of `ExportOnnx`."""

    path: OnnxOutput
    """Of the final ONNX file."""
    every_n_epochs: int | None = Field(ge=1)
    """Epochs between two exports, at validations; null exports at the end only."""
    opset: int = Field(ge=16, le=23)
    """Of the ONNX standard."""


class SaveProfileConfig(CallbackConfig):
    """Settings of `SaveProfile`."""

    folder: PathSetting
    """Of the identity profiles."""


class SaveAdapterConfig(CallbackConfig):
    """Settings of `SaveAdapter`."""

    folder: PathSetting
    """Where the adapter's files go."""
    profiles: PathSetting | None = None
    """Folder of the identity profiles, where the person's profile gets to list the adapter; null: it does not."""


class ValidateLastEpochConfig(CallbackConfig):
    """Settings of `ValidateLastEpoch`: none."""


class SaveLastConfig(CallbackConfig):
    """Settings of `SaveLast`."""

    folder: PathSetting
    """Of the checkpoints."""
    every_seconds: float | None = Field(ge=0)
    """Seconds between two saves; null: no such cadence."""
    every_steps: int | None = Field(ge=1)
    """Optimiser steps between two saves; null: no such cadence."""
    most_bytes_per_second: float | None = Field(gt=0)
    """Large checkpoints are saved less often, so that on average no more than this is written; null: no limit."""


class PruneTrialConfig(CallbackConfig):
    """Settings of `PruneTrial`."""

    monitor: str | None
    """Name of the metric that is reported to the sweep; null: none."""


class FreezeMapperConfig(CallbackConfig):
    """Settings of `FreezeMapper`."""

    after_epochs: int = Field(ge=0)
    """Whole epochs in which the mapper is trained."""


class TrainingProgressConfig(CallbackConfig):
    """Settings of `TrainingProgress`."""

    refresh_rate: int = Field(ge=0)
    """Redraws per second."""
    leave: bool
    """Whether each epoch's bar stays on the screen."""


class EstimateDurationConfig(CallbackConfig):
    """Settings of `EstimateDuration`: none."""


class WriteReportConfig(CallbackConfig):
    """Settings of `WriteReport`."""

    folder: PathSetting
    """Of the run."""
    every_seconds: float = Field(gt=0)
    """Seconds between two writes while steps are taken."""


class PrintSummaryConfig(CallbackConfig):
    """Settings of `PrintSummary`."""

    folder: PathSetting
    """Of the run."""


class SuggestFixesConfig(CallbackConfig):
    """Settings of `SuggestFixes`."""

    max_wait_share: float = Field(gt=0, lt=1)
    """Share of a step spent waiting for data, above which loading is called slow."""
    max_cpu_hours: float = Field(gt=0)
    """Hours of a training on a CPU, above which it is called slow."""


class RepeatBatchesConfig(CallbackConfig):
    """Settings of `RepeatBatches`."""

    max_loss_ratio: float = Field(gt=0, lt=1)
    """Mean loss of the last epoch over that of the first, up to which the batches count as memorised."""


class ProfileStepsConfig(CallbackConfig):
    """Settings of `ProfileSteps`."""

    folder: PathSetting
    """Where `step_profile.json` goes."""
    warm_up: int = Field(ge=1)
    """First steps, which are not counted."""
    operators: int = Field(ge=0)
    """How many of the costliest operators to name; 0: none."""


class LogGateTableConfig(CallbackConfig):
    """Settings of `LogGateTable`: none."""


class LogArtifactsConfig(CallbackConfig):
    """Settings of `LogArtifacts`."""

    folder: PathSetting
    """Of the run."""
