"""Settings of the mask task."""

from typing import Literal

from pydantic import model_validator

from facesmith.config.file_settings import OnnxFile
from facesmith.config.settings import require_keys
from facesmith.tasks.swap.config import MediaTaskConfig


class MaskTaskConfig(MediaTaskConfig):
    """Settings of `MaskTask`; `source` and `output` are top-level keys on the command line."""

    occluder: OnnxFile
    """An .onnx file of the xseg contract, or `asset:<name>`."""
    template: Literal["arcface_128", "arcface_112_v1", "arcface_112_v2", "dfl_whole_face", "ffhq_512"]
    """How faces are aligned for the occluder."""
    without_face: Literal["skip", "error"]
    """What to do about a picture or frame without a face."""

    @model_validator(mode="before")
    @classmethod
    def _require_top_level_keys(cls, config: object) -> object:
        return require_keys(config, "mask", source="<image, video or folder>", output="<file or folder>")
