"""What the painter is told."""

from typing import Any, Literal

from pydantic import Field, model_validator

from facesmith.config.schema import JobConfig
from facesmith.config.settings import AnalyzerConfig, Chosen, PathSetting
from facesmith.methods.occluder.config import OccluderDataModuleConfig


class AnnotateConfig(JobConfig):
    """One sitting at the painter: whose faces, which masks, and what to start from."""

    faces: PathSetting | None
    data: OccluderDataModuleConfig | None
    masks: PathSetting | None
    forehead: float = Field(ge=0, le=1)
    without_face: Literal["skip", "error"]
    occluder: PathSetting | None
    import_from: PathSetting | None
    export_to: PathSetting | None
    format: Literal["coco", "labelme", "cvat"] | None
    port: int | None = Field(ge=1024, le=65535)
    open_browser: bool
    analyzer: Chosen[AnalyzerConfig]

    @model_validator(mode="before")
    @classmethod
    def _faces_from_one_place(cls, config: Any) -> Any:
        if not isinstance(config, dict) or config.get("faces") is None:
            return config
        if (config.get("data") or {}).get("source") is not None:
            raise ValueError("faces: is given beside data.source; give one of them")
        return {**config, "data": None}

    @model_validator(mode="after")
    def _one_exchange(self) -> "AnnotateConfig":
        if self.import_from and self.export_to:
            raise ValueError("import_from: is given beside export_to; give one of them")
        if (self.import_from or self.export_to) and self.format is None:
            raise ValueError("format: say which: coco, labelme or cvat")
        return self
