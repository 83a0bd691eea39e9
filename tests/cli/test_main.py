"""`facesmith <command>`: one way in, one dialect, one way of telling mistakes."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from omegaconf import OmegaConf

import facesmith
from facesmith.cli.main import COMMANDS, main
from facesmith.cli.sweep_files import expand_sweep
from facesmith.config.schema import ExportConfig
from facesmith.errors import UserError

ROOT = Path(__file__).parents[2]


def test_main_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main([]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"facesmith {facesmith.__version__}\n"


@pytest.mark.parametrize("command", ["sweep", "doctor", "assets", "purge", "provenance", "adapters"])
def test_main_help_of_a_command_names_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"facesmith {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("trian experiment=identity", "trian: no such command; did you mean train?"),
        ("sweep leaderbord runs", "facesmith sweep leaderbord: no such verb; did you mean leaderboard?"),
        ("sweep leaderboard runs picturs=false", "picturs: no such key; did you mean pictures?"),
        ("sweep leaderboard runs --no-pictures", "--no-pictures: write no-pictures=<value>; --help lists the keys"),
        ("sweep leaderboard runs top=none", "top=none: must be a whole number"),
        ("sweep best a b", "b: only one folder is taken"),
        ("sweep best runs/lr=0.1", "runs/lr=0.1: "),
        ("doctor +json=true", "json"),
        ("provenance verfy a.png", "facesmith provenance verfy: no such verb; did you mean verify?"),
        ("provenance verify a.png jsn=true", "jsn: no such key; did you mean json?"),
        ("doctor jsn=true", "jsn: no such key; did you mean json?"),
        ("doctor json=maybe", "json=maybe: must be true or false"),
        ("assets dir=x", "dir: no such key; did you mean assets.dir?"),
        ("assets sface.onx", "asset sface.onx: there is no asset of this name; did you mean sface.onnx?"),
        ("purge nam=ada", "nam: no such key; did you mean name?"),
        ("adapters", "place: required"),
    ],
)
def test_main_mistake_is_one_line_with_its_mend(line: str, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error}")
    assert said.count("\n") == 1


def test_export_help_says_what_each_value_of_to_is_for() -> None:
    text = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/hydra/export.yaml"))["help"]["template"]
    for value in get_args(ExportConfig.model_fields["to"].annotation):
        assert re.search(rf"^ +{value} +of \w+: ", text, re.M), value


def test_train_help_lists_every_group_of_a_training() -> None:
    text = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/hydra/train.yaml"))["help"]["template"]
    listed = set(re.findall(r"\$\{options:([\w/]+)\}", text))
    folders = {str(p.parent.relative_to(ROOT / "conf")) for p in (ROOT / "conf").rglob("*/*.yaml")}
    others = {"task", "encoder", "engine", "local"}
    assert listed == {one for one in folders if one.split("/")[0] not in {"hydra", "memory", *others}}


def test_expand_sweep_finds_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ["--config-dir", str(ROOT / "sweeps"), "--config-name", "identity_grid"]
    assert expand_sweep(["sweep=identity_grid", "seed=1"]) == [*flags, "seed=1"]
    assert expand_sweep(["seed=1"]) == ["seed=1"]
    (tmp_path / "mine.yaml").touch()
    assert expand_sweep(["sweep=mine.yaml"]) == ["--config-dir", str(tmp_path), "--config-name", "mine"]
    with pytest.raises(UserError, match="did you mean identity_grid"):
        expand_sweep(["sweep=identity_gird"])


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (["train", "--nope"], "unrecognized arguments: --nope"),
        (["infer", "task=swap", "--multirunn"], "unrecognized arguments: --multirunn"),
        (["train", "-cn"], "--config-name/-cn: expected one argument"),
        (["export", "--cfg", "jobs"], "--cfg/-c: invalid choice: 'jobs'"),
    ],
)
def test_main_unknown_flag_is_one_line(given: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(given)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error}")
    assert said.count("\n") == 1


@pytest.mark.filterwarnings("ignore:.* found in sys.modules")
@pytest.mark.parametrize("module", ["facesmith.cli.train", "facesmith.purge", "facesmith.provenance"])
def test_main_modules_of_commands_are_never_silent(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m` in this process: another one would import torch again."""
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not done.value.code
    assert f"facesmith {module.rpartition('.')[2]}" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ("facesmith tr", ["train "]),
        ("facesmith train experiment=identity_d", ["experiment=identity_demo "]),
        ("facesmith train experiment=identity trainer.max_ep", ["trainer.max_epochs="]),
        ("facesmith infer task=sw", ["task=swap "]),
        ("facesmith train experiment=identity sweep=identity_g", ["sweep=identity_grid "]),
        ("facesmith sweep lead", ["leaderboard "]),
    ],
)
def test_completion_bash_commands_groups_and_keys(line: str, choices: list[str], tmp_path: Path) -> None:
    command = tmp_path / "facesmith"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m facesmith "$@"\n')
    command.chmod(0o755)
    script = (
        f'eval "$(facesmith --shell-completion install=bash)"; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; '
        '_facesmith; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == choices, done.stderr
