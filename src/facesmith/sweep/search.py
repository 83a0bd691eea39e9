"""The sweep itself: ask for points, have jobs run them, lose none."""

import logging
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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

_INSISTENCE = 3  # points in a row that were drawn before; a sampler sure of its best draws no other, chance does
_REPEATS = 100  # points in a row, after which nothing new is left

log = logging.getLogger(__name__)


class Search:
    """Runs one sweep in its folder from wherever it stands.

    A job whose process dies is run once more, by itself; if it dies again it has failed.

    Args:
        launcher: runs `TrackedJob`s.
        batch_size: points asked for at once; None: all there are.
        compose: gives a job's config; raises what is wrong with its overrides.
        resumes: whether jobs know `resume=auto`.
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
        self._died: set[int] = set()

    def run(self) -> None:
        """Run every point that is not done.

        Raises:
            UserError: so many jobs failed that the sweep stopped.
        """
        again = self._under_way()
        if self.config.sampler.name == "grid":
            self._enqueue_grid()
        if self.config.retry_failed:
            self._enqueue_failed()
        while True:
            self._stop_at_failures()
            fresh = [number for number in again if number not in self._died]
            if again and not fresh:
                batch = again[:1]
            else:
                batch = fresh[: self.batch_size]
                batch += self._ask(None if self.batch_size is None else self.batch_size - len(batch))
            again = [number for number in again if number not in batch]
            if not batch:
                return
            again += self._launch(sorted(batch))

    def _under_way(self) -> list[int]:
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
        """Draw so many new points, or as many as are left."""
        asked: list[int] = []
        repeats = 0
        while (count is None or len(asked) < count) and repeats < _REPEATS and self._points_are_left():
            self._draw_as(len(self._trials()), by_chance=repeats >= _INSISTENCE)
            trial = self.study.ask()
            point = self._draw(trial)
            earlier = self._same(trial.number, point)
            if earlier is None or "retry_of" in trial.user_attrs:
                asked.append(trial.number)
                repeats = 0
            else:
                job.finish_repeated(self.study, trial.number, earlier)
                repeats += 1
        return asked

    def _points_are_left(self) -> bool:
        if self._trials(TrialState.WAITING):
            return True
        if self.config.sampler.name == "grid":
            return False
        jobs = [
            t for t in self._trials() if t.user_attrs.get(job.OUTCOME) != "repeated" and "retry_of" not in t.user_attrs
        ]
        return len(jobs) < (self.config.n_trials or 0)

    def _draw_as(self, number: int, by_chance: bool = False) -> None:
        """Let a trial's point depend on its number and on what is known, not on how often the sweep was interrupted."""
        parallel = self.batch_size is None or self.batch_size > 1
        sampler = SamplerConfig(name="random") if by_chance else self.config.sampler
        self.study.sampler = make_sampler(sampler, self.config.seed + number, parallel)

    def _draw(self, trial: Trial) -> dict[str, Value]:
        point = self.space.draw(trial)
        trial.set_user_attr(job.POINT, point)
        return point

    def _same(self, number: int, point: Mapping[str, Value]) -> FrozenTrial | None:
        """Find an earlier job with the same point."""
        for trial in self._trials():
            if trial.number != number and trial.user_attrs.get(job.POINT) == point:
                return trial
        return None

    def _launch(self, numbers: list[int]) -> list[int]:
        """Run a batch; give the trials that have to run again."""
        told = {number: self._overrides(number) for number in numbers}
        begun = {number: self._begun(number) for number in numbers}
        broken: Exception | None = None
        try:
            self.launcher.launch(list(told.values()), initial_job_idx=numbers[0])
        except Exception as error:
            broken = error
        for number in numbers:
            self._wait(number)
        left = [number for number in numbers if self._unfinished(number)]
        if self._too_many_failed():
            return []
        died = [number for number in left if self._begun(number) > begun[number]]
        refused = [number for number in left if number not in died and self._refused(number, told[number])]
        if broken is not None and left == numbers and not died and not refused:
            raise broken
        for number in died:
            if self._given_up(number, broken, told[number]):
                refused.append(number)
        self._died.update(died)
        return [number for number in left if number not in refused]

    def _refused(self, number: int, overrides: list[str]) -> bool:
        """Say whether a job that did not begin never can, and record why."""
        try:
            self.compose(overrides)
        except Exception as error:
            job.finish_invalid(self.study, number, self._folder(number), error, overrides)
            return True
        return False

    def _given_up(self, number: int, broken: Exception | None, overrides: list[str]) -> bool:
        """Say whether a job whose process died has had its second try, and record what is known."""
        why = _flat(broken) if broken else "its process is gone"
        if number not in self._died:
            log.warning("#%d: its process died (%s); it runs once more, by itself", number, why)
            return False
        trace = None if broken is None else "".join(traceback.format_exception(broken))
        config = self.compose(overrides)
        job.finish_killed(self.study, number, self._folder(number), why, trace, config, overrides)
        return True

    def _overrides(self, number: int) -> list[str]:
        self._draw_as(number)
        point = self._draw(reopen_trial(self.study, number))
        goes_on = ["resume=auto"] if self.resumes and self._begun(number) else []
        return [*self.space.overrides(point), *goes_on, f"hydra.sweep.subdir={number}"]

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

    def _unfinished(self, number: int) -> bool:
        if get_trial(self.study, number).state.is_finished():
            return False
        return not job.finish_from_record(self.study, number, self._folder(number))

    def _begun(self, number: int) -> int:
        return int(get_trial(self.study, number).user_attrs.get(job.ATTEMPTS, 0))

    def _too_many_failed(self) -> bool:
        allowed = self.config.max_failures
        return allowed is not None and job.count_failures(self.study) - self._earlier_failures >= allowed

    def _stop_at_failures(self) -> None:
        if self._too_many_failed():
            failed = [t for t in self._trials() if t.user_attrs.get(job.OUTCOME) == "failed"][-1]
            raise UserError(
                f"{self.folder}: stopped after {self.config.max_failures} failed jobs (hydra.sweeper.max_failures); "
                f"the last one, #{failed.number}: {failed.user_attrs.get(job.ERROR)}"
            )

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _folder(self, number: int) -> Path:
        return self.folder / str(number)


def _flat(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:600]
