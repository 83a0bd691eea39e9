"""A sweep from its command to its last line: settings, folder, study, launcher, results."""

import logging
import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from optuna import Study
from optuna.trial import TrialState

from facesmith.config.schema import validate
from facesmith.errors import Interrupted, UserError
from facesmith.files import short_path
from facesmith.sweep import job
from facesmith.sweep.config import SweepConfig
from facesmith.sweep.folder import choose_folder, compute_fingerprint, lock_sweep, write_description
from facesmith.sweep.search import Search
from facesmith.sweep.space import Space, Value, parse_space
from facesmith.sweep.study import create_study, make_pruner, make_sampler

# these limit the number of jobs of a batch that run at once; others start all of them
_LAUNCHERS_THAT_QUEUE = ("BasicLauncher", "JoblibLauncher", "SlurmLauncher", "RayLauncher")

_MOST_CHECKED = 40  # values of swept keys; each costs the composition of a config

log = logging.getLogger(__name__)


def sweep(config: DictConfig, context: HydraContext, task: TaskFunction, arguments: list[str]) -> None:
    """Run the sweep, or resume it.

    Args:
        config: Composed for a multirun; `hydra.sweeper` holds a `SweepConfig`.
        context: Hydra's, which composes the jobs' configs.
        task: What a job runs; its attribute `check`, if it has one, refuses a config before anything is made.
        arguments: Overrides of the command line, in Hydra's grammar.

    Raises:
        UserError: A key or value of the sweep is wrong, too many jobs failed, or all did.
    """
    settings = _settings(config)
    swept = _space(settings, context, arguments)
    first = context.config_loader.load_sweep_config(config, swept.to_overrides(swept.first_point()))
    _check(first, task)
    _check_others(lambda point: context.config_loader.load_sweep_config(config, swept.to_overrides(point)), swept, task)
    description = _description(settings, swept, first)
    fingerprint = compute_fingerprint(description)
    folder = choose_folder(Path(str(config.hydra.sweep.dir)).absolute(), fingerprint, settings.resume)
    _set_sweep_folder(config, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with lock_sweep(folder):
        OmegaConf.save(config, folder / "multirun.yaml")
        write_description(folder, fingerprint, {**description, "n_trials": settings.n_trials})
        study = create_study(folder, settings.storage, settings.directions, settings.pruner)
        _log_start(folder, study)
        allowed = None if settings.max_failures is None else job.count_failures(study) + settings.max_failures
        tracked = job.TrackedJob(task, folder, settings.pruner, allowed)
        launcher = Plugins.instance().instantiate_launcher(context, tracked, config)
        search = Search(
            folder,
            settings,
            swept,
            study,
            launcher,
            _batch_size(settings, launcher),
            lambda overrides: job.to_plain_values(context.config_loader.load_sweep_config(config, overrides)),
            resumes="resume" in config,
        )
        try:
            search.run()
        except (KeyboardInterrupt, Interrupted) as stop:
            log.warning("The sweep is interrupted; the same command resumes it: %s", folder)
            sys.exit(stop.code if isinstance(stop, Interrupted) else 130)
        _log_end(folder, study)


def _settings(config: DictConfig) -> SweepConfig:
    given = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    assert isinstance(given, dict)
    given = {key: value for key, value in given.items() if key != "_target_"}
    try:
        settings = validate(OmegaConf.create(given), SweepConfig)
    except UserError as error:
        raise UserError("\n".join(f"hydra.sweeper.{line}" for line in str(error).splitlines())) from None
    if settings.n_trials is None and settings.sampler.name != "grid":
        raise UserError("hydra.sweeper.n_trials: required; how many points are tried")
    make_sampler(settings.sampler, settings.seed, parallel=False)
    make_pruner(settings.pruner)
    if settings.pruner.name != "none" and len(settings.directions) > 1:
        raise UserError("hydra.sweeper.pruner: a sweep of several objectives prunes nothing; choose none")
    return settings


def _space(settings: SweepConfig, context: HydraContext, arguments: list[str]) -> Space:
    params = [f"{key}={'null' if value is None else value}" for key, value in settings.params.items()]
    parser = OverridesParser.create(config_loader=context.config_loader)
    found = parse_space(parser.parse_overrides([*params, *arguments]))
    if settings.sampler.name == "grid":
        list(found.grid())
    return found


def _check(first: DictConfig, task: TaskFunction) -> None:
    """Validate the first point's config; its mistakes are in most jobs."""
    devices = OmegaConf.select(first, "trainer.devices", default=1)
    if devices != 1 and not (isinstance(devices, ListConfig) and len(devices) == 1):
        raise UserError(f"trainer.devices={devices}: a job of a sweep has one device; choose 1, and jobs side by side")
    check = getattr(task, "check", None)
    if check is None:
        return
    with read_write(first.hydra), open_dict(first.hydra):
        first.hydra.job.id = first.hydra.job.num = 0
        first.hydra.runtime.output_dir = str(first.hydra.sweep.dir)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(first)
    try:
        check(OmegaConf.masked_copy(first, [str(key) for key in first if key != "hydra"]))
    finally:
        HydraConfig.instance().cfg = before


def _check_others(compose: Callable[[dict[str, Value]], DictConfig], swept: Space, task: TaskFunction) -> None:
    """Validate the other values of each key, one at a time, and name all that no job could use."""
    if getattr(task, "check", None) is None:
        return
    lines: dict[str, None] = {}
    for point in islice(swept.neighbours(), _MOST_CHECKED):
        try:
            _check(compose(point), task)
        except UserError as error:
            lines |= dict.fromkeys(str(error).splitlines())
    if lines:
        raise UserError("\n".join(lines))


def _description(settings: SweepConfig, swept: Space, first: DictConfig) -> dict[str, Any]:
    """Return what makes this sweep what it is, without how and how long it runs."""
    own = {key: value for key, value in job.to_plain_values(first).items() if key != "resume"}
    return {
        "config_name": first.hydra.job.config_name,
        "sampler": settings.sampler.model_dump(),
        "seed": settings.seed,
        "directions": settings.directions,
        "fixed": dict(swept.fixed),
        "swept": {
            one.name: [str(one.distribution), one.values and list(map(str, one.values))] for one in swept.dimensions
        },
        "settings": own,
    }


def _set_sweep_folder(config: DictConfig, folder: Path) -> None:
    """Make this the sweep's folder for every job, in whichever process."""
    text = Override._get_value_element_as_str(QuotedString(str(folder), Quote.single))
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={text}")


def _batch_size(settings: SweepConfig, launcher: Launcher) -> int | None:
    if settings.batch_size is not None:
        return settings.batch_size
    return None if type(launcher).__name__ in _LAUNCHERS_THAT_QUEUE else 1


def _log_start(folder: Path, study: Study) -> None:
    trials = study.get_trials(deepcopy=False)
    if not trials:
        log.info("sweep: %s", short_path(folder))
        return
    done = sum(trial.state.is_finished() for trial in trials)
    under_way = sum(trial.state is TrialState.RUNNING for trial in trials)
    log.info("Resuming %s: %d of %d jobs are done, %d were interrupted", folder, done, len(trials), under_way)


def _log_end(folder: Path, study: Study) -> None:
    """Log the results.

    Raises:
        UserError: Every job failed.
    """
    trials = study.get_trials(deepcopy=False)
    counts = Counter(str(trial.user_attrs[job.OUTCOME]) for trial in trials if job.OUTCOME in trial.user_attrs)
    counts.pop("repeated", None)
    failed = [trial for trial in trials if trial.user_attrs.get(job.OUTCOME) == "failed"]
    if failed and set(counts) == {"failed"}:
        raise UserError(f"{folder}: every job failed; #{failed[0].number}: {failed[0].user_attrs[job.ERROR]}")
    log.info("%d jobs: %s", counts.total(), ", ".join(f"{count} {name}" for name, count in counts.items()))
    for trial in failed:
        point = job.format_point(trial.user_attrs[job.POINT])
        log.info("  failed: #%d %s: %s", trial.number, point, trial.user_attrs[job.ERROR])
    if any(trial.state is TrialState.COMPLETE for trial in trials):
        for trial in sorted(study.best_trials, key=lambda trial: trial.number)[:5]:
            values = ", ".join(f"{value:.4g}" for value in trial.values)
            log.info("  best: #%d %s: %s", trial.number, job.format_point(trial.user_attrs[job.POINT]), values)
    log.info("Next:\n  facesmith sweep leaderboard %s", quote(short_path(folder)))
