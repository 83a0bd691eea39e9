"""A launcher on Ray: each job is a task of its own process, on this machine or wherever the cluster has room.

Hydra's own Ray launcher pins an old cloudpickle; Ray brings one, which this uses.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class RayLauncher(Launcher):
    """Runs every job of a batch as a Ray task; Ray queues those it has no room for.

    Args:
        init: arguments of `ray.init`; `address: auto` joins a running cluster.
        resources: arguments of `ray.remote`, what one job needs: `num_cpus`, `num_gpus`, `memory`, ...
    """

    def __init__(self, init: Mapping[str, Any], resources: Mapping[str, Any]) -> None:
        self.init, self.resources = dict(init), dict(resources)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the settings that every job needs."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and wait for all of them; then raise what the first broken one raised, if one did.

        Raises:
            UserError: Ray is not installed.
        """
        from facesmith.tasks.engine.ray import load_ray  # Hydra imports this file whatever the launcher is

        ray = load_ray("hydra/launcher=ray")
        setup_globals()
        if not ray.is_initialized():
            ray.init(**self.init)
        run = ray.remote(max_retries=0, **self.resources)(_run)
        shared = ray.put((self.hydra_context, self.task_function, self.config, Singleton.get_state()))
        tasks = [run.remote(shared, initial_job_idx + i, list(given)) for i, given in enumerate(job_overrides)]
        done, _ = ray.wait(tasks, num_returns=len(tasks))
        return [ray.get(task) for task in done]


def _run(
    shared: tuple[HydraContext, TaskFunction, DictConfig, dict[Any, Any]], number: int, overrides: list[str]
) -> JobReturn:
    context, task, config, singletons = shared
    setup_globals()
    Singleton.set_state(singletons)
    job = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.id = f"{job.hydra.job.name}_{number}"
        job.hydra.job.num = number
    return run_job(
        hydra_context=context,
        task_function=task,
        config=job,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
