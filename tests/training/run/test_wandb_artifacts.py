"""A swap tells which model it was made with; the picture stays where it is."""

import json
from pathlib import Path

import pytest

from facesmith.cli.main import main
from facesmith.training.run.wandb_artifacts import make_face_set_artifact, make_onnx_artifact

from ...offline_wandb import record, summaries

pytestmark = pytest.mark.usefixtures("keyless")
TOLD = {"identity": "ada", "face_set": "0123", "faces": 20, "consent": "self", "embedding": [0.1]}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "identity/ada/2026-11-22_05-01-04/exports/ada.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


def test_artifacts_same_files_are_same_artifact(model: Path) -> None:
    assert make_face_set_artifact(TOLD).digest == make_face_set_artifact({**TOLD, "run": "another"}).digest
    assert "embedding" not in make_face_set_artifact(TOLD).metadata
    first, again = (make_onnx_artifact(model.parent, "run", {"run": told}, upload=False) for told in ("a", "b"))
    assert first is not None
    assert again is not None
    assert (first.digest, first.name) == (again.digest, again.name)  # so that a swap finds what the training logged


def test_log_swap_is_reference(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "swapped.png"
    output.write_bytes(b"a face")
    assert main(["sweep", "lineage", str(output), f"model={model}", f"runs={tmp_path}"]) == 0
    (summary,) = summaries(tmp_path)
    assert summary["state"] == "finished"
    (swap,) = record(Path(summary["file"]), "artifact")
    assert (swap["type"], swap["manifest"]["contents"][0]["ref"]) == ("swap", output.as_uri())
    assert json.loads(swap["metadata"])["onnx"] == "identity-ada-2026-11-22_05-01-04-onnx"
    (run,) = record(Path(summary["file"]), "run")[:1]
    assert (run["job_type"], run["run_group"]) == ("swap", "identity-ada-2026-11-22_05-01-04")


def test_log_swap_model_outside_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "a.onnx"):
        (tmp_path / name).touch()
    assert main(["sweep", "lineage", str(tmp_path / "a.png"), f"model={tmp_path / 'a.onnx'}"]) == 1
    assert "is not in a run's folder" in capsys.readouterr().err
