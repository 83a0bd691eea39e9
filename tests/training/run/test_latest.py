"""`latest` leads to the newest run, and paths are shown by way of it."""

from pathlib import Path

import pytest

from facesmith.cli.launch import _discard_if_empty
from facesmith.errors import UserError
from facesmith.training.run.latest import link_latest, show_path
from facesmith.training.run.resume import choose_run_folder, expand_resume


def test_latest_leads_to_the_newest_and_shortens_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for time in ("2026-01-01_00-00-00", "2026-01-02_00-00-00"):
        run = tmp_path / "runs" / "ada" / time
        (run / "exports").mkdir(parents=True)
        link_latest(run)
    assert (run.parent / "latest").resolve() == run
    assert show_path(run / "exports" / "ada.onnx", run) == "runs/ada/latest/exports/ada.onnx"
    assert show_path(tmp_path / "profiles" / "ada.json", run) == "profiles/ada.json"
    first = run.parent / "2026-01-01_00-00-00"
    assert show_path(first / "exports", first) == "runs/ada/2026-01-01_00-00-00/exports"


def test_latest_leads_back_when_a_run_that_failed_at_its_start_is_removed(tmp_path: Path) -> None:
    for time in ("2026-01-01_00-00-00", "2026-01-02_00-00-00"):
        run = tmp_path / "ada" / time
        (run / ".hydra").mkdir(parents=True)
        link_latest(run)
    (run.parent / "2026-01-01_00-00-00" / "last.ckpt").touch()
    (run / "run.json").touch()
    _discard_if_empty(run)
    assert not run.exists()
    assert (run.parent / "latest" / "last.ckpt").is_file()


def test_latest_of_somebody_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "now").mkdir()
    link_latest(tmp_path / "now")
    assert not (tmp_path / "latest").is_symlink()


def test_resume_takes_the_link_for_the_run_it_leads_to(tmp_path: Path) -> None:
    run = tmp_path / "now"
    run.mkdir()
    link_latest(run)
    with pytest.raises(UserError, match=f"resume={run}: is not the folder of a run"):
        expand_resume([f"resume={tmp_path / 'latest'}"])
    assert choose_run_folder(str(tmp_path), "later", "auto") == str(tmp_path / "later")
