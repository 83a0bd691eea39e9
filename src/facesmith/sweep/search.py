"""The sweep's loop: ask the sampler for points, run a job for each, lose none."""

import logging
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout
from hydra.plugins.launcher import Launcher
from optuna import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from facesmith.errors import UserError
from facesmith.sweep import job
from facesmith.sweep.config import SamplerConfig, SweepConfig
from facesmith.sweep.optuna_internals import get_trial, reopen_trial
from facesmith.sweep.space import Space, Value
from facesmith.sweep.study import make_sampler

_REPEATS_BEFORE_RANDOM: Final = 3  # points in a row drawn before: the sampler has converged, random sampling continues
_MAX_REPEATS: Final = 100  # points in a row, after which nothing new is left

log = logging.getLogger(__name__)


class Search:
    """Run one sweep in its folder, from the beginning or where it stopped.

    A job whose process dies is run once more, alone; if it dies again it has failed.

    Args:
        folder: Of the sweep.
        config: Its settings.
        space: What is swept.
        study: Optuna's.
        launcher: Runs `TrackedJob`s.
        batch_size: Points asked for at once; None: all there are.
        compose: Returns a job's config from its overrides; raises what is wrong with them.
        resumes: Whether jobs have the key `resume`.
    """

    def __init__(
        self,
        folder: Path,
        config: SweepConfig,
        space: Space,
        study: Study,
        launcher: Launcher,
        batch_size: int | None,
        compose: Callable[[list[str]], Mapping[str, Any]],
        resumes: bool,
    ) -> None:
        self.folder, self.config, self.space, self.study = folder, config, space, study
        self.launcher, self.batch_size, self.compose, self.resumes = launcher, batch_size, compose, resumes
        self._earlier_failures = job.count_failures(study)
        self._died_once: set[int] = set()

    def run(self) -> None:
        """Run every point that is not done.

        Raises:
            UserError: So many jobs failed that the sweep stopped.
        """
        again = self._find_unfinished()
        if self.config.sampler.name == "grid":
            self._enqueue_grid()
        if self.config.retry_failed:
            self._enqueue_failed()
        while True:
            self._stop_at_failures()
            fresh = [number for number in again if number not in self._died_once]
            if again and not fresh:
                batch = again[:1]
            else:
                batch = fresh[: self.batch_size]
                batch += self._ask(None if self.batch_size is None else self.batch_size - len(batch))
            again = [number for number in again if number not in batch]
            if not batch:
                return
            again += self._launch(sorted(batch))

    def _find_unfinished(self) -> list[int]:
        """Return the trials that a killed sweep left unfinished, once none of its jobs runs any more."""
        for trial in self._trials(TrialState.RUNNING):
            self._wait(trial.number)
        left = [trial.number for trial in self._trials(TrialState.RUNNING)]
        return [number for number in left if not job.finish_from_record(self.study, number, self._folder(number))]

    def _enqueue_grid(self) -> None:
        """Queue the combinations, once: their trials are numbered in Hydra's order."""
        known = [trial.system_attrs.get("fixed_params", trial.params) for trial in self._trials()]
        for point in list(self.space.grid())[: self.config.n_trials]:
            if point not in known:
                self.study.enqueue_trial(dict(point))

    def _enqueue_failed(self) -> None:
        """Queue the points of failed jobs again, under new numbers."""
        again = {trial.user_attrs.get("retry_of") for trial in self._trials()}
        for trial in self._trials():
            if trial.user_attrs.get(job.OUTCOME) == "failed" and trial.number not in again:
                self.study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number})

    def _ask(self, count: int | None) -> list[int]:
        """Ask for so many new points, or as many as are left."""
        asked: list[int] = []
        repeats = 0
        while (count is None or len(asked) < count) and repeats < _MAX_REPEATS and self._has_points_left():
            self._set_sampler(len(self._trials()), at_random=repeats >= _REPEATS_BEFORE_RANDOM)
            trial = self.study.ask()
            point = self._suggest(trial)
            earlier = self._find_same(trial.number, point)
            if earlier is None or "retry_of" in trial.user_attrs:
                asked.append(trial.number)
                repeats = 0
            else:
                job.finish_repeated(self.study, trial.number, earlier)
                repeats += 1
        return asked

    def _has_points_left(self) -> bool:
        if self._trials(TrialState.WAITING):
            return True
        if self.config.sampler.name == "grid":
            return False
        jobs = [
            t for t in self._trials() if t.user_attrs.get(job.OUTCOME) != "repeated" and "retry_of" not in t.user_attrs
        ]
        return len(jobs) < (self.config.n_trials or 0)

    def _set_sampler(self, number: int, at_random: bool = False) -> None:
        """Seed a trial's sampler by its number, so that interruptions do not change the points."""
        parallel = self.batch_size is None or self.batch_size > 1
        sampler = SamplerConfig(name="random") if at_random else self.config.sampler
        self.study.sampler = make_sampler(sampler, self.config.seed + number, parallel)

    def _suggest(self, trial: Trial) -> dict[str, Value]:
        point = self.space.suggest(trial)
        trial.set_user_attr(job.POINT, point)
        return point

    def _find_same(self, number: int, point: Mapping[str, Value]) -> FrozenTrial | None:
        """Find an earlier job with the same point."""
        for trial in self._trials():
            if trial.number != number and trial.user_attrs.get(job.POINT) == point:
                return trial
        return None

    def _launch(self, numbers: list[int]) -> list[int]:
        """Run a batch; return the trials that have to run again."""
        overrides = {number: self._overrides(number) for number in numbers}
        attempts = {number: self._attempts(number) for number in numbers}
        broken: Exception | None = None
        try:
            self.launcher.launch(list(overrides.values()), initial_job_idx=numbers[0])
        except Exception as error:
            broken = error
        for number in numbers:
            self._wait(number)
        left = [number for number in numbers if self._is_unfinished(number)]
        if self._has_too_many_failures():
            return []
        died = [number for number in left if self._attempts(number) > attempts[number]]
        invalid = [number for number in left if number not in died and self._is_invalid(number, overrides[number])]
        if broken is not None and left == numbers and not died and not invalid:
            raise broken
        for number in died:
            if self._has_failed_twice(number, broken, overrides[number]):
                invalid.append(number)
        self._died_once.update(died)
        return [number for number in left if number not in invalid]

    def _is_invalid(self, number: int, overrides: list[str]) -> bool:
        """Return whether a job that did not start never can, and record why."""
        try:
            self.compose(overrides)
        except Exception as error:
            job.finish_invalid(self.study, number, self._folder(number), error, overrides)
            return True
        return False

    def _has_failed_twice(self, number: int, broken: Exception | None, overrides: list[str]) -> bool:
        """Return whether a job whose process died has had its second try, and record what is known."""
        why = _in_one_line(broken) if broken else "its process is gone"
        if number not in self._died_once:
            log.warning("#%d: its process died (%s); it is run once more, alone", number, why)
            return False
        trace = None if broken is None else "".join(traceback.format_exception(broken))
        config = self.compose(overrides)
        job.finish_killed(self.study, number, self._folder(number), why, trace, config, overrides)
        return True

    def _overrides(self, number: int) -> list[str]:
        self._set_sampler(number)
        point = self._suggest(reopen_trial(self.study, number))
        resume = ["resume=auto"] if self.resumes and self._attempts(number) else []
        return [*self.space.to_overrides(point), *resume, f"hydra.sweep.subdir={number}"]

    def _wait(self, number: int) -> None:
        """Wait until no process runs the job."""
        folder = self._folder(number)
        if not folder.is_dir():
            return
        try:
            with FileLock(folder / job.LOCK, timeout=0):
                return
        except Timeout:
            log.info("#%d still runs in another process; waiting for it", number)
        with FileLock(folder / job.LOCK):
            return

    def _is_unfinished(self, number: int) -> bool:
        if get_trial(self.study, number).state.is_finished():
            return False
        return not job.finish_from_record(self.study, number, self._folder(number))

    def _attempts(self, number: int) -> int:
        return int(get_trial(self.study, number).user_attrs.get(job.ATTEMPTS, 0))

    def _has_too_many_failures(self) -> bool:
        allowed = self.config.max_failures
        return allowed is not None and job.count_failures(self.study) - self._earlier_failures >= allowed

    def _stop_at_failures(self) -> None:
        if self._has_too_many_failures():
            failed = [t for t in self._trials() if t.user_attrs.get(job.OUTCOME) == "failed"][-1]
            raise UserError(
                f"{self.folder}: stopped after {self.config.max_failures} failed jobs (hydra.sweeper.max_failures); "
                f"the last one, #{failed.number}: {failed.user_attrs.get(job.ERROR)}"
            )

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _folder(self, number: int) -> Path:
        return self.folder / str(number)


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:600]
