"""Ids are stable and short, names say what differs."""

from pathlib import Path

from facesmith.training.run.naming import find_sweep_folder, run_group, run_id, run_name, shorten_keys

SINGLE = Path("runs/identity/ada/2026-11-22_05-01-04")
JOB = Path("runs/identity/ada/2026-11-22_05-01-04_sweep/7")


def test_run_id_is_last_parts_of_folder() -> None:
    assert run_id(SINGLE) == "identity-ada-2026-11-22_05-01-04"
    assert run_id(JOB) == "identity-ada-2026-11-22_05-01-04_sweep-7"
    assert run_id(Path("/elsewhere") / SINGLE) == run_id(SINGLE)


def test_run_id_too_long_is_cut_and_unique() -> None:
    name = "a" * 64
    ids = {run_id(Path("runs/identity") / name / f"2026-11-22_05-01-0{n}") for n in range(3)}
    assert len(ids) == 3
    assert all(len(one) <= 64 for one in ids)


def test_run_group_of_job_is_its_sweep(tmp_path: Path) -> None:
    assert run_group(JOB) == "identity/ada/2026-11-22_05-01-04_sweep"
    assert run_group(SINGLE) == "identity"
    assert find_sweep_folder(SINGLE) is None
    (tmp_path / "multirun.yaml").touch()
    assert find_sweep_folder(tmp_path / "0") == tmp_path


def test_run_name_holds_what_differs(tmp_path: Path) -> None:
    job = tmp_path / "ada" / "x_sweep" / "2"
    job.mkdir(parents=True)
    (job.parent / "multirun.yaml").write_text(
        "hydra:\n  overrides:\n    task: [experiment=identity, trainer.max_epochs=3, 'model.optimizer.lr=1e-3,2e-3']\n"
    )
    given = ["experiment=identity", "trainer.max_epochs=3", "model.optimizer.lr=2e-3", "data.source=me", "paths.runs=x"]
    assert run_name(job, given) == "ada 2 lr=2e-3"
    assert run_name(SINGLE, given) == "ada max_epochs=3 lr=2e-3"
    assert run_name(SINGLE, ["model/generator=aad_fast", "+trainer.limit_train_batches=4"]) == (
        "ada generator=aad_fast limit_train_batches=4"
    )


def test_shorten_keys_stay_distinct() -> None:
    assert shorten_keys(["model.lr", "data.lr", "data.batch_size"]) == ["model.lr", "data.lr", "batch_size"]
