"""Hydra's door to facesmith's sweeps; Hydra imports it at every start, so it imports nothing itself."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ResumableSweeper(Sweeper):
    """Runs `facesmith.sweep`: grids and Optuna's samplers, pruning, and resuming.

    Its settings are `facesmith.sweep.config.SweepConfig`, in conf/hydra/sweeper.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings  # read from the config when the sweep begins

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the settings of the sweep."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep of these overrides."""
        from facesmith.sweep.start import sweep

        assert self.config is not None
        assert self.hydra_context is not None
        sweep(self.config, self.hydra_context, self.task_function, arguments)
