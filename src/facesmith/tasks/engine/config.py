"""Settings of the engines, which work on the files of a task."""

from pydantic import Field

from facesmith.config.settings import EngineConfig


class LocalEngineConfig(EngineConfig):
    """Settings of `LocalEngine`: none."""


class RayEngineConfig(EngineConfig):
    """Settings of `RayEngine`."""

    address: str = Field(min_length=1)
    """Of the cluster: `local` starts one on this machine for this run, `auto` is the one that runs here, else
    host:port."""
    workers: int | None = Field(ge=1)
    """Processes, each with models of its own; null: as many as the cluster has room for when the run begins."""
    num_cpus: float = Field(gt=0)
    """Cores that a worker asks for; it has as many threads, unless the task's `workers` says otherwise."""
    num_gpus: float = Field(ge=0)
    """GPUs that a worker asks for; 0.5: two workers share one."""
    retries: int = Field(ge=0)
    """How often a file whose worker died is tried again."""
