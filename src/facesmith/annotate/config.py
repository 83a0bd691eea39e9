"""Settings of the painter."""

from typing import Literal

from pydantic import Field, model_validator

from facesmith.config.file_settings import RunOrOccluder
from facesmith.config.schema import JobConfig
from facesmith.config.settings import AnalyzerConfig, Chosen, PathSetting
from facesmith.methods.occluder.config import OccluderDataModuleConfig


class AnnotateConfig(JobConfig):
    """Settings of one session: which faces, which masks, and what painting starts from."""

    faces: PathSetting | None
    """Folder of a face set, in place of `data.source`."""
    data: OccluderDataModuleConfig | None
    """The media, as a training of the occluder takes them; None with `faces`."""
    masks: PathSetting | None
    """Folder of the masks; None for `masks` beside the face set."""
    forehead: float = Field(ge=0, le=1)
    """Extension of the hull above the landmarks, as a share of their height above the brows."""
    without_face: Literal["skip", "error"]
    """What to do about a picture without a face, which cannot be painted."""
    occluder: RunOrOccluder | None
    """Run, checkpoint or .onnx file whose predictions painting starts from; None for the hull."""
    import_from: PathSetting | None
    """Masks of another program to import; no page is served."""
    export_to: PathSetting | None
    """Where to export masks for another program; no page is served."""
    format: Literal["coco", "labelme", "cvat"] | None
    """Format of import and export."""
    port: int | None = Field(ge=1024, le=65535)
    """Of the page, on this computer alone; None for a free one."""
    open_browser: bool
    """Open the page in a browser."""
    analyzer: Chosen[AnalyzerConfig]
    """Face detector, landmarks and recogniser; an option of the config group."""

    @model_validator(mode="before")
    @classmethod
    def _check_one_source(cls, config: object) -> object:
        if not isinstance(config, dict) or config.get("faces") is None:
            return config
        if (config.get("data") or {}).get("source") is not None:
            raise ValueError("faces: is given beside data.source; give one of them")
        return {**config, "data": None}

    @model_validator(mode="after")
    def _check_import_export(self) -> "AnnotateConfig":
        if self.import_from and self.export_to:
            raise ValueError("import_from: is given beside export_to; give one of them")
        if (self.import_from or self.export_to) and self.format is None:
            raise ValueError("format: choose coco, labelme or cvat")
        return self
