"""A sweep runs each point once, loses none, and goes on where it stopped."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from facesmith.errors import Interrupted, PrunedError, UserError
from facesmith.sweep.folder import lock_sweep
from facesmith.training.run.record import read_record
from facesmith.training.run.trial import get_current_trial

from .tiny_sweeps import Sweeps, outcomes, points, study


class Task:
    """Notes its calls; `fails` are words at which it raises, once or always."""

    def __init__(self, **fails: BaseException) -> None:
        self.calls: list[tuple[Any, Any]] = []
        self.resumes: list[str | None] = []
        self.fails = fails

    def __call__(self, cfg: DictConfig) -> float:
        self.calls.append((cfg.x, cfg.y))
        self.resumes.append(cfg.resume)
        error = self.fails.pop(f"x{cfg.x}", None)
        if error is not None:
            raise error
        return float((cfg.x - 2) ** 2 + cfg.y)


def test_sweep_grid_runs_each_combination_in_its_folder(sweep: Sweeps) -> None:
    task = Task()
    folder = sweep(task, "x=1,2", "y=range(3)")
    assert task.calls == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == list("012345")
    assert study(folder).best_trial.number == 3
    described = json.loads((folder / "sweep.json").read_text())
    assert (described["sampler"]["name"], list(described["swept"])) == ("grid", ["x", "y"])


def test_sweep_same_command_again_runs_nothing(sweep: Sweeps) -> None:
    first, second, third = Task(), Task(), Task()
    folder = sweep(first, "x=1,2")
    assert sweep(second, "x=1,2") == folder
    assert second.calls == []
    assert sweep(third, "x=1,2", "hydra.sweeper.resume=false") != folder
    assert len(third.calls) == 2


def test_sweep_other_settings_is_another_sweep(sweep: Sweeps) -> None:
    folder = sweep(Task(), "x=1,2")
    assert sweep(Task(), "x=1,2", "y=7") != folder
    assert sweep(Task(), "x=1,2,3") != folder


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted(15)])
def test_sweep_interrupted_point_resumes_in_its_folder(sweep: Sweeps, tmp_path: Path, stop: BaseException) -> None:
    task = Task(x2=stop)
    with pytest.raises(SystemExit):
        sweep(task, "x=1,2,3")
    folder = sweep(task, "x=1,2,3")
    assert [x for x, _ in task.calls] == [1, 2, 2, 3]
    assert task.resumes == [None, None, "auto", None]
    assert outcomes(folder) == ["completed"] * 3


def test_sweep_error_costs_one_job_and_is_recorded(sweep: Sweeps) -> None:
    folder = sweep(Task(x2=ValueError("too large")), "x=1,2,3")
    assert outcomes(folder) == ["completed", "failed", "completed"]
    record = read_record(folder / "1")
    assert (record.status, record.overrides, record.swept) == ("failed", ["x=2"], {"x": 2})
    assert (record.error.kind, record.error.message) == ("ValueError", "too large")
    assert "raise error" in record.error.traceback


def test_sweep_invalid_point_costs_one_job(sweep: Sweeps) -> None:
    folder = sweep(Task(), "trainer={max_epochs:4},5", "trainer.max_epochs=3")
    assert outcomes(folder) == ["completed", "failed"]
    assert (read_record(folder / "1").status, read_record(folder / "1").swept) == ("failed", {"trainer": 5})


def test_sweep_retry_failed_runs_failed_points_again(sweep: Sweeps) -> None:
    task = Task(x2=ValueError("once"))
    sweep(task, "x=1,2")
    sweep(task, "x=1,2")
    assert len(task.calls) == 2
    folder = sweep(task, "x=1,2", "hydra.sweeper.retry_failed=true")
    assert outcomes(folder) == ["completed", "failed", "completed"]
    assert points(folder)[2] == {"x": 2}


def test_sweep_max_failures_stops_and_resumes(sweep: Sweeps) -> None:
    task = Task(x1=ValueError("a"), x2=ValueError("b"))
    with pytest.raises(UserError, match=r"stopped after 2 failed jobs.*#1: ValueError: b"):
        sweep(task, "x=1,2,3", "hydra.sweeper.max_failures=2")
    folder = sweep(task, "x=1,2,3", "hydra.sweeper.max_failures=2")
    assert outcomes(folder) == ["failed", "failed", "completed"]


def test_sweep_every_job_failed_fails(sweep: Sweeps) -> None:
    with pytest.raises(UserError, match="every job failed; #0: ValueError: a"):
        sweep(Task(x1=ValueError("a")), "x=1")


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_sweep_interrupted_draws_same_points(sweep: Sweeps, sampler: str) -> None:
    command = [
        "x=interval(0,9)",
        "y=tag(log, int(interval(1,64)))",
        f"hydra/sweeper={sampler}",
        "hydra.sweeper.n_trials=8",
    ]
    whole = sweep(Task(), *command, "word=a")
    seen = 0

    def stopping(cfg: DictConfig) -> float:
        nonlocal seen
        seen += 1
        if seen in (3, 7):
            raise KeyboardInterrupt
        return float((cfg.x - 2) ** 2 + cfg.y)

    for _ in range(2):
        with pytest.raises(SystemExit):
            sweep(stopping, *command, "word=b")
    again = sweep(stopping, *command, "word=b")
    assert points(again) == points(whole)
    assert outcomes(again) == ["completed"] * 8
    more = sweep(Task(), *command[:-1], "hydra.sweeper.n_trials=9", "word=b")
    assert (more, len(points(more))) == (again, 9)


def test_sweep_repeated_point_runs_once(sweep: Sweeps) -> None:
    task = Task()
    folder = sweep(task, "x=1,2", "y=1,2", "hydra/sweeper=tpe", "hydra.sweeper.n_trials=6")
    assert sorted(task.calls) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert set(outcomes(folder)) == {"completed", "repeated"}


def test_sweep_several_objectives_have_a_front(sweep: Sweeps) -> None:
    def task(cfg: DictConfig) -> tuple[float, float]:
        return cfg.x, (cfg.x - 1) ** 2

    folder = sweep(
        task,
        "x=interval(-2,2)",
        "objectives={val/size:max,val/error:min}",
        "hydra/sweeper=nsga2",
        "hydra.sweeper.sampler.population_size=4",
        "hydra.sweeper.n_trials=12",
    )
    front = study(folder).best_trials
    assert [direction.name for direction in study(folder).directions] == ["MAXIMIZE", "MINIMIZE"]
    assert all(trial.params["x"] > 0 for trial in front)


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_sweep_pruner_ends_bad_jobs(sweep: Sweeps, pruner: str) -> None:
    epochs = 0

    def task(cfg: DictConfig) -> float:
        nonlocal epochs
        for epoch in range(1, 10):
            epochs += 1
            if get_current_trial().report(cfg.x + 10 / epoch, epoch):
                raise PrunedError(f"after epoch {epoch}")
        return float(cfg.x)

    folder = sweep(task, "x=range(12)", f"hydra/sweeper/pruner={pruner}")
    assert outcomes(folder).count("pruned") >= 3
    assert outcomes(folder)[0] == "completed"
    assert epochs < 90
    assert study(folder).best_trial.number == 0


def test_sweep_sqlite_storage_works(sweep: Sweeps) -> None:
    folder = sweep(Task(), "x=1,2", "hydra.sweeper.storage=sqlite")
    assert outcomes(folder) == ["completed"] * 2
    assert sqlite3.connect(folder / "study.db").execute("select count(*) from trials").fetchone() == (2,)


def test_study_journal_cut_off_is_read_up_to_there(sweep: Sweeps) -> None:
    folder = sweep(Task(), "x=1,2")
    with (folder / "study.journal").open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    task = Task()
    sweep(task, "x=1,2")
    assert task.calls == []
    assert outcomes(folder) == ["completed"] * 2


def test_sweep_task_without_metric_completes(sweep: Sweeps) -> None:
    ran = []
    for _ in range(2):
        folder = sweep(lambda cfg: ran.append(cfg.x), "x=1,2")
    assert ran == [1, 2]
    assert outcomes(folder) == ["completed"] * 2


def test_sweep_first_config_wrong_is_refused_early(sweep: Sweeps, tmp_path: Path) -> None:
    def check(cfg: DictConfig) -> None:
        raise UserError(f"x={cfg.x}: must be positive")

    task = Task()
    task.check = check  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="x=-1: must be positive"):
        sweep(task, "x=-1,2")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["hydra/sweeper=tpe", "hydra.sweeper.n_trials=null"], "hydra.sweeper.n_trials: required"),
        (["hydra.sweeper.storage=redis"], "hydra.sweeper.storage=redis: choose one of journal, sqlite"),
        (["+hydra.sweeper.sampler.colour=1"], "hydra.sweeper.sampler.colour: grid has no such option"),
        (["hydra/sweeper=random", "objectives={a:min,b:min}", "hydra/sweeper/pruner=median"], "hydra.sweeper.pruner: "),
        (["x=interval(0,1)"], "x: a grid needs values"),
        (["+trainer.devices=2"], "trainer.devices=2: a job of a sweep has one device"),
    ],
)
def test_sweep_mistake_is_one_line_and_leaves_nothing(
    sweep: Sweeps, tmp_path: Path, overrides: list[str], line: str
) -> None:
    with pytest.raises(UserError) as caught:
        sweep(Task(), *overrides)
    assert str(caught.value).startswith(line)
    assert not (tmp_path / "runs").exists()


def test_sweep_second_process_is_refused(sweep: Sweeps) -> None:
    folder = sweep(Task(), "x=1")
    with lock_sweep(folder), pytest.raises(UserError, match="already running"):
        sweep(Task(), "x=1")
