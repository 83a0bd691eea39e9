"""Settings of the mask task."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from facesmith.config.settings import PathSetting, WholeTaskConfig


class MaskTaskConfig(WholeTaskConfig):
    """Settings of `MaskTask`; `occluder`, `source` and `output` are top-level keys on the command line."""

    occluder: PathSetting
    """An .onnx file of the xseg contract."""
    source: str | list[str]
    """An image, a video, a folder, or a list of these."""
    output: PathSetting
    """A file for one source, else a folder."""
    select: str | int
    """Which faces: largest, all, or a number from the left, counted from 0."""
    template: Literal["arcface_128", "arcface_112_v1", "arcface_112_v2", "dfl_whole_face", "ffhq_512"]
    """How faces are aligned for the occluder."""
    without_face: Literal["skip", "error"]
    """What to do about a picture or frame without a face."""
    smoothing: float = Field(ge=0, le=2)
    """Seconds of video over which landmarks are smoothed; 0 for not at all."""
    smoothing_order: int = Field(ge=0, le=5)
    """Degree of the polynomial that smooths."""
    max_gap: float = Field(ge=0, le=5)
    """Seconds of video for which a missing face is interpolated; 0 for none."""
    detect_every: int = Field(ge=1, le=32)
    """Frames of video between two detections; in between faces are tracked."""
    backend: Literal["pyav", "decord"]
    """What decodes videos."""
    crf: int = Field(ge=0, le=51)
    """Of H.264: 0 for lossless to 51."""
    workers: int | None = Field(ge=1)
    """Threads that analyse and predict; None for one per core, 4 at most."""

    @field_validator("select")
    @classmethod
    def _check_select(cls, select: str | int) -> str | int:
        if select not in ("largest", "all") and (isinstance(select, str) or select < 0):
            raise ValueError("choose one of largest, all, or a number from the left: 0, 1, ...")
        return select

    @model_validator(mode="before")
    @classmethod
    def _require_top_level_keys(cls, config: Any) -> Any:
        required = {
            "occluder": "<xseg .onnx>",
            "source": "<image, video or folder>",
            "output": "<file or folder>",
        }
        if isinstance(config, dict):
            missing = [f"{key}={what}" for key, what in required.items() if config.get(key) in (None, "", [], "???")]
            if missing:
                raise ValueError(f"mask needs {' '.join(missing)}")
        return config
