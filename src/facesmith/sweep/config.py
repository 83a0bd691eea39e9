"""Settings of a sweep: the keys of `hydra.sweeper`."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from facesmith.config.settings import Settings

Direction = Literal["min", "max"]


class SamplerConfig(Settings):
    """Which points are tried; further keys are arguments of Optuna's sampler."""

    model_config = ConfigDict(extra="allow")

    name: Literal["grid", "random", "tpe", "nsga2"]

    def options(self) -> dict[str, Any]:
        """Return the arguments."""
        return dict(self.model_extra or {})


class PrunerConfig(Settings):
    """Which jobs end early; further keys are arguments of Optuna's pruner. Its steps are epochs."""

    model_config = ConfigDict(extra="allow")

    name: Literal["none", "median", "hyperband", "halving"]

    def options(self) -> dict[str, Any]:
        """Return the arguments."""
        return dict(self.model_extra or {})


class SweepConfig(Settings):
    """One sweep. `params` are overrides, swept or fixed, in Hydra's grammar; the command line wins."""

    sampler: SamplerConfig
    pruner: PrunerConfig
    params: dict[str, Any]
    directions: list[Direction] = Field(min_length=1)
    n_trials: int | None = Field(ge=1)
    batch_size: int | None = Field(ge=1)
    storage: Literal["journal", "sqlite"]
    seed: int = Field(ge=0)
    max_failures: int | None = Field(ge=1)
    retry_failed: bool
    resume: bool
