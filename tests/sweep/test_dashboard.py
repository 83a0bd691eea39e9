"""The W&B workspace, as it would be sent to the server."""

from typing import Any

import pytest

from facesmith.errors import UserError
from facesmith.sweep.dashboard import build_workspace

pytest.importorskip("wandb_workspaces")


def sent(**arguments: Any) -> dict[str, Any]:
    made = build_workspace("team/facesmith", **{"by": "val/judge_distance:min", **arguments})
    view = made._to_model()
    assert (view.entity, view.project) == ("team", "facesmith")
    return view.spec.model_dump(by_alias=True, mode="json", exclude_none=True)["section"]


def panels(section: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {one["name"]: one["panels"] for one in section["panelBankConfig"]["sections"]}


def test_workspace_has_sections() -> None:
    found = panels(sent())
    assert list(found) == ["Comparison", "Quality gate", "Losses", "Media"]
    parallel, important, *_ = found["Comparison"]
    assert [column["accessor"] for column in parallel["config"]["columns"]] == [
        "config:model.value.optimizer.lr",
        "config:data.value.batch_size",
        "config:seed.value",
        "summary:best/val/judge_distance",
    ]
    assert parallel["config"]["columns"][-1]["inverted"]
    assert important["config"]["targetKey"] == "best/val/judge_distance"
    assert found["Quality gate"][0]["config"]["metrics"] == ["val/judge_distance"]
    assert found["Quality gate"][0]["config"]["xAxis"] == "trainer/global_step"
    assert found["Media"][0]["config"]["mediaKeys"] == ["renders/validation"]


def test_workspace_of_one_sweep_shows_its_parameters() -> None:
    section = sent(by="val/ssim:max", parameters=["model.rank"], group="identity/ada/x_sweep")
    columns = panels(section)["Comparison"][0]["config"]["columns"]
    assert [one["accessor"] for one in columns] == ["config:model.value.rank", "summary:best/val/ssim"]
    (runs,) = section["runSets"]
    assert runs["filters"]["filters"][0]["key"] == {"section": "run", "name": "group"}
    assert runs["filters"]["filters"][0]["value"] == "identity/ada/x_sweep"
    assert runs["sort"]["keys"] == [{"key": {"section": "summary", "name": "best/val/ssim"}, "ascending": False}]


@pytest.mark.parametrize(
    ("project", "by"), [("facesmith", "val/ssim:max"), ("a/b/c", "val/ssim:max"), ("a/b", "val/ssim")]
)
def test_workspace_mistake_is_refused(project: str, by: str) -> None:
    with pytest.raises(UserError, match=r"give the project as|add the direction"):
        build_workspace(project, by)
