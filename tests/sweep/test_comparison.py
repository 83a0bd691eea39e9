"""Runs are found as they are, ranked by what they were monitored for, and shown as tables, CSV and commands."""

import csv
import json
import shutil
import stat
from pathlib import Path

import pytest

from facesmith.cli.main import main
from facesmith.errors import PrunedError, UserError
from facesmith.sweep.importance import measure_importance
from facesmith.sweep.ranking import find_varied_keys, rank
from facesmith.sweep.runs import continue_command, count_by_status, find_runs, read_curves, rerun_command

from .recorded_runs import DISTANCE, SSIM, write_recorded_run

LR = "model.optimizer.lr"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight jobs: four complete, and one of each way in which a job does not."""
    folder = tmp_path_factory.mktemp("runs") / "2026-11-22_05-14-48_sweep"
    for number, (lr, batch) in enumerate([(1e-3, 4), (1e-3, 8), (4e-3, 4), (4e-3, 8)]):
        value = 0.7 - 50 * lr - batch / 100
        write_recorded_run(
            folder / str(number), {LR: lr, "data.batch_size": batch}, [0.9, value + 0.1, value], picture=number == 3
        )
    write_recorded_run(folder / "4", {LR: 1e9, "data.batch_size": 4}, [0.9], RuntimeError("the loss is nan"))
    write_recorded_run(folder / "5", {LR: 1e-9, "data.batch_size": 4}, [0.1, 0.9], PrunedError("at epoch 2"))
    killed = write_recorded_run(folder / "6", {LR: 5e-3, "data.batch_size": 4}, [0.2])
    record = json.loads((killed / "run.json").read_text())
    record |= {"status": "running", "pid": 2**22 + 1, "objective": None, "finished": None}  # no process has this number
    (killed / "run.json").write_text(json.dumps(record))
    damaged = folder / "7"
    shutil.copytree(folder / "0", damaged)
    (damaged / "run.json").write_text((damaged / "run.json").read_text()[:200])
    (damaged / "metrics.csv").write_bytes((damaged / "metrics.csv").read_bytes()[:60] + b"\0\xff\n1,")
    (folder / "10").mkdir()
    return folder


def test_status_table_shows_each_state(sweep: Path) -> None:
    runs = find_runs(sweep)
    assert [run.name for run in runs] == ["0", "1", "2", "3", "4", "5", "6", "7", "10"]
    assert count_by_status(runs) == {
        "completed": 4,
        "pruned": 1,
        "failed": 1,
        "killed": 1,
        "damaged": 1,
        "not begun": 1,
    }
    assert runs[4].error == "RuntimeError: the loss is nan"
    assert runs[7].error.startswith("run.json: not a record of a run")


def test_rank_incomplete_runs_have_no_place(sweep: Path) -> None:
    ranking = rank(find_runs(sweep))
    assert [row.run.name for row in ranking.rows[:4]] == ["3", "2", "1", "0"]
    assert [row.rank for row in ranking.rows] == [1, 2, 3, 4, *[None] * 5]
    assert ranking.best.run.name == "3"
    assert ranking.parameters == (LR, "data.batch_size")
    assert ranking.short_parameters == ["lr", "batch_size"]
    assert ranking.best.values == (pytest.approx(0.42),)
    unfinished = {row.run.name: row.values[0] for row in ranking.rows[4:]}
    assert (unfinished["6"], unfinished["5"], unfinished["7"]) == (0.2, 0.1, None)  # the best so far


def test_rank_by_any_recorded_metric(sweep: Path) -> None:
    assert rank(find_runs(sweep), "val/judge_distance:max").best.run.name == "0"
    with pytest.raises(UserError, match="choose one of val/judge_distance"):
        rank(find_runs(sweep), "val/beauty:max")
    with pytest.raises(UserError, match="add the direction: val/judge_distance:min or"):
        rank(find_runs(sweep), "val/judge_distance")


def test_rank_several_objectives_marks_pareto_front(tmp_path: Path) -> None:
    for number, final in enumerate([[0.3, 0.5], [0.4, 0.9], [0.5, 0.8], [0.35, 0.5]]):
        write_recorded_run(tmp_path / str(number), {LR: number}, [final[0]], objectives=(DISTANCE, SSIM), final=final)
    ranking = rank(find_runs(tmp_path))
    assert ranking.objectives == (DISTANCE, SSIM)
    assert [(row.run.name, row.pareto) for row in ranking.rows] == [
        ("0", True),
        ("1", True),
        ("3", False),
        ("2", False),
    ]


def test_rank_single_runs_differ_by_overrides(tmp_path: Path) -> None:
    for name, lr in (("ada/one", 1e-3), ("eve/two", 2e-3)):
        write_recorded_run(tmp_path / "identity" / name, {LR: lr}, [lr])
    runs = find_runs(tmp_path)
    assert [run.name for run in runs] == ["ada/one", "eve/two"]
    assert find_varied_keys(runs) == (LR,)


def test_run_running_has_epochs_of_its_log(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path / "0", {LR: 1.0}, [0.3])
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"status": "running", "epochs": 0, "seconds": 5.0}))
    with (folder / "metrics.csv").open("a") as log:
        log.write("".join(f"{step // 10},{step},0.5,\n" for step in range(5000)) + "499,49")
    (run,) = find_runs(tmp_path)
    assert (run.status, run.epochs, run.planned_epochs) == ("running", 499, 3)
    assert run.seconds >= 5.0


def test_rank_nothing_to_compare_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_runs(tmp_path / "none")
    with pytest.raises(UserError, match="holds no run"):
        find_runs(tmp_path)
    write_recorded_run(tmp_path / "0", {LR: 1.0}, [0.3], RuntimeError("no"))
    with pytest.raises(UserError, match="no run is complete"):
        _ = rank(find_runs(tmp_path)).best


def test_importance_finds_deciding_parameter(tmp_path: Path) -> None:
    for number in range(16):
        lr, batch = 10.0 ** -(1 + number % 4), 4 * (1 + number // 4)
        write_recorded_run(tmp_path / str(number), {LR: lr, "data.batch_size": batch}, [-lr + batch * 1e-6])
    found = measure_importance(rank(find_runs(tmp_path)), tmp_path)
    assert found.source == "the runs' records"
    assert found.shares[LR] > 0.7
    assert sum(found.shares.values()) == pytest.approx(1)


def test_importance_too_few_runs_says_why(tmp_path: Path) -> None:
    write_recorded_run(tmp_path / "0", {LR: 1.0}, [0.3])
    assert measure_importance(rank(find_runs(tmp_path)), tmp_path).why == "1 runs are complete; it takes 4"


def test_read_curves_long_log_keeps_its_course(tmp_path: Path) -> None:
    rows = [f"{step},{step % 2},{'' if step % 100 else 0.5}" for step in range(10_000)]
    (tmp_path / "metrics.csv").write_text("\n".join(["step,train/loss,val/ssim", *rows]))
    curves = read_curves(tmp_path)
    assert len(curves["train/loss"]) <= 160
    assert {value for _, value in curves["train/loss"][:-1]} <= {0.5, 0.49206, 0.50794}
    assert len(curves["val/ssim"]) == 100
    assert read_curves(tmp_path / "none") == {}


def test_best_run_has_its_commands(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "best", str(sweep)]) == 0
    printed = capsys.readouterr().out
    assert "facesmith train experiment=identity model.optimizer.lr=0.004 data.batch_size=8" in printed
    assert f"facesmith train resume={sweep.resolve() / '3'} trainer.max_epochs=6" in printed


def test_rerun_command_of_sweep_file_is_one_run(sweep: Path) -> None:
    (run, *_) = find_runs(sweep)
    assert run.record is not None
    record = run.record.model_copy(
        update={"command": ["train.py", "-cd", "sweeps", "--config-name=identity_grid", "a=1"]}
    )
    assert rerun_command(record).startswith("facesmith train sweep=identity_grid experiment=identity ")
    assert rerun_command(record).endswith(" hydra.mode=RUN")
    assert continue_command(run).endswith("trainer.max_epochs=6")


def test_leaderboard_writes_tables_and_csv(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "status", str(sweep)]) == 0
    assert "9 runs: 4 completed, 1 pruned, 1 failed, 1 killed, 1 damaged, 1 not begun" in capsys.readouterr().out
    assert main(["sweep", "leaderboard", str(sweep), f"output={tmp_path}", "pictures=false"]) == 0
    rows = list(csv.DictReader((tmp_path / "leaderboard.csv").open()))
    assert [row["run"] for row in rows[:4]] == ["3", "2", "1", "0"]
    assert (rows[0]["rank"], rows[0][LR], rows[0]["val/judge_distance"]) == (
        "1",
        "0.004",
        rows[0][f"objective {DISTANCE.name}"],
    )
    assert {row["status"] for row in rows} == {"completed", "pruned", "failed", "killed", "damaged", "not begun"}
    for name in ("leaderboard.csv", "leaderboard.html"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_sweep_command_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "leaderboard", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
