"""Settings of a sweep: the keys of `hydra.sweeper`."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from facesmith.config.settings import Settings

Direction = Literal["min", "max"]


class SamplerConfig(Settings):
    """Sampler of the sweep; further keys are arguments of Optuna's sampler."""

    model_config = ConfigDict(extra="allow")

    name: Literal["grid", "random", "tpe", "nsga2"]
    """`grid` tries every combination; the others draw points."""

    def options(self) -> dict[str, Any]:
        """Return the arguments."""
        return dict(self.model_extra or {})


class PrunerConfig(Settings):
    """Pruner of the sweep; further keys are arguments of Optuna's pruner; its steps are epochs."""

    model_config = ConfigDict(extra="allow")

    name: Literal["none", "median", "hyperband", "halving"]
    """Optuna's pruner."""

    def options(self) -> dict[str, Any]:
        """Return the arguments."""
        return dict(self.model_extra or {})


class SweepConfig(Settings):
    """One sweep."""

    sampler: SamplerConfig
    pruner: PrunerConfig
    params: dict[str, Any]
    """Overrides, swept or fixed, in Hydra's grammar; the command line wins."""
    directions: list[Direction] = Field(min_length=1)
    """One per objective."""
    n_trials: int | None = Field(ge=1)
    """How many points are tried; null: all of a grid."""
    batch_size: int | None = Field(ge=1)
    """Points asked for at once; null: as many as the launcher can run or queue."""
    storage: Literal["journal", "sqlite"]
    """File of the study: an append-only journal, or a database for `optuna-dashboard`."""
    seed: int = Field(ge=0)
    """Of what the sampler draws."""
    max_failures: int | None = Field(ge=1)
    """Failed jobs that end the sweep; null: none do."""
    retry_failed: bool
    """Whether points of failed jobs are run again, under new numbers."""
    resume: bool
    """Whether the same command continues the sweep where it stopped."""
