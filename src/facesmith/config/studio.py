"""Settings of the studio."""

from pydantic import Field

from facesmith.config.schema import JobConfig
from facesmith.config.settings import PathSetting


class StudioConfig(JobConfig):
    """Settings of the page and of who may reach it."""

    project: PathSetting
    """The project folder: the page works in it, and touches nothing outside of it."""
    allowed: list[PathSetting]
    """Further folders whose photos, videos and models the page may name."""
    listen: str = Field(min_length=1)
    """Address to listen on; 0.0.0.0 lets other computers in, who are asked for the password in FACESMITH_PASSWORD."""
    port: int | None = Field(ge=1024, le=65535)
    """Of the page; null: 7865, or a free one where that is taken."""
    hosts: list[str]
    """Further host names under which the page may be asked for."""
    max_upload_gb: float = Field(gt=0, le=1000)
    """Largest upload in GB."""
    open_browser: bool
    """Open the page in a browser."""
