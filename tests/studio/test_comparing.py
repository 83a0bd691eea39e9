"""Runs side by side."""

from facesmith.studio.comparing import draw_comparison
from facesmith.studio.project import Project

from ..sweep.recorded_runs import write_recorded_run


def test_differences_are_of_settings_and_not_of_the_runs_own_folders(project: Project) -> None:
    folders = [project.root / "runs" / "identity" / "ada" / number for number in ("1", "2")]
    for folder, rate in zip(folders, (0.001, 0.002), strict=True):
        own = {"callbacks.last.folder": f"{folder}/checkpoints", "model.optimizer.lr": rate}
        write_recorded_run(folder, own, [0.5, 0.4])
    _, _, differences = draw_comparison(project, [project.short(folder) for folder in folders])
    assert "model.optimizer.lr" in differences
    assert "0.002" in differences
    assert "callbacks.last.folder" not in differences
