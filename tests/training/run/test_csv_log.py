"""metrics.csv: every row once, also when steps are done again after a resume."""

import csv
from pathlib import Path

from facesmith.training.run.csv_log import CsvLog


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def log(folder: Path, steps: range, name: str = "loss", **state: int) -> CsvLog:
    logger = CsvLog(folder, flush_seconds=0)
    if state:
        logger.load_state_dict(state)
    for step in steps:
        logger.log_metrics({name: step / 7}, step)
        logger.save()
    return logger


def test_csv_log_resumed_has_each_step_once(tmp_path: Path) -> None:
    first = log(tmp_path, range(5))
    state = first.state_dict()
    assert state == {"rows": 5}
    for step in range(5, 9):
        first.log_metrics({"loss": -1.0}, step)
    first.finalize("failed")
    log(tmp_path, range(5, 8), **state).finalize("success")
    assert [float(row["loss"]) for row in rows(tmp_path)] == [step / 7 for step in range(8)]


def test_csv_log_column_after_checkpoint_is_dropped(tmp_path: Path) -> None:
    first = log(tmp_path, range(3))
    state = first.state_dict()
    first.log_metrics({"val/ssim": 0.5}, 3)
    first.finalize("failed")
    log(tmp_path, range(3, 5), "other", **state).finalize("success")
    found = rows(tmp_path)
    assert [row["step"] for row in found] == list("01234")
    assert [row["other"] for row in found[:3]] == [""] * 3
    assert float(found[4]["other"]) == 4 / 7


def test_csv_log_cut_line_is_dropped(tmp_path: Path) -> None:
    state = log(tmp_path, range(3)).state_dict()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write('0.3,"')
    log(tmp_path, range(3, 4), **state)
    assert [row["step"] for row in rows(tmp_path)] == list("0123")


def test_csv_log_new_run_replaces_old_rows(tmp_path: Path) -> None:
    log(tmp_path, range(9))
    assert len(rows(tmp_path)) == 9
    log(tmp_path, range(2))
    assert len(rows(tmp_path)) == 2


def test_csv_log_writes_every_flush_seconds(tmp_path: Path) -> None:
    logger = CsvLog(tmp_path, flush_seconds=3600)
    for step in range(4):
        logger.log_metrics({"loss": 0.0}, step)
        logger.save()
    assert len(rows(tmp_path)) == 1  # the first, at once
    logger.finalize("success")
    assert len(rows(tmp_path)) == 4
