"""What of a run folder's command is taken, and what is refused, with a line that names the mend."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from facesmith.errors import UserError
from facesmith.training.run.resume import expand_resume

from .test_resume import a_run


@pytest.mark.parametrize(
    "override",
    [
        "data.name=ada",
        "data.source=../photos",
        "experiment=identity",
        "model/generator=aad_fast",
        "callbacks.last.folder=${paths.run}/checkpoints",
        "callbacks.videos.fps=${oc.select:data.fps,16.0}",
        "+callbacks.early={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss, patience: 5}",
        "tags=[a,b]",
        "~callbacks.render",
    ],
)
def test_saved_override_harmless_is_taken(override: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", override)
    assert override in expand_resume([f"resume={run}"])


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("hydra.launcher._target_=subprocess.run", "changes Hydra itself"),
        ("++hydra.searchpath=[file:///tmp/evil]", "changes Hydra itself"),
        ("+hydra.callbacks.x={_target_: subprocess.run}", "changes Hydra itself"),
        ("hydra/job_logging=evil", "changes Hydra itself"),
        ("+evil@hydra.job_logging=x", "changes Hydra itself"),
        ("data.source=${oc.env:HOME}", "holds a resolver"),
        ("data.source=$\\{oc.env:HOME\\}", "holds a resolver"),
        ("data.source=${${name}:HOME}", "is not in Hydra's grammar"),
        ("+data.source=[a,{b: '${run_dir:x,y,auto}'}]", "holds a resolver"),
        ("+model.loss={_target_: a.B, _partial_: true}", "changes how a class is called"),
        ("+callbacks.x={_target_: a.B, _args_: [1]}", "changes how a class is called"),
        ("+callbacks.x._recursive_=false", "changes how a class is called"),
        ("experiment=../../evil", "is outside the config folders"),
        ("experiment=/tmp/evil", "is outside the config folders"),
        ("callbacks=[default,../../../evil]", "is outside the config folders"),
        ("--config-dir=/tmp/evil", "is not in Hydra's grammar"),
        ("-m", "is not in Hydra's grammar"),
        ("--run", "is not in Hydra's grammar"),
        ("data.source=[", "is not in Hydra's grammar"),
        (f"data.source={'[' * 2000}", "is not in Hydra's grammar"),
        (f"seed={'9' * 5000}", "is not in Hydra's grammar"),
        ("data.source=a\nb", "is not in Hydra's grammar"),
        ("=", "is not in Hydra's grammar"),
        ("~", "is not in Hydra's grammar"),
        ("+data/face_encoder@_global_.hydra.launcher=toy", "changes Hydra itself"),
        ("data.source=${OC.ENV:HOME}", "holds a resolver"),
        ("data.source=${oc.env :HOME}", "holds a resolver"),
    ],
)
@pytest.mark.parametrize("file", ["run.json", "overrides.yaml"])
def test_saved_override_that_reaches_further_is_refused(override: str, why: str, file: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "experiment=identity")
    if file == "run.json":
        (run / "run.json").write_text(json.dumps({"overrides": [override]}))
    else:
        OmegaConf.save(OmegaConf.create({"all": [override]}).all, run / ".hydra/overrides.yaml")
    with pytest.raises(UserError, match=why) as caught:
        expand_resume([f"resume={run}"])
    assert len(str(caught.value).splitlines()) == 1
    assert "again" in str(caught.value)


def test_saved_override_refused_may_be_given_again(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "experiment=identity", "+data.source=${oc.env:HOME}")
    assert "+data.source=${oc.env:HOME}" in expand_resume([f"resume={run}", "data.source=${oc.env:HOME}"])


def test_saved_overrides_of_an_earlier_version_have_todays_names(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "+callbacks.mean={_target_: facesmith.callbacks.average.AverageWeights, decay: 0.9}")
    given = expand_resume([f"resume={run}"])
    assert "+callbacks.mean={_target_: facesmith.training.callbacks.average.AverageWeights, decay: 0.9}" in given


def test_saved_flag_is_refused_also_where_the_same_is_given(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / "run.json").write_text(json.dumps({"overrides": ["-cd=/tmp/evil", "-cd"]}))
    for given in (["-cd", "conf"], ["-cd=conf"]):
        with pytest.raises(UserError, match=r"its override -cd.* is not in Hydra's grammar"):
            expand_resume([f"resume={run}", *given])


def test_saved_yaml_with_aliases_is_not_read(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    doubling = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (run / ".hydra/overrides.yaml").write_text("\n".join(["a0: &a0 [x]", *doubling]))
    with pytest.raises(UserError, match="has aliases"):
        expand_resume([f"resume={run}"])


def test_primary_config_of_another_folder_is_given_again(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", config="mine", directory=str(tmp_path / "run/conf"))
    with pytest.raises(UserError, match=r"was started with -cd .*run/conf -cn mine; if that config is yours, give"):
        expand_resume([f"resume={run}"])
    assert expand_resume(["-cd", "x", "-cn", "mine", f"resume={run}"])[:4] == ["-cd", "x", "-cn", "mine"]
    path = a_run(tmp_path / "other", config="../../evil")
    with pytest.raises(UserError, match="evil; if that config is yours"):
        expand_resume([f"resume={path}"])


def test_record_that_is_none_is_one_line(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "experiment=identity")
    for text in ("[1]", "{", '{"overrides": [1]}', '{"overrides": "experiment=identity"}'):
        (run / "run.json").write_text(text)
        with pytest.raises(UserError, match=r"^resume=.*start a new run$"):
            expand_resume([f"resume={run}"])
    (run / "run.json").unlink()
    (run / ".hydra/overrides.yaml").write_text("!!python/object/apply:os.system [true]")
    with pytest.raises(UserError, match=r"^resume=.*start a new run$"):
        expand_resume([f"resume={run}"])
